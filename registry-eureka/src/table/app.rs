//! One application: its instances, and the service that they are.

mod settle;

use std::sync::Arc;

use registry_core::{Endpoint, EndpointSet, ServiceMeta, ServiceRecord, Str};

use super::entry::{self, Entry};
use super::reading::Reading;

/// One application.
#[derive(Debug)]
pub(super) struct App {
    /// By the hashes of their keys.
    entries: Vec<Entry>,
    /// The endpoints of those that speak.
    endpoints: EndpointSet,
    /// `None` where there is no endpoint.
    meta: Option<Arc<ServiceMeta>>,
    wanted: bool,
}

/// What became different, of which the service is to be derived anew.
#[derive(Debug, Default)]
struct Touched {
    /// Where an instance came, went, or changed.
    places: Vec<u32>,
    /// Endpoints of the set whose instance has another one now, or none.
    gone: Vec<Arc<Endpoint>>,
}

impl Touched {
    /// The endpoint of an entry is another one from now on.
    fn lose(&mut self, entry: &Entry) {
        if let Some(endpoint) = entry.endpoint() {
            self.places.push(entry.place());
            if entry.speaks {
                self.gone.push(endpoint.clone());
            }
        }
    }

    fn gain(&mut self, entry: &Entry) {
        if entry.endpoint().is_some() {
            self.places.push(entry.place());
        }
    }

    /// An entry takes the place of another one with its key.
    fn replace(&mut self, old: &Entry, new: &mut Entry) {
        if new.same_endpoint(old) && new.same_profile(old) {
            new.speaks = old.speaks;
            // Who speaks for a place may depend on the times.
            if !new.same_times(old) {
                self.gain(new);
            }
        } else {
            self.lose(old);
            new.speaks = false;
            self.gain(new);
        }
    }
}

impl App {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            entries: Vec::new(),
            endpoints: EndpointSet::default(),
            meta: None,
            wanted,
        }
    }

    /// True where it is to have a record.
    pub(super) fn wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// True where the last word on one of its instances could not be read.
    pub(super) fn unread(&self) -> bool {
        self.entries.iter().any(|entry| entry.unreadable)
    }

    pub(super) fn find(&self, key: &str) -> Option<&Entry> {
        find(&self.entries, key).map(|at| &self.entries[at])
    }

    pub(super) fn record(&self) -> Option<ServiceRecord> {
        let meta = self.meta.clone()?;
        Some(ServiceRecord::new(meta, self.endpoints.clone()))
    }

    /// Puts these entries, in any order, in place of all. Of those with one key the last one counts. True where the
    /// service may be another one now.
    pub(super) fn replace(&mut self, mut entries: Vec<Entry>, name: &Str, reading: &mut Reading) -> bool {
        if !entries.is_sorted_by(|a, b| a.order(b).is_lt()) {
            entries.reverse();
            entries.sort_by(Entry::order);
            entries.dedup_by(|a, b| a.order(b).is_eq());
        }
        entries.shrink_to_fit();
        let mut touched = Touched::default();
        let mut before = self.entries.iter().peekable();
        for new in &mut entries {
            while let Some(old) = before.next_if(|old| old.order(new).is_lt()) {
                touched.lose(old);
            }
            match before.next_if(|old| old.order(new).is_eq()) {
                Some(old) => touched.replace(old, new),
                None => {
                    new.speaks = false;
                    touched.gain(new);
                }
            }
        }
        before.for_each(|old| touched.lose(old));
        self.entries = entries;
        self.settle(touched, name, reading)
    }

    /// Begins to change single entries, each key once.
    pub(super) fn update(&mut self) -> Update<'_> {
        Update {
            app: self,
            touched: Touched::default(),
            added: Vec::new(),
            removed: Vec::new(),
        }
    }
}

/// A change of single entries of an application.
#[derive(Debug)]
pub(super) struct Update<'a> {
    app: &'a mut App,
    touched: Touched,
    added: Vec<Entry>,
    removed: Vec<usize>,
}

impl Update<'_> {
    pub(super) fn find(&self, key: &str) -> Option<&Entry> {
        self.app.find(key)
    }

    pub(super) fn put(&mut self, key: &str, mut entry: Entry) {
        match find(&self.app.entries, key) {
            Some(at) => {
                let held = &mut self.app.entries[at];
                self.touched.replace(held, &mut entry);
                *held = entry;
            }
            None => {
                self.touched.gain(&entry);
                self.added.push(entry);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(at) = find(&self.app.entries, key) {
            self.touched.lose(&self.app.entries[at]);
            self.removed.push(at);
        }
    }

    /// Derives the service anew. True where it may be another one now.
    pub(super) fn finish(mut self, name: &Str, reading: &mut Reading) -> bool {
        let entries = &mut self.app.entries;
        if !self.removed.is_empty() {
            self.removed.sort_unstable();
            let mut removed = self.removed.iter().peekable();
            let mut at = 0;
            entries.retain(|_| {
                let goes = removed.next_if(|removed| **removed == at).is_some();
                at += 1;
                !goes
            });
        }
        if !self.added.is_empty() {
            // All at once: one by one would move the others each time.
            entries.append(&mut self.added);
            entries.sort_by(Entry::order);
        }
        self.app.settle(self.touched, name, reading)
    }
}

fn find(entries: &[Entry], key: &str) -> Option<usize> {
    let hash = entry::hash(key);
    entries.binary_search_by(|entry| entry.order_of(hash, key)).ok()
}
