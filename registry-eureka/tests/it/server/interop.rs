//! Clients that others have written register themselves, and are found.

use registry_core::Health;
use registry_testkit::eureka::{Client, Instance, Registrant};

use crate::support::servers::Shared;
use crate::support::{config_of, discover, endpoint, label, service, until};

async fn comes_and_goes(client: Client, app: &str) {
    let shared = Shared::war().await;
    let discovery = discover(config_of(shared.base_url(), app));
    let instance = Instance::new(app, format!("{app}-1"))
        .host("host-1.example")
        .ip("10.21.0.7")
        .port(9000)
        .zone("zone-b")
        .metadata("version", "2.0")
        .vip(format!("{app}-vip"));
    let mut registrant = Registrant::start(client, shared.base_url(), &instance)
        .await
        .unwrap();
    let snapshot = until("it to register", &discovery, |snapshot| {
        endpoint(snapshot, app, registrant.id()).is_some_and(|found| found.health() == Health::Healthy)
    })
    .await;
    let found = endpoint(&snapshot, app, registrant.id()).unwrap();
    assert_eq!(found.address().to_string(), "10.21.0.7");
    let ports: Vec<String> = found
        .ports()
        .iter()
        .map(|port| format!("{}={}", port.name, port.number))
        .collect();
    assert_eq!(ports, ["http=9000"]);
    assert_eq!(found.locality().zone.as_str(), "zone-b");
    assert_eq!(label(&found, "version"), Some("2.0"));
    assert_eq!(found.node().as_str(), "host-1.example");
    let by_vip = snapshot.get(&format!("{app}-vip")).unwrap();
    assert_eq!(by_vip.endpoints().len(), 1, "{snapshot:?}");

    registrant.cancel().await.unwrap();
    until("it to be gone", &discovery, |snapshot| {
        service(snapshot, app).is_none()
    })
    .await;
    discovery.shutdown().await;
}

/// 21.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_python_client_registers_is_found_until_it_cancels() {
    comes_and_goes(Client::Python, "t21-python").await;
}

/// 21.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_javascript_client_registers_is_found_until_it_cancels() {
    comes_and_goes(Client::JavaScript, "t21-javascript").await;
}
