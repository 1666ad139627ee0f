//! Two Kubernetes clusters and a Consul in one daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use registry_testkit::consul::Consul;
use registry_testkit::kubernetes::{ADMIN, Kubernetes, bulk_endpoints};
use serde_json::{Value, json};

use crate::daemon::Daemon;

/// The name that all three give to the service.
const SHOP: &str = "shop.mesh.internal";

/// How long the shop is looked at for anything that must not happen to it.
const QUIET: Duration = Duration::from_secs(3);

struct Scene {
    a: Kubernetes,
    b: Kubernetes,
    consul: Consul,
    daemon: Daemon,
}

/// A cluster with the service `shop`, whose one pod has that address and runs in that zone.
async fn cluster(region: &str, zone: &str, address: &str) -> Kubernetes {
    let cluster = Kubernetes::builder().persistent().start().await.unwrap();
    let api = cluster.api();
    let labels = json!({ "topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone });
    api.node("node-1", &labels).await.unwrap();
    api.service(
        "default",
        "shop",
        &json!({ "ports": [{ "name": "http", "port": 80 }] }),
    )
    .await
    .unwrap();
    let slice = json!({
        "endpoints": [{ "addresses": [address], "nodeName": "node-1", "zone": zone, "conditions": { "ready": true } }],
        "ports": [{ "name": "http", "port": 8080 }],
    });
    api.endpoint_slice("default", "shop-1", "shop", &slice)
        .await
        .unwrap();
    cluster
}

impl Scene {
    async fn set() -> Self {
        let (a, b) = (
            cluster("eu", "eu-1a", "10.1.0.1").await,
            cluster("us", "us-2b", "10.2.0.1").await,
        );
        let consul = Consul::builder().start().await.unwrap();
        let service = json!({
            "Name": "shop", "ID": "shop-vm", "Address": "10.3.0.1", "Port": 8080,
            "Meta": { "region": "eu", "zone": "eu-1c" },
        });
        consul.api().register(&service).await.unwrap();
        let daemon = Daemon::new();
        Self { a, b, consul, daemon }
    }

    /// A configuration in which the registries have these further keys, and hostnames that policy.
    fn config(&self, keys: &str, policy: &str) -> String {
        let [a, b] = [&self.a, &self.b].map(|cluster| cluster.kubeconfig(ADMIN).unwrap());
        format!(
            "\
{head}registries:
  - {{ name: a{keys}, kubernetes: {{ kubeconfig: {a}, cluster: a, watch_timeout: 5s }} }}
  - {{ name: b{keys}, kubernetes: {{ kubeconfig: {b}, cluster: b, watch_timeout: 5s }} }}
  - {{ name: consul{keys}, include: {{ names: [shop] }}, consul: {{ address: \"{consul}\", wait: 5s }} }}
{policy}",
            head = self.daemon.head(),
            a = a.display(),
            b = b.display(),
            consul = self.consul.url(),
        )
    }

    async fn start(&mut self, keys: &str, policy: &str) {
        let config = self.config(keys, policy);
        self.daemon.write("registryd.yaml", &config);
        self.daemon.start();
        self.daemon.ready().await;
    }

    /// By address: priority, region and zone of the endpoints of a service; nothing where there is no such service.
    async fn endpoints(&self, hostname: &str) -> BTreeMap<String, (u64, String)> {
        let (status, service) = self.daemon.get(&format!("/v1/services/{hostname}")).await;
        if status != 200 {
            return BTreeMap::new();
        }
        let endpoint = |endpoint: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let locality = &endpoint["locality"];
            let place = format!("{}/{}", text(&locality["region"]), text(&locality["zone"]));
            (
                text(&endpoint["address"]),
                (endpoint["priority"].as_u64().unwrap(), place),
            )
        };
        service["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(endpoint)
            .collect()
    }

    async fn until_phase(&self, registry: &str, phase: &str) {
        let reached = async || (self.daemon.registry(registry).await["phase"] == phase).then_some(());
        self.daemon.wait(&format!("{registry} is {phase}"), reached).await;
    }
}

fn expected(of: [(&str, u64, &str); 3]) -> BTreeMap<String, (u64, String)> {
    of.into_iter()
        .map(|(address, priority, place)| (address.to_owned(), (priority, place.to_owned())))
        .collect()
}

const TEMPLATE: &str = ", hostname: \"{name}.mesh.internal\"";

#[tokio::test]
async fn the_same_service_of_two_clusters_and_a_consul_is_one_by_template() {
    let mut scene = Scene::set().await;
    scene.start(TEMPLATE, "").await;
    let union = expected([
        ("10.1.0.1", 0, "eu/eu-1a"),
        ("10.2.0.1", 0, "us/us-2b"),
        ("10.3.0.1", 0, "eu/eu-1c"),
    ]);
    assert_eq!(scene.endpoints(SHOP).await, union);

    let fallback = scene.config(
        TEMPLATE,
        "merge: [{ hosts: \"*.mesh.internal\", policy: fallback }]\n",
    );
    scene.daemon.reload(&fallback, true).await;
    let fallback = expected([
        ("10.1.0.1", 0, "eu/eu-1a"),
        ("10.2.0.1", 1, "us/us-2b"),
        ("10.3.0.1", 2, "eu/eu-1c"),
    ]);
    let looks = async || (scene.endpoints(SHOP).await == fallback).then_some(());
    scene
        .daemon
        .wait("priorities in the order of registries", looks)
        .await;
    scene.daemon.assert_no_panic();
}

#[tokio::test]
async fn the_loss_of_a_cluster_leaves_the_others_untouched() {
    let mut scene = Scene::set().await;
    scene.start(TEMPLATE, "").await;
    let before = scene.endpoints(SHOP).await;
    assert_eq!(before.len(), 3);
    for lost in ["a", "b", "consul"] {
        match lost {
            "a" => scene.a.kill().await.unwrap(),
            "b" => scene.b.kill().await.unwrap(),
            _ => scene.consul.kill().await.unwrap(),
        }
        scene.until_phase(lost, "stale").await;
        let start = tokio::time::Instant::now();
        while start.elapsed() < QUIET {
            assert_eq!(scene.endpoints(SHOP).await, before, "{lost} is lost");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for other in ["a", "b", "consul"].into_iter().filter(|other| *other != lost) {
            assert_eq!(
                scene.daemon.registry(other).await["phase"],
                "synced",
                "{lost} is lost"
            );
        }
        match lost {
            "a" => scene.a.restart().await.unwrap(),
            "b" => scene.b.restart().await.unwrap(),
            _ => break,
        }
        scene.until_phase(lost, "synced").await;
        assert_eq!(scene.endpoints(SHOP).await, before, "{lost} is back");
    }
    scene.daemon.assert_no_panic();
}

#[tokio::test]
async fn without_templates_nothing_merges() {
    let mut scene = Scene::set().await;
    scene.start("", "").await;
    let addresses =
        async |hostname: &str| -> Vec<String> { scene.endpoints(hostname).await.into_keys().collect() };
    // Two clusters have the same default: the first in precedence owns the name, both can be looked up by registry.
    assert_eq!(addresses("shop.default.svc.cluster.local").await, ["10.1.0.1"]);
    assert_eq!(addresses("shop.default.svc.cluster.local@a").await, ["10.1.0.1"]);
    assert_eq!(addresses("shop.default.svc.cluster.local@b").await, ["10.2.0.1"]);
    assert_eq!(addresses("shop.service.consul").await, ["10.3.0.1"]);
    assert!(addresses(SHOP).await.is_empty());
}

#[tokio::test]
async fn a_restart_with_both_clusters_down_serves_what_was_known() {
    const SERVICES: usize = 40;
    let mut scene = Scene::set().await;
    scene.a.api().namespace("bulk").await.unwrap();
    scene.a.api().create_services("bulk", SERVICES).await.unwrap();
    scene.start("", "").await;
    let endpoints: usize = (0..SERVICES).map(bulk_endpoints).sum();
    let known = async |scene: &Scene| {
        let registry = scene.daemon.registry("a").await;
        let found = usize::try_from(registry["endpoints"].as_u64().unwrap()).unwrap();
        (found > endpoints).then_some(())
    };
    scene
        .daemon
        .wait("all endpoints", async || known(&scene).await)
        .await;
    scene.daemon.terminate().await;
    scene.a.kill().await.unwrap();
    scene.b.kill().await.unwrap();
    scene.daemon.start();
    scene.daemon.ready().await;
    assert_eq!(scene.daemon.registry("a").await["phase"], "stale");
    known(&scene).await.expect("what was known is served");
    assert_eq!(scene.endpoints("shop.default.svc.cluster.local@b").await.len(), 1);
    scene.a.restart().await.unwrap();
    scene.until_phase("a", "synced").await;
    known(&scene).await.expect("nothing was lost");
    scene.daemon.assert_no_panic();
}
