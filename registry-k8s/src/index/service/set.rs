//! The set of endpoints that slices come to: which keys a change touches, and what these come to before and after it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use registry_core::{Address, Endpoint, EndpointSet};

use super::{Key, Service, Shelf, Tools};
use crate::index::resolve::{self, Accepted, Candidate, Source};
use crate::map;
use crate::map::service::Terms;

impl Service {
    fn sources(&self) -> impl Iterator<Item = (Source, &Shelf)> {
        let slices = self.slices.iter().enumerate().map(|(number, slice)| {
            let source = Source {
                leaving: false,
                trigger: slice.trigger,
                number,
            };
            (source, &slice.shelf)
        });
        let leaving = self.leaving.iter().enumerate().map(|(number, leaving)| {
            let source = Source {
                leaving: true,
                trigger: 0,
                number,
            };
            (source, &leaving.shelf)
        });
        slices.chain(leaving)
    }

    pub(super) fn candidates<'a>(&'a self, address: &Address) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        for (source, shelf) in self.sources() {
            let at = shelf.at(address).iter().enumerate();
            candidates.extend(at.map(|(position, endpoint)| Candidate {
                endpoint,
                source,
                position,
            }));
        }
        candidates
    }

    /// All endpoints of these keys.
    fn outputs(&self, keys: &HashSet<Key>, tools: &mut Tools<'_>) -> Vec<Arc<Endpoint>> {
        let mut addresses = HashSet::new();
        for key in keys {
            if let Some(address) = &key.address {
                addresses.insert(address.clone());
                continue;
            }
            for (_, shelf) in self.sources() {
                addresses.extend(shelf.of_id(&key.id).map(|endpoint| endpoint.address().clone()));
            }
        }
        let accepted: Vec<Accepted> = addresses
            .iter()
            .flat_map(|address| resolve::accept(self.candidates(address)))
            .filter(|accepted| keys.contains(&Key::of(accepted.endpoint())))
            .collect();
        resolve::endpoints(accepted, self.v6_first(), tools.interner)
    }

    pub(super) fn change(
        &mut self,
        touched: &HashSet<Address>,
        new: &[Arc<Endpoint>],
        tools: &mut Tools<'_>,
        change: impl FnOnce(&mut Self),
    ) -> bool {
        if !self.counts_slices() {
            change(self);
            return false;
        }
        if self.endpoints.is_empty() {
            change(self);
            return self.rebuild(tools);
        }
        let mut keys: HashSet<Key> = new.iter().map(|endpoint| Key::of(endpoint)).collect();
        for address in touched {
            let held = self.candidates(address).into_iter();
            keys.extend(held.map(|candidate| Key::of(candidate.endpoint)));
        }
        let before = self.outputs(&keys, tools);
        change(self);
        let after = self.outputs(&keys, tools);
        for address in touched {
            if self.candidates(address).len() > 1 {
                self.contested.insert(address.clone());
            } else {
                self.contested.remove(address);
            }
        }
        self.swap(before.iter(), after)
    }

    /// Puts endpoints in place of others. What is in both stays as it is.
    fn swap<'a>(
        &mut self,
        before: impl Iterator<Item = &'a Arc<Endpoint>>,
        after: Vec<Arc<Endpoint>>,
    ) -> bool {
        let identity =
            |endpoint: &Arc<Endpoint>| (endpoint.address().clone(), Box::<str>::from(endpoint.id()));
        let kept: HashSet<_> = after.iter().map(identity).collect();
        let mut lost = false;
        for endpoint in before {
            if !kept.contains(&identity(endpoint)) {
                lost |= self.endpoints.remove(endpoint);
            }
        }
        for endpoint in after {
            self.endpoints.insert(endpoint);
        }
        lost
    }

    /// Works out everything anew.
    pub(super) fn rebuild(&mut self, tools: &mut Tools<'_>) -> bool {
        self.contested.clear();
        let stand_in = self.stand_in_now().cloned();
        self.stands_in = stand_in.is_some();
        let after = match (self.terms(), &self.object) {
            _ if self.stands_in => stand_in.into_iter().collect(),
            (Some(Terms::Slices { v6_first, .. }), _) => {
                let v6_first = *v6_first;
                resolve::endpoints(self.accept_all(), v6_first, tools.interner)
            }
            (Some(Terms::External(Some(address))), Some(object)) => {
                let outside = map::service::outside(address, object.meta.ports(), tools.interner);
                vec![Arc::new(outside)]
            }
            (Some(Terms::External(_)) | None, _) => Vec::new(),
        };
        if self.endpoints.is_empty() {
            self.endpoints = after.into_iter().collect();
            return false;
        }
        let before = self.endpoints.clone();
        if after.is_empty() {
            self.endpoints = EndpointSet::default();
            return true;
        }
        self.swap(before.iter(), after)
    }

    fn accept_all(&mut self) -> Vec<Accepted> {
        let mut all: Vec<Candidate<'_>> = Vec::new();
        for (source, shelf) in self.sources() {
            let candidates = shelf.all().iter().enumerate();
            all.extend(candidates.map(|(position, endpoint)| Candidate {
                endpoint,
                source,
                position,
            }));
        }
        all.sort_by(|a, b| a.endpoint.address().cmp(b.endpoint.address()));
        let mut contested = BTreeSet::new();
        let mut accepted = Vec::with_capacity(all.len());
        for place in all.chunk_by(|a, b| a.endpoint.address() == b.endpoint.address()) {
            if place.len() > 1 {
                contested.insert(place[0].endpoint.address().clone());
            }
            accepted.extend(resolve::accept(place.to_vec()));
        }
        self.contested = contested;
        accepted
    }
}
