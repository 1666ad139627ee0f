//! Where endpoints are: zones of slices, regions of nodes, and what changes with them.

use std::time::Duration;

use registry_core::{Endpoint, Service};
use registry_testkit::kubernetes::KubernetesApi;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::stage::{Stage, at, pod};
use crate::support::spec;

/// By far more than a change takes that a watch tells, and by far less than until the next watch.
const TOLD: Duration = Duration::from_secs(30);

/// A node of a test's own, which goes with this value: nodes are in no namespace.
struct Node {
    api: KubernetesApi,
    name: String,
}

impl Node {
    fn new(stage: &Stage, suffix: &str) -> Self {
        Self {
            api: stage.api().clone(),
            name: format!("{}-{suffix}", stage.namespace()),
        }
    }

    /// It is there, in this region and zone.
    async fn is_at(&self, region: &str, zone: &str) {
        let labels = json!({ "topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone });
        self.api.node(&self.name, &labels).await.unwrap();
    }

    /// Its region is called otherwise from now on.
    async fn moves_to(&self, region: &str) {
        let patch = json!({ "metadata": { "labels": { "topology.kubernetes.io/region": region } } });
        self.api.patch(&self.path(), &patch).await.unwrap();
    }

    async fn goes(&self) {
        self.api.delete(&self.path()).await.unwrap();
    }

    fn path(&self) -> String {
        format!("/api/v1/nodes/{}", self.name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already, and with a server of our own it goes anyway.
        tokio::task::block_in_place(|| Handle::current().block_on(self.api.delete(&self.path()))).ok();
    }
}

fn place(endpoint: &Endpoint) -> String {
    let locality = endpoint.locality();
    format!("{}/{}", locality.region, locality.zone)
}

fn is_at(address: &str, wanted: &str) -> impl Fn(&Service) -> bool {
    move |service| {
        let mut all = service.endpoints().iter();
        all.any(|endpoint| endpoint.address().to_string() == address && place(endpoint) == wanted)
    }
}

fn on(node: &Node, mut pod: Value) -> Value {
    pod["nodeName"] = json!(node.name);
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_10_an_endpoint_has_the_place_the_hints_and_the_names_that_are_said_of_it() {
    let stage = Stage::open().await;
    let node = Node::new(&stage, "a");
    node.is_at("eu", "eu-1").await;
    let mut full = on(&node, pod("10.0.0.1", "web-0"));
    full["zone"] = json!("eu-1a");
    full["hostname"] = json!("web-0");
    full["hints"] = json!({ "forZones": [{ "name": "eu-1a" }, { "name": "eu-1b" }], "forNodes": [{ "name": node.name }] });
    let zoneless = on(&node, pod("10.0.0.2", "web-1"));
    let nowhere = pod("10.0.0.3", "web-2");
    let slice =
        json!({ "endpoints": [full, zoneless, nowhere], "ports": [{ "name": "http", "port": 8080 }] });
    stage.slice("web-1", "web", &slice).await;
    let local = json!({
        "ports": [{ "name": "http", "port": 80 }], "trafficDistribution": "PreferSameZone", "internalTrafficPolicy": "Local",
    });
    stage.service("web", &local).await;
    let web = stage
        .until("the region", "web", is_at("10.0.0.1", "eu/eu-1a"))
        .await;
    let one = at(&web, "10.0.0.1");
    assert_eq!(one.hints(), ["eu-1a", "eu-1b"]);
    assert_eq!(one.node_hints(), [node.name.as_str()]);
    assert_eq!((one.hostname(), one.id()), ("web-0", "web-0/uid-of-web-0"));
    assert_eq!((&**one.node(), &**one.cluster()), (node.name.as_str(), "test"));
    // The zone of a node is that of its endpoints where they have none of their own.
    assert_eq!(place(at(&web, "10.0.0.2")), "eu/eu-1");
    assert_eq!(place(at(&web, "10.0.0.3")), "/");
    assert!(at(&web, "10.0.0.3").node().is_empty() && at(&web, "10.0.0.3").hints().is_empty());
    assert_eq!(web.traffic().distribution, "PreferSameZone");
    assert!(web.traffic().internal_local);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_10_endpoints_follow_the_labels_of_their_nodes_and_stay_when_these_go() {
    let stage = Stage::open().await;
    let [a, b, c] = ["a", "b", "c"].map(|suffix| Node::new(&stage, suffix));
    a.is_at("eu", "eu-1").await;
    b.is_at("eu", "eu-2").await;
    let pods = [
        on(&a, pod("10.0.0.1", "web-0")),
        on(&b, pod("10.0.0.2", "web-1")),
        // A slice may be written before its node is known.
        on(&c, pod("10.0.0.3", "web-2")),
    ];
    let slice = |pods: &[Value]| json!({ "endpoints": pods, "ports": [{ "name": "http", "port": 8080 }] });
    stage.service("web", &spec()).await;
    stage.slice("web-1", "web", &slice(&pods)).await;
    stage.service("near", &spec()).await;
    stage.slice("near-1", "near", &slice(&pods[1..2])).await;
    stage
        .until("the region", "web", is_at("10.0.0.1", "eu/eu-1"))
        .await;
    stage
        .until("the region", "web", is_at("10.0.0.2", "eu/eu-2"))
        .await;
    assert_eq!(place(at(&stage.get("web"), "10.0.0.3")), "/");
    let near = stage
        .until("the region", "near", is_at("10.0.0.2", "eu/eu-2"))
        .await;
    let recording = stage.record();

    let start = Instant::now();
    a.moves_to("us").await;
    stage
        .until("the new region", "web", is_at("10.0.0.1", "us/eu-1"))
        .await;
    let took = start.elapsed();
    assert!(took < TOLD, "it took {took:?}");
    c.is_at("asia", "asia-1").await;
    stage
        .until("the late node", "web", is_at("10.0.0.3", "asia/asia-1"))
        .await;
    assert_eq!(place(at(&stage.get("web"), "10.0.0.2")), "eu/eu-2");
    assert_eq!(
        stage.get("near").revision(),
        near.revision(),
        "nothing was said of its node"
    );

    // A node goes. That was read when the change of another one was, which is told after it.
    a.goes().await;
    b.moves_to("africa").await;
    for service in ["web", "near"] {
        stage
            .until("the other node", service, is_at("10.0.0.2", "africa/eu-2"))
            .await;
    }
    assert_eq!(place(at(&stage.get("web"), "10.0.0.1")), "us/eu-1");
    // It is back under the same name, elsewhere.
    a.is_at("eu", "eu-9").await;
    stage
        .until("the node that is back", "web", is_at("10.0.0.1", "eu/eu-9"))
        .await;
    for seen in recording.of(&stage, "web").await {
        assert_eq!(seen.unwrap().endpoints().len(), 3);
    }
}
