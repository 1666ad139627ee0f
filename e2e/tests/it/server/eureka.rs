//! A service that moves from Eureka to Consul as `docs/eureka.md` tells it, with a client that watches all the time.

use registry_testkit::consul::Consul;
use registry_testkit::eureka::{Client, Eureka, Instance, Registrant};
use serde_json::{Value, json};

use super::recorder::{Recorder, assert_always_routable};
use crate::api::held_endpoints;
use crate::daemon::Daemon;

const ORDERS: &str = "orders.mesh.internal";

const GUIDE: &str = include_str!("../../../../docs/eureka.md");

struct Scene {
    eureka: Eureka,
    consul: Consul,
    daemon: Daemon,
}

/// The instance of that number, as its client registers it with Eureka.
fn order(number: usize) -> Instance {
    Instance::new("orders", format!("orders-{number}"))
        .ip(format!("10.0.0.{number}"))
        .port(8080)
}

/// The configuration of the guide that has both registries, but for where they are, and how often Eureka is asked.
fn guide(eureka: &str, consul: &str) -> String {
    let mut blocks = GUIDE.split("```yaml\n").skip(1);
    let block = blocks.find(|block| block.contains("eureka:") && block.contains("consul:"));
    let block = block.and_then(|block| block.split("```").next());
    let block = block.expect("the guide shows a configuration with both registries");
    let mut config = block.to_owned();
    for (shown, ours) in [
        (
            "[\"http://10.0.0.5:8761/eureka\"]",
            format!("[{eureka:?}]\n      interval: 200ms"),
        ),
        ("\"http://127.0.0.1:8500\"", format!("{consul:?}")),
    ] {
        assert!(config.contains(shown), "{shown}: {config}");
        config = config.replace(shown, &ours);
    }
    config
}

impl Scene {
    /// A daemon in front of both servers, when it has heard of these instances from Eureka.
    async fn set(numbers: impl IntoIterator<Item = usize>) -> Self {
        let eureka = Eureka::war().start().await.unwrap();
        let consul = Consul::builder().start().await.unwrap();
        for number in numbers {
            eureka.api().register(&order(number)).await.unwrap();
        }
        let mut scene = Self {
            eureka,
            consul,
            daemon: Daemon::new(),
        };
        scene.daemon.write("registryd.yaml", &scene.config());
        scene.daemon.start();
        scene.daemon.ready().await;
        scene
    }

    fn config(&self) -> String {
        self.daemon.head() + &guide(self.eureka.base_url(), self.consul.url())
    }

    /// Registers an instance with Consul.
    async fn register(&self, number: usize, status: &str) {
        let service = json!({
            "Name": "orders", "ID": format!("orders-{number}"), "Address": format!("10.0.0.{number}"), "Port": 8080,
            "Check": { "CheckID": format!("check-{number}"), "TTL": "10m", "Status": status },
        });
        self.consul.api().register(&service).await.unwrap();
    }

    async fn cancel(&self, number: usize) {
        let id = format!("orders-{number}");
        self.eureka.api().cancel("orders", &id).await.unwrap();
    }

    /// What the API says of the service.
    async fn orders(&self) -> Value {
        let (status, service) = self.daemon.get(&format!("/v1/services/{ORDERS}")).await;
        assert_eq!(status, 200, "{service}");
        service
    }

    /// Restarts Eureka, which knows nothing after that, and waits until the daemon saw it so.
    async fn restart_empty(&mut self, lost: usize) {
        self.eureka.restart().await.unwrap();
        self.until_held(lost).await;
    }

    async fn until_held(&self, endpoints: usize) {
        let held = async || {
            let registry = self.daemon.registry("legacy").await;
            (held_endpoints(&registry) == Some(endpoints)).then_some(())
        };
        let what = format!("{endpoints} that Eureka lost are held");
        self.daemon.wait(&what, held).await;
    }

    /// Waits until that registry says that word of its instance.
    async fn until_said(&self, registry: &str, word: &str) {
        let said = async || {
            let path = format!("/v1/services/{ORDERS}@{registry}");
            let (_, service) = self.daemon.get(&path).await;
            (service["endpoints"][0]["sources"][0]["status"] == word).then_some(())
        };
        self.daemon.wait(&format!("{registry} says {word}"), said).await;
    }

    async fn until_nothing_is_held(&self) {
        let known = async || {
            let registry = self.daemon.registry("legacy").await;
            (registry["held"].is_null() && registry["phase"] == "synced").then_some(())
        };
        self.daemon.wait("Eureka knows all again", known).await;
    }
}

#[tokio::test]
async fn a_service_moves_from_eureka_to_consul_without_a_moment_in_which_it_cannot_be_reached() {
    let mut scene = Scene::set(1..=3).await;
    // One of them has a client of its own, which says `DOWN` before it cancels.
    let mut python = Registrant::start(Client::Python, scene.eureka.base_url(), &order(4))
        .await
        .unwrap();
    let recorder = Recorder::start(&scene.daemon, ORDERS).await;
    let in_eureka = [1, 2, 3, 4].map(|number| format!("10.0.0.{number} healthy legacy"));
    recorder.until(&scene.daemon, &in_eureka).await;

    for number in 1..=4 {
        scene.register(number, "passing").await;
    }
    let in_both = [1, 2, 3, 4].map(|number| format!("10.0.0.{number} healthy legacy+consul-dc1"));
    recorder.until(&scene.daemon, &in_both).await;
    let service = scene.orders().await;
    assert_eq!(service["sources"], json!(["legacy", "consul-dc1"]));
    assert_eq!(service["conflicts"], json!([]));
    for endpoint in service["endpoints"].as_array().unwrap() {
        let said: Vec<(&Value, &Value)> = endpoint["sources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|source| (&source["registry"], &source["status"]))
            .collect();
        assert_eq!(
            said,
            [
                (&json!("legacy"), &json!("UP")),
                (&json!("consul-dc1"), &json!("passing"))
            ]
        );
        assert_eq!(endpoint["ports"], json!({ "http": 8080 }));
    }

    python.cancel().await.unwrap();
    let [first, second, third, _] = in_both.each_ref().map(String::as_str);
    let fourth = "10.0.0.4 healthy consul-dc1";
    recorder
        .until(&scene.daemon, &[first, second, third, fourth])
        .await;
    // The same, with time enough between the two steps to be seen.
    scene
        .eureka
        .api()
        .register(&order(1).status("DOWN"))
        .await
        .unwrap();
    let down = "10.0.0.1 unhealthy legacy+consul-dc1";
    recorder
        .until(&scene.daemon, &[down, second, third, fourth])
        .await;
    scene.cancel(1).await;
    let first = "10.0.0.1 healthy consul-dc1";
    recorder
        .until(&scene.daemon, &[first, second, third, fourth])
        .await;

    // Eureka loses its memory: 200, and nothing in it.
    let before = recorder.states().len();
    scene.restart_empty(2).await;
    for number in [2, 3] {
        scene.eureka.api().register(&order(number)).await.unwrap();
    }
    scene.until_nothing_is_held().await;
    recorder
        .until(&scene.daemon, &[first, second, third, fourth])
        .await;
    for state in &recorder.states()[before..] {
        assert_eq!(state.endpoints, [first, second, third, fourth], "nobody noticed");
    }

    for number in [2, 3] {
        scene.cancel(number).await;
    }
    let in_consul = [1, 2, 3, 4].map(|number| format!("10.0.0.{number} healthy consul-dc1"));
    recorder.until(&scene.daemon, &in_consul).await;
    assert_eq!(scene.orders().await["sources"], json!(["consul-dc1"]));

    // At no time was there more than one that could not be used.
    assert_always_routable(&recorder, 3);
    let after = recorder.states().len();
    let both = exchanged(&scene.config());
    let (consul, _) = both.split_once("  - name: legacy").unwrap();
    scene.daemon.reload(consul, true).await;
    let gone = async || (scene.daemon.get("/v1/registries/legacy").await.0 == 404).then_some(());
    scene.daemon.wait("the registry is forgotten", gone).await;
    for state in &recorder.states()[after..] {
        assert_eq!(state.endpoints, in_consul, "nobody noticed");
    }
    scene.daemon.assert_no_panic();
}

#[tokio::test]
async fn new_instances_in_consul_take_over_from_old_ones_in_eureka() {
    let mut scene = Scene::set([1, 2]).await;
    let recorder = Recorder::start(&scene.daemon, ORDERS).await;
    let (old_1, old_2) = ("10.0.0.1 healthy legacy", "10.0.0.2 healthy legacy");
    recorder.until(&scene.daemon, &[old_1, old_2]).await;

    // They come up, and are not healthy yet.
    scene.register(3, "critical").await;
    scene.register(4, "critical").await;
    let (early_3, early_4) = ("10.0.0.3 unhealthy consul-dc1", "10.0.0.4 unhealthy consul-dc1");
    recorder
        .until(&scene.daemon, &[old_1, old_2, early_3, early_4])
        .await;

    // Nobody else knows the old ones, and Eureka has forgotten them.
    let before = recorder.states().len();
    scene.restart_empty(2).await;
    for state in &recorder.states()[before..] {
        assert_eq!(
            state.endpoints,
            [old_1, old_2, early_3, early_4],
            "nobody noticed"
        );
    }
    for number in [3, 4] {
        let check = format!("check-{number}");
        scene
            .consul
            .api()
            .set_agent_check(&check, "passing", "")
            .await
            .unwrap();
    }
    let (new_3, new_4) = ("10.0.0.3 healthy consul-dc1", "10.0.0.4 healthy consul-dc1");
    recorder.until(&scene.daemon, &[old_1, old_2, new_3, new_4]).await;
    // Those that live come back with their heartbeats, one by one.
    scene.eureka.api().register(&order(1)).await.unwrap();
    scene.until_held(1).await;
    recorder.until(&scene.daemon, &[old_1, old_2, new_3, new_4]).await;
    scene.eureka.api().register(&order(2)).await.unwrap();
    scene.until_nothing_is_held().await;

    // That the last one goes is believed at once: Eureka says so in as many words.
    scene.cancel(1).await;
    recorder.until(&scene.daemon, &[old_2, new_3, new_4]).await;
    scene.cancel(2).await;
    recorder.until(&scene.daemon, &[new_3, new_4]).await;
    assert_eq!(scene.orders().await["sources"], json!(["consul-dc1"]));
    assert!(scene.daemon.registry("legacy").await["held"].is_null());
    assert_always_routable(&recorder, 2);
    scene.daemon.assert_no_panic();
}

#[tokio::test]
async fn the_only_instance_moves_by_the_rule_that_one_registry_alone_speaks_for_it() {
    let mut scene = Scene::set([1]).await;
    let rule = format!("merge: [{{ hosts: {ORDERS}, policy: exclusive }}]\n");
    let eureka_first = scene.config() + &rule;
    let consul_first = exchanged(&scene.config()) + &rule;
    scene.daemon.reload(&eureka_first, true).await;
    let recorder = Recorder::start(&scene.daemon, ORDERS).await;
    let before = ["10.0.0.1 healthy legacy"];
    recorder.until(&scene.daemon, &before).await;

    // As a check is until it was made for the first time. Were both heard, the worst opinion would count.
    scene.register(1, "critical").await;
    scene.until_said("consul-dc1", "critical").await;
    let check = scene.consul.api().set_agent_check("check-1", "passing", "");
    check.await.unwrap();
    scene.until_said("consul-dc1", "passing").await;
    recorder.until(&scene.daemon, &before).await;

    scene.daemon.reload(&consul_first, true).await;
    let after = ["10.0.0.1 healthy consul-dc1"];
    recorder.until(&scene.daemon, &after).await;
    let down = order(1).status("DOWN");
    scene.eureka.api().register(&down).await.unwrap();
    scene.until_said("legacy", "DOWN").await;
    scene.cancel(1).await;
    let gone = async || (scene.daemon.registry("legacy").await["endpoints"] == 0).then_some(());
    scene.daemon.wait("Eureka has forgotten it", gone).await;
    recorder.until(&scene.daemon, &after).await;

    assert_always_routable(&recorder, 1);
    for state in recorder.states() {
        assert!(state.endpoints == before || state.endpoints == after, "{state:?}");
    }
    scene.daemon.assert_no_panic();
}

/// The configuration with Consul before Eureka.
fn exchanged(config: &str) -> String {
    let (head, rest) = config.split_once("  - name: legacy").unwrap();
    let (legacy, consul) = rest.split_once("  - name: consul-dc1").unwrap();
    format!("{head}  - name: consul-dc1{consul}  - name: legacy{legacy}")
}
