//! Against captured answers and a server that only pretends, with faults between it and the registry.

mod acl;
mod captures;
mod doubt;
mod every_offset;
mod fail_over;
mod garbage;
mod hybrid;
mod index;
mod leader;
mod limits;
mod listing;
mod order;
mod secrets;
mod stalled;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use registry_consul::ConsulConfig;
use registry_core::{Discovery, ErrorKind};
use registry_testkit::{Exchange, FaultProxy, ReplayServer, wait};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{DEADLINE, config, until};

/// A server with the answers of a current Consul, whose indexes move as Consul's do.
#[derive(Debug)]
pub(crate) struct FakeConsul {
    pub(crate) server: ReplayServer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    index: u64,
    names: BTreeSet<String>,
}

impl FakeConsul {
    /// One that lists these services, with so many instances of each.
    pub(crate) async fn start(services: &[(&str, usize)]) -> Self {
        let server = ReplayServer::start_ignoring(["index", "wait", "stale", "consistent"]).await;
        let fake = Self {
            server: server.unwrap(),
            state: Mutex::new(State {
                index: 100,
                names: BTreeSet::new(),
            }),
        };
        // Every data centre lists its own servers.
        for &(name, count) in [("consul", 1)].iter().chain(services) {
            fake.put(name, &instances(name, count));
        }
        fake
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) async fn proxy(&self) -> FaultProxy {
        FaultProxy::start(self.server.addr()).await.unwrap()
    }

    /// The service has these instances now; the polls that concern it wake.
    pub(crate) fn put(&self, name: &str, instances: &[Value]) {
        self.health(name, instances);
        self.catalog(|names| {
            names.insert(name.to_owned());
        });
    }

    /// Whether a poll about the service is parked with this index: the answer with it was taken.
    pub(crate) fn is_parked(&self, name: &str, index: u64) -> bool {
        let (path, index) = (health_path(name), index.to_string());
        let requests = self.server.requests();
        requests
            .iter()
            .any(|request| request.path() == path && request.query("index").as_ref() == Some(&index))
    }

    /// Waits until it is, while something else reads the stream.
    pub(crate) async fn until_parked(&self, name: &str, index: u64) {
        let parked = wait::until(format!("a poll of {name} at {index}"), DEADLINE, async || {
            self.is_parked(name, index).then_some(())
        });
        parked.await.unwrap();
    }

    /// Only the instances change, at an index of their own; the catalogue says nothing.
    pub(crate) fn health(&self, name: &str, instances: &[Value]) -> u64 {
        let index = self.next_index();
        self.server.set(health(name, instances).with_index(index));
        index
    }

    /// The last instance is gone, and the name with it.
    pub(crate) fn remove(&self, name: &str) {
        self.health(name, &[]);
        self.hide(name);
    }

    /// The name is gone from the catalogue, whatever is said of its instances.
    pub(crate) fn hide(&self, name: &str) {
        self.catalog(|names| {
            names.remove(name);
        });
    }

    fn catalog(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let index = self.next_index();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.names);
        let tags: BTreeMap<&String, [&str; 0]> = state.names.iter().map(|name| (name, [])).collect();
        let catalog = current(Exchange::get("/v1/catalog/services"), &json!(tags));
        self.server.set(catalog.with_index(index));
    }

    /// The next index of this server.
    pub(crate) fn next_index(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.index += 1;
        state.index
    }
}

/// An answer with the headers of a current Consul without ACLs.
pub(crate) fn current(exchange: Exchange, body: &Value) -> Exchange {
    [
        ("X-Consul-Default-Acl-Policy", "allow"),
        ("X-Consul-Effective-Consistency", "stale"),
        ("X-Consul-Knownleader", "true"),
        ("X-Consul-Lastcontact", "0"),
        ("X-Consul-Query-Backend", "blocking-query"),
    ]
    .into_iter()
    .fold(exchange, |exchange, (name, value)| {
        exchange.with_header(name, value)
    })
    .with_body(body.to_string())
}

pub(crate) fn health_path(name: &str) -> String {
    format!("/v1/health/service/{name}")
}

/// The answer about the instances of a service, without an index yet.
pub(crate) fn health(name: &str, instances: &[Value]) -> Exchange {
    current(Exchange::get(health_path(name)), &json!(instances))
}

/// An instance without checks, in the order of Consul's own keys.
pub(crate) fn instance(service: &str, number: usize) -> Value {
    json!({
        "Node": { "ID": "", "Node": format!("n{number}"), "Address": format!("10.0.0.{number}"), "Datacenter": "dc1",
                  "TaggedAddresses": null, "Meta": null },
        "Service": { "ID": format!("{service}-{number}"), "Service": service, "Tags": null, "Address": "", "Meta": null,
                     "Port": 8000 + number, "Weights": { "Passing": 1, "Warning": 1 } },
        "Checks": [],
    })
}

/// So many of them, numbered from 1.
pub(crate) fn instances(service: &str, count: usize) -> Vec<Value> {
    (1..=count).map(|number| instance(service, number)).collect()
}

/// With other values in its service.
pub(crate) fn with_service(mut instance: Value, changes: Value) -> Value {
    let (Some(held), Value::Object(changes)) = (instance["Service"].as_object_mut(), changes) else {
        panic!("an instance and an object are expected");
    };
    held.extend(changes);
    instance
}

/// What `statuses` shows of so many of them.
pub(crate) fn passing(service: &str, count: usize) -> Vec<String> {
    (1..=count)
        .map(|number| format!("{service}-{number} passing"))
        .collect()
}

/// Settings for short tests.
pub(crate) fn short(url: &str) -> ConsulConfig {
    let mut config = config(url);
    config.wait = Duration::from_secs(2);
    config.catalog_interval = Duration::from_millis(200);
    config.http.request_timeout = Duration::from_secs(10);
    config
}

/// The scopes that are degraded now, as text.
pub(crate) fn degraded(discovery: &Discovery) -> Vec<String> {
    let status = discovery.status();
    let degraded = status.iter().flat_map(|status| &status.degraded);
    degraded.map(|held| held.scope.to_string()).collect()
}

/// The kind of the last error, if there was one.
pub(crate) fn last_kind(discovery: &Discovery) -> Option<ErrorKind> {
    // The first snapshot of all knows of no registry yet.
    let status = discovery.status();
    status.first()?.last_error.as_ref().map(|error| error.kind)
}

/// Waits until this scope is degraded, for a reason of this kind.
pub(crate) async fn until_degraded(discovery: &Discovery, scope: &str, kind: ErrorKind) {
    until(&format!("{scope} degraded by {kind:?}"), discovery, |_| {
        degraded(discovery).iter().any(|held| held == scope) && last_kind(discovery) == Some(kind)
    })
    .await;
}

/// Waits until nothing is degraded any more.
pub(crate) async fn until_healthy(discovery: &Discovery) {
    until("nothing degraded", discovery, |_| degraded(discovery).is_empty()).await;
}

/// Waits until the service has all of its instances.
pub(crate) async fn until_passing(discovery: &Discovery, service: &str, count: usize) {
    let wanted = passing(service, count);
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    crate::support::until_statuses(discovery, service, &wanted).await;
}

/// A captured exchange.
pub(crate) fn fixture(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{version}/{name}.json"))
}

pub(crate) async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// An address that can be closed and opened again, in front of a server that stays.
#[derive(Debug)]
pub(crate) struct Door {
    addr: SocketAddr,
    target: SocketAddr,
    task: JoinSet<()>,
}

impl Door {
    /// Nobody listens there yet.
    pub(crate) fn new(target: SocketAddr) -> Self {
        let port = registry_testkit::ports::free(1).unwrap()[0];
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            target,
            task: JoinSet::new(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) async fn open(&mut self) {
        let bound = wait::until("the port to be free", DEADLINE, async || {
            TcpListener::bind(self.addr).await.ok()
        });
        let (listener, target) = (bound.await.unwrap(), self.target);
        self.task.spawn(async move {
            // Aborting this task closes the port and, with the set, every connection.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    }

    /// Closes the port and all connections.
    pub(crate) async fn close(&mut self) {
        self.task.shutdown().await;
    }
}
