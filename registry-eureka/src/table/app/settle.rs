//! Deriving the service from its instances.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use registry_core::{Address, Endpoint, EndpointSet, Labels, ServiceId, ServiceMeta, Str};

use super::super::entry::Entry;
use super::super::reading::Reading;
use super::{App, Touched, find};

impl App {
    /// Brings endpoints and service up to date with the entries. Costs a look at each entry and the buckets of what was
    /// touched; nothing where nothing was. True where the service may be another one now.
    pub(super) fn settle(&mut self, touched: Touched, name: &Str, reading: &mut Reading) -> bool {
        if touched.places.is_empty() {
            return false;
        }
        let mut silenced: Vec<Arc<Endpoint>> = touched.gone;
        let mut heard: Vec<Arc<Endpoint>> = Vec::new();
        for (at, speaks) in self.speakers(touched.places) {
            let entry = &mut self.entries[at];
            let was_heard = std::mem::replace(&mut entry.speaks, speaks);
            match entry.endpoint() {
                Some(endpoint) if speaks && !was_heard => heard.push(endpoint.clone()),
                Some(endpoint) if was_heard && !speaks => silenced.push(endpoint.clone()),
                _ => {}
            }
        }
        self.change_endpoints(&silenced, heard);
        self.describe(name, reading);
        true
    }

    /// The entries at these places, and whether each is to speak.
    fn speakers(&self, places: Vec<u32>) -> Vec<(usize, bool)> {
        let entries = &self.entries;
        let mut concerned = self.concerned(places);
        // Those at one address together, the one that is to speak first.
        concerned.sort_unstable_by(|a, b| {
            let (a, b) = (&entries[*a], &entries[*b]);
            together(a, b).then_with(|| b.age(a))
        });
        let mut speakers = Vec::with_capacity(concerned.len());
        let mut taken: HashSet<Option<u16>> = HashSet::new();
        for group in concerned.chunk_by(|a, b| together(&entries[*a], &entries[*b]).is_eq()) {
            if let [alone] = group {
                speakers.push((*alone, true));
                continue;
            }
            // A machine with several instances, of which few share a port.
            taken.clear();
            for at in group {
                let speaks = |endpoint: &Arc<Endpoint>| claim(&mut taken, endpoint);
                speakers.push((*at, entries[*at].endpoint().is_some_and(speaks)));
            }
        }
        speakers
    }

    /// The entries at these places.
    fn concerned(&self, mut places: Vec<u32>) -> Vec<usize> {
        let all = 0..self.entries.len();
        let is_there = |at: &usize| self.entries[*at].endpoint().is_some();
        if places.len() >= self.entries.len() {
            return all.filter(is_there).collect();
        }
        places.sort_unstable();
        all.filter(|at| places.binary_search(&self.entries[*at].place()).is_ok())
            .filter(is_there)
            .collect()
    }

    fn change_endpoints(&mut self, silenced: &[Arc<Endpoint>], heard: Vec<Arc<Endpoint>>) {
        for endpoint in silenced {
            // One in whose place its successor comes is found by that, which costs its bucket once.
            let successor = find(&self.entries, endpoint.id()).map(|at| &self.entries[at]);
            let succeeded = successor.is_some_and(|entry| {
                let address = entry.endpoint().map(|endpoint| endpoint.address());
                entry.speaks && address == Some(endpoint.address())
            });
            if !succeeded {
                self.endpoints.remove(endpoint);
            }
        }
        if self.endpoints.is_empty() {
            self.endpoints = EndpointSet::from_iter(heard);
        } else {
            heard
                .into_iter()
                .for_each(|endpoint| self.endpoints.insert(endpoint));
        }
    }

    /// Derives what is said of the service from those that speak, where it is not what is said already.
    fn describe(&mut self, name: &Str, reading: &mut Reading) {
        if self.endpoints.is_empty() {
            self.meta = None;
            return;
        }
        let (mut ports, mut aliases) = (BTreeSet::new(), BTreeSet::new());
        let mut seen = HashSet::new();
        let mut last = None;
        for profile in self
            .entries
            .iter()
            .filter(|entry| entry.speaks)
            .filter_map(Entry::profile)
        {
            // Most have the one that the last one had.
            if last.replace(Arc::as_ptr(profile)) != Some(Arc::as_ptr(profile))
                && seen.insert(Arc::as_ptr(profile))
            {
                ports.extend(&profile.ports);
                aliases.extend(&profile.aliases);
            }
        }
        let is_same = |meta: &Arc<ServiceMeta>| {
            meta.ports()
                .iter()
                .map(|port| &port.name)
                .eq(ports.iter().copied())
                && meta.aliases().iter().eq(aliases.iter().copied())
        };
        if self.meta.as_ref().is_some_and(is_same) {
            return;
        }
        let app = [(reading.text("app"), Str::from(name.to_uppercase()))];
        let metadata: Labels = app.into_iter().collect();
        let meta = ServiceMeta::builder(ServiceId::named(name.clone()))
            .ports(ports.into_iter().map(|name| reading.service_port(name)))
            .aliases(aliases.into_iter().cloned())
            .metadata(metadata);
        self.meta = Some(meta.build());
    }
}

/// The order of entries by address.
fn together(a: &Entry, b: &Entry) -> Ordering {
    fn address(entry: &Entry) -> Option<&Address> {
        entry.endpoint().map(|endpoint| endpoint.address())
    }
    let places = a.place().cmp(&b.place());
    places.then_with(|| address(a).cmp(&address(b)))
}

/// True where none of an endpoint's ports is taken; they are from now on. One without ports takes the address itself.
fn claim(taken: &mut HashSet<Option<u16>>, endpoint: &Endpoint) -> bool {
    let ports = endpoint.ports();
    let mut wanted: Vec<Option<u16>> = ports.iter().map(|port| Some(port.number)).collect();
    if wanted.is_empty() {
        wanted.push(None);
    }
    let free = wanted.iter().all(|port| !taken.contains(port));
    if free {
        taken.extend(wanted);
    }
    free
}
