//! The tables of a Nomad server and their indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::access::Access;
use super::events::{Batch, Broker};
use super::registration::{Allocation, CheckResult, Registration};

/// A service: its namespace and name.
pub(super) type Name = (String, String);

/// All that one server knows.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The index of the last write of all.
    pub(super) index: u64,
    /// The index of the last write to the table of registrations; 0 before the first.
    pub(super) services_index: u64,
    pub(super) allocations_index: u64,
    pub(super) namespaces: BTreeSet<String>,
    /// By namespace and name, then by id.
    pub(super) services: BTreeMap<Name, BTreeMap<String, Registration>>,
    /// The last index at which something in a namespace changed, for what wakes whom.
    pub(super) touched: BTreeMap<String, u64>,
    pub(super) allocations: BTreeMap<String, Allocation>,
    pub(super) checks: BTreeMap<String, Vec<CheckResult>>,
    pub(super) access: Access,
}

impl Default for State {
    fn default() -> Self {
        Self {
            index: 10,
            services_index: 0,
            allocations_index: 0,
            namespaces: BTreeSet::from(["default".to_owned()]),
            services: BTreeMap::new(),
            touched: BTreeMap::new(),
            allocations: BTreeMap::new(),
            checks: BTreeMap::new(),
            access: Access::default(),
        }
    }
}

/// What writes to the table of registrations, which is what events of removals are named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The client that ran it says so: `ServiceDeregistration`.
    Client,
    /// Another write took it along, whose own name the event has, such as `AllocationUpdated` or `JobDeregistered`.
    Other(&'static str),
    /// A write of a kind that no event is published of.
    Unpublished,
}

impl Cause {
    fn event(self) -> Option<&'static str> {
        match self {
            Self::Client => Some("ServiceDeregistration"),
            Self::Other(name) => Some(name),
            Self::Unpublished => None,
        }
    }
}

impl State {
    /// The index that answers about services carry.
    pub(super) fn shown_index(&self) -> u64 {
        self.services_index.max(1)
    }

    /// Registers, as one write; what is registered as it is already changes nothing.
    pub(super) fn register(&mut self, registrations: &[Registration], broker: &mut Broker) -> u64 {
        let index = self.index + 1;
        let mut events = Vec::new();
        for registration in registrations {
            let mut new = registration.clone();
            let service = (new.namespace.clone(), new.service_name.clone());
            let held = self.services.entry(service).or_default();
            let before = held.get(&new.id);
            if before.is_some_and(|before| before.says_the_same(&new)) {
                continue;
            }
            new.create_index = before.map_or(index, |before| before.create_index);
            new.modify_index = index;
            self.touched.insert(new.namespace.clone(), index);
            self.namespaces.insert(new.namespace.clone());
            events.push(service_event(&new, "ServiceRegistration", index));
            if !self.allocations.contains_key(&new.alloc_id) {
                self.allocations_index = index;
                let allocation = Allocation {
                    create_index: index,
                    modify_index: index,
                    ..Allocation::of(&new)
                };
                self.allocations.insert(new.alloc_id.clone(), allocation);
            }
            held.insert(new.id.clone(), new);
        }
        if !events.is_empty() {
            self.index = index;
            self.services_index = index;
            broker.publish(Batch { index, events });
        }
        self.index
    }

    /// Removes what is chosen, as one write; where nothing is, nothing is written.
    pub(super) fn deregister(
        &mut self,
        cause: Cause,
        broker: &mut Broker,
        mut chosen: impl FnMut(&Registration) -> bool,
    ) -> u64 {
        let index = self.index + 1;
        let mut gone = Vec::new();
        for held in self.services.values_mut() {
            let ids: Vec<String> = held
                .values()
                .filter(|one| chosen(one))
                .map(|one| one.id.clone())
                .collect();
            gone.extend(ids.iter().filter_map(|id| held.remove(id)));
        }
        self.services.retain(|_, held| !held.is_empty());
        if gone.is_empty() {
            return self.index;
        }
        self.index = index;
        self.services_index = index;
        for registration in &gone {
            self.touched.insert(registration.namespace.clone(), index);
        }
        if let Some(event) = cause.event() {
            let events = gone.iter().map(|one| service_event(one, event, index));
            broker.publish(Batch {
                index,
                events: events.collect(),
            });
        }
        index
    }

    /// Writes to another table, which events are published of and the registrations know nothing of.
    pub(super) fn write_elsewhere(&mut self, broker: &mut Broker) -> u64 {
        self.index += 1;
        let event = Event {
            topic: "Evaluation",
            namespace: "default".to_owned(),
            keys: None,
            text: Arc::new(
                json!({ "Topic": "Evaluation", "Type": "EvaluationUpdated", "Index": self.index }),
            ),
        };
        broker.publish(Batch {
            index: self.index,
            events: vec![event],
        });
        self.index
    }
}

/// One event, as it is published.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) topic: &'static str,
    pub(super) namespace: String,
    /// The job and the service, by which subscribers may choose.
    pub(super) keys: Option<[String; 2]>,
    pub(super) text: Arc<Value>,
}

fn service_event(registration: &Registration, kind: &str, index: u64) -> Event {
    let keys = [registration.job_id.clone(), registration.service_name.clone()];
    Event {
        topic: "Service",
        namespace: registration.namespace.clone(),
        text: Arc::new(json!({
            "Topic": "Service", "Type": kind, "Key": registration.id, "Namespace": registration.namespace,
            "FilterKeys": keys, "Index": index, "Payload": { "Service": registration },
        })),
        keys: Some(keys),
    }
}
