//! Against a server that only pretends, with faults between it and the registry.
//!
//! Names that begin with a number are those of the acceptance tests of the protocol.

mod delta;
mod fail_over;
mod formats;
mod garbage;
mod mismatch;
mod quiet;
mod secrets;
mod start;
mod swap;
mod urls;
mod watching;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use registry_testkit::log::Everything;
use registry_testkit::{Exchange, FaultProxy, ReplayServer, wait};
use serde_json::{Value, json};

use crate::support::DEADLINE;

const APPS: &str = "/eureka/apps";
const DELTA: &str = "/eureka/apps/delta";

type Key = (String, String);

/// A server that answers as Eureka does, from what it is told.
#[derive(Debug)]
pub(crate) struct FakeEureka {
    pub(crate) server: ReplayServer,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    instances: BTreeMap<Key, Value>,
    /// What changed of late.
    recent: BTreeMap<Key, Value>,
    /// Moments by this server's clock.
    clock: u64,
    generation: u64,
    /// What the deltas say instead of the counts.
    hash: Option<String>,
}

impl FakeEureka {
    /// One that holds nothing.
    pub(crate) async fn start() -> Self {
        let fake = Self {
            server: ReplayServer::start().await.unwrap(),
            state: Mutex::default(),
        };
        fake.publish();
        fake
    }

    /// One that holds these instances, and whose deltas have forgotten how they came.
    pub(crate) async fn holding(instances: &[(&str, &str)]) -> Self {
        let fake = Self::start().await;
        fake.unnoticed(|state| {
            for (app, id) in instances {
                state.put(app, id, json!({}));
            }
        });
        fake
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("{}/eureka", self.server.url())
    }

    pub(crate) async fn proxy(&self) -> FaultProxy {
        FaultProxy::start(self.server.addr()).await.unwrap()
    }

    /// Registers an instance.
    pub(crate) fn put(&self, app: &str, id: &str) {
        self.put_as(app, id, json!({}));
    }

    /// Registers an instance of which these fields are different.
    pub(crate) fn put_as(&self, app: &str, id: &str, fields: Value) {
        self.at_once(|state| state.put(app, id, fields));
    }

    /// Cancels an instance, whether it is there or not.
    pub(crate) fn cancel(&self, app: &str, id: &str) {
        self.at_once(|state| state.cancel(app, id));
    }

    /// Makes changes of which no client sees a part, and no delta tells.
    pub(crate) fn unnoticed(&self, change: impl FnOnce(&mut State)) {
        self.at_once(|state| {
            change(state);
            state.recent.clear();
        });
    }

    /// The time for which changes are kept has passed.
    pub(crate) fn forget(&self) {
        self.unnoticed(|_| {});
    }

    fn at_once(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.publish();
    }

    /// Deltas say this of the counts, whatever they are.
    pub(crate) fn say_hash(&self, hash: Option<&str>) {
        self.at_once(|state| state.hash = hash.map(str::to_owned));
    }

    /// The counts by status.
    pub(crate) fn hash(&self) -> String {
        counts(&self.state().instances)
    }

    /// The answers as they are now.
    pub(crate) fn publish(&self) {
        let mut state = self.state();
        state.generation += 1;
        let hash = counts(&state.instances);
        let full = document("1", &hash, &state.instances);
        let said = state.hash.clone().unwrap_or(hash);
        let delta = document(&state.generation.to_string(), &said, &state.recent);
        drop(state);
        // In this order: what a delta counts is there already.
        self.server.set(answer(APPS, &full));
        self.server.set(answer(DELTA, &delta));
    }

    /// What was asked for so far: `F` for everything, `D` for a delta.
    pub(crate) fn asked(&self) -> String {
        let requests = self.server.requests();
        let letters = requests.iter().map(|request| match request.path() {
            APPS => 'F',
            DELTA => 'D',
            _ => '?',
        });
        letters.collect()
    }

    /// How often everything was asked for.
    pub(crate) fn fulls(&self) -> usize {
        self.asked().matches('F').count()
    }

    /// Waits until so many more requests came.
    pub(crate) async fn until_asked(&self, more: u64) {
        let total = self.server.requests_total() + more;
        let asked = tokio::time::timeout(DEADLINE, self.server.wait_for_requests(total));
        asked.await.expect("it is asked in time");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn put(&mut self, app: &str, id: &str, fields: Value) {
        let key = (app.to_owned(), id.to_owned());
        let action = if self.instances.contains_key(&key) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.clock += 1;
        let mut instance = instance(app, id, self.clock);
        merge(&mut instance, fields);
        self.instances.insert(key.clone(), instance.clone());
        merge(&mut instance, json!({ "actionType": action }));
        self.recent.insert(key, instance);
    }

    pub(crate) fn cancel(&mut self, app: &str, id: &str) {
        let key = (app.to_owned(), id.to_owned());
        self.clock += 1;
        let held = self.instances.remove(&key);
        let mut gone = held.unwrap_or_else(|| instance(app, id, self.clock));
        let when = self.clock.to_string();
        merge(
            &mut gone,
            json!({ "actionType": "DELETED", "lastUpdatedTimestamp": when }),
        );
        self.recent.insert(key, gone);
    }
}

/// An answer with a JSON document.
pub(crate) fn answer(path: &str, document: &Value) -> Exchange {
    Exchange::get(path).with_body(document.to_string())
}

/// A document in the shape of Netflix's own servers.
pub(crate) fn document(version: &str, hash: &str, instances: &BTreeMap<Key, Value>) -> Value {
    let mut apps: BTreeMap<&String, Vec<&Value>> = BTreeMap::new();
    for ((app, _), instance) in instances {
        apps.entry(app).or_default().push(instance);
    }
    let apps = apps.into_iter();
    let apps: Vec<Value> = apps
        .map(|(app, instances)| json!({ "name": app, "instance": instances }))
        .collect();
    json!({ "applications": { "versions__delta": version, "apps__hashcode": hash, "application": apps } })
}

fn counts(instances: &BTreeMap<Key, Value>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in instances.values() {
        *counts.entry(instance["status"].as_str().unwrap()).or_default() += 1;
    }
    let counts = counts.into_iter();
    counts
        .map(|(status, count)| format!("{status}_{count}_"))
        .collect()
}

/// An instance whose address follows from its name, so that no two are at the same one.
pub(crate) fn instance(app: &str, id: &str, clock: u64) -> Value {
    let place = xxhash_rust::xxh3::xxh3_64(format!("{app}/{id}").as_bytes()).to_be_bytes();
    json!({
        "instanceId": id,
        "hostName": format!("{id}.example"),
        "app": app,
        "ipAddr": format!("10.{}.{}.{}", place[0], place[1], place[2]),
        "status": "UP",
        "overriddenStatus": "UNKNOWN",
        "port": { "$": 8080, "@enabled": "true" },
        "securePort": { "$": 8443, "@enabled": "false" },
        "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        "leaseInfo": {
            "renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": clock,
            "lastRenewalTimestamp": clock, "evictionTimestamp": 0, "serviceUpTimestamp": clock,
        },
        "metadata": { "@class": "java.util.Collections$EmptyMap" },
        "vipAddress": app.to_lowercase(),
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": clock.to_string(),
        "lastDirtyTimestamp": clock.to_string(),
        "actionType": "ADDED",
    })
}

pub(crate) fn merge(instance: &mut Value, fields: Value) {
    let (Some(held), Value::Object(fields)) = (instance.as_object_mut(), fields) else {
        panic!("two objects are expected");
    };
    held.extend(fields);
}

/// Nobody gets through from now on, on old connections or new ones.
pub(crate) fn cut(proxy: &FaultProxy) {
    proxy.refuse(true);
    proxy.reset_all();
}

pub(crate) async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// Waits until the log holds a text.
pub(crate) async fn until_logged(everything: &Everything, text: &str) {
    let found = wait::until(format!("{text:?} in the log"), DEADLINE, async || {
        everything.text().contains(text).then_some(())
    });
    if let Err(error) = found.await {
        panic!("{error}: {}", everything.text());
    }
}
