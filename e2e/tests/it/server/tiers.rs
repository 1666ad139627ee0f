//! Three daemons: a leaf that is fed by two others, which read one Consul. What is killed is missed by nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use registry_testkit::consul::Consul;
use serde_json::{Value, json};

use crate::daemon::{DEADLINE, Daemon, http};

const ORDERS: &str = "/v1/services/orders.mesh.internal";

/// Registers this many instances.
async fn register(consul: &Consul, instances: usize) {
    for number in 1..=instances {
        let service = json!({
            "Name": "orders", "ID": format!("orders-{number}"), "Address": format!("10.0.0.{number}"), "Port": 8080,
        });
        consul.api().register(&service).await.unwrap();
    }
}

fn start(config: &str) -> Daemon {
    let mut daemon = Daemon::new();
    daemon.write("registryd.yaml", &(daemon.head() + config));
    daemon.start();
    daemon
}

/// What the leaf says of the registry that is its parents.
async fn parent(leaf: &Daemon) -> Value {
    leaf.registry("parent").await
}

async fn until_parent(leaf: &Daemon, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    leaf.wait(what, async || Some(parent(leaf).await).filter(&wanted))
        .await
}

fn phases(parent: &Value) -> (&Value, &Value) {
    (&parent["phase"], &parent["behind"]["consul-dc1"]["phase"])
}

/// Asks for the service all the time: how often it was asked, and how often it had another number of endpoints than this.
struct Sampler {
    asked: Arc<AtomicUsize>,
    odd: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Sampler {
    fn start(leaf: &Daemon, endpoints: usize) -> Self {
        let (asked, odd, stop) = (Arc::default(), Arc::default(), Arc::default());
        let url = format!("{}{ORDERS}", leaf.url());
        let counters: (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicBool>) =
            (Arc::clone(&asked), Arc::clone(&odd), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (asked, odd, stop) = counters;
            let http = http();
            while !stop.load(Ordering::SeqCst) {
                let answer = http.get(&url).timeout(DEADLINE).send().await.unwrap();
                let service: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                let routable = service["endpoints"].as_array().into_iter().flatten();
                let routable = routable
                    .filter(|endpoint| endpoint["health"] == "healthy")
                    .count();
                asked.fetch_add(1, Ordering::SeqCst);
                odd.fetch_add(usize::from(routable != endpoints), Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self {
            asked,
            odd,
            stop,
            task,
        }
    }

    async fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        assert!(self.asked.load(Ordering::SeqCst) > 0);
        assert_eq!(self.odd.load(Ordering::SeqCst), 0, "of {:?} looks", self.asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_of_two_daemons_notices_what_dies_behind_them_and_loses_nothing() {
    let mut consul = Consul::builder().start().await.unwrap();
    register(&consul, 12).await;
    let config = format!(
        "registries:\n  - name: consul-dc1\n    hostname: \"{{name}}.mesh.internal\"\n    consul: {{ address: {:?} }}\n",
        consul.url()
    );
    let (mut a, mut b) = (start(&config), start(&config));
    a.ready().await;
    b.ready().await;
    let mut leaf = start(&format!(
        "registries:\n  - name: parent\n    registryd: {{ urls: [{:?}, {:?}] }}\n",
        a.url(),
        b.url()
    ));
    leaf.ready().await;

    let (_, before) = leaf.get(ORDERS).await;
    assert_eq!(before["endpoints"].as_array().map(Vec::len), Some(12), "{before}");
    assert_eq!(before["origins"], json!({ "parent": ["consul-dc1"] }));
    let source = &before["endpoints"][0]["sources"][0];
    assert_eq!(
        (&source["registry"], &source["origins"][0]["registry"]),
        (&json!("parent"), &json!("consul-dc1"))
    );
    let synced = parent(&leaf).await;
    assert_eq!(phases(&synced), (&json!("synced"), &json!("synced")));
    let first = synced["instance"].clone();
    let unchanged = async |leaf: &Daemon| {
        let (_, now) = leaf.get(ORDERS).await;
        assert_eq!(
            (&now["revision"], &now["hash"]),
            (&before["revision"], &before["hash"]),
            "{now}"
        );
    };
    let sampler = Sampler::start(&leaf, 12);

    // The daemon that the leaf follows dies.
    a.kill();
    let other = until_parent(&leaf, "the other daemon", |parent| {
        parent["instance"].is_string() && parent["instance"] != first
    })
    .await;
    assert_eq!(phases(&other), (&json!("synced"), &json!("synced")));
    unchanged(&leaf).await;

    // The Consul behind it dies.
    consul.kill().await.unwrap();
    let stale = until_parent(&leaf, "staleness", |parent| {
        phases(parent) == (&json!("stale"), &json!("stale"))
    })
    .await;
    assert!(stale["behind"]["consul-dc1"]["error"].is_string(), "{stale}");
    unchanged(&leaf).await;
    let shown = leaf.prints(&["status", "--server", &leaf.url()]);
    assert!(
        shown.contains("parent: consul-dc1: stale behind it, confirmed"),
        "{shown}"
    );

    // It comes back, and has forgotten everything until it is told again.
    consul.restart().await.unwrap();
    register(&consul, 12).await;
    until_parent(&leaf, "freshness", |parent| {
        phases(parent) == (&json!("synced"), &json!("synced"))
    })
    .await;
    leaf.wait("nothing held back", async || {
        let (_, now) = leaf.get(ORDERS).await;
        let held = now["endpoints"]
            .as_array()?
            .iter()
            .any(|endpoint| endpoint["held"] == true);
        (!held && now["hash"] == before["hash"]).then_some(())
    })
    .await;

    // The first daemon comes back as another one, and the second dies.
    a.start();
    a.ready().await;
    b.kill();
    let second = other["instance"].clone();
    until_parent(&leaf, "the first daemon's place", |parent| {
        parent["instance"].is_string() && parent["instance"] != second && parent["phase"] == "synced"
    })
    .await;
    sampler.finish().await;

    register(&consul, 13).await;
    leaf.wait("a new instance", async || {
        let (_, now) = leaf.get(ORDERS).await;
        (now["endpoints"].as_array()?.len() == 13).then_some(())
    })
    .await;
    for daemon in [&a, &b, &leaf] {
        daemon.assert_no_panic();
    }
}
