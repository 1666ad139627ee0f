//! What a client holds, and what requests that it carries would have met.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::content::{self, ListenerReferences};
use super::protocol::Listed;
use super::{CDS, EDS, LDS, RDS};

/// What a client holds.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct State {
    /// The versions of all resources: by type URL, by name.
    pub held: BTreeMap<String, BTreeMap<String, String>>,
    /// Clusters that came, or changed, and wait for their endpoints. One that only changed serves meanwhile as it was.
    pub warming: BTreeSet<String>,
    /// Clusters that requests can be sent to.
    pub active: BTreeSet<String>,
    /// What would have been an error for a request: a route or a listener named a cluster that was not active. Each is
    /// listed once for as long as it lasted.
    pub violations: Vec<String>,
    /// Each response, in order.
    pub seen: Vec<Seen>,
    /// How often a stream was opened.
    pub streams: u64,
    /// How each of them ended that has.
    pub ends: Vec<String>,
    /// The names under which a cluster's endpoints are asked for.
    pub(super) endpoints: BTreeMap<String, String>,
    /// The violations that last.
    broken: BTreeSet<String>,
    listeners: BTreeMap<String, ListenerReferences>,
    routes: BTreeMap<String, BTreeSet<String>>,
}

/// A response, in short.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// Which stream, from 1.
    pub stream: u64,
    /// Its type URL.
    pub type_url: String,
    /// The names that it listed.
    pub listed: Vec<String>,
    /// The names that were gone by it, of those that the client had.
    pub removed: Vec<String>,
}

impl State {
    /// The names that it holds of a type.
    pub fn names(&self, type_url: &str) -> Vec<&str> {
        let held = self.held.get(type_url).into_iter().flatten();
        held.map(|(name, _)| name.as_str()).collect()
    }

    /// The route configurations that its listeners ask for.
    pub(super) fn wanted_routes(&self) -> BTreeSet<String> {
        let wanted = self.listeners.values().flat_map(|listener| &listener.routes);
        wanted.cloned().collect()
    }

    /// The names of endpoints that its clusters ask for.
    pub(super) fn wanted_endpoints(&self) -> BTreeSet<String> {
        self.endpoints.values().cloned().collect()
    }

    /// Takes what a response says. Returns the clusters whose endpoints have to come (again).
    pub(super) fn apply(&mut self, type_url: &str, listed: &[Listed], removed: &[String]) -> Vec<String> {
        let mut asked = Vec::new();
        for resource in listed {
            let held = self.held.entry(type_url.to_owned()).or_default();
            let before = held.insert(resource.name.clone(), resource.version.clone());
            let changed = before.as_ref() != Some(&resource.version);
            match type_url {
                CDS if changed => asked.extend(self.take_cluster(resource)),
                EDS => self.warm(&resource.name),
                LDS => {
                    let references = content::references_of_listener(&resource.body);
                    self.listeners.insert(resource.name.clone(), references);
                }
                RDS => {
                    let clusters = content::clusters_of_routes(&resource.body);
                    self.routes.insert(resource.name.clone(), clusters);
                }
                _ => {}
            }
        }
        for name in removed {
            if let Some(held) = self.held.get_mut(type_url) {
                held.remove(name);
            }
            match type_url {
                CDS => {
                    self.warming.remove(name);
                    self.active.remove(name);
                    self.endpoints.remove(name);
                }
                LDS => drop(self.listeners.remove(name)),
                RDS => drop(self.routes.remove(name)),
                _ => {}
            }
        }
        self.forget_unwanted();
        self.judge();
        asked
    }

    fn take_cluster(&mut self, resource: &Listed) -> Option<String> {
        let name = resource.name.clone();
        let Some(endpoints) = content::endpoints_of(&resource.body) else {
            self.endpoints.remove(&name);
            self.warming.remove(&name);
            self.active.insert(name);
            return None;
        };
        self.endpoints.insert(name.clone(), endpoints.clone());
        self.warming.insert(name);
        Some(endpoints)
    }

    /// Endpoints came: the clusters that waited for them serve.
    fn warm(&mut self, endpoints: &str) {
        let warm = self.endpoints.iter().filter(|(_, wanted)| *wanted == endpoints);
        let warm: Vec<String> = warm.map(|(cluster, _)| cluster.clone()).collect();
        for cluster in warm {
            self.warming.remove(&cluster);
            self.active.insert(cluster);
        }
    }

    /// What nothing refers to any more is unsubscribed from, and so forgotten.
    fn forget_unwanted(&mut self) {
        let (endpoints, routes) = (self.wanted_endpoints(), self.wanted_routes());
        if let Some(held) = self.held.get_mut(EDS) {
            held.retain(|name, _| endpoints.contains(name));
        }
        if let Some(held) = self.held.get_mut(RDS) {
            held.retain(|name, _| routes.contains(name));
        }
        self.routes.retain(|name, _| routes.contains(name));
    }

    fn judge(&mut self) {
        let by_routes = self.routes.iter().map(|(name, clusters)| (RDS, name, clusters));
        let by_listeners = self.listeners.iter();
        let by_listeners = by_listeners.map(|(name, listener)| (LDS, name, &listener.clusters));
        let mut found = BTreeSet::new();
        for (type_url, name, clusters) in by_routes.chain(by_listeners) {
            for cluster in clusters.difference(&self.active) {
                let kind = if type_url == RDS {
                    "the routes"
                } else {
                    "the listener"
                };
                found.insert(format!("{kind} {name} send to {cluster}, which is not active"));
            }
        }
        self.violations.extend(found.difference(&self.broken).cloned());
        self.broken = found;
    }
}
