//! Resources of single services, by name.
//!
//! Nearly all names lead back to the one service that can have them. For the others, which a service makes for aliases or
//! single endpoints, several may ask: whose own name it is gets it, then the oldest, then the first in the alphabet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use registry_core::{Service, Str};

use super::pool::Pool;
use super::rank::Rank;
use super::warnings::{Origin, Table as Warnings};
use crate::names;
use crate::resource::{Resource, ResourceSet, ResourceType};

type Name = (ResourceType, Str);

/// What each service of one view has.
#[derive(Debug, Default)]
pub(super) struct Names {
    services: HashMap<Str, Vec<Arc<Resource>>>,
    /// Resources under names that are not their service's own.
    guests: HashMap<Name, BTreeMap<Rank, Arc<Resource>>>,
}

impl Names {
    /// These are all resources of a service; of several under one name the first counts. Returns whether the set changed.
    pub(super) fn put(
        &mut self,
        service: &Service,
        resources: Vec<Resource>,
        pool: &Pool,
        set: &mut ResourceSet,
        warnings: &mut Warnings,
    ) -> bool {
        let hostname = service.hostname();
        let old = self.services.remove(hostname).unwrap_or_default();
        let mut now: Vec<Arc<Resource>> = Vec::with_capacity(resources.len());
        for resource in resources {
            if now
                .iter()
                .any(|other| is(other, resource.type_(), resource.name()))
            {
                continue;
            }
            // Whatever is equal stays the same allocation, so that sets are compared by pointers.
            let held = old.iter().find(|held| ***held == resource);
            now.push(held.cloned().unwrap_or_else(|| pool.share(resource)));
        }
        let mut doubtful = self.take_back(hostname, &old);
        for (index, resource) in now.iter().enumerate() {
            let name = name_of(resource);
            if !is_own(hostname, resource) {
                let rank = Rank::new(0, service.created(), hostname, index);
                self.guests
                    .entry(name.clone())
                    .or_default()
                    .insert(rank, resource.clone());
                doubtful.insert(name);
            } else if old.iter().any(|held| Arc::ptr_eq(held, resource)) {
                doubtful.remove(&name);
            } else {
                doubtful.insert(name);
            }
        }
        if !now.is_empty() {
            self.services.insert(hostname.clone(), now);
        }
        self.settle(hostname, &doubtful, set, warnings)
    }

    /// The service is gone. Returns whether the set changed.
    pub(super) fn remove(&mut self, hostname: &Str, set: &mut ResourceSet, warnings: &mut Warnings) -> bool {
        let old = self.services.remove(hostname).unwrap_or_default();
        let doubtful = self.take_back(hostname, &old);
        self.settle(hostname, &doubtful, set, warnings)
    }

    fn take_back(&mut self, hostname: &Str, old: &[Arc<Resource>]) -> BTreeSet<Name> {
        let names: BTreeSet<Name> = old.iter().map(name_of).collect();
        for name in &names {
            if let Some(guests) = self.guests.get_mut(name) {
                guests.retain(|rank, _| rank.hostname != *hostname);
                if guests.is_empty() {
                    self.guests.remove(name);
                }
            }
        }
        names
    }

    /// Settles who has these names, after a change to that service.
    fn settle(
        &self,
        hostname: &Str,
        doubtful: &BTreeSet<Name>,
        set: &mut ResourceSet,
        warnings: &mut Warnings,
    ) -> bool {
        let mut changed = false;
        let mut told = BTreeSet::from([hostname]);
        for name in doubtful {
            changed |= match self.holder(name) {
                Some((_, resource)) => set.insert(resource.clone()),
                None => set.remove(name.0, &name.1),
            };
            let guests = self.guests.get(name).into_iter().flat_map(BTreeMap::keys);
            told.extend(guests.map(|rank| &rank.hostname));
        }
        for hostname in told {
            warnings.set(hostname, Origin::Name, self.lost(hostname));
        }
        changed
    }

    /// Who has a name.
    fn holder(&self, (type_, name): &Name) -> Option<(&Str, &Arc<Resource>)> {
        let owner = names::hostname(*type_, name).and_then(|owner| self.services.get_key_value(owner));
        let own = owner.and_then(|(owner, resources)| {
            let resource = resources.iter().find(|resource| is(resource, *type_, name))?;
            Some((owner, resource))
        });
        own.or_else(|| {
            let (rank, resource) = self.guests.get(&(*type_, name.clone()))?.first_key_value()?;
            Some((&rank.hostname, resource))
        })
    }

    fn lost(&self, hostname: &Str) -> Vec<String> {
        let guests = self.services.get(hostname).into_iter().flatten();
        let lost = guests
            .filter(|resource| !is_own(hostname, resource))
            .filter_map(|resource| {
                let (holder, _) = self.holder(&name_of(resource))?;
                (holder != hostname).then(|| format!("the name {} is of {holder}", resource.name()))
            });
        lost.collect()
    }
}

fn name_of(resource: &Arc<Resource>) -> Name {
    (resource.type_(), resource.name().clone())
}

fn is(resource: &Resource, type_: ResourceType, name: &str) -> bool {
    resource.type_() == type_ && resource.name().as_str() == name
}

fn is_own(hostname: &Str, resource: &Resource) -> bool {
    names::hostname(resource.type_(), resource.name()) == Some(hostname)
}
