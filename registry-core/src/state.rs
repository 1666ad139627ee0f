//! One registry's shard: its records, and how events change them.

mod entry;
mod ledger;
mod survival;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use crate::behind::Lineage;
use crate::endpoint_set::EndpointSet;
use crate::error::{ErrorKind, RegistryError};
use crate::event::{Event, Scope};
use crate::hostname::HostnameTemplate;
use crate::model::{Address, Endpoint, RegistryId, ServiceId, ServiceRecord, Timestamp};
use crate::options::RegistryOptions;
use crate::status::{Freshness, Live, Phase, RegistrySummary};
use crate::store::Saved;
use crate::text::Str;
use entry::Entry;
pub(crate) use entry::Names;
pub(crate) use survival::Holding;
use survival::{Answer, Survival};

/// The state of one registry.
#[derive(Debug)]
pub(crate) struct RegistryState {
    pub(crate) id: RegistryId,
    pub(crate) order: u32,
    pub(crate) options: RegistryOptions,
    pub(crate) freshness: Freshness,
    pub(crate) live: Arc<Live>,
    kind: &'static str,
    target: String,
    template: HostnameTemplate,
    records: HashMap<ServiceId, Entry>,
    listings: Vec<Listing>,
    survival: Survival,
    phase_since: Timestamp,
    endpoints: usize,
    taking_part: usize,
    /// Counts the changes of the records.
    version: u64,
}

/// A listing that has begun and is not complete.
#[derive(Debug)]
struct Listing {
    scope: Scope,
    answer: Answer,
    records: HashMap<ServiceId, (ServiceRecord, bool)>,
    /// Services whose removal was announced in so many words meanwhile.
    announced: HashSet<ServiceId>,
    /// Endpoints of which the same was announced, by their services.
    gone: Vec<(ServiceId, Vec<Str>)>,
}

/// What a tick changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flip {
    /// The phase, or the staleness of a scope.
    pub(crate) stale: bool,
    /// What is held back.
    pub(crate) settled: bool,
}

/// A service of the shard whose part in the merge changed: the names it claimed before, and those it claims now.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: ServiceId,
    pub(crate) before: Option<Names>,
    pub(crate) after: Option<Names>,
}

impl RegistryState {
    pub(crate) fn new(
        id: RegistryId,
        (kind, target): (&'static str, String),
        template: HostnameTemplate,
        order: u32,
        options: RegistryOptions,
        freshness: Freshness,
        live: Arc<Live>,
    ) -> Self {
        Self {
            id,
            order,
            options,
            freshness,
            live,
            kind,
            target,
            template,
            records: HashMap::new(),
            listings: Vec::new(),
            survival: Survival::default(),
            phase_since: Timestamp::now(),
            endpoints: 0,
            taking_part: 0,
            version: 0,
        }
    }

    /// Whether the hostname template was set, rather than left to the default.
    pub(crate) fn names_are_set(&self) -> bool {
        self.options.hostname.is_some()
    }

    /// What of a service takes part in the merge.
    pub(crate) fn part(&self, id: &ServiceId) -> Option<&ServiceRecord> {
        self.records.get(id)?.part()
    }

    /// The names of all services that take part.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Names> {
        self.records.values().filter_map(Entry::names)
    }

    /// All that is known of each service, before filters and templates.
    pub(crate) fn records(&self) -> impl Iterator<Item = &ServiceRecord> {
        self.records.values().map(Entry::record)
    }

    /// Applies a batch. What changed goes to `changes`; an error means that the backend broke its contract.
    pub(crate) fn apply(
        &mut self,
        batch: Vec<Event>,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Result<(), RegistryError> {
        for event in batch {
            match event {
                Event::Init(scope) => {
                    self.listings.retain(|listing| listing.scope != scope);
                    let answer = match scope {
                        Scope::Registry => self.survival.answer(),
                        _ => Answer::default(),
                    };
                    self.listings.push(Listing {
                        scope,
                        answer,
                        records: HashMap::new(),
                        announced: HashSet::new(),
                        gone: Vec::new(),
                    });
                    // The narrowest listing that contains a service speaks for it.
                    self.listings
                        .sort_by_key(|listing| std::cmp::Reverse(listing.scope.narrowness()));
                }
                Event::Apply { record, explicit } => {
                    match self
                        .listings
                        .iter_mut()
                        .find(|listing| listing.scope.contains(record.id()))
                    {
                        Some(listing) => {
                            listing.announced.remove(record.id());
                            listing.records.insert(record.id().clone(), (record, explicit));
                        }
                        None => {
                            let scope = Scope::Service(record.id().clone());
                            if self.put(record, explicit, now, changes) {
                                self.freshness.confirm(&scope, now);
                            }
                        }
                    }
                }
                Event::InitDone { scope, unread } => self.finish(&scope, unread, now, changes)?,
                Event::Delete { id, explicit } => {
                    match self
                        .listings
                        .iter_mut()
                        .find(|listing| listing.scope.contains(&id))
                    {
                        Some(listing) => {
                            listing.records.remove(&id);
                            if explicit {
                                listing.announced.insert(id);
                            }
                        }
                        None => self.delete(&id, explicit, now, changes),
                    }
                }
                Event::Announced { id, gone } => {
                    match self
                        .listings
                        .iter_mut()
                        .find(|listing| listing.scope.contains(&id))
                    {
                        Some(listing) => listing.gone.push((id, gone)),
                        None => self.let_go(&id, &gone, now, changes),
                    }
                }
                Event::Confirmed(scope) => self.freshness.confirm(&scope, now),
                Event::Behind { instance, registries } => self.freshness.descend(Lineage {
                    instance,
                    behind: registries.into(),
                }),
                Event::Degraded { scope, error } => self.degrade(scope, error, now),
            }
        }
        self.note();
        Ok(())
    }

    fn note(&self) {
        self.live.note_freshness(&self.freshness);
        let (holding, comparisons) = (self.holding(), self.survival.comparisons());
        self.live.note_survival(self.options.outage, holding, comparisons);
    }

    /// What is held was published: what went until now is gone.
    pub(crate) fn published(&mut self) {
        self.survival.published();
    }

    fn degrade(&mut self, scope: Scope, error: Arc<RegistryError>, now: Instant) {
        self.live.note_error(&error);
        self.freshness.degrade(scope, error, now);
    }

    /// The watch ended, or could not be opened: unfinished listings change nothing.
    pub(crate) fn interrupted(&mut self, error: Option<&Arc<RegistryError>>, now: Instant) {
        self.listings.clear();
        if let Some(error) = error {
            self.degrade(Scope::Registry, error.clone(), now);
        }
        self.survival.session_ended();
        self.note();
    }

    fn finish(
        &mut self,
        scope: &Scope,
        unread: Vec<(Scope, Arc<RegistryError>)>,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Result<(), RegistryError> {
        let Some(at) = self.listings.iter().position(|listing| listing.scope == *scope) else {
            let message = format!("InitDone of {scope} without an Init before it");
            return Err(RegistryError::new(ErrorKind::Internal, message));
        };
        let listing = self.listings.remove(at);
        let limit = self.options.limits.services;
        if listing.records.len() > limit {
            // Refused as a whole, so that nothing became known by it.
            let message = format!(
                "{} services in {scope}, expected at most {limit}",
                listing.records.len()
            );
            let error = Arc::new(RegistryError::new(ErrorKind::Limit, message));
            self.degrade(scope.clone(), error, now);
            return Ok(());
        }
        let nothing_read = listing.records.is_empty() && !unread.is_empty();
        let all_unread = unread.iter().any(|(unread, _)| unread.covers(scope));
        if nothing_read && *scope == Scope::Registry && !self.freshness.heard() {
            self.freshness.wait_for_a_part();
        } else if all_unread && (nothing_read || self.freshness.heard()) {
            // No word on the whole: what was read is as good as told one by one.
            for id in listing.records.keys() {
                self.freshness.confirm(&Scope::Service(id.clone()), now);
            }
        } else {
            self.freshness.complete(scope, &unread, now);
        }
        self.pass_on(&listing, &unread);
        let before = changes.len();
        let kept = |id: &ServiceId| {
            listing.records.contains_key(id) || unread.iter().any(|(scope, _)| scope.contains(id))
        };
        let gone: Vec<ServiceId> = match scope {
            Scope::Service(id) => self
                .records
                .contains_key(id)
                .then(|| id.clone())
                .into_iter()
                .collect(),
            _ => self
                .records
                .keys()
                .filter(|id| scope.contains(id))
                .cloned()
                .collect(),
        };
        for id in gone.into_iter().filter(|id| !kept(id)) {
            let explicit = listing.announced.contains(&id);
            self.delete(&id, explicit, now, changes);
        }
        for (record, explicit) in listing.records.into_values() {
            let id = record.id();
            let partly = unread
                .iter()
                .any(|(scope, _)| matches!(scope, Scope::Service(unread) if unread == id));
            let record = if partly {
                self.with_what_it_had(record)
            } else {
                record
            };
            self.put(record, explicit, now, changes);
        }
        for (id, gone) in &listing.gone {
            self.let_go(id, gone, now, changes);
        }
        if *scope == Scope::Registry {
            self.listed(listing.answer, &unread, changes.len() - before, now, changes);
        }
        for (scope, error) in unread {
            self.degrade(scope, error, now);
        }
        Ok(())
    }

    /// A record of which a part could not be read, with what it had at other addresses.
    fn with_what_it_had(&self, record: ServiceRecord) -> ServiceRecord {
        if record.is_of_nothing() {
            // That is a loss, whatever could not be read beside it: to be weighed as one, not hidden by a name without a service.
            return record;
        }
        let Some(held) = self.records.get(record.id()).and_then(Entry::delivered) else {
            return record;
        };
        let places = |set: &EndpointSet| -> HashSet<(Str, Address)> {
            let place = |endpoint: &Arc<Endpoint>| (endpoint.network().clone(), endpoint.address().clone());
            set.iter().map(place).collect()
        };
        let read = places(record.endpoints());
        let mut endpoints = record.endpoints().clone();
        for endpoint in held.endpoints().iter() {
            if !read.contains(&(endpoint.network().clone(), endpoint.address().clone())) {
                endpoints.insert(endpoint.clone());
            }
        }
        ServiceRecord::new(record.meta().clone(), endpoints)
    }

    /// What a listing found out is news to the wider ones around it, which began before it ended.
    fn pass_on(&mut self, listing: &Listing, unread: &[(Scope, Arc<RegistryError>)]) {
        for wider in self
            .listings
            .iter_mut()
            .filter(|wider| wider.scope.covers(&listing.scope))
        {
            wider.records.retain(|id, _| {
                !listing.scope.contains(id) || unread.iter().any(|(scope, _)| scope.contains(id))
            });
            let records = listing.records.iter();
            wider
                .records
                .extend(records.map(|(id, found)| (id.clone(), found.clone())));
            wider.announced.extend(listing.announced.iter().cloned());
            wider.gone.extend(listing.gone.iter().cloned());
        }
    }

    /// Takes a record. False where it was refused.
    fn put(
        &mut self,
        record: ServiceRecord,
        explicit: bool,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> bool {
        let id = record.id().clone();
        let entry = self.records.get(&id);
        if let Err(problem) = self.check(&record, entry) {
            let error = Arc::new(RegistryError::new(ErrorKind::Limit, problem));
            self.degrade(Scope::Service(id), error, now);
            return false;
        }
        let Some(entry) = entry else {
            self.replace(&id, Some((record, None)), false, now, changes);
            return true;
        };
        let (held, said) = (entry.record(), entry.delivered());
        let known = [said.unwrap_or(held).meta(), held.meta()];
        let meta = known.into_iter().find(|meta| meta.is_same(record.meta()));
        let meta = meta.unwrap_or(record.meta()).clone();
        let same_meta = Arc::ptr_eq(&meta, known[0]);
        let all_gone = explicit && record.is_of_nothing();
        if all_gone {
            self.survival.believe_all(&id);
        }
        let endpoints = record.endpoints().clone();
        // The last reference where the backend keeps none, so that rebasing works in place.
        drop(record);
        let endpoints = endpoints.rebased_on(held.endpoints());
        let (record, back) = match entry.back().filter(|_| !all_gone) {
            None if same_meta && endpoints.ptr_eq(held.endpoints()) => return true,
            None => (ServiceRecord::new(meta, endpoints), None),
            Some(back) => {
                if same_meta && said.is_some_and(|said| *said.endpoints() == endpoints) {
                    return true;
                }
                let missing = back.endpoints().iter();
                let missing = missing.filter(|(_, endpoint)| endpoints.get(endpoint).is_none());
                let missing = missing.cloned().collect();
                let delivered = ServiceRecord::new(meta, endpoints);
                survival::beside(delivered, missing, held)
            }
        };
        self.replace(&id, Some((record, back)), explicit, now, changes);
        true
    }

    /// What is wrong with a record, if anything. What is shared with the held one was checked when it came.
    fn check(&self, record: &ServiceRecord, entry: Option<&Entry>) -> Result<(), String> {
        let limits = self.options.limits;
        limits.check_count(record)?;
        let Some(held) = entry.map(Entry::record) else {
            // What is only held back leaves its room to what is listed.
            let count = self.records.len() - self.survival.unlisted();
            if count >= limits.services {
                let id = record.id();
                return Err(format!(
                    "service {id}: the registry has {count} services already, the limit"
                ));
            }
            limits.check_meta(record.meta())?;
            let mut endpoints = record.endpoints().iter();
            return endpoints.try_for_each(|endpoint| limits.check_endpoint(endpoint));
        };
        if !Arc::ptr_eq(held.meta(), record.meta()) {
            limits.check_meta(record.meta())?;
        }
        let changed = record.endpoints().changed_places(held.endpoints());
        changed
            .into_iter()
            .try_for_each(|endpoint| limits.check_endpoint(endpoint))
    }

    /// The registry does not list the service any more.
    fn delete(&mut self, id: &ServiceId, explicit: bool, now: Instant, changes: &mut Vec<Change>) {
        self.freshness.forget(&Scope::Service(id.clone()));
        if explicit {
            self.survival.believe_all(id);
        }
        let Some(entry) = self.records.get(id) else { return };
        let next = match entry.back() {
            Some(_) if !explicit && entry.delivered().is_none() => return,
            Some(back) if !explicit => Some(survival::alone(back.endpoints().to_vec(), entry.record())),
            _ => None,
        };
        self.replace(id, next, explicit, now, changes);
    }

    /// Puts this in place of what is known of a service, and notes what went by it.
    fn replace(
        &mut self,
        id: &ServiceId,
        next: Option<(ServiceRecord, Option<Box<entry::Back>>)>,
        explicit: bool,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        let guard = self.options.guard.as_ref();
        let slot = self.records.get_mut(id);
        let last = slot.as_deref();
        let next = next.map(|(record, back)| Entry::new(record, back, last, &self.options, &self.template));
        let (before, after) = (
            last.and_then(Entry::claimed),
            next.as_ref().and_then(Entry::claimed),
        );
        let count = |entry: Option<&Entry>| entry.map_or(0, Entry::endpoints);
        self.endpoints = self.endpoints + count(next.as_ref()) - count(last);
        self.taking_part = self.taking_part + usize::from(after.is_some()) - usize::from(before.is_some());
        self.version += 1;
        self.survival.note(id, last, next.as_ref(), explicit, guard, now);
        match (slot, next) {
            (Some(slot), Some(next)) => *slot = next,
            (None, Some(next)) => {
                self.records.insert(id.clone(), next);
            }
            (_, None) => {
                self.records.remove(id);
            }
        }
        if before.is_some() || after.is_some() {
            let id = id.clone();
            changes.push(Change { id, before, after });
        }
    }

    /// Applies other options to what is held.
    pub(crate) fn reconfigure(&mut self, order: u32, options: RegistryOptions, changes: &mut Vec<Change>) {
        self.order = order;
        if self.options.guard.is_none() {
            self.survival.forget_losses();
        }
        self.survival
            .reconfigured(self.options.compare == options.compare);
        self.options = options;
        self.freshness.set_outage(self.options.outage);
        self.endpoints = 0;
        self.taking_part = 0;
        for (id, entry) in &mut self.records {
            let (record, back) = (entry.record().clone(), entry.back().cloned().map(Box::new));
            let next = Entry::new(record, back, None, &self.options, &self.template);
            let (before, after) = (entry.claimed(), next.claimed());
            self.endpoints += next.endpoints();
            self.taking_part += usize::from(after.is_some());
            *entry = next;
            if before.is_some() || after.is_some() {
                changes.push(Change {
                    id: id.clone(),
                    before,
                    after,
                });
            }
        }
        self.note();
    }

    /// What the backend is may change with a new configuration; what it said stays until it says otherwise.
    pub(crate) fn set_backend(&mut self, (kind, target): (&'static str, String), template: HostnameTemplate) {
        let same_target = self.kind == kind && self.target == target;
        (self.kind, self.target) = (kind, target);
        self.template = template;
        self.survival.forgive(same_target);
        if !same_target {
            self.freshness.descend(Lineage::default());
        }
    }

    /// Begins with what was known before this start.
    pub(crate) fn restore(&mut self, saved: Saved, now: Instant, changes: &mut Vec<Change>) {
        let age = saved.confirmed.elapsed();
        let services = saved.records.len();
        for record in saved.records {
            self.put(record, false, now, changes);
        }
        self.freshness.restore(now.checked_sub(age).unwrap_or(now));
        self.start_counting();
        tracing::info!(registry = %self.id, services, endpoints = self.endpoints, "restored what was known {age:?} ago; it is stale until the registry is heard");
        self.note();
    }

    /// The version of what is known, where that is by the registry's own word.
    pub(crate) fn saved_version(&self) -> Option<u64> {
        (self.freshness.heard() && self.survival.is_of_target()).then_some(self.version)
    }

    /// Forgets everything, as the registry is being removed.
    pub(crate) fn clear(&mut self, changes: &mut Vec<Change>) {
        for (id, entry) in self.records.drain() {
            if let Some(before) = entry.claimed() {
                changes.push(Change {
                    id,
                    before: Some(before),
                    after: None,
                });
            }
        }
        self.endpoints = 0;
        self.taking_part = 0;
    }

    /// Lets time pass. What is held back or let go by it goes to `changes`.
    pub(crate) fn tick(&mut self, now: Instant, changes: &mut Vec<Change>) -> Flip {
        let before = self.freshness.phase();
        let stale = self.freshness.tick(now);
        let phase = self.freshness.phase();
        if phase != before {
            self.phase_since = Timestamp::now();
            match phase {
                Phase::Stale => {
                    tracing::warn!(registry = %self.id, services = self.records.len(), outage = self.options.outage.as_str(), "registry is stale");
                }
                Phase::Synced => {
                    tracing::info!(registry = %self.id, services = self.records.len(), "registry is synced");
                }
                Phase::Connecting => {}
            }
        }
        let settled = self.settle(now, changes);
        if stale || settled {
            self.note();
        }
        Flip { stale, settled }
    }

    pub(crate) fn summary(&self) -> RegistrySummary {
        let mut warnings = Vec::new();
        if self.freshness.synced() && self.taking_part == 0 && !self.records.is_empty() {
            warnings.push(format!(
                "no service takes part: the filter matches none of {}, or `domains` none of their hostnames",
                self.records.len()
            ));
        }
        RegistrySummary {
            id: self.id.clone(),
            kind: self.kind,
            required: self.options.required,
            phase: self.freshness.phase(),
            partly: self.freshness.is_partly_stale(),
            since: self.phase_since,
            known: self.freshness.knows_all(),
            services: self.taking_part,
            endpoints: self.endpoints,
            warnings,
            domains: self.options.domains.clone(),
            lineage: self.freshness.lineage(),
            live: self.live.clone(),
        }
    }
}
