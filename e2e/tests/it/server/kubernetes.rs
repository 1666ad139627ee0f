//! What a daemon tells of the endpoints of a cluster, over HTTP and on the command line.

use std::process::Command;

use registry_testkit::kubernetes::{ADMIN, Kubernetes, KubernetesApi};
use serde_json::{Value, json};

use crate::daemon::Daemon;

/// A node of a test's own: nodes are in no namespace.
struct Node {
    api: KubernetesApi,
    name: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        let path = format!("/api/v1/nodes/{}", self.name);
        let delete = self.api.delete(&path);
        // With a server of our own it goes anyway.
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(delete)).ok();
    }
}

/// What the command line says, as JSON.
fn said(daemon: &Daemon, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_e2e-registryd"))
        .args(arguments)
        .args(["-o", "json", "--server", &daemon.url()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is the same in each run.
fn without_times(mut endpoint: Value) -> Value {
    for source in endpoint["sources"].as_array_mut().unwrap() {
        for time in ["first_seen", "last_changed"] {
            assert!(source.as_object_mut().unwrap().remove(time).is_some());
        }
    }
    endpoint
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_5_all_that_a_cluster_says_of_a_published_pod_can_be_read_from_the_daemon() {
    registry_testkit::init_tls();
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let namespace = kubernetes.new_namespace("daemon").await.unwrap();
    let (api, namespace) = (kubernetes.api(), namespace.name());
    let node = Node {
        api: api.clone(),
        name: format!("{namespace}-a"),
    };
    let labels = json!({ "topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "eu-1a" });
    api.node(&node.name, &labels).await.unwrap();
    let headless = json!({
        "clusterIP": "None", "publishNotReadyAddresses": true, "ports": [{ "name": "sql", "port": 5432 }],
        "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
    });
    api.service(namespace, "db", &headless).await.unwrap();
    let slice = async |kind: &str, address: &str, serving: bool| {
        let pod = json!({
            "addresses": [address], "hostname": "db-0", "nodeName": node.name, "zone": "eu-1a",
            "conditions": { "ready": true, "serving": serving, "terminating": true },
            "hints": { "forZones": [{ "name": "eu-1a" }, { "name": "eu-1b" }], "forNodes": [{ "name": node.name }] },
            "targetRef": { "kind": "Pod", "namespace": namespace, "name": "db-0", "uid": "a-uid" },
        });
        let slice = json!({
            "addressType": kind, "endpoints": [pod], "ports": [{ "name": "sql", "port": 5432 }],
        });
        let name = format!("db-{}", kind.to_lowercase());
        api.endpoint_slice(namespace, &name, "db", &slice).await.unwrap();
    };
    slice("IPv4", "10.0.0.1", true).await;
    slice("IPv6", "fd00::1", true).await;

    let mut daemon = Daemon::new();
    let config = format!(
        "{}registries:\n  - {{ name: main, kubernetes: {{ kubeconfig: {}, cluster: a, namespaces: [{namespace}] }} }}\n",
        daemon.head(),
        kubernetes.kubeconfig(ADMIN).unwrap().display(),
    );
    daemon.write("registryd.yaml", &config);
    daemon.start();
    daemon.ready().await;
    let host = format!("db.{namespace}.svc.cluster.local");
    let path = format!("/v1/services/{host}");
    let expected = |status: &str| {
        json!({
            "address": "10.0.0.1",
            "addresses": ["10.0.0.1", "fd00::1"],
            "ports": { "sql": 5432 },
            "health": "draining",
            "weight": 1,
            "priority": 0,
            "locality": { "region": "eu", "zone": "eu-1a" },
            "node": node.name,
            "cluster": "a",
            "hostname": "db-0",
            "dns_name": format!("db-0.{host}"),
            "hints": ["eu-1a", "eu-1b"],
            "node_hints": [node.name],
            "sources": [{ "registry": "main", "id": "db-0/a-uid", "status": status }],
        })
    };
    let (status, service) = daemon.get(&path).await;
    assert_eq!((status, &service["resolution"]), (200, &json!("headless")));
    let endpoints = service["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 1, "{service}");
    let serving = "ready=true serving=true terminating=true";
    assert_eq!(without_times(endpoints[0].clone()), expected(serving));

    // Its health is still the same word, the raw status is another.
    slice("IPv6", "fd00::1", false).await;
    slice("IPv4", "10.0.0.1", false).await;
    let silent = "ready=true serving=false terminating=true";
    let told = async || {
        let (_, service) = daemon.get(&path).await;
        (service["endpoints"][0]["sources"][0]["status"] == silent).then_some(service)
    };
    let service = daemon.wait(silent, told).await;
    assert_eq!(without_times(service["endpoints"][0].clone()), expected(silent));

    // The command line says the same, but for the age of it.
    let mut on_the_command_line = said(&daemon, &["get", "service", &host]);
    on_the_command_line["registries"] = service["registries"].clone();
    assert_eq!(on_the_command_line, service);
    assert_eq!(said(&daemon, &["get", "endpoints", &host]), service["endpoints"]);
    let all = said(&daemon, &["get", "services", "--namespace", namespace]);
    let hosts: Vec<&Value> = all["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| &service["hostname"])
        .collect();
    assert_eq!(hosts, [&json!(host)]);
    daemon.assert_no_panic();
}
