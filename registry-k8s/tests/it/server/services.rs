//! Services: what kind they are, what they turn into, and which addresses they have.

use registry_core::{Address, Health, Resolution, Service};
use registry_testkit::kubernetes::{core_path, services_path};
use serde_json::json;

use crate::stage::{Stage, addresses, at, pod, slice_of};
use crate::support::{slice, spec};

/// `cluster: address,address` of all virtual addresses.
fn vips(service: &Service) -> Vec<String> {
    let line = |vip: &registry_core::Vip| {
        let all: Vec<String> = vip.addresses.iter().map(Address::to_string).collect();
        format!("{}: {}", vip.cluster, all.join(","))
    };
    service.addresses().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_9_host_names_are_endpoints_apart_from_addresses() {
    host_names(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_9_host_names_are_left_out_where_that_is_wanted() {
    host_names(false).await;
}

/// Nobody has these names, and nothing here asks for them.
async fn host_names(fqdn: bool) {
    let stage = Stage::open_with(|config| config.fqdn = fqdn).await;
    stage.service("both", &spec()).await;
    stage.service("named", &spec()).await;
    let mut names = slice(&["a.backend.invalid", "b.backend.invalid"], 8443);
    names["addressType"] = json!("FQDN");
    stage.slice("both-a", "both", &names).await;
    stage.slice("both-b", "both", &slice(&["10.0.0.1"], 8080)).await;
    stage.slice("named-a", "named", &names).await;
    stage.settle().await;
    let hosts = ["a.backend.invalid", "b.backend.invalid"];
    let both = stage.get("both");
    let mut found = addresses(&both);
    assert_eq!(found.remove(0), "10.0.0.1");
    assert_eq!(at(&both, "10.0.0.1").ports().get("http"), Some(8080));
    if fqdn {
        assert_eq!(found, hosts);
        assert_eq!(addresses(&stage.get("named")), hosts);
        for host in hosts {
            let endpoint = at(&both, host);
            assert!(matches!(endpoint.addresses(), [Address::Host(_)]), "{endpoint:?}");
            assert_eq!(endpoint.ports().get("http"), Some(8443));
            assert_eq!(endpoint.health(), Health::Healthy);
        }
    } else {
        assert!(found.is_empty(), "{found:?}");
        assert!(stage.get("named").endpoints().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_13_a_service_turns_into_a_name_for_another_and_back() {
    let stage = Stage::open().await;
    stage.service("flips", &spec()).await;
    stage
        .slice("flips-1", "flips", &slice_of(&[pod("10.0.0.1", "p")], 8080))
        .await;
    let inside = stage.until_at("flips", &["10.0.0.1:8080"]).await;
    assert_eq!(inside.resolution(), Resolution::Static);
    assert_eq!(vips(&inside).len(), 1);
    let recording = stage.record();

    let outward = json!({ "spec": { "type": "ExternalName", "externalName": "x.example.com" } });
    stage.patch_service("flips", &outward).await;
    let outside = stage.until_at("flips", &["x.example.com:80"]).await;
    assert_eq!(outside.resolution(), Resolution::Dns);
    assert_eq!(at(&outside, "x.example.com").health(), Health::Unknown);
    assert!(vips(&outside).is_empty());
    // Its slices do not count, and go on being followed.
    let more = slice_of(&[pod("10.0.0.2", "q")], 8080);
    stage.slice("flips-2", "flips", &more).await;
    stage.settle().await;
    assert_eq!(stage.get("flips").revision(), outside.revision());
    let elsewhere = json!({ "spec": { "externalName": "y.example.com" } });
    stage.patch_service("flips", &elsewhere).await;
    stage.until_at("flips", &["y.example.com:80"]).await;

    let inward = json!({ "spec": { "type": "ClusterIP", "externalName": null } });
    stage.patch_service("flips", &inward).await;
    let back = stage.until_at("flips", &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert_eq!(back.resolution(), Resolution::Static);
    assert_eq!(vips(&back).len(), 1);

    // A headless one comes by way of a name for another: addresses of clusters are for life.
    stage.patch_service("flips", &outward).await;
    stage.until_at("flips", &["x.example.com:80"]).await;
    let headless = json!({ "spec": { "type": "ClusterIP", "externalName": null, "clusterIP": "None" } });
    stage.patch_service("flips", &headless).await;
    let headless = stage.until_at("flips", &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert_eq!(headless.resolution(), Resolution::Headless);
    let name = headless.endpoint_dns_name(at(&headless, "10.0.0.1")).unwrap();
    assert!(name.starts_with("10-0-0-1.flips."), "{name}");

    for seen in recording.of(&stage, "flips").await {
        let seen = seen.expect("it is always there");
        let found = addresses(&seen);
        let wanted: &[&[&str]] = match seen.resolution() {
            Resolution::Dns => &[&["x.example.com"], &["y.example.com"]],
            Resolution::Nothing => panic!("a Service is something"),
            Resolution::Headless | Resolution::Static => &[&["10.0.0.1"], &["10.0.0.1", "10.0.0.2"]],
        };
        assert!(wanted.iter().any(|wanted| found == *wanted), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_13_a_load_balancer_has_the_names_and_addresses_that_it_is_given() {
    let stage = Stage::open().await;
    let lb = json!({
        "type": "LoadBalancer", "externalIPs": ["198.51.100.7"], "ports": [{ "name": "http", "port": 80 }],
    });
    let written = stage.service("lb", &lb).await;
    let inside = written["spec"]["clusterIP"].as_str().unwrap();
    stage.slice("lb-1", "lb", &slice(&["10.0.0.1"], 8080)).await;
    let pending = stage.until_at("lb", &["10.0.0.1:8080"]).await;
    let own = format!("test: {inside}");
    assert_eq!(vips(&pending), [own.clone(), ": 198.51.100.7".to_owned()]);

    let status = format!("{}/lb/status", services_path(stage.namespace()));
    let recording = stage.record();
    for (ingress, outside) in [
        (
            json!([{ "hostname": "lb-1.elb.example.com" }]),
            ": 198.51.100.7,lb-1.elb.example.com",
        ),
        (
            json!([{ "hostname": "lb-2.elb.example.com" }, { "ip": "203.0.113.5" }]),
            ": 198.51.100.7,lb-2.elb.example.com,203.0.113.5",
        ),
        (
            json!([{ "ip": "203.0.113.6", "ipMode": "Proxy" }]),
            ": 198.51.100.7,203.0.113.6",
        ),
        (json!(null), ": 198.51.100.7"),
    ] {
        let patch = json!({ "status": { "loadBalancer": { "ingress": ingress } } });
        stage.api().patch(&status, &patch).await.unwrap();
        let wanted = [own.clone(), outside.to_owned()];
        stage.until(outside, "lb", |lb| vips(lb) == wanted).await;
    }
    let outside = "198.51.100.7".parse().unwrap();
    let snapshot = stage.discovery.snapshot();
    let found: Vec<&str> = snapshot
        .at_vip(outside)
        .map(|service| &**service.name())
        .collect();
    assert_eq!(found, ["lb"]);

    let without = json!({ "spec": { "externalIPs": null } });
    stage.patch_service("lb", &without).await;
    let left = stage
        .until("no outer address", "lb", |lb| vips(lb).len() == 1)
        .await;
    assert!(stage.discovery.snapshot().at_vip(outside).next().is_none());
    // All of that is about ways in: what is behind them stays.
    for seen in recording.of(&stage, "lb").await {
        assert!(seen.unwrap().endpoints().ptr_eq(left.endpoints()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_13_mirrored_endpoints_of_a_headless_service_appear_once() {
    let stage = Stage::open().await;
    stage
        .service(
            "legacy",
            &json!({ "clusterIP": "None", "ports": [{ "name": "http", "port": 80 }] }),
        )
        .await;
    let recording = stage.record();
    // What somebody writes as Endpoints, and what a controller makes of them.
    let subsets = json!([{
        "addresses": [{ "ip": "192.0.2.10" }, { "ip": "192.0.2.11" }], "ports": [{ "name": "http", "port": 8080 }],
    }]);
    let endpoints = json!({ "metadata": { "name": "legacy" }, "subsets": subsets });
    let collection = core_path(stage.namespace(), "endpoints");
    stage.api().create(&collection, &endpoints).await.unwrap();
    let mut mirrored = json!({
        "metadata": { "labels": {
            "kubernetes.io/service-name": "legacy",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
            "service.kubernetes.io/headless": "",
        } },
        "endpoints": [
            { "addresses": ["192.0.2.10"], "conditions": { "ready": true } },
            { "addresses": ["192.0.2.11"], "conditions": { "ready": true } },
        ],
        "ports": [{ "name": "http", "port": 8080 }],
    });
    if !stage.is_external() {
        stage.slice("legacy-abcde", "legacy", &mirrored).await;
    }
    let both = ["192.0.2.10:8080", "192.0.2.11:8080"];
    stage.until_at("legacy", &both).await;
    // The same again, by the hand of somebody else.
    mirrored["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = json!("operator.example.com");
    stage.slice("legacy-by-hand", "legacy", &mirrored).await;
    stage.settle().await;
    let found = stage.until_at("legacy", &both).await;
    assert_eq!(found.resolution(), Resolution::Headless);
    let mut most = 0;
    for seen in recording.of(&stage, "legacy").await.into_iter().flatten() {
        let count = seen.endpoints().len();
        assert!(count >= most && count <= 2, "{seen:?}");
        most = count;
    }
    // With one copy gone the other one is still there.
    let before = stage.get("legacy").revision();
    stage.delete_slice("legacy-by-hand").await;
    stage.settle().await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(stage.get("legacy").revision(), before);
}
