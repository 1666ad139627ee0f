//! Ports: joined by name, whatever their numbers are, and whatever slices leave out.

use registry_core::{Health, Service, Transport};
use serde_json::{Value, json};

use crate::stage::{Stage, at, pod, slice_of};
use crate::support::{self, slice, spec};

/// The ports of the endpoint at an address, `name number`, sorted.
fn ports(service: &Service, address: &str) -> Vec<String> {
    let ports = at(service, address).ports().iter();
    let mut lines: Vec<String> = ports
        .map(|port| format!("{} {}", port.name, port.number))
        .collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_6_a_named_target_port_has_another_number_on_each_pod() {
    let stage = Stage::open().await;
    let named = json!({ "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] });
    stage.service("web", &named).await;
    stage
        .slice("web-a", "web", &slice_of(&[pod("10.0.0.1", "a")], 8080))
        .await;
    stage
        .slice("web-b", "web", &slice_of(&[pod("10.0.0.2", "b")], 9090))
        .await;
    // This one's container has no port of that name.
    let without = json!({ "endpoints": [pod("10.0.0.3", "c")], "ports": [] });
    stage.slice("web-c", "web", &without).await;
    let web = stage
        .until("three endpoints", "web", |web| web.endpoints().len() == 3)
        .await;
    assert_eq!(ports(&web, "10.0.0.1"), ["http 8080"]);
    assert_eq!(ports(&web, "10.0.0.2"), ["http 9090"]);
    assert!(ports(&web, "10.0.0.3").is_empty());
    let declared: Vec<(&str, Option<u16>)> = web
        .ports()
        .iter()
        .map(|port| (&*port.name, port.number))
        .collect();
    assert_eq!(declared, [("http", Some(80))]);

    // It gets one with a new version, and moves to where others have the same number.
    stage
        .slice(
            "web-b",
            "web",
            &slice_of(&[pod("10.0.0.2", "b"), pod("10.0.0.3", "c")], 9090),
        )
        .await;
    stage.delete_slice("web-c").await;
    let is_so = |web: &Service| web.endpoints().len() == 3 && ports(web, "10.0.0.3") == ["http 9090"];
    stage.until("the port of the third", "web", is_so).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_7_what_is_null_or_empty_is_read_and_disturbs_nobody() {
    let stage = Stage::open().await;
    stage.slice("near-1", "near", &slice(&["10.1.0.1"], 8080)).await;
    stage.service("near", &spec()).await;
    let near = stage.until_at("near", &["10.1.0.1:8080"]).await;

    let headless = json!({ "clusterIP": "None" });
    for service in ["placeholder", "bare"] {
        stage.service(service, &headless).await;
    }
    stage.service("any", &spec()).await;
    let placeholder = json!({ "endpoints": null, "ports": null });
    stage.slice("placeholder-1", "placeholder", &placeholder).await;
    // A headless service without ports has endpoints without ports.
    let no_ports = json!({
        "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": {} }, { "addresses": ["10.0.0.2"], "conditions": null }],
        "ports": [],
    });
    stage.slice("bare-1", "bare", &no_ports).await;
    let no_list = json!({ "endpoints": [{ "addresses": ["10.0.0.3"] }], "ports": null });
    stage.slice("bare-2", "bare", &no_list).await;
    // A port without a number stands for all, which nobody can call.
    let any = json!({
        "endpoints": [{
            "addresses": ["10.0.0.4"], "hints": null, "targetRef": null, "nodeName": null, "zone": null, "hostname": null,
        }],
        "ports": [{ "name": "any", "port": null }, { "name": "http", "port": 8080 }],
    });
    stage.slice("any-1", "any", &any).await;
    stage.settle().await;

    assert!(stage.get("placeholder").endpoints().is_empty());
    let bare = stage.get("bare");
    assert_eq!(bare.endpoints().len(), 3);
    for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        assert_eq!(at(&bare, address).health(), Health::Healthy, "{address}");
        assert!(ports(&bare, address).is_empty(), "{address}");
    }
    let any = stage.get("any");
    assert_eq!(ports(&any, "10.0.0.4"), ["http 8080"]);
    let known: Vec<&str> = any.ports().iter().map(|port| &*port.name).collect();
    assert_eq!(known, ["http"]);

    assert_eq!(stage.get("near").revision(), near.revision());
    let status = support::status(&stage.discovery);
    assert!(status.skipped == 0 && status.degraded.is_empty(), "{status:?}");
    assert_eq!(stage.discovery.snapshot().conflict_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_14_one_number_for_tcp_and_udp_is_two_ports_with_endpoints_of_their_own() {
    let stage = Stage::open().await;
    let dns = json!({ "ports": [
        { "name": "dns", "port": 53, "protocol": "UDP" },
        { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
    ] });
    stage.service("dns", &dns).await;
    let of = |pods: &[Value], ports: Value| json!({ "endpoints": pods, "ports": ports });
    let udp = json!({ "name": "dns", "port": 5353, "protocol": "UDP" });
    let tcp = json!({ "name": "dns-tcp", "port": 5353, "protocol": "TCP" });
    let both = of(&[pod("10.0.0.1", "a")], json!([udp, tcp]));
    stage.slice("dns-1", "dns", &both).await;
    let one = of(&[pod("10.0.0.2", "b")], json!([tcp]));
    stage.slice("dns-2", "dns", &one).await;
    let dns = stage
        .until("two endpoints", "dns", |dns| dns.endpoints().len() == 2)
        .await;
    let declared: Vec<(&str, Option<u16>, Transport)> = dns
        .ports()
        .iter()
        .map(|port| (&*port.name, port.number, port.transport))
        .collect();
    assert_eq!(
        declared,
        [
            ("dns", Some(53), Transport::Udp),
            ("dns-tcp", Some(53), Transport::Tcp)
        ]
    );
    assert_eq!(ports(&dns, "10.0.0.1"), ["dns 5353", "dns-tcp 5353"]);
    assert_eq!(ports(&dns, "10.0.0.2"), ["dns-tcp 5353"]);

    // The two halves of one pod may be told by slices of their own.
    stage
        .slice("dns-1", "dns", &of(&[pod("10.0.0.1", "a")], json!([udp])))
        .await;
    let half = of(&[pod("10.0.0.1", "a"), pod("10.0.0.2", "b")], json!([tcp]));
    stage.slice("dns-2", "dns", &half).await;
    stage.settle().await;
    let dns = stage.get("dns");
    let of_a: Vec<String> = dns
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.address().to_string() == "10.0.0.1")
        .flat_map(|endpoint| endpoint.ports().iter().map(|port| port.name.to_string()))
        .collect();
    assert_eq!(of_a.len(), 2, "{of_a:?}");
    assert!(of_a.contains(&"dns".to_owned()) && of_a.contains(&"dns-tcp".to_owned()));
}
