//! How what is registered in a real server comes out.

use registry_core::Health;
use registry_testkit::eureka::Instance;
use registry_testkit::witness;

use crate::support::servers::Shared;
use crate::support::{config_of, discover, endpoint, label, patient, service, status, until, until_statuses};

/// 11. The server tells of it as if the instance were new.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_change_are_seen_in_place() {
    let shared = Shared::war().await;
    let api = shared.api();
    let instance = |id: &str, port| Instance::new("t11-orders", id).port(port);
    api.register(&instance("a", 8001).metadata("version", "v1").zone("zone-a"))
        .await
        .unwrap();
    // Without any metadata the server writes none at all, but the name of the class that holds none.
    api.register(&instance("b", 8002)).await.unwrap();
    let discovery = discover(patient(config_of(shared.base_url(), "t11-*")));
    let snapshot = until_statuses(&discovery, "t11-orders", &["a UP", "b UP"]).await;
    let b = endpoint(&snapshot, "t11-orders", "b").unwrap();
    assert_eq!(b.labels().iter().count(), 0, "{:?}", b.labels());

    for (id, key, value) in [
        ("a", "version", "v2"),
        ("b", "weight", "7"),
        ("a", "zone", "zone-b"),
    ] {
        api.set_metadata("t11-orders", id, &[(key, value)]).await.unwrap();
        let delta = api.delta().await.unwrap();
        let told = delta["applications"]["application"]
            .as_array()
            .into_iter()
            .flatten();
        let told = told.filter(|app| app["name"] == "T11-ORDERS");
        let told = told.flat_map(|app| app["instance"].as_array().into_iter().flatten());
        let told = told.filter(|told| told["instanceId"] == id && told["actionType"] == "ADDED");
        assert_eq!(told.count(), 1, "{delta}");
        let snapshot = until(&format!("{key} of {id}"), &discovery, |snapshot| {
            let endpoint = endpoint(snapshot, "t11-orders", id).unwrap();
            label(&endpoint, key) == Some(value)
        })
        .await;
        assert_eq!(
            service(&snapshot, "t11-orders").unwrap().endpoints().len(),
            2,
            "{snapshot:?}"
        );
    }
    let snapshot = discovery.snapshot();
    let a = endpoint(&snapshot, "t11-orders", "a").unwrap();
    assert_eq!(
        (label(&a, "version"), a.locality().zone.as_str()),
        (Some("v2"), "zone-b")
    );
    assert_eq!(endpoint(&snapshot, "t11-orders", "b").unwrap().weight(), 7);
    assert_eq!(status(&discovery).failures, 0);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vip_names_lead_to_the_service_until_its_last_instance_with_them_goes() {
    let shared = Shared::war().await;
    let api = shared.api();
    let many = Instance::new("vips-orders", "a").port(8001);
    let many = many
        .vip("vips-orders,Vips-Alt, vips-third:8080")
        .secure_vip("vips-tls,vips-alt");
    api.register(&many).await.unwrap();
    let one = Instance::new("vips-orders", "b").port(8002).vip("vips-orders");
    api.register(&one).await.unwrap();
    let none = Instance::new("vips-payments", "c").port(8003).without_vip();
    api.register(&none).await.unwrap();
    let discovery = discover(config_of(shared.base_url(), "vips-*"));
    let snapshot = until("all of them", &discovery, |snapshot| {
        snapshot.endpoint_count() == 3
    })
    .await;
    for name in [
        "vips-orders.eureka",
        "vips-orders",
        "vips-alt",
        "vips-third",
        "vips-tls",
        "VIPS-ALT",
    ] {
        let found = snapshot
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {snapshot:?}"));
        assert_eq!(found.hostname().as_str(), "vips-orders.eureka", "{name}");
        assert_eq!(found.endpoints().len(), 2, "{name}");
    }
    assert!(snapshot.get("vips-payments.eureka").unwrap().aliases().is_empty());

    // Of an instance that goes, and of one that registers with other names.
    api.cancel("vips-orders", "a").await.unwrap();
    let gone = |name: &'static str| move |snapshot: &registry_core::Snapshot| snapshot.get(name).is_none();
    let snapshot = until("vips-alt to be gone", &discovery, gone("vips-alt")).await;
    for name in ["vips-third", "vips-tls"] {
        assert!(snapshot.get(name).is_none(), "{name} in {snapshot:?}");
    }
    assert!(snapshot.get("vips-orders").is_some());
    let other = Instance::new("vips-orders", "b").port(8002).vip("vips-renamed");
    api.register(&other).await.unwrap();
    let snapshot = until("the other name", &discovery, |snapshot| {
        snapshot.get("vips-renamed").is_some()
    })
    .await;
    assert!(snapshot.get("vips-orders").is_none(), "{snapshot:?}");
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_amazon_says_of_an_instance_is_where_it_runs() {
    let shared = Shared::war().await;
    let amazon = [
        ("availability-zone", "us-east-1c"),
        ("instance-id", "i-0123456789abcdef0"),
        ("local-ipv4", "10.9.9.9"),
        ("public-hostname", "ec2-1-2-3-4.compute-1.amazonaws.com"),
    ];
    // A client of that kind says no id of its own.
    let nameless = Instance::nameless("amazon-orders", "ip-10-9-9-9")
        .ip("10.9.9.9")
        .amazon(amazon);
    shared.api().register(&nameless).await.unwrap();
    let named = Instance::new("amazon-orders", "b")
        .ip("10.9.9.8")
        .amazon(amazon)
        .zone("own-zone");
    shared.api().register(&named).await.unwrap();
    let discovery = discover(config_of(shared.base_url(), "amazon-*"));
    let snapshot = until_statuses(&discovery, "amazon-orders", &["b UP", "i-0123456789abcdef0 UP"]).await;
    let nameless = endpoint(&snapshot, "amazon-orders", "i-0123456789abcdef0").unwrap();
    let locality = nameless.locality();
    assert_eq!(
        (locality.region.as_str(), locality.zone.as_str()),
        ("us-east-1", "us-east-1c")
    );
    assert_eq!(nameless.node().as_str(), "i-0123456789abcdef0");
    assert_eq!(nameless.address().to_string(), "10.9.9.9");
    let named = endpoint(&snapshot, "amazon-orders", "b").unwrap();
    let locality = named.locality();
    assert_eq!(
        (locality.region.as_str(), locality.zone.as_str()),
        ("us-east-1", "own-zone")
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_and_addresses_are_those_that_clients_would_dial() {
    let shared = Shared::war().await;
    let api = shared.api();
    let of = |id: &str| Instance::new("ports-orders", id).host(format!("{id}.example"));
    let all = [
        of("both")
            .ip("10.9.1.1")
            .port(8001)
            .secure_port(8441)
            .metadata("management.port", "9001"),
        of("secure").ip("10.9.1.2").without_port().secure_port(8442),
        of("neither").ip("10.9.1.3").without_port(),
        of("six").ip("2001:db8::6").port(8006),
        of("named").ip("not-an-ip").port(8007),
    ];
    for instance in all {
        api.register(&instance).await.unwrap();
    }
    let discovery = discover(config_of(shared.base_url(), "ports-*"));
    let snapshot = until("all of them", &discovery, |snapshot| {
        snapshot.endpoint_count() == 5
    })
    .await;
    let expected = [
        "both 10.9.1.1 http=8001,https=8441,management=9001",
        "named named.example http=8007",
        "neither 10.9.1.3 ",
        "secure 10.9.1.2 https=8442",
        "six 2001:db8::6 http=8006",
    ];
    let orders = service(&snapshot, "ports-orders").unwrap();
    let mut found: Vec<String> = orders
        .endpoints()
        .iter()
        .map(|endpoint| {
            assert_eq!(endpoint.health(), Health::Healthy);
            let ports = endpoint
                .ports()
                .iter()
                .map(|port| format!("{}={}", port.name, port.number));
            let mut ports: Vec<String> = ports.collect();
            ports.sort();
            format!("{} {} {}", endpoint.id(), endpoint.address(), ports.join(","))
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);
    let protocol = |name: &str| {
        let port = orders.ports().iter().find(|port| port.name.as_str() == name);
        port.unwrap().app_protocol.to_string()
    };
    assert_eq!(
        (protocol("http"), protocol("https")),
        ("http".to_owned(), "https".to_owned())
    );
    discovery.shutdown().await;

    // The other way round.
    let mut config = config_of(shared.base_url(), "ports-*");
    config.address = registry_eureka::AddressChoice::Hostname;
    let discovery = discover(config);
    let snapshot = until("all of them", &discovery, |snapshot| {
        snapshot.endpoint_count() == 5
    })
    .await;
    let lines = witness::endpoints(&snapshot);
    assert!(
        lines.contains("ports-orders.eureka secure.example:8442"),
        "{lines:?}"
    );
    discovery.shutdown().await;
}
