//! Clients that others have written.

use registry_testkit::eureka::{Client, Eureka, Instance, Registrant};

use super::{await_listed, listed};

/// What a client says of itself is what the server has, until the client ends.
pub(super) async fn register_and_cancel(eureka: &Eureka) {
    for (client, id) in [(Client::Python, "py-1"), (Client::JavaScript, "js-1")] {
        let instance = Instance::new("orders", id)
            .host("o1.example")
            .ip("10.0.0.7")
            .port(9000)
            .secure_port(9443)
            .zone("a")
            .metadata("version", "2");
        let mut registrant = Registrant::start(client, eureka.base_url(), &instance)
            .await
            .unwrap();
        assert_eq!(listed(eureka).await, [format!("ORDERS/{id} UP")]);
        let found = eureka
            .api()
            .instance("orders", registrant.id())
            .await
            .unwrap()
            .unwrap();
        for (pointer, wanted) in [
            ("/hostName", "o1.example"),
            ("/ipAddr", "10.0.0.7"),
            ("/port/$", "9000"),
            ("/port/@enabled", "true"),
            ("/securePort/$", "9443"),
            ("/securePort/@enabled", "true"),
            ("/metadata/zone", "a"),
            ("/metadata/version", "2"),
            ("/vipAddress", "orders"),
        ] {
            let value = found
                .pointer(pointer)
                .unwrap_or_else(|| panic!("{pointer} in {found}"));
            assert_eq!(
                value.to_string().trim_matches('"'),
                wanted,
                "{pointer} of {client:?}"
            );
        }
        registrant.cancel().await.unwrap();
        assert!(eureka.api().statuses().await.unwrap().is_empty(), "{client:?}");
    }
}

/// The instance of a client that was killed stays until its lease has run out.
pub(super) async fn are_killed(eureka: &Eureka) {
    let mut registrants = Vec::new();
    for (client, id) in [(Client::Python, "py-1"), (Client::JavaScript, "js-1")] {
        let instance = Instance::new("orders", id).lease(1, 2);
        registrants.push(
            Registrant::start(client, eureka.base_url(), &instance)
                .await
                .unwrap(),
        );
    }
    await_listed(eureka, &["ORDERS/js-1 UP", "ORDERS/py-1 UP"]).await;
    registrants[0].kill().await.unwrap();
    await_listed(eureka, &["ORDERS/js-1 UP"]).await;
    drop(registrants);
    await_listed(eureka, &[]).await;
}
