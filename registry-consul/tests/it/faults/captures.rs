//! Captured answers of two versions of Consul, byte for byte through the whole stack.

use registry_core::{Discovery, Health, Phase};
use registry_testkit::Exchange;
use serde_json::{Value, json};

use super::{FakeConsul, current, fixture, health, health_path, instance, short, with_service};
use crate::support::{discover, service, status, until, until_phase};

const VERSIONS: [&str; 2] = ["1.8", "current"];

/// A server that lists just this service, and gives this captured answer about it.
async fn playing(version: &str, name: &str, capture: &str) -> FakeConsul {
    let fake = FakeConsul::start(&[]).await;
    let capture = Exchange::load(fixture(version, capture)).unwrap();
    fake.server.set(Exchange {
        target: health_path(name),
        ..capture
    });
    let catalog = json!({ name: [] });
    let index = fake.next_index();
    fake.server
        .set(current(Exchange::get("/v1/catalog/services"), &catalog).with_index(index));
    fake
}

/// `id address ports status health weight`, sorted.
fn lines(discovery: &Discovery, name: &str) -> Vec<String> {
    let Some(service) = service(&discovery.snapshot(), name) else {
        return Vec::new();
    };
    let line = |endpoint: &std::sync::Arc<registry_core::Endpoint>| {
        let ports = endpoint.ports().iter();
        let ports: Vec<String> = ports
            .map(|port| format!("{}:{}", port.name, port.number))
            .collect();
        let claim = endpoint.claims().next().unwrap();
        format!(
            "{} {} {} {} {} {}",
            claim.id,
            endpoint.address(),
            if ports.is_empty() {
                "-".to_owned()
            } else {
                ports.join("+")
            },
            claim.status,
            endpoint.health(),
            endpoint.weight(),
        )
    };
    let mut lines: Vec<String> = service.endpoints().iter().map(line).collect();
    lines.sort();
    lines
}

async fn maps_to(version: &str, name: &str, capture: &str, tagged: Option<&str>, wanted: &[&str]) {
    let fake = playing(version, name, capture).await;
    let mut config = short(&fake.url());
    config.tagged_address = tagged.map(str::to_owned);
    let discovery = discover(config);
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(lines(&discovery, name), wanted, "{version} {capture} {tagged:?}");
    assert_eq!(status(&discovery).skipped, 0, "{version} {capture}");
    discovery.shutdown().await;
}

/// The name of the node in the captures of that version.
fn node(version: &str) -> &'static str {
    if version == "1.8" { "n18" } else { "nnew" }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_12_every_instance_of_the_captures_has_its_status() {
    for version in VERSIONS {
        let node = node(version);
        let wanted = [
            "ext-1/web-ext 192.0.2.7 default:9090 critical unhealthy 1".to_owned(),
            format!("{node}/web-1 10.1.0.11 default:8080 passing healthy 10"),
            format!("{node}/web-2 10.1.0.12 default:8080 warning degraded 1"),
            format!("{node}/web-3 127.0.0.1 default:8081 critical unhealthy 1"),
            format!("{node}/web-4 127.0.0.1 - passing healthy 1"),
        ];
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        maps_to(version, "web", "health-service-web", None, &wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_12_maintenance_of_service_and_node_drains() {
    for version in VERSIONS {
        for (capture, id) in [
            ("health-service-web-1-maintenance", "web-1"),
            ("health-service-web-node-maintenance", "web-4"),
        ] {
            let fake = playing(version, "web", capture).await;
            let discovery = discover(short(&fake.url()));
            until_phase(&discovery, Phase::Synced).await;
            let web = service(&discovery.snapshot(), "web").unwrap();
            let endpoint = web
                .endpoints()
                .iter()
                .find(|endpoint| endpoint.id().ends_with(id));
            let endpoint = endpoint.unwrap();
            assert_eq!(endpoint.health(), Health::Draining, "{version} {capture}");
            assert_eq!(endpoint.claims().next().unwrap().status, "maintenance");
            discovery.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_13_captured_host_names_and_bare_ipv6_addresses() {
    for version in VERSIONS {
        let wanted = [
            "ext-2/db-1 db.example.internal default:5432 passing healthy 1",
            "ext-3/db-2 2001:db8::3 default:5432 passing healthy 1",
        ];
        maps_to(version, "db", "health-service-db-hostname-and-v6", None, &wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_13_captured_wide_area_addresses() {
    for version in VERSIONS {
        let node = node(version);
        // `wan_ipv4` is derived from the local address, even beside an explicit `wan`.
        for (tag, ext, first) in [
            ("wan", "198.51.100.7 default:9090", "198.51.100.11 default:80"),
            ("wan_ipv4", "192.0.2.7 default:9090", "10.1.0.11 default:8080"),
            ("lan", "192.0.2.7 default:9090", "10.1.0.11 default:8080"),
        ] {
            let wanted = [
                format!("ext-1/web-ext {ext} critical unhealthy 1"),
                format!("{node}/web-1 {first} passing healthy 10"),
                // It has an address of its own and no other: its node's is none of its business.
                format!("{node}/web-2 10.1.0.12 default:8080 warning degraded 1"),
            ];
            let fake = playing(version, "web", "health-service-web").await;
            let mut config = short(&fake.url());
            config.tagged_address = Some(tag.to_owned());
            let discovery = discover(config);
            until_phase(&discovery, Phase::Synced).await;
            let found = lines(&discovery, "web");
            for line in wanted {
                assert!(found.contains(&line), "{version} {tag}: {line} in {found:?}");
            }
            discovery.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_13_what_versions_leave_out_or_add() {
    let wan = json!({ "wan": { "Address": "198.51.100.9", "Port": 443 }, "wan_ipv4": { "Address": "10.0.0.1", "Port": 1 },
                      "consul-virtual": { "Address": "240.0.0.1", "Port": 8001 } });
    let no_port = |mut instance: Value| {
        instance["Service"].as_object_mut().unwrap().remove("Port");
        instance
    };
    let ports = json!([{ "Name": "http", "Port": 8080, "Default": true },
                       { "Name": "metrics", "Port": 9090, "Default": false }]);
    let web = || instance("web", 1);
    let cases = [
        ("a port", web(), None, "10.0.0.1 default:8001"),
        ("no port", no_port(web()), None, "10.0.0.1 -"),
        (
            "port 0",
            with_service(web(), json!({ "Port": 0 })),
            None,
            "10.0.0.1 -",
        ),
        (
            "an address of its own",
            with_service(web(), json!({ "Address": "10.9.9.9" })),
            None,
            "10.9.9.9 default:8001",
        ),
        (
            "a host name",
            with_service(web(), json!({ "Address": "db.example.internal" })),
            None,
            "db.example.internal default:8001",
        ),
        (
            "bare IPv6",
            with_service(web(), json!({ "Address": "2001:db8::3" })),
            None,
            "2001:db8::3 default:8001",
        ),
        (
            "empty lists",
            with_service(web(), json!({ "Tags": [], "Meta": {}, "TaggedAddresses": {} })),
            None,
            "10.0.0.1 default:8001",
        ),
        (
            "several ports",
            with_service(web(), json!({ "Ports": ports, "Port": 8080 })),
            None,
            "10.0.0.1 http:8080+metrics:9090",
        ),
        (
            "tagged addresses, unused",
            with_service(web(), json!({ "TaggedAddresses": wan })),
            None,
            "10.0.0.1 default:8001",
        ),
        (
            "wan before wan_ipv4",
            with_service(web(), json!({ "TaggedAddresses": wan })),
            Some("wan"),
            "198.51.100.9 default:443",
        ),
        (
            "wan where there is none",
            web(),
            Some("wan"),
            "10.0.0.1 default:8001",
        ),
    ];
    for (case, instance, tagged, wanted) in cases {
        let fake = FakeConsul::start(&[]).await;
        fake.put("web", &[instance]);
        let mut config = short(&fake.url());
        config.tagged_address = tagged.map(str::to_owned);
        let discovery = discover(config);
        until_phase(&discovery, Phase::Synced).await;
        assert_eq!(
            lines(&discovery, "web"),
            [format!("n1/web-1 {wanted} passing healthy 1")],
            "{case}"
        );
        discovery.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_12_a_status_from_somewhere_else_is_mapped_as_documented() {
    let fake = FakeConsul::start(&[("web", 1)]).await;
    let discovery = discover(short(&fake.url()));
    until_phase(&discovery, Phase::Synced).await;
    let check = |id: &str, status: &str, service: &str| {
        json!({ "Node": "n1", "CheckID": id, "Name": "", "Status": status,
        "Notes": "", "Output": "", "ServiceID": service, "ServiceName": "", "ServiceTags": null })
    };
    for (checks, raw, health_wanted) in [
        (json!(null), "passing", Health::Healthy),
        (
            json!([check("node", "warning", ""), check("own", "passing", "web-1")]),
            "warning",
            Health::Degraded,
        ),
        (
            json!([check("node", "critical", ""), check("own", "warning", "web-1")]),
            "critical",
            Health::Unhealthy,
        ),
        (
            json!([
                check("_node_maintenance", "critical", ""),
                check("own", "critical", "web-1")
            ]),
            "maintenance",
            Health::Draining,
        ),
        (
            json!([check("_service_maintenance:web-1", "critical", "web-1")]),
            "maintenance",
            Health::Draining,
        ),
    ] {
        let mut instance = instance("web", 1);
        instance["Checks"] = checks.clone();
        let index = fake.next_index();
        fake.server.set(health("web", &[instance]).with_index(index));
        until(raw, &discovery, |snapshot| {
            service(snapshot, "web").is_some_and(|web| {
                let endpoint = web.endpoints().iter().next().unwrap();
                endpoint.health() == health_wanted && endpoint.claims().next().unwrap().status == raw
            })
        })
        .await;
    }
    discovery.shutdown().await;
}
