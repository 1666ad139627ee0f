//! What is held of a daemon, and what is being told of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use registry_core::{Event, InstanceId, RegistryError, Scope, ServiceId, ServiceRecord, Str};

use super::super::lineage::Loop;

/// Most services in a batch.
const BATCH: usize = 256;

/// A service, or why it cannot be read.
pub(super) type Read = Result<ServiceRecord, (ServiceId, Arc<RegistryError>)>;

/// A state of one daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) instance: InstanceId,
    pub(super) revision: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.instance, self.revision)
    }
}

/// What was told in this watch.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of which state all is told; none where only parts of one are.
    pub(super) revision: Option<Revision>,
    /// By which ways each service came.
    services: HashMap<ServiceId, Arc<[Str]>>,
    /// Services mostly have the same few registries.
    last: Option<Arc<[Str]>>,
}

impl Known {
    fn add(&mut self, record: &ServiceRecord) {
        let ways = record.meta().origins();
        let shared = self.last.take().filter(|last| **last == *ways);
        let shared = shared.unwrap_or_else(|| ways.into());
        self.services.insert(record.id().clone(), shared.clone());
        self.last = Some(shared);
    }

    /// Takes away what came from this daemon itself.
    pub(super) fn take_own(&mut self, found: &Loop) -> Vec<Event> {
        let is_own = |ways: &Arc<[Str]>| ways.iter().any(|way| found.is_own(way));
        let own = self.services.extract_if(|_, ways| is_own(ways));
        own.map(|(id, _)| Event::Delete { id, explicit: true }).collect()
    }
}

/// Everything, as far as it was told: it goes on in batches, none of which counts before the last.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) revision: Revision,
    pub(super) services: usize,
    bytes: u64,
    batch: Vec<Event>,
    found: Known,
    unread: Vec<(Scope, Arc<RegistryError>)>,
}

impl Listing {
    pub(super) fn new(revision: Revision, bytes: usize) -> Self {
        Self {
            revision,
            services: 0,
            bytes: bytes as u64,
            batch: Vec::new(),
            found: Known::default(),
            unread: Vec::new(),
        }
    }

    /// Counts a service, and all bytes so far.
    pub(super) fn count(&mut self, bytes: usize) -> u64 {
        self.services += 1;
        self.bytes += bytes as u64;
        self.bytes
    }

    /// Takes a service. What has gathered comes of it once that is enough.
    pub(super) fn take(&mut self, read: Read) -> Option<Vec<Event>> {
        match read {
            Ok(record) => {
                self.found.add(&record);
                self.batch.push(Event::apply(record));
            }
            Err((id, error)) => self.unread.push((Scope::Service(id), error)),
        }
        (self.batch.len() >= BATCH).then(|| std::mem::take(&mut self.batch))
    }

    /// That was all.
    pub(super) fn finish(mut self, known: &mut Known) -> [Vec<Event>; 1] {
        // What cannot be read now stays as it was, by the ways that it came.
        for (scope, _) in &self.unread {
            if let Scope::Service(id) = scope
                && let Some(ways) = known.services.remove(id)
            {
                self.found.services.insert(id.clone(), ways);
            }
        }
        *known = self.found;
        known.revision = Some(self.revision);
        self.batch.push(Event::InitDone {
            scope: Scope::Registry,
            unread: self.unread,
        });
        [self.batch]
    }
}

/// What changed, as far as it was told. It counts as a whole.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) revision: Revision,
    pub(super) services: usize,
    bytes: u64,
    behind: Event,
    removed: Vec<ServiceId>,
    read: Vec<Read>,
}

impl Change {
    pub(super) fn new(
        revision: Revision,
        behind: Event,
        removed: impl Iterator<Item = ServiceId>,
        bytes: usize,
    ) -> Self {
        Self {
            revision,
            services: 0,
            bytes: bytes as u64,
            behind,
            removed: removed.collect(),
            read: Vec::new(),
        }
    }

    /// Counts a service, and all bytes so far.
    pub(super) fn count(&mut self, bytes: usize) -> u64 {
        self.services += 1;
        self.bytes += bytes as u64;
        self.bytes
    }

    /// Takes a service.
    pub(super) fn take(&mut self, read: Read) {
        self.read.push(read);
    }

    /// That was all. The daemon has judged what went before it announced it.
    pub(super) fn finish(self, known: &mut Known) -> Vec<Event> {
        let mut batch = vec![self.behind];
        for id in self.removed {
            known.services.remove(&id);
            batch.push(Event::Delete { id, explicit: true });
        }
        for read in self.read {
            batch.push(match read {
                Ok(record) => {
                    known.add(&record);
                    Event::Apply {
                        record,
                        explicit: true,
                    }
                }
                Err((id, error)) => Event::degraded(Scope::Service(id), error),
            });
        }
        batch.push(Event::Confirmed(Scope::Registry));
        known.revision = Some(self.revision);
        batch
    }
}
