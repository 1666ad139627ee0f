//! The daemon in front of the API server of a clusterset's member: set up as the page says.

use registry_testkit::kubernetes::mcs::CLUSTER_ID;
use registry_testkit::kubernetes::{Clusterset, Kubernetes};
use serde_json::{Value, json};

use super::kubernetes::{USER, grant};
use crate::daemon::{Daemon, errors, output, printed};

/// A cluster that is called `eu.a`, exports `web` of two namespaces, and imports `pay` from `us`.
async fn member() -> Clusterset {
    let clusters = Clusterset::start(1).await.unwrap();
    let api = clusters[0].api();
    let region = json!({ "topology.kubernetes.io/region": "eu" });
    api.node("n1", &region).await.unwrap();
    api.cluster_property("v1beta1", CLUSTER_ID, "eu.a").await.unwrap();
    let slice = |address: &str| {
        json!({
            "endpoints": [{ "addresses": [address], "nodeName": "n1", "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": 8080 }],
        })
    };
    let ports = json!([{ "name": "http", "port": 80 }]);
    for (namespace, address) in [("shop", "10.0.0.7"), ("secret", "10.0.1.7")] {
        api.namespace(namespace).await.unwrap();
        api.service(namespace, "web", &json!({ "ports": ports }))
            .await
            .unwrap();
        api.endpoint_slice(namespace, "web-1", "web", &slice(address))
            .await
            .unwrap();
        api.service_export(namespace, "web", &json!({})).await.unwrap();
    }
    let import = json!({ "type": "ClusterSetIP", "ips": ["10.42.0.9"], "ports": ports });
    api.service_import("shop", "pay", &import).await.unwrap();
    let imported = slice("10.7.0.1");
    api.imported_slice("shop", "pay-us", "pay", "us", &imported)
        .await
        .unwrap();
    clusters
}

/// What a cluster is asked for its id.
const ID_RIGHTS: [(&str, &str); 2] = [("kube-system", "namespaces"), ("*", "clusterproperties")];

/// Sees that an entry is refused without rights and served with those that are printed for it. Returns the daemon, with the
/// registry that has the services.
async fn with_printed_rights(kubernetes: &Kubernetes, mcs: &str, registry: &str) -> Daemon {
    let kubeconfig = std::fs::read_to_string(kubernetes.kubeconfig(USER).unwrap()).unwrap();
    let config = format!(
        "http: {{ listen: \"127.0.0.1:0\" }}\nstate_dir: kept\nregistries:\n  - {{ name: set, mcs: {{ {mcs} }} }}\n"
    );
    let files = [
        ("registryd.yaml", config.as_str()),
        ("eu.yaml", kubeconfig.as_str()),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let run = |arguments: &[&str]| {
        output(
            directory.path(),
            &[arguments, &["--config", "registryd.yaml"]].concat(),
        )
    };
    let forbidden = run(&["check"]);
    assert_eq!(forbidden.status.code(), Some(1), "{}", printed(&forbidden));
    assert!(printed(&forbidden).contains("403"), "{}", printed(&forbidden));
    let rights = printed(&run(&["rbac", "mcs"]));
    grant(kubernetes, &rights);
    if rights.contains("clusterproperties") {
        for (namespace, resource) in ID_RIGHTS {
            kubernetes.deny(USER, namespace, resource).unwrap();
        }
        let unnamed = run(&["check"]);
        let table = printed(&unnamed);
        assert_eq!(unnamed.status.code(), Some(1), "{table}");
        assert!(
            table.contains("allow `get` of clusterproperties.about.k8s.io"),
            "{table}"
        );
        for (namespace, resource) in ID_RIGHTS {
            kubernetes.allow(USER, namespace, resource).unwrap();
        }
    }
    let fine = run(&["check"]);
    assert_eq!(fine.status.code(), Some(0), "{}{}", printed(&fine), errors(&fine));
    let daemon = Daemon::start(&files).await;
    let synced = |registry: &Value| registry["phase"] == "synced" && registry["degraded"] == json!([]);
    let status = daemon.registry_that(registry, "everything", synced).await;
    assert_eq!(status["note"], json!(null), "{status}");
    daemon
}

#[tokio::test]
async fn the_rights_that_are_printed_suffice_for_exports() {
    for (settings, id, hidden) in [
        ("clusters: [{ name: a, kubeconfig: eu.yaml }]", "eu.a", false),
        (
            "clusters: [{ name: a, kubeconfig: eu.yaml, cluster: b }], kubernetes: { namespaces: [shop], nodes: false }",
            "b",
            true,
        ),
        (
            "clusters: [{ name: a, kubeconfig: eu.yaml }], kubernetes: { namespaces: [shop] }",
            "eu.a",
            true,
        ),
    ] {
        let clusters = member().await;
        let daemon = with_printed_rights(&clusters[0], settings, "set%2Fa").await;
        let service = daemon.service("web.shop.svc.clusterset.local").await;
        assert_eq!(service["endpoints"][0]["cluster"], id, "{settings}");
        let (_, exports) = daemon.get("/v1/exports").await;
        let services = exports["services"].as_array().unwrap();
        assert_eq!(services.len(), if hidden { 1 } else { 2 }, "{settings}");
    }
}

#[tokio::test]
async fn clusters_that_leave_are_a_clusterset_to_the_end() {
    let clusters = Clusterset::start(2).await.unwrap();
    for (cluster, port) in clusters.iter().zip([80, 81]) {
        let api = cluster.api();
        api.namespace("shop").await.unwrap();
        let ports = json!([{ "name": "http", "port": port }]);
        api.service("shop", "web", &json!({ "ports": ports }))
            .await
            .unwrap();
        let slice = json!({
            "endpoints": [{ "addresses": [format!("10.0.0.{port}")], "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": 8080 }],
        });
        api.endpoint_slice("shop", "web-1", "web", &slice).await.unwrap();
        api.service_export("shop", "web", &json!({})).await.unwrap();
    }
    let config = |registries: &str| {
        format!("http: {{ listen: \"127.0.0.1:0\" }}\nstart_deadline: 10m\nregistries:\n{registries}")
    };
    let both = config(
        "  - name: set
    mcs:
      kubernetes: { nodes: false }
      clusters:
        - { name: a, kubeconfig: a.yaml, cluster: a }
        - { name: b, kubeconfig: b.yaml, cluster: b }
",
    );
    let kubeconfigs = [&clusters[0], &clusters[1]].map(|cluster| {
        for resource in ["services", "endpointslices", "serviceexports", "namespaces"] {
            cluster.allow(USER, "*", resource).unwrap();
        }
        std::fs::read_to_string(cluster.kubeconfig(USER).unwrap()).unwrap()
    });
    let daemon = Daemon::start(&[
        ("registryd.yaml", both.as_str()),
        ("a.yaml", &kubeconfigs[0]),
        ("b.yaml", &kubeconfigs[1]),
    ])
    .await;
    // One port of two numbers: the younger export lost it, and its endpoint.
    let name = "web.shop.svc.clusterset.local";
    let before = daemon
        .wait("both exports", async || {
            let service = daemon.service(name).await;
            (service["sources"].as_array()?.len() == 2).then_some(service)
        })
        .await;
    assert_eq!(before["endpoints"].as_array().map(Vec::len), Some(1), "{before}");

    // Nobody knows the successor for as long as anything takes.
    let successor = config("  - { name: dc1, consul: { address: \"http://127.0.0.1:1\" } }\n");
    daemon.reload(&successor).await;
    let leaving = daemon.service(name).await;
    assert_eq!(leaving["revision"], before["revision"], "{leaving}");
    assert_eq!(leaving["conflicts"], before["conflicts"], "{leaving}");
}

#[tokio::test]
async fn check_warns_of_definitions_that_are_absent() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let kubeconfig = std::fs::read_to_string(kubernetes.kubeconfig(USER).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = "registries:
  - { name: set, mcs: { clusters: [{ name: a, kubeconfig: eu.yaml, cluster: eu }] } }
  - { name: imported, hostname: \"{name}.{namespace}.imported\", mcs: { import: { kubeconfig: eu.yaml } } }
";
    for (name, text) in [("registryd.yaml", config), ("eu.yaml", &kubeconfig)] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let run = |arguments: &[&str]| {
        output(
            directory.path(),
            &[arguments, &["--config", "registryd.yaml"]].concat(),
        )
    };
    grant(&kubernetes, &printed(&run(&["rbac", "mcs", "set"])));
    grant(&kubernetes, &printed(&run(&["rbac", "mcs", "imported"])));
    let checked = run(&["check"]);
    assert_eq!(
        checked.status.code(),
        Some(0),
        "{}{}",
        printed(&checked),
        errors(&checked)
    );
    for warning in [
        "warning: registry set/a: the cluster serves no serviceexports in multicluster.x-k8s.io",
        "warning: registry imported: the cluster serves no serviceimports in multicluster.x-k8s.io",
    ] {
        assert!(errors(&checked).contains(warning), "{}", errors(&checked));
    }
}

#[tokio::test]
async fn the_rights_that_are_printed_suffice_for_imports() {
    let clusters = member().await;
    let daemon = with_printed_rights(&clusters[0], "import: { kubeconfig: eu.yaml }", "set").await;
    let service = daemon.service("pay.shop.svc.clusterset.local").await;
    assert_eq!(service["endpoints"][0]["cluster"], "us", "{service}");
    // What the cluster exports is no import.
    let (status, _) = daemon.get("/v1/services/web.shop.svc.clusterset.local").await;
    assert_eq!(status, 404);
    assert_eq!(daemon.get("/v1/exports").await.1["services"], json!([]));
}
