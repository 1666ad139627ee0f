//! The services of all documents together. Each is derived from what it was before, so that one changed target costs its
//! bucket of endpoints, and what did not change is the same value again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use registry_core::{Endpoint, EndpointSet, Interner, ServiceId, ServiceMeta, ServicePort, ServiceRecord};

use super::map::Group;
use super::target::Target;

/// All services, as they were told last.
#[derive(Debug, Default)]
pub(crate) struct Table {
    services: BTreeMap<ServiceId, ServiceRecord>,
}

/// What is said of one service.
#[derive(Default)]
struct Said<'g> {
    /// The first group that names a target speaks for it.
    targets: HashMap<&'g Target, &'g Group>,
    /// By their names, as far as targets have them.
    ports: BTreeMap<&'g str, &'g ServicePort>,
}

impl Table {
    /// Every service.
    pub(crate) fn records(&self) -> impl Iterator<Item = ServiceRecord> {
        self.services.values().cloned()
    }

    /// Puts what these groups say in place of all that was said before.
    pub(crate) fn replace<'g>(
        &mut self,
        groups: impl IntoIterator<Item = &'g Group>,
        interner: &mut Interner,
    ) {
        let mut said: HashMap<&ServiceId, Said<'g>> = HashMap::new();
        for group in groups {
            let service = said.entry(&group.service).or_default();
            service.targets.reserve(group.targets.len());
            for target in &group.targets {
                let Entry::Vacant(place) = service.targets.entry(target) else {
                    continue;
                };
                place.insert(group);
                if target.port.is_some() {
                    service.ports.entry(&group.port.name).or_insert(&group.port);
                }
            }
        }
        let mut before = std::mem::take(&mut self.services);
        for (id, said) in said {
            let record = said.record(id, before.remove(id), interner);
            self.services.insert(id.clone(), record);
        }
    }
}

impl Said<'_> {
    fn record(
        &self,
        id: &ServiceId,
        before: Option<ServiceRecord>,
        interner: &mut Interner,
    ) -> ServiceRecord {
        let ports = || self.ports.values().copied();
        let meta = match &before {
            Some(before) if before.meta().ports().iter().eq(ports()) => before.meta().clone(),
            _ => ServiceMeta::builder(id.clone()).ports(ports().cloned()).build(),
        };
        let before = before
            .map(|before| before.endpoints().clone())
            .unwrap_or_default();
        ServiceRecord::new(meta, self.endpoints(before, interner))
    }

    fn endpoints(&self, mut set: EndpointSet, interner: &mut Interner) -> EndpointSet {
        let endpoints = self
            .targets
            .iter()
            .map(|(target, group)| group.endpoint(target, interner));
        if set.len() < self.targets.len() / 2 {
            return endpoints.collect();
        }
        endpoints.for_each(|endpoint| set.insert(endpoint));
        if set.len() > self.targets.len() {
            let gone = |endpoint: &&Arc<Endpoint>| !self.targets.contains_key(&target_of(endpoint));
            let gone: Vec<_> = set.iter().filter(gone).cloned().collect();
            for endpoint in gone {
                set.remove(&endpoint);
            }
        }
        set
    }
}

/// The target that an endpoint was made of.
fn target_of(endpoint: &Endpoint) -> Target {
    Target {
        address: endpoint.address().clone(),
        port: endpoint.ports().iter().next().map(|port| port.number),
    }
}

#[cfg(test)]
mod tests;
