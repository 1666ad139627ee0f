//! Instances in Consul, each with a server of its own, and servers that end once nobody can want them any more.

use std::time::Duration;

use registry_testkit::consul::ConsulApi;
use registry_testkit::upstream::{Kind, Upstream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fleet::Fleet;

/// How long a server goes on at least after it was replaced.
const AFTERLIFE: Duration = Duration::from_secs(1);

/// The instances of one service, replaced one by one.
pub(crate) struct Backends {
    service: String,
    instances: Vec<Upstream>,
    /// Replaced ones, and since when nobody has them any more.
    retired: Vec<(Instant, Option<Instant>, Upstream)>,
    born: usize,
}

impl Backends {
    /// Starts so many and registers them.
    pub(crate) async fn start(consul: &ConsulApi, service: &str, count: usize) -> Self {
        let mut backends = Self {
            service: service.to_owned(),
            instances: Vec::new(),
            retired: Vec::new(),
            born: 0,
        };
        for _ in 0..count {
            let upstream = backends.bear().await;
            backends.instances.push(upstream);
        }
        backends.register(consul).await;
        backends
    }

    /// Registers all of them, again.
    pub(crate) async fn register(&self, consul: &ConsulApi) {
        for slot in 0..self.instances.len() {
            consul.register(&self.registration(slot)).await.unwrap();
        }
    }

    /// Another server takes the place of one; that one goes on for now.
    pub(crate) async fn replace(&mut self, consul: &ConsulApi, slot: usize) {
        let new = self.bear().await;
        let old = std::mem::replace(&mut self.instances[slot], new);
        consul.register(&self.registration(slot)).await.unwrap();
        self.retired.push((Instant::now(), None, old));
    }

    /// Deregisters all of them. They go on.
    pub(crate) async fn deregister(&self, consul: &ConsulApi) {
        for slot in 0..self.instances.len() {
            consul.deregister(&self.id(slot)).await.unwrap();
        }
    }

    /// Ends those that were replaced a second ago and that no proxy has had for a while.
    pub(crate) async fn reap(&mut self, fleet: &Fleet) {
        let mut used = Vec::new();
        for proxy in &fleet.proxies {
            let hosts = proxy.hosts().await.unwrap_or_default();
            used.extend(hosts.into_values().flatten());
        }
        let now = Instant::now();
        self.retired.retain_mut(|(retired, unused, upstream)| {
            if used.contains(&upstream.address().to_string()) {
                *unused = None;
                return true;
            }
            let unused = *unused.get_or_insert(now);
            // Workers hear of it a little later than those who ask for the clusters.
            now - unused < AFTERLIFE / 2 || now - *retired < AFTERLIFE
        });
    }

    /// Where they are, as Envoy shows it.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.instances
            .iter()
            .map(|upstream| upstream.address().to_string())
            .collect()
    }

    pub(crate) fn host(&self) -> String {
        format!("{}.mesh.internal", self.service)
    }

    pub(crate) fn cluster(&self) -> String {
        cluster("", &self.service)
    }

    async fn bear(&mut self) -> Upstream {
        self.born += 1;
        let id = format!("{}-{}", self.service, self.born);
        Upstream::start(&id, Kind::Http).await.unwrap()
    }

    fn id(&self, slot: usize) -> String {
        format!("{}-{slot}", self.service)
    }

    fn registration(&self, slot: usize) -> Value {
        json!({
            "Name": self.service,
            "ID": self.id(slot),
            "Address": "127.0.0.1",
            "Port": self.instances[slot].port(),
            "Meta": { "version": if slot.is_multiple_of(2) { "v1" } else { "v2" } },
        })
    }
}

/// The name of the cluster of a service of Consul, or of a subset of it.
pub(crate) fn cluster(subset: &str, service: &str) -> String {
    format!("outbound|http|{subset}|{service}.mesh.internal")
}

/// A service of Consul that nobody asks for, so that what is asked for is not most of it.
pub(crate) async fn fill(consul: &ConsulApi, count: usize) {
    for number in 1..=count {
        let instance = json!({
            "Name": "still", "ID": format!("still-{number}"), "Address": format!("127.1.0.{number}"), "Port": 9,
        });
        consul.register(&instance).await.unwrap();
    }
}

/// A registry of the configuration.
pub(crate) fn registry(name: &str, url: &str, keys: &str) -> String {
    format!(
        "  - {{ name: {name}, hostname: \"{{name}}.mesh.internal\", port_name: http{keys}, consul: {{ address: \"{url}\", wait: 10s }} }}\n"
    )
}
