//! Endpoints follow the labels of their nodes.

use std::collections::HashSet;
use std::sync::Arc;

use registry_core::{Endpoint, Str};

use super::service::{Service, Slice};
use super::{Index, Source};
use crate::map::endpoints::{SaidPlace, locality, rebuilt};

impl Index {
    pub(super) fn services(&self) -> impl Iterator<Item = (&Str, &Str, &Service)> {
        self.namespaces.iter().flat_map(|(namespace, held)| {
            let services = held.services.iter();
            services.map(move |(name, service)| (namespace, name, service))
        })
    }

    /// Endpoints follow their nodes.
    pub(super) fn relocate(&mut self) {
        let moved = self.nodes.take_moved();
        if moved.is_empty() {
            return;
        }
        let affected: Vec<(Str, Str)> = self
            .services()
            .filter(|(_, _, service)| {
                let slices = service.slices().iter();
                let mut endpoints = slices.flat_map(|slice| slice.shelf.all());
                endpoints.any(|endpoint| moved.contains(endpoint.node()))
            })
            .map(|(namespace, name, _)| (namespace.clone(), name.clone()))
            .collect();
        for (namespace, name) in affected {
            let held = self.namespaces.get(&namespace);
            let Some(service) = held.and_then(|held| held.services.get(&name)) else {
                continue;
            };
            let mut changed = Vec::new();
            for (number, slice) in service.slices().iter().enumerate() {
                for (at, endpoint) in slice.shelf.all().iter().enumerate() {
                    if !moved.contains(endpoint.node()) {
                        continue;
                    }
                    let said = slice.said(at);
                    let locality = locality(&said, self.nodes.place(endpoint.node()));
                    if locality != *endpoint.locality() {
                        let endpoint = rebuilt(endpoint).locality(locality);
                        let endpoint = Arc::new(endpoint.build_in(&mut self.interner));
                        let said = (!is_plain(&said, &endpoint)).then_some(said);
                        changed.push((number, at, endpoint, said));
                    }
                }
            }
            self.change(&namespace, &name, Source::Watched, |service, tools| {
                service.relocate(changed, tools);
                false
            });
        }
    }

    pub(super) fn forget_nodes(&mut self) {
        if !self.nodes.is_overfull() {
            return;
        }
        let mut named = HashSet::new();
        for (_, _, service) in self.services() {
            for endpoint in service.slices().iter().flat_map(|slice| slice.shelf.all()) {
                if !named.contains(endpoint.node()) {
                    named.insert(endpoint.node().clone());
                }
            }
        }
        self.nodes.forget(&named);
    }
}

/// True where what a slice says of the place of an endpoint can be seen from the endpoint: its zone, and no region.
pub(super) fn is_plain(said: &SaidPlace, endpoint: &Endpoint) -> bool {
    said.region.is_empty() && said.zone == endpoint.locality().zone
}

impl Slice {
    /// What it says of the place of an endpoint.
    fn said(&self, at: usize) -> SaidPlace {
        match self.said.binary_search_by_key(&at, |(held, _)| *held) {
            Ok(found) => self.said[found].1.clone(),
            Err(_) => SaidPlace {
                region: Str::default(),
                zone: self.shelf.all()[at].locality().zone.clone(),
            },
        }
    }
}
