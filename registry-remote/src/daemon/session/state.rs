//! What is held of a daemon, and what is being told of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use registry_core::{
    Behind, ErrorKind, Event, InstanceId, Phase, RegistryError, Scope, ServiceId, ServiceRecord, Str, short,
};

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
    /// Everything was told once: there are no services from an earlier watch, or from disk, whose ways nobody knows here.
    whole: bool,
    /// The ways of which nothing was known where everything was last told.
    unheard: Vec<String>,
}

impl Known {
    fn add(&mut self, record: &ServiceRecord) {
        let ways = record.meta().origins();
        let shared = self.last.take().filter(|last| **last == *ways);
        let shared = shared.unwrap_or_else(|| ways.into());
        self.services.insert(record.id().clone(), shared.clone());
        self.last = Some(shared);
    }

    /// Takes note that a service came by these ways as well.
    fn also(&mut self, id: ServiceId, ways: Arc<[Str]>) {
        match self.services.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(ways);
            }
            Entry::Occupied(mut entry) => {
                let new = ways.iter().filter(|way| !entry.get().contains(way)).cloned();
                let all = entry.get().iter().cloned().chain(new).collect();
                entry.insert(all);
            }
        }
    }

    /// True where some of what was unknown when everything was last told is known now. What is gone of it since is not
    /// among the changes: the daemon never had it.
    pub(super) fn is_outdone(&self, behind: &[Behind]) -> bool {
        let still = unheard(behind);
        self.unheard.iter().any(|way| !still.contains(way))
    }

    /// Takes away what came from this daemon itself.
    pub(super) fn take_own(&mut self, found: &Loop) -> Vec<Event> {
        let is_own = |ways: &Arc<[Str]>| ways.iter().any(|way| found.is_own(way));
        let own = self.services.extract_if(|_, ways| is_own(ways));
        own.map(|(id, _)| Event::Delete { id, explicit: true }).collect()
    }
}

/// The ways to the registries of which nothing is known, at any depth.
pub(super) fn unheard(behind: &[Behind]) -> Vec<String> {
    fn collect(behind: &[Behind], before: &str, ways: &mut Vec<String>) {
        for registry in behind {
            let way = format!("{before}{}", registry.id);
            if registry.phase == Phase::Connecting {
                ways.push(way);
            } else {
                collect(&registry.behind, &format!("{way}/"), ways);
            }
        }
    }
    let mut ways = Vec::new();
    collect(behind, "", &mut ways);
    ways
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
    /// Told at the end: before, services of a registry that is heard at last are not there yet.
    behind: Event,
    /// The ways of which the daemon knows nothing: what it lacks of them is no word that it is gone.
    unheard: Vec<String>,
}

impl Listing {
    pub(super) fn new(revision: Revision, behind: Event, unheard: Vec<String>, bytes: usize) -> Self {
        Self {
            revision,
            services: 0,
            bytes: bytes as u64,
            batch: Vec::new(),
            found: Known::default(),
            unread: Vec::new(),
            behind,
            unheard,
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
        let found = &mut self.found;
        found.whole = known.whole || self.unheard.is_empty();
        if let Some(unread) = unread_behind(&self.unheard, known, &self.unread) {
            self.unread.extend(unread);
        }
        // What cannot be read now stays as it was, by the ways that it came.
        for (scope, _) in &self.unread {
            match scope {
                Scope::Service(id) => {
                    if let Some(ways) = known.services.remove(id) {
                        found.also(id.clone(), ways);
                    }
                }
                _ => {
                    for (id, ways) in known.services.drain() {
                        found.also(id, ways);
                    }
                }
            }
        }
        *known = self.found;
        known.revision = Some(self.revision);
        known.unheard = self.unheard;
        self.batch.push(self.behind);
        self.batch.push(Event::InitDone {
            scope: Scope::Registry,
            unread: self.unread,
        });
        [self.batch]
    }
}

/// What may lack something that came by a registry of which the daemon knows nothing, as after its own restart.
fn unread_behind(
    unheard: &[String],
    known: &Known,
    unread: &[(Scope, Arc<RegistryError>)],
) -> Option<Vec<(Scope, Arc<RegistryError>)>> {
    if unheard.is_empty() {
        return None;
    }
    let names = short(&unheard.join(", "), 300);
    let message = format!("registry {names} behind it was never heard");
    let error = Arc::new(RegistryError::new(ErrorKind::Unavailable, message));
    if !known.whole {
        // There may be services from before, and nobody knows which of them came that way.
        return Some(vec![(Scope::Registry, error)]);
    }
    let is_unheard = |way: &Str| {
        let mut before = unheard
            .iter()
            .filter_map(|unheard| way.strip_prefix(unheard.as_str()));
        before.any(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let services = known.services.iter();
    let scopes = services
        .filter(|(_, ways)| ways.iter().any(is_unheard))
        .map(|(id, _)| Scope::Service(id.clone()))
        .filter(|scope| !unread.iter().any(|(told, _)| told == scope));
    Some(scopes.map(|scope| (scope, error.clone())).collect())
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

#[cfg(test)]
mod tests {
    use registry_core::{Address, Endpoint, ServiceMeta};

    use super::*;

    fn record(name: &str, ways: &[&str]) -> ServiceRecord {
        let origins: Vec<_> = ways.iter().map(|way| Str::from(*way)).collect();
        let meta = ServiceMeta::builder(ServiceId::named(name)).origins(origins);
        let endpoint = Endpoint::builder(Address::V4([10, 0, 0, 1].into())).id("i");
        ServiceRecord::new(meta.build(), [endpoint.build()])
    }

    /// What is left unread where the daemon tells these services and never heard of those ways.
    fn list(known: &mut Known, records: &[ServiceRecord], unheard: &[&str]) -> Vec<Scope> {
        let revision = Revision {
            instance: InstanceId::random(),
            revision: 1,
        };
        let unheard = unheard.iter().map(|way| (*way).to_owned()).collect();
        let behind = Event::Behind {
            instance: None,
            registries: Vec::new(),
        };
        let mut listing = Listing::new(revision, behind, unheard, 0);
        for record in records {
            assert!(listing.take(Ok(record.clone())).is_none());
        }
        let [mut batch] = listing.finish(known);
        let Some(Event::InitDone { unread, .. }) = batch.pop() else {
            panic!("found no end")
        };
        let mut scopes: Vec<Scope> = unread.into_iter().map(|(scope, _)| scope).collect();
        scopes.sort();
        scopes
    }

    fn services(names: &[&str]) -> Vec<Scope> {
        let scopes = names.iter().map(|name| Scope::Service(ServiceId::named(*name)));
        scopes.collect()
    }

    #[test]
    fn what_came_by_a_registry_that_was_never_heard_is_not_taken_for_gone() {
        let mut known = Known::default();
        let vms = [record("vm", &["vms"]), record("tail", &["consul-2"])];
        let all = [
            record("web", &["consul"]),
            record("deep", &["consul/a"]),
            record("both", &["consul", "vms"]),
        ];
        let all: Vec<_> = all.into_iter().chain(vms.clone()).collect();
        assert_eq!(list(&mut known, &all, &[]), []);
        // As often as it takes, and also what is listed now by another way.
        let both = [record("both", &["vms"])];
        let now: Vec<_> = both.into_iter().chain(vms).collect();
        for _ in 0..2 {
            assert_eq!(
                list(&mut known, &now, &["consul"]),
                services(&["both", "deep", "web"])
            );
        }
        assert_eq!(list(&mut known, &now, &[]), []);
        assert_eq!(list(&mut known, &now, &["consul"]), []);
    }

    #[test]
    fn before_everything_was_told_once_nobody_knows_what_came_by_which_way() {
        let mut known = Known::default();
        let vms = [record("vm", &["vms"])];
        for _ in 0..2 {
            assert_eq!(list(&mut known, &vms, &["consul"]), [Scope::Registry]);
        }
        assert_eq!(list(&mut known, &vms, &[]), []);
        assert_eq!(list(&mut known, &vms, &["consul"]), []);
    }

    #[test]
    fn everything_is_wanted_anew_once_a_registry_is_heard() {
        let behind = |id: &str, phase, behind: &[Behind]| Behind {
            behind: behind.into(),
            ..Behind::new(id.parse().unwrap(), "k", phase)
        };
        let now = |consul| [behind("mid", Phase::Synced, &[behind("consul", consul, &[])])];
        let ways = unheard(&now(Phase::Connecting));
        assert_eq!(ways, ["mid/consul"]);
        let mut known = Known::default();
        list(&mut known, &[], &["mid/consul"]);
        assert!(!known.is_outdone(&now(Phase::Connecting)));
        assert!(known.is_outdone(&now(Phase::Synced)));
        list(&mut known, &[], &[]);
        assert!(!known.is_outdone(&now(Phase::Connecting)));
    }
}
