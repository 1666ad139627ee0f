//! What the tests of the index have in common: a cluster told object by object, as its API server would.

mod acceptance;
mod multicluster;
mod order;
mod removal;
mod sharing;

use std::time::Duration;

use registry_core::{PortDefaults, ServiceRecord};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Change, Index, Join, Kind, Mapping, Part, Source, Unreadable};

pub(super) const DELAY: Duration = Duration::from_millis(100);

/// An index, its clock, and a number for each version of an object.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) index: Index,
    pub(super) now: Instant,
    version: u64,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self::with(DELAY)
    }

    pub(super) fn with(removal_delay: Duration) -> Self {
        Self::of(Join::Services, removal_delay)
    }

    pub(super) fn of(join: Join, removal_delay: Duration) -> Self {
        let index = Index::new(Mapping {
            join,
            cluster: "east".into(),
            network: "pods".into(),
            fqdn: true,
            removal_delay,
            ports: PortDefaults::default(),
        });
        Self {
            index,
            now: Instant::now(),
            version: 0,
        }
    }

    /// Tells of an object, in a version of its own.
    pub(super) fn tell(&mut self, kind: Kind, mut object: Value, source: Source) -> Result<(), Unreadable> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let bytes = serde_json::to_vec(&object).unwrap();
        self.index.apply(kind, &bytes, source, self.now)
    }

    pub(super) fn watch(&mut self, kind: Kind, object: &Value) {
        self.tell(kind, object.clone(), Source::Watched).unwrap();
    }

    pub(super) fn delete(&mut self, kind: Kind, object: &Value) {
        let bytes = serde_json::to_vec(object).unwrap();
        self.index.remove(kind, &bytes, self.now).unwrap();
    }

    /// Tells of objects as they are, in the versions that they have.
    pub(super) fn list(&mut self, kind: Kind, objects: &[Value]) {
        let part = Part {
            kind,
            namespace: None,
        };
        self.index.begin(&part);
        for object in objects {
            let bytes = serde_json::to_vec(object).unwrap();
            self.index.apply(kind, &bytes, Source::Listed, self.now).unwrap();
        }
        self.index.complete(&part, self.now);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn take(&mut self) -> Vec<Change> {
        self.index.take_changes(self.now)
    }

    /// The one change there is to be: a record, and whether all that it lost was announced.
    pub(super) fn applied(&mut self) -> (ServiceRecord, bool) {
        match self.take().as_slice() {
            [Change::Apply { record, explicit }] => (record.clone(), *explicit),
            other => panic!("expected one record, found {other:?}"),
        }
    }

    pub(super) fn record(&self, name: &str) -> ServiceRecord {
        let mut records = self.index.records(None);
        records.find(|record| record.id().name() == name).unwrap()
    }
}

pub(super) fn service(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "demo", "uid": format!("s-{name}") },
        "spec": { "clusterIP": "10.96.0.1", "ports": [{ "name": "http", "port": 80 }], "ipFamilies": ["IPv4", "IPv6"] },
    })
}

/// A slice of one port, `http` on 8080.
pub(super) fn slice(name: &str, service: &str, endpoints: &[Value]) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "demo", "uid": format!("e-{name}"),
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

/// A pod that is ready.
pub(super) fn pod(address: &str, name: &str) -> Value {
    json!({
        "addresses": [address],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "targetRef": { "kind": "Pod", "name": name, "uid": format!("u-{name}") },
    })
}

pub(super) fn addresses(record: &ServiceRecord) -> Vec<String> {
    let mut addresses: Vec<String> = record
        .endpoints()
        .iter()
        .map(|endpoint| {
            let addresses: Vec<String> = endpoint.addresses().iter().map(ToString::to_string).collect();
            addresses.join("+")
        })
        .collect();
    addresses.sort();
    addresses
}

fn fixture(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

pub(super) fn json_of(name: &str) -> Value {
    serde_json::from_str(&fixture(name)).unwrap()
}

pub(super) fn items(name: &str) -> Vec<Value> {
    json_of(name)["items"].as_array().unwrap().clone()
}

pub(super) const SERVICES: [&str; 6] = ["web", "db", "empty-headless", "ext", "legacy", "lb"];

/// The whole cluster that was captured.
pub(super) fn demo() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.list(Kind::Node, &items("nodes-partialmetadata.json"));
    let services: Vec<Value> = SERVICES
        .iter()
        .map(|name| json_of(&format!("service-{name}.json")))
        .collect();
    cluster.list(Kind::Service, &services);
    cluster.list(Kind::Slice, &items("endpointslices-demo.json"));
    cluster
}

/// Every object that was captured.
pub(super) fn captured() -> Vec<String> {
    let lists = [
        "endpointslices-demo.json",
        "nodes-partialmetadata.json",
        "mcs-endpointslices.json",
    ];
    let mut objects: Vec<String> = lists
        .iter()
        .flat_map(|name| items(name))
        .map(|object| object.to_string())
        .collect();
    objects.extend(SERVICES.map(|name| fixture(&format!("service-{name}.json"))));
    for watch in ["watch-stream-bookmark.jsonl", "nodes-watch-partialmetadata.jsonl"] {
        let text = fixture(watch);
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let objects_of = events.filter(|event| event["type"] != "BOOKMARK");
        objects.extend(objects_of.map(|event| event["object"].to_string()));
    }
    assert!(objects.len() > 20);
    objects
}
