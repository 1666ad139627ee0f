//! Complete listings: what begins them, and when they are complete.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{ErrorKind, Event, RegistryError, Scope, ServiceId, Str};
use tokio::time::Instant;

use super::Session;
use super::tell::announced;
use crate::nomad::plan::Haste;

/// How long a complete listing waits for services that cannot be read, after the last one that could.
const PATIENCE: Duration = Duration::from_secs(15);

/// A complete listing under way.
pub(super) struct Round {
    /// Asks the leader for everything: it is to confirm something unlikely.
    strong: bool,
    /// Nothing that was known before is of use: no service is read until all lists are.
    waits: bool,
    pub(super) began: Instant,
    stage: Stage,
}

enum Stage {
    /// The lists are read anew. Nothing is told yet.
    Lists {
        awaited: BTreeSet<usize>,
        failed: BTreeMap<usize, Arc<RegistryError>>,
    },
    /// The services are.
    Services {
        awaited: HashSet<ServiceId>,
        unread: Vec<(Scope, Arc<RegistryError>)>,
        read: usize,
        deadline: Instant,
    },
}

impl Round {
    pub(super) fn is_strong(&self) -> bool {
        self.strong
    }

    /// True before any service was asked for: whatever is new now will be asked for then.
    pub(super) fn is_listing(&self) -> bool {
        matches!(self.stage, Stage::Lists { .. })
    }

    /// Holds back all reads of services until the lists are read.
    pub(super) fn wait(&mut self) {
        self.waits = true;
    }

    /// True while no service is to be read.
    pub(super) fn waits_for_lists(&self) -> bool {
        self.waits && self.is_listing()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Lists { .. } => None,
            Stage::Services { deadline, .. } => Some(*deadline),
        }
    }

    /// True where the listing cannot end before that service was read.
    pub(super) fn awaits(&self, service: &ServiceId) -> bool {
        matches!(&self.stage, Stage::Services { awaited, .. } if awaited.contains(service))
    }

    /// That service could not be read, and will not be for long.
    pub(super) fn leave_out(&mut self, service: &ServiceId, error: Arc<RegistryError>) {
        if let Stage::Services { awaited, unread, .. } = &mut self.stage {
            awaited.remove(service);
            unread.push((Scope::Service(service.clone()), error));
        }
    }
}

impl Session {
    /// True while what is told is part of a complete listing.
    pub(super) fn is_round_open(&self) -> bool {
        self.listing.is_some()
    }

    /// Notes that a service was told, and what of it was said to be removed.
    pub(super) fn note_told(&mut self, service: &ServiceId, gone: &[Str]) {
        if let Some(told) = &mut self.listing {
            told.entry(service.clone()).or_default().extend_from_slice(gone);
        }
    }

    /// Begins a complete listing, in the place of one under way.
    pub(super) fn begin_round(&mut self, strong: bool, now: Instant) {
        let feeds = 0..self.feeds.len();
        for feed in feeds.clone() {
            self.feeds[feed].look(now);
        }
        // Another wish does not make what is known any better.
        let waits = !self.synced || self.round.as_ref().is_some_and(Round::waits_for_lists);
        self.round = Some(Round {
            strong,
            waits,
            began: now,
            stage: Stage::Lists {
                awaited: feeds.collect(),
                failed: BTreeMap::new(),
            },
        });
    }

    /// A list was read, or could not be. Returns true where all lists failed.
    pub(super) fn list_in_round(
        &mut self,
        feed: usize,
        error: Option<Arc<RegistryError>>,
        started: Instant,
        now: Instant,
    ) -> bool {
        let all = self.feeds.len();
        let Some(round) = self.round.as_mut() else {
            return false;
        };
        let Stage::Lists { awaited, failed } = &mut round.stage else {
            return false;
        };
        // What was asked of the registry before the wish is no answer to it.
        if started < round.began || !awaited.remove(&feed) {
            return false;
        }
        if let Some(error) = error {
            failed.insert(feed, error);
        }
        if !awaited.is_empty() {
            return false;
        }
        if failed.len() == all {
            // They are tried again anyway; the listing is still wanted.
            *awaited = std::mem::take(failed).into_keys().collect();
            return true;
        }
        let failed = std::mem::take(failed);
        self.read_all(&failed, now);
        false
    }

    fn read_all(&mut self, failed: &BTreeMap<usize, Arc<RegistryError>>, now: Instant) {
        self.batch.push(Event::Init(Scope::Registry));
        let dropped = self.listing.replace(HashMap::new()).unwrap_or_default();
        let unread = failed
            .iter()
            .map(|(feed, error)| (self.feeds[*feed].scope(), error.clone()));
        let unread: Vec<_> = unread.collect();
        let readable = |service: &&ServiceId| {
            self.feed_of(service)
                .is_some_and(|feed| !failed.contains_key(&feed))
        };
        let awaited: HashSet<ServiceId> = self.services.keys().filter(readable).cloned().collect();
        // What is known already is merely compared, which may take its time.
        let haste = match self.synced && !self.round.as_ref().is_some_and(Round::is_strong) {
            true => Haste::Turn,
            false => Haste::Now,
        };
        for service in &awaited {
            self.plan.want(service, haste);
        }
        for (service, gone) in dropped {
            // Also where the list failed this time: nobody else would tell of it again.
            self.plan.want(&service, haste);
            match self.services.get_mut(&service) {
                Some(tracked) => tracked.untold(gone),
                None => self.batch.extend(announced(&service, gone)),
            }
        }
        if let Some(round) = &mut self.round {
            round.began = now;
            round.stage = Stage::Services {
                awaited,
                unread,
                read: 0,
                deadline: now + PATIENCE,
            };
        }
        self.end_round_if_due(now);
    }

    /// A service was read by a request that was sent then.
    pub(super) fn service_in_round(&mut self, service: &ServiceId, started: Instant, now: Instant) {
        if let Some(round) = &mut self.round
            && started >= round.began
            && let Stage::Services {
                awaited,
                unread,
                read,
                deadline,
            } = &mut round.stage
        {
            // One that failed first is known as well as any other: called unread, it would keep what it had for good.
            let left_out = unread.len();
            unread.retain(|(scope, _)| !matches!(scope, Scope::Service(id) if id == service));
            if awaited.remove(service) || unread.len() < left_out {
                *read += 1;
                *deadline = now + PATIENCE;
            }
        }
        self.end_round_if_due(now);
    }

    pub(super) fn end_round_if_due(&mut self, now: Instant) {
        let Some(round) = &mut self.round else { return };
        let Stage::Services {
            awaited,
            unread,
            read,
            deadline,
        } = &mut round.stage
        else {
            return;
        };
        if now >= *deadline {
            let known = |service: &ServiceId| self.services.get(service)?.error.clone();
            if !self.synced && *read == 0 {
                // A listing of which nothing could be read is no knowledge: there is nothing that could be relied upon yet.
                let error = awaited.iter().find_map(known).unwrap_or_else(no_answer);
                *deadline = now + PATIENCE;
                self.batch.push(Event::degraded(Scope::Registry, error));
                return;
            }
            for service in std::mem::take(awaited) {
                let Some(tracked) = self.services.get_mut(&service) else {
                    continue;
                };
                let error = tracked.error.get_or_insert_with(no_answer).clone();
                unread.push((Scope::Service(service), error));
            }
        }
        if !awaited.is_empty() {
            return;
        }
        let unread = std::mem::take(unread);
        let strong = round.strong;
        self.round = None;
        self.listing = None;
        self.synced = true;
        let mut kept = Vec::new();
        for feed in &mut self.feeds {
            let scope = feed.scope();
            if unread.iter().any(|(unread, _)| *unread == scope) {
                // It may have recovered meanwhile, and said so too early: the end of the listing calls it unread again.
                feed.recover();
                // The listing takes nothing away there, also not what was found to be gone.
                let gone = self
                    .services
                    .iter()
                    .filter(|(service, tracked)| scope.contains(service) && tracked.is_gone());
                kept.extend(gone.map(|(service, _)| service.clone()));
            }
        }
        self.batch.push(Event::InitDone {
            scope: Scope::Registry,
            unread,
        });
        self.batch
            .extend(kept.into_iter().map(|id| Event::Delete { id, explicit: false }));
        let over: Vec<ServiceId> = self
            .services
            .iter()
            .filter(|(_, tracked)| tracked.is_over())
            .map(|(service, _)| service.clone())
            .collect();
        for service in over {
            self.forget(&service);
        }
        if strong {
            self.memory().strong = false;
        }
    }
}

fn no_answer() -> Arc<RegistryError> {
    Arc::new(RegistryError::new(
        ErrorKind::Unavailable,
        "no answer to the request for it yet",
    ))
}
