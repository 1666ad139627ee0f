//! One registry's shard: its records, and how events change them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::error::{ErrorKind, RegistryError};
use crate::event::{Event, Scope};
use crate::filter::Passed;
use crate::hostname::HostnameTemplate;
use crate::model::{RegistryId, ServiceId, ServiceMeta, ServiceRecord, Timestamp};
use crate::options::RegistryOptions;
use crate::status::{Freshness, Live, Phase, RegistrySummary};
use crate::text::Str;

/// The state of one registry.
#[derive(Debug)]
pub(crate) struct RegistryState {
    pub(crate) id: RegistryId,
    pub(crate) order: u32,
    pub(crate) options: RegistryOptions,
    pub(crate) freshness: Freshness,
    pub(crate) live: Arc<Live>,
    kind: &'static str,
    template: HostnameTemplate,
    records: HashMap<ServiceId, Held>,
    listings: Vec<Listing>,
    phase_since: Timestamp,
    endpoints: usize,
    taking_part: usize,
}

/// One record as delivered, and what of it takes part in the merge.
#[derive(Debug)]
struct Held {
    record: ServiceRecord,
    part: Part,
    names: Names,
}

#[derive(Debug)]
enum Part {
    Nothing,
    Everything,
    Some(Box<ServiceRecord>),
}

/// The hostnames that a record claims: its own, and those of the configured aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) hostname: Str,
    pub(crate) aliases: Option<Box<[Str]>>,
}

impl Names {
    pub(crate) fn aliases(&self) -> &[Str] {
        self.aliases.as_deref().unwrap_or_default()
    }
}

/// A listing that has begun and is not complete.
#[derive(Debug)]
struct Listing {
    scope: Scope,
    records: HashMap<ServiceId, (ServiceRecord, bool)>,
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
        kind: &'static str,
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
            template,
            records: HashMap::new(),
            listings: Vec::new(),
            phase_since: Timestamp::now(),
            endpoints: 0,
            taking_part: 0,
        }
    }

    /// Whether the hostname template was set, rather than left to the default.
    pub(crate) fn names_are_set(&self) -> bool {
        self.options.hostname.is_some()
    }

    /// What of a service takes part in the merge.
    pub(crate) fn part(&self, id: &ServiceId) -> Option<&ServiceRecord> {
        let held = self.records.get(id)?;
        match &held.part {
            Part::Nothing => None,
            Part::Everything => Some(&held.record),
            Part::Some(record) => Some(record),
        }
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
                    self.listings.push(Listing {
                        scope,
                        records: HashMap::new(),
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
                            listing.records.insert(record.id().clone(), (record, explicit));
                        }
                        None => {
                            let scope = Scope::Service(record.id().clone());
                            if self.put(record, now, changes) {
                                self.freshness.confirm(&scope, now);
                            }
                        }
                    }
                }
                Event::InitDone { scope, unread } => self.finish(&scope, unread, now, changes)?,
                Event::Delete { id, .. } => {
                    match self
                        .listings
                        .iter_mut()
                        .find(|listing| listing.scope.contains(&id))
                    {
                        Some(listing) => {
                            listing.records.remove(&id);
                        }
                        None => self.delete(&id, changes),
                    }
                }
                Event::Confirmed(scope) => self.freshness.confirm(&scope, now),
                Event::Degraded { scope, error } => self.degrade(scope, error, now),
            }
        }
        self.live.note_freshness(&self.freshness);
        Ok(())
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
        self.live.note_freshness(&self.freshness);
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
        if nothing_read && *scope == Scope::Registry && !self.freshness.synced() {
            self.freshness.wait_for_a_part();
        } else {
            self.freshness.complete(scope, now);
        }
        self.pass_on(&listing, &unread);
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
            self.delete(&id, changes);
        }
        for (record, _) in listing.records.into_values() {
            self.put(record, now, changes);
        }
        for (scope, error) in unread {
            self.degrade(scope, error, now);
        }
        Ok(())
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
        }
    }

    /// Takes a record. False where it was refused.
    fn put(&mut self, record: ServiceRecord, now: Instant, changes: &mut Vec<Change>) -> bool {
        let limits = self.options.limits;
        let count = self.records.len();
        let id = record.id().clone();
        let held = self.records.get_mut(&id);
        let checked = limits.check_count(&record).and_then(|()| match &held {
            // What is shared with the held record was checked when it came.
            Some(held) if Arc::ptr_eq(held.record.meta(), record.meta()) => Ok(()),
            _ => limits.check_meta(record.meta()),
        });
        let checked = checked.and_then(|()| match &held {
            None if count >= limits.services => Err(format!(
                "service {id}: the registry has {count} services already, the limit"
            )),
            None => record
                .endpoints()
                .iter()
                .try_for_each(|endpoint| limits.check_endpoint(endpoint)),
            Some(held) => record
                .endpoints()
                .changed_places(held.record.endpoints())
                .into_iter()
                .try_for_each(|endpoint| limits.check_endpoint(endpoint)),
        });
        if let Err(problem) = checked {
            let error = Arc::new(RegistryError::new(ErrorKind::Limit, problem));
            self.degrade(Scope::Service(id), error, now);
            return false;
        }
        let Some(held) = held else {
            let held = hold(record, None, &self.options, &self.template);
            self.endpoints += held.endpoints();
            if let Some(names) = held.claimed() {
                self.taking_part += 1;
                changes.push(Change {
                    id: id.clone(),
                    before: None,
                    after: Some(names),
                });
            }
            self.records.insert(id, held);
            return true;
        };
        let meta = if held.record.meta().is_same(record.meta()) {
            held.record.meta().clone()
        } else {
            record.meta().clone()
        };
        let endpoints = record.endpoints().clone();
        // The last reference where the backend keeps none, so that rebasing works in place.
        drop(record);
        let endpoints = endpoints.rebased_on(held.record.endpoints());
        if Arc::ptr_eq(&meta, held.record.meta()) && endpoints.ptr_eq(held.record.endpoints()) {
            return true;
        }
        let next = hold(
            ServiceRecord::new(meta, endpoints),
            Some(held),
            &self.options,
            &self.template,
        );
        let (before, after) = (held.claimed(), next.claimed());
        self.endpoints = self.endpoints + next.endpoints() - held.endpoints();
        self.taking_part = self.taking_part + usize::from(after.is_some()) - usize::from(before.is_some());
        *held = next;
        if before.is_some() || after.is_some() {
            changes.push(Change { id, before, after });
        }
        true
    }

    fn delete(&mut self, id: &ServiceId, changes: &mut Vec<Change>) {
        self.freshness.forget(&Scope::Service(id.clone()));
        let Some(held) = self.records.remove(id) else {
            return;
        };
        self.endpoints -= held.endpoints();
        if held.takes_part() {
            self.taking_part -= 1;
            changes.push(Change {
                id: id.clone(),
                before: Some(held.names),
                after: None,
            });
        }
    }

    /// Applies other options to what is held.
    pub(crate) fn reconfigure(&mut self, order: u32, options: RegistryOptions, changes: &mut Vec<Change>) {
        self.order = order;
        self.options = options;
        self.endpoints = 0;
        self.taking_part = 0;
        for (id, held) in &mut self.records {
            let next = hold(held.record.clone(), None, &self.options, &self.template);
            let (before, after) = (held.claimed(), next.claimed());
            self.endpoints += next.endpoints();
            self.taking_part += usize::from(after.is_some());
            *held = next;
            if before.is_some() || after.is_some() {
                changes.push(Change {
                    id: id.clone(),
                    before,
                    after,
                });
            }
        }
    }

    /// What the backend is may change with a new configuration; what it said stays until it says otherwise.
    pub(crate) fn set_backend(&mut self, kind: &'static str, template: HostnameTemplate) {
        self.kind = kind;
        self.template = template;
    }

    /// Forgets everything, as the registry is being removed.
    pub(crate) fn clear(&mut self, changes: &mut Vec<Change>) {
        let ids: Vec<ServiceId> = self.records.keys().cloned().collect();
        for id in ids {
            self.delete(&id, changes);
        }
    }

    /// Lets time pass. True where phase or staleness changed.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let before = self.freshness.phase();
        let changed = self.freshness.tick(now);
        let phase = self.freshness.phase();
        if phase != before {
            self.phase_since = Timestamp::now();
            match phase {
                Phase::Stale => {
                    tracing::warn!(registry = %self.id, services = self.records.len(), "registry is stale; its endpoints are kept");
                }
                Phase::Synced => {
                    tracing::info!(registry = %self.id, services = self.records.len(), "registry is synced");
                }
                Phase::Connecting => {}
            }
        }
        if changed {
            self.live.note_freshness(&self.freshness);
        }
        changed
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
            since: self.phase_since,
            known: self.freshness.synced(),
            services: self.taking_part,
            endpoints: self.endpoints,
            warnings,
            domains: self.options.domains.clone(),
            live: self.live.clone(),
        }
    }
}

impl Held {
    fn takes_part(&self) -> bool {
        !matches!(self.part, Part::Nothing)
    }

    /// The names it claims.
    fn claimed(&self) -> Option<Names> {
        self.takes_part().then(|| self.names.clone())
    }

    fn endpoints(&self) -> usize {
        match &self.part {
            Part::Nothing => 0,
            Part::Everything => self.record.endpoints().len(),
            Part::Some(record) => record.endpoints().len(),
        }
    }
}

fn hold(
    record: ServiceRecord,
    last: Option<&Held>,
    options: &RegistryOptions,
    template: &HostnameTemplate,
) -> Held {
    let names = match last {
        Some(last) if Arc::ptr_eq(last.record.meta(), record.meta()) => last.names.clone(),
        _ => names(record.meta(), options, template),
    };
    let allowed = options.domains.is_empty()
        || options
            .domains
            .iter()
            .any(|domain| domain.matches(&names.hostname));
    let passed = if !allowed || names.hostname.is_empty() {
        Passed::Nothing
    } else if options.filter.is_empty() {
        Passed::Everything
    } else {
        options.filter.pass(&record)
    };
    let before = match last.map(|last| &last.part) {
        Some(Part::Some(before)) => Some(before),
        _ => None,
    };
    let endpoints = match passed {
        Passed::Nothing => {
            return Held {
                record,
                part: Part::Nothing,
                names,
            };
        }
        Passed::Everything => record.endpoints().clone(),
        Passed::Part(part) => match before {
            Some(before) => part.endpoints().clone().rebased_on(before.endpoints()),
            None => part.endpoints().clone(),
        },
    };
    let meta = if names.aliases().is_empty() {
        record.meta().clone()
    } else {
        match (last, before) {
            (Some(last), Some(before)) if Arc::ptr_eq(last.record.meta(), record.meta()) => {
                before.meta().clone()
            }
            _ => {
                let aliases = record.meta().aliases().iter().chain(names.aliases()).cloned();
                record.meta().to_builder().aliases(aliases).build()
            }
        }
    };
    let part = if Arc::ptr_eq(&meta, record.meta()) && endpoints.ptr_eq(record.endpoints()) {
        Part::Everything
    } else {
        Part::Some(Box::new(ServiceRecord::new(meta, endpoints)))
    };
    Held { record, part, names }
}

fn names(meta: &ServiceMeta, options: &RegistryOptions, template: &HostnameTemplate) -> Names {
    let hostname: Str = options.hostname.as_ref().unwrap_or(template).render(meta).into();
    let mut aliases: Vec<Str> = options
        .aliases
        .iter()
        .map(|template| Str::from(template.render(meta)))
        .filter(|alias| *alias != hostname && !alias.is_empty())
        .collect();
    aliases.sort();
    aliases.dedup();
    Names {
        hostname,
        aliases: (!aliases.is_empty()).then(|| aliases.into()),
    }
}
