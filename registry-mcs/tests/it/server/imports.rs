//! What a cluster imports, as some implementation of Multi-Cluster Services wrote it there.

use registry_testkit::kubernetes::endpoint_slices_path;
use registry_testkit::kubernetes::mcs::service_imports_path;
use serde_json::{Value, json};

use crate::observer::{Observer, Recording, endpoints, lines, names};
use crate::stage::{Stage, headless, named_pods, pods, slice, web};

/// An import with a clusterset IP and the port `http`.
fn cluster_set_ip() -> Value {
    json!({
        "type": "ClusterSetIP", "ips": ["10.99.0.1"],
        "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
    })
}

async fn import(stage: &Stage, name: &str, spec: &Value) -> Value {
    let written = stage.a().api.service_import(stage.namespace(), name, spec).await;
    written.unwrap()
}

async fn imported(stage: &Stage, name: &str, service: &str, cluster: &str, slice: &Value) {
    let api = &stage.a().api;
    let written = api
        .imported_slice(stage.namespace(), name, service, cluster, slice)
        .await;
    written.unwrap();
}

/// The slice, as implementations write it that have a derived Service do kube-proxy's work.
fn derived(mut slice: Value, service: &str) -> Value {
    slice["metadata"]["labels"] = json!({ "kubernetes.io/service-name": service });
    slice
}

/// Writes the derived Service of an import.
async fn derive(stage: &Stage, name: &str, import: &Value) {
    let service = json!({
        "metadata": { "name": name, "ownerReferences": [{
            "apiVersion": import["apiVersion"], "kind": "ServiceImport", "name": import["metadata"]["name"],
            "uid": import["metadata"]["uid"], "controller": true,
        }] },
        "spec": web(),
    });
    let path = registry_testkit::kubernetes::services_path(stage.namespace());
    stage.a().api.create(&path, &service).await.unwrap();
}

fn plain(observer: &Observer, stage: &Stage, name: &str) -> Option<Vec<String>> {
    let hostname = format!("{name}.{}.svc.cluster.local", stage.namespace());
    let service = observer.discovery.snapshot().get(&hostname).cloned()?;
    Some(endpoints(&service))
}

/// Waits until the plain registry beside it shows that.
async fn until_plain(observer: &Observer, stage: &Stage, name: &str, wanted: &[&str]) {
    let what = format!("{name} at {wanted:?} in the plain registry");
    observer
        .until(&what, |_| {
            plain(observer, stage, name).is_some_and(|seen| seen == wanted)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_35_what_is_derived_from_an_import_counts_once_and_for_no_other_registry() {
    let stage = Stage::open().await;
    let web_import = import(&stage, "web", &cluster_set_ip()).await;
    derive(&stage, "derived-x", &web_import).await;
    for (cluster, address) in [("c1", "10.1.0.1"), ("c2.eu", "10.2.0.1")] {
        let slice = derived(pods(&[address]), "derived-x");
        imported(&stage, &format!("web-{cluster}"), "web", cluster, &slice).await;
    }
    // The service of that name in this cluster is something else, and goes on to be what it was.
    stage.a().serve("web", &web(), &pods(&["10.0.0.7"])).await;
    let observer = stage.observe_imports().await;
    let recording = Recording::begin(&observer);
    let wanted = [
        "ClusterSetIP",
        "port http 80/tcp",
        "c1 10.1.0.1 http=8080",
        "c2.eu 10.2.0.1 http=8080",
    ];
    observer.until_lines("web", &wanted).await;
    assert!(names(&observer.get("web")).is_empty());
    until_plain(&observer, &stage, "web", &["test 10.0.0.7 http=8080"]).await;

    // It stays so while it changes, and while slices of both kinds come and go.
    let more = derived(pods(&["10.1.0.1", "10.1.0.2"]), "derived-x");
    imported(&stage, "web-c1", "web", "c1", &more).await;
    stage.a().slice("web-2", "web", &pods(&["10.0.0.8"])).await;
    observer
        .until_endpoints(
            "web",
            &[
                "c1 10.1.0.1 http=8080",
                "c1 10.1.0.2 http=8080",
                "c2.eu 10.2.0.1 http=8080",
            ],
        )
        .await;
    until_plain(
        &observer,
        &stage,
        "web",
        &["test 10.0.0.7 http=8080", "test 10.0.0.8 http=8080"],
    )
    .await;
    stage.a().delete_slice("web-c1").await;
    observer
        .until_endpoints("web", &["c2.eu 10.2.0.1 http=8080"])
        .await;
    assert_eq!(plain(&observer, &stage, "derived-x"), None);
    for seen in recording.of(&observer, "web").await.into_iter().flatten() {
        let addresses: Vec<String> = endpoints(&seen);
        let mut once = addresses.clone();
        once.dedup();
        assert_eq!(once, addresses);
        assert!(
            !addresses.iter().any(|line| line.contains("10.0.0.")),
            "{addresses:?}"
        );
    }
    let shown: Vec<String> = observer
        .discovery
        .snapshot()
        .services()
        .map(|service| service.hostname().to_string())
        .filter(|hostname| hostname.contains("derived"))
        .collect();
    assert!(shown.is_empty(), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_36_endpoints_of_a_headless_import_are_named_after_host_and_cluster() {
    let stage = Stage::open().await;
    // Without ports of its own, and as an implementation writes it that has no address to give.
    for (name, spec) in [
        ("db", json!({ "type": "Headless" })),
        (
            "cache",
            json!({ "type": "Headless", "ips": ["None"], "ports": [] }),
        ),
    ] {
        import(&stage, name, &spec).await;
        let one = named_pods(&[("db-0", "10.1.0.1"), ("db-1", "10.1.0.2")]);
        imported(&stage, &format!("{name}-1"), name, "c1", &one).await;
        let other = named_pods(&[("db-0", "10.2.0.1")]);
        imported(&stage, &format!("{name}-2"), name, "c2.eu", &other).await;
    }
    let observer = stage.observe_imports().await;
    for name in ["db", "cache"] {
        let wanted = [
            "c1 10.1.0.1 http=8080",
            "c1 10.1.0.2 http=8080",
            "c2.eu 10.2.0.1 http=8080",
        ];
        observer.until_endpoints(name, &wanted).await;
        let service = observer.get(name);
        assert!(
            lines(&service).contains(&"Headless".to_owned()),
            "{:?}",
            lines(&service)
        );
        assert!(service.addresses().is_empty(), "{:?}", service.addresses());
        let ports: Vec<&str> = service.ports().iter().map(|port| &*port.name).collect();
        assert_eq!(ports, ["http"], "ports are those of the slices");
        let zone = observer.hostname(name);
        let expected = [
            format!("db-0.c1.{zone} 10.1.0.1"),
            format!("db-0.c2.eu.{zone} 10.2.0.1"),
            format!("db-1.c1.{zone} 10.1.0.2"),
        ];
        assert_eq!(names(&service), expected);
        let snapshot = observer.discovery.snapshot();
        for cluster in ["c1", "c2.eu", "eu"] {
            assert!(snapshot.get(&format!("{cluster}.{zone}")).is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_has_what_its_implementation_settled() {
    let stage = Stage::open().await;
    let spec = json!({
        "type": "ClusterSetIP", "ips": ["10.99.0.1"], "ipFamilies": ["IPv4"],
        "ports": [
            { "name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c" },
            { "name": "dns", "port": 53, "protocol": "UDP" },
        ],
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 10 } },
        "internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose",
    });
    import(&stage, "web", &spec).await;
    let path = format!("{}/web", service_imports_path(stage.namespace()));
    let labels = json!({ "metadata": { "labels": { "team": "blue" } } });
    stage.a().api.patch(&path, &labels).await.unwrap();
    let mut slice = slice(&["10.1.0.1"], &[("http", 8080), ("dns", 8053)]);
    slice["ports"][1]["protocol"] = json!("UDP");
    imported(&stage, "web-1", "web", "c1", &slice).await;
    let observer = stage.observe_imports().await;
    let wanted = [
        "ClusterSetIP",
        "port http 80/tcp http2",
        "port dns 53/udp",
        "label team=blue",
        "ClientIP for 10",
        "internal traffic is local",
        "PreferClose",
        "c1 10.1.0.1 dns=8053 http=8080",
    ];
    observer.until_lines("web", &wanted).await;
    let web = observer.get("web");
    let vips: Vec<String> = web
        .addresses()
        .iter()
        .flat_map(|vip| vip.addresses.iter().map(ToString::to_string))
        .collect();
    assert_eq!(vips, ["10.99.0.1"]);
    // It may be found by its address.
    let snapshot = observer.discovery.snapshot();
    let found: Vec<_> = snapshot.at_vip("10.99.0.1".parse().unwrap()).collect();
    assert!(
        found.iter().any(|service| service.hostname() == web.hostname()),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_slices_has_its_address_alone() {
    let stage = Stage::open().await;
    import(&stage, "web", &cluster_set_ip()).await;
    let observer = stage.observe_imports().await;
    let address = [" 10.99.0.1 http=80"];
    observer.until_endpoints("web", &address).await;
    let recording = Recording::begin(&observer);
    imported(&stage, "web-1", "web", "c1", &pods(&["10.1.0.1"])).await;
    observer.until_endpoints("web", &["c1 10.1.0.1 http=8080"]).await;
    stage.a().delete_slice("web-1").await;
    observer.until_endpoints("web", &address).await;
    for seen in recording.of(&observer, "web").await {
        let seen = seen.unwrap();
        // One or the other, and never nothing.
        assert_eq!(seen.endpoints().len(), 1, "{:?}", endpoints(&seen));
    }
    // A headless one has nothing.
    import(&stage, "db", &json!({ "type": "Headless" })).await;
    observer.until_lines("db", &["Headless"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_without_an_import_are_nothing_until_it_comes() {
    let stage = Stage::open().await;
    let a = stage.a();
    imported(&stage, "imported-1", "web", "c1", &pods(&["10.1.0.1"])).await;
    // Of this cluster's own service of that name.
    a.serve("web", &headless(), &pods(&["10.0.0.7"])).await;
    let observer = stage.observe_imports().await;
    until_plain(&observer, &stage, "web", &["test 10.0.0.7 http=8080"]).await;
    assert!(observer.find("web").is_none());
    import(&stage, "web", &cluster_set_ip()).await;
    observer
        .until_lines(
            "web",
            &["ClusterSetIP", "port http 80/tcp", "c1 10.1.0.1 http=8080"],
        )
        .await;
    // A slice may be given to another import.
    let path = format!("{}/imported-1", endpoint_slices_path(stage.namespace()));
    import(&stage, "pay", &cluster_set_ip()).await;
    let moved = json!({ "metadata": { "labels": { "multicluster.kubernetes.io/service-name": "pay" } } });
    a.api.patch(&path, &moved).await.unwrap();
    observer.until_endpoints("pay", &["c1 10.1.0.1 http=8080"]).await;
    // And to nobody any more, by which it leaves what is asked for.
    let nobody = json!({ "metadata": { "labels": { "multicluster.kubernetes.io/service-name": null } } });
    a.api.patch(&path, &nobody).await.unwrap();
    observer.until_endpoints("pay", &[" 10.99.0.1 http=80"]).await;
    for name in ["web", "pay"] {
        let path = format!("{}/{name}", service_imports_path(stage.namespace()));
        a.api.delete(&path).await.unwrap();
        observer.until_gone(name).await;
    }
    until_plain(&observer, &stage, "web", &["test 10.0.0.7 http=8080"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_follows_what_becomes_of_it() {
    let stage = Stage::open().await;
    import(&stage, "web", &cluster_set_ip()).await;
    imported(
        &stage,
        "web-1",
        "web",
        "c1",
        &named_pods(&[("web-0", "10.1.0.1")]),
    )
    .await;
    let observer = stage.observe_imports().await;
    observer.until_endpoints("web", &["c1 10.1.0.1 http=8080"]).await;
    // The winner went, and it is headless now.
    import(
        &stage,
        "web",
        &json!({ "type": "Headless", "ports": [{ "name": "http", "port": 80 }] }),
    )
    .await;
    observer
        .until_lines("web", &["Headless", "port http 80/tcp", "c1 10.1.0.1 http=8080"])
        .await;
    let zone = observer.hostname("web");
    assert_eq!(names(&observer.get("web")), [format!("web-0.c1.{zone} 10.1.0.1")]);
}
