//! What tests do to the registry; each begins with a server of which nobody knows anything, and all but the last leave it so.

use registry_testkit::Error;
use registry_testkit::eureka::{Eureka, Instance, app_name, bulk_instance, instance_id};

use super::listed;

/// An instance with all that can be said arrives with it.
pub(super) async fn takes_all(eureka: &Eureka) {
    let api = eureka.api();
    let instance = Instance::new("Orders", "o:1 ü")
        .host("o1.example")
        .ip("10.0.0.7")
        .without_port()
        .secure_port(9443)
        .status("STARTING")
        .zone("a")
        .vip("orders,orders-alt")
        .secure_vip("orders-s")
        .lease(7, 21)
        .last_dirty(1_700_000_000_000);
    api.register(&instance).await.unwrap();
    let found = api.instance("orders", instance.id()).await.unwrap().unwrap();
    for (pointer, wanted) in [
        ("/app", "ORDERS"),
        ("/instanceId", "o:1 ü"),
        ("/hostName", "o1.example"),
        ("/ipAddr", "10.0.0.7"),
        ("/port/@enabled", "false"),
        ("/securePort/$", "9443"),
        ("/securePort/@enabled", "true"),
        ("/status", "STARTING"),
        ("/metadata/zone", "a"),
        ("/vipAddress", "orders,orders-alt"),
        ("/secureVipAddress", "orders-s"),
        ("/leaseInfo/renewalIntervalInSecs", "7"),
        ("/leaseInfo/durationInSecs", "21"),
        ("/lastDirtyTimestamp", "1700000000000"),
    ] {
        let value = found
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer} in {found}"));
        assert_eq!(value.to_string().trim_matches('"'), wanted, "{pointer}");
    }

    let amazon = [("availability-zone", "us-east-1c"), ("instance-id", "i-1")];
    api.register(&Instance::nameless("orders", "o2.example").amazon(amazon))
        .await
        .unwrap();
    let found = api.instance("orders", "i-1").await.unwrap().unwrap();
    assert_eq!(
        found["dataCenterInfo"]["metadata"]["availability-zone"],
        "us-east-1c"
    );
    assert!(found.get("instanceId").is_none(), "{found}");
    for id in [instance.id(), "i-1"] {
        api.cancel("orders", id).await.unwrap();
    }
    assert!(listed(eureka).await.is_empty());
}

/// Statuses, metadata and the end, as the API says them.
pub(super) async fn lets_an_instance_live(eureka: &Eureka) {
    let api = eureka.api();
    let web = Instance::new("web", "web-1").metadata("version", "1");
    assert!(!api.heartbeat("web", "web-1").await.unwrap());
    api.register(&web).await.unwrap();
    assert!(api.heartbeat("web", "web-1").await.unwrap());

    for status in ["OUT_OF_SERVICE", "DOWN", "STARTING", "UP"] {
        api.set_status("web", "web-1", status).await.unwrap();
        assert_eq!(listed(eureka).await, [format!("WEB/web-1 {status}")]);
    }
    api.set_status("web", "web-1", "OUT_OF_SERVICE").await.unwrap();
    api.delete_status("web", "web-1", Some("UP")).await.unwrap();
    assert_eq!(listed(eureka).await, ["WEB/web-1 UP"]);
    api.set_status("web", "web-1", "OUT_OF_SERVICE").await.unwrap();
    api.delete_status("web", "web-1", None).await.unwrap();
    assert_eq!(listed(eureka).await, ["WEB/web-1 UNKNOWN"]);
    assert!(!api.heartbeat("web", "web-1").await.unwrap());
    api.register(&web).await.unwrap();
    assert_eq!(listed(eureka).await, ["WEB/web-1 UP"]);

    api.set_metadata("web", "web-1", &[("version", "2"), ("note", "a b&c")])
        .await
        .unwrap();
    let found = api.instance("web", "web-1").await.unwrap().unwrap();
    assert_eq!(
        (&found["metadata"]["version"], &found["metadata"]["note"]),
        (&"2".into(), &"a b&c".into())
    );

    api.cancel("web", "web-1").await.unwrap();
    assert!(api.statuses().await.unwrap().is_empty());
    assert!(matches!(
        api.cancel("web", "web-1").await,
        Err(Error::Status { status: 404, .. })
    ));
    assert!(api.instance("web", "web-1").await.unwrap().is_none());
}

/// A refusal is an error with the server's words.
pub(super) async fn refuses(eureka: &Eureka) {
    let mut body = Instance::new("web", "web-1").json(1);
    body["instance"].as_object_mut().unwrap().remove("hostName");
    let error = eureka.api().register_json("web", &body).await.unwrap_err();
    let Error::Status { status, body, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((status, body.contains("hostname")), (400, true), "{body}");
}

/// It takes what comes as if from a peer, and keeps it.
pub(super) async fn takes_many(eureka: &Eureka) {
    let api = eureka.api();
    api.register_all(200, 5).await.unwrap();
    assert_eq!(api.hash().await.unwrap(), "UP_1000_");
    let found = api
        .instance(&app_name(199), &instance_id(199, 4))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found["metadata"]["zone"], "zone-1");
    api.register(&bulk_instance(7, 2).status("DOWN")).await.unwrap();
    api.cancel(&app_name(8), &instance_id(8, 0)).await.unwrap();
    assert_eq!(api.hash().await.unwrap(), "DOWN_1_UP_998_");
}
