//! What was removed of late, so that a watch can resume with deltas alone.
//!
//! Services carry the revision that last changed them, so what was *updated* since any revision can be read from the
//! snapshot. What was *removed* is in no snapshot: it is remembered here, up to a bound.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use registry_core::{Delta, Discovery, Phase, RegistryId, Service, Snapshot, Str};
use tokio_util::sync::CancellationToken;

use super::lock;

/// What a client that resumes has missed.
#[derive(Debug, Default)]
pub(super) struct Missed {
    pub(super) updated: Vec<Arc<Service>>,
    pub(super) removed: Vec<Str>,
    pub(super) phases: Vec<(RegistryId, Option<Phase>)>,
}

/// The newest removals.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: usize,
    /// Each with the revision in which it was gone; ascending.
    tombstones: VecDeque<(u64, Tombstone)>,
    /// Revisions between which several publications were seen as one. What came and went within is not known.
    gaps: VecDeque<(u64, u64)>,
    /// Clients that know a revision before this one may have missed removals that are forgotten.
    floor: u64,
    /// Everything up to here is followed.
    last: Arc<Snapshot>,
}

#[derive(Debug, Clone)]
enum Tombstone {
    Service(Str),
    Registry(RegistryId),
}

/// Follows the changes of `discovery` in a task, until `closing`; cancels `closing` where discovery ends by itself.
pub(super) fn follow(discovery: &Discovery, capacity: usize, closing: CancellationToken) -> Arc<Mutex<Ring>> {
    let mut changes = discovery.changes();
    let ring = Arc::new(Mutex::new(Ring::new(capacity, changes.snapshot().clone())));
    let shared = ring.clone();
    tokio::spawn(async move {
        loop {
            let delta = tokio::select! {
                () = closing.cancelled() => return,
                delta = changes.next() => delta,
            };
            let Some(delta) = delta else { break };
            lock(&shared).note(changes.snapshot().clone(), &delta);
        }
        closing.cancel();
    });
    ring
}

impl Ring {
    fn new(capacity: usize, last: Arc<Snapshot>) -> Self {
        Self {
            capacity,
            tombstones: VecDeque::new(),
            gaps: VecDeque::new(),
            floor: last.revision(),
            last,
        }
    }

    fn note(&mut self, snapshot: Arc<Snapshot>, delta: &Delta) {
        let (from, to) = (self.last.revision(), snapshot.revision());
        // Not `delta.from`: what was skipped because nothing seemed to differ may have been several publications.
        if to > from + 1 {
            self.gaps.push_back((from, to));
        }
        self.last = snapshot;
        self.tombstones
            .extend(gone(delta).map(|tombstone| (to, tombstone)));
        while self.tombstones.len() > self.capacity {
            if let Some((revision, _)) = self.tombstones.pop_front() {
                self.floor = self.floor.max(revision);
            }
        }
        while self.gaps.len() > self.capacity {
            if let Some((_, to)) = self.gaps.pop_front() {
                self.floor = self.floor.max(to);
            }
        }
        while self.gaps.front().is_some_and(|(_, to)| *to <= self.floor) {
            self.gaps.pop_front();
        }
    }

    /// What turns the state of revision `since` into `snapshot`; `None` where nobody remembers.
    pub(super) fn missed(&self, since: u64, snapshot: &Snapshot) -> Option<Missed> {
        let (followed, to) = (self.last.revision(), snapshot.revision());
        let skipped = |from: u64, to: u64| from < since && since < to;
        let within_gap = self.gaps.iter().any(|(from, to)| skipped(*from, *to));
        if since > to || since < self.floor || within_gap || skipped(followed, to) {
            return None;
        }
        let newer = if to > followed {
            snapshot.changes_since(&self.last)
        } else {
            Delta::default()
        };
        let mut missed = Missed::default();
        let start = self
            .tombstones
            .partition_point(|(revision, _)| *revision <= since);
        let remembered = self
            .tombstones
            .iter()
            .skip(start)
            .map(|(_, tombstone)| tombstone.clone());
        for tombstone in remembered.chain(gone(&newer)) {
            match tombstone {
                // What is there again counts as updated.
                Tombstone::Service(hostname) if held(snapshot, &hostname).is_none() => {
                    missed.removed.push(hostname);
                }
                Tombstone::Registry(id) if snapshot.registry(&id).is_none() => {
                    missed.phases.push((id, None));
                }
                Tombstone::Service(_) | Tombstone::Registry(_) => {}
            }
        }
        missed.removed.sort_unstable();
        missed.removed.dedup();
        missed.phases.sort_unstable();
        missed.phases.dedup();
        let phases = snapshot.registries().iter();
        missed
            .phases
            .extend(phases.map(|registry| (registry.id().clone(), Some(registry.phase()))));
        let updated = snapshot.services().filter(|service| service.revision() > since);
        missed.updated = updated.cloned().collect();
        Some(missed)
    }
}

fn gone(delta: &Delta) -> impl Iterator<Item = Tombstone> {
    let registries = delta.phases.iter().filter(|(_, phase)| phase.is_none());
    let registries = registries.map(|(id, _)| Tombstone::Registry(id.clone()));
    delta
        .removed
        .iter()
        .cloned()
        .map(Tombstone::Service)
        .chain(registries)
}

/// The service whose hostname this is; a further name of another one does not count.
pub(super) fn held<'a>(snapshot: &'a Snapshot, hostname: &str) -> Option<&'a Arc<Service>> {
    snapshot
        .get(hostname)
        .filter(|service| service.hostname().as_str() == hostname)
}

#[cfg(test)]
mod tests {
    use registry_core::engine::{Engine, EngineSettings};
    use registry_core::{
        Event, RegistryOptions, Scope, ServiceId, ServiceMeta, ServiceRecord, StaticRegistry,
    };
    use tokio::time::Instant;

    use super::*;

    /// The snapshots of a history of listings.
    fn history(listings: &[&[&str]]) -> Vec<Arc<Snapshot>> {
        let now = Instant::now();
        let id: RegistryId = "vms".parse().unwrap();
        let mut engine = Engine::new(EngineSettings::default(), now);
        let registry = StaticRegistry::new([]);
        let options = RegistryOptions::default();
        engine
            .add(id.clone(), &registry, options, Arc::default())
            .unwrap();
        let record = |name: &&str| {
            ServiceRecord::new(ServiceMeta::builder(ServiceId::named(*name)).build(), Vec::new())
        };
        let publish = |names: &&[&str]| {
            let batch = Event::listing(Scope::Registry, names.iter().map(record));
            engine.apply(&id, batch, now).unwrap();
            engine.tick(now);
            engine.publish(now).unwrap()
        };
        listings.iter().map(publish).collect()
    }

    fn note(ring: &mut Ring, snapshot: &Arc<Snapshot>) {
        let delta = snapshot.changes_since(&ring.last);
        ring.note(snapshot.clone(), &delta);
    }

    #[test]
    fn what_came_and_went_between_two_looks_is_not_guessed() {
        let snapshots = history(&[&["a"], &["a", "ghost"], &["a"], &["a", "b"]]);
        let revisions: Vec<u64> = snapshots.iter().map(|snapshot| snapshot.revision()).collect();
        let newest = &snapshots[3];
        let mut ring = Ring::new(10, snapshots[0].clone());
        // The second publication is never seen: a client that knows the ghost cannot be told to forget it.
        note(&mut ring, &snapshots[2]);
        note(&mut ring, newest);
        assert!(ring.missed(revisions[1], newest).is_none());
        for since in [revisions[0], revisions[2]] {
            let missed = ring.missed(since, newest).unwrap();
            assert_eq!((missed.updated.len(), missed.removed.len()), (1, 0));
        }
        assert!(
            ring.missed(revisions[0] - 1, newest).is_none(),
            "before all that is remembered"
        );
        assert!(
            ring.missed(revisions[3] + 1, newest).is_none(),
            "from another life"
        );
    }

    #[test]
    fn a_snapshot_that_is_newer_than_what_is_followed_counts_too() {
        let snapshots = history(&[&["a", "b"], &["a", "b", "c"], &["a", "c"], &["a"]]);
        let revisions: Vec<u64> = snapshots.iter().map(|snapshot| snapshot.revision()).collect();
        let mut ring = Ring::new(10, snapshots[0].clone());
        note(&mut ring, &snapshots[1]);
        let missed = ring.missed(revisions[0], &snapshots[3]).unwrap();
        assert_eq!(missed.removed, ["b.static", "c.static"].map(Str::from));
        assert!(
            ring.missed(revisions[2], &snapshots[3]).is_none(),
            "nobody looked at it"
        );
        // And an older one: what was removed later is still there, and goes with a later delta.
        note(&mut ring, &snapshots[2]);
        note(&mut ring, &snapshots[3]);
        let missed = ring.missed(revisions[0], &snapshots[1]).unwrap();
        assert!(missed.removed.is_empty());
    }
}
