//! The synchronous heart of discovery: shards, the index of names, the merge, and publication.
//!
//! No I/O, no task, no clock of its own: every call says what time it is. [`Discovery`](crate::Discovery) runs one of
//! these on a task; benchmarks and property tests drive it directly.

mod claims;
mod contenders;
mod index;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, RegistryError};
use crate::event::Event;
use crate::hash::ContentHash;
use crate::hostname::{HostnameTemplate, Pattern};
use crate::merge::{self, Basis, Claimant, MergePolicy, Union};
use crate::model::{RegistryId, Service, ServiceId, ServiceRecord, Timestamp};
use crate::options::{Outage, RegistryOptions};
use crate::registry::{Meter, ServiceRegistry, Wish};
use crate::snapshot::{Qualified, Snapshot};
use crate::state::{Change, Names, RegistryState};
use crate::status::{Freshness, Live, RegistrySummary};
use crate::store::Saved;
use crate::text::Str;
use crate::trie::NameMap;
use claims::{Claims, NameClaim, NameEntry, Several};
use contenders::{Contender, eligible};
use index::ManyToMany;

/// Settings of the merge as a whole.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Policies by pattern of hostname; the first that matches counts, without one it is [`Union`].
    pub policies: Vec<(Pattern, Arc<dyn MergePolicy>)>,
    /// How long readiness waits for registries that are not required.
    pub start_deadline: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            policies: Vec::new(),
            start_deadline: Duration::from_secs(30),
        }
    }
}

/// Whether consumers may rely on the published snapshot, and what is still awaited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// True once every required registry is known, and every other one is or its deadline has passed. It stays true.
    pub ready: bool,
    /// Registries of which nothing is known yet, required or not.
    pub awaited: Vec<RegistryId>,
}

/// Holds the state of all registries, and turns batches of events into snapshots.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    registries: Vec<Option<RegistryState>>,
    summaries: Vec<Arc<RegistrySummary>>,
    /// Slots of registries whose summary may be out of date.
    touched: Vec<usize>,
    registries_changed: bool,
    names: HashMap<Str, NameEntry>,
    /// Names that several services claim: those a change of staleness can affect.
    shared: HashSet<Str>,
    dirty: HashSet<Str>,
    services: NameMap<Arc<Service>>,
    qualified: NameMap<Qualified>,
    aliases: ManyToMany,
    vips: ManyToMany,
    root: ContentHash,
    endpoints: usize,
    conflicts: usize,
    revision: u64,
    started: Instant,
    ready: bool,
}

impl Engine {
    /// An engine without registries.
    pub fn new(settings: EngineSettings, now: Instant) -> Self {
        Self {
            settings,
            registries: Vec::new(),
            summaries: Vec::new(),
            touched: Vec::new(),
            registries_changed: true,
            names: HashMap::new(),
            shared: HashSet::new(),
            dirty: HashSet::new(),
            services: NameMap::default(),
            qualified: NameMap::default(),
            aliases: ManyToMany::default(),
            vips: ManyToMany::default(),
            root: ContentHash::default(),
            endpoints: 0,
            conflicts: 0,
            revision: 0,
            started: now,
            ready: false,
        }
    }

    /// Adds a registry; its services come by [`apply`](Self::apply).
    ///
    /// # Errors
    ///
    /// Where there is one of that name, or its default hostname is no template.
    pub fn add(
        &mut self,
        id: RegistryId,
        registry: &dyn ServiceRegistry,
        options: RegistryOptions,
        meter: Arc<Meter>,
    ) -> Result<(), Error> {
        if self.slot(&id).is_some() {
            return Err(Error::DuplicateRegistry { id });
        }
        let template: HostnameTemplate = registry.default_hostname().parse()?;
        let slot = self
            .registries
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.registries.push(None);
                self.registries.len() - 1
            });
        let order = options.precedence.unwrap_or_else(|| self.next_order());
        let mut freshness = Freshness::new(registry.freshness_bound());
        freshness.set_outage(options.outage);
        let live = Arc::new(Live::new(meter));
        self.registries[slot] = Some(RegistryState::new(
            id,
            (registry.kind(), registry.target()),
            template,
            order,
            options,
            freshness,
            live,
        ));
        self.registries_changed = true;
        Ok(())
    }

    fn next_order(&self) -> u32 {
        self.registries
            .iter()
            .flatten()
            .map(|state| state.order.saturating_add(1))
            .max()
            .unwrap_or(0)
    }

    /// Removes a registry with all that it said.
    ///
    /// # Errors
    ///
    /// Where there is none of that name.
    pub fn remove(&mut self, id: &RegistryId) -> Result<(), Error> {
        let slot = self
            .slot(id)
            .ok_or_else(|| Error::UnknownRegistry { id: id.clone() })?;
        let mut changes = Vec::new();
        if let Some(state) = &mut self.registries[slot] {
            state.clear(&mut changes);
        }
        self.reindex(slot, changes);
        self.registries[slot] = None;
        self.touched.retain(|touched| *touched != slot);
        self.registries_changed = true;
        Ok(())
    }

    /// Changes the settings of a registry; they apply at once to what is held. A new backend replaces what is held
    /// with its first complete knowledge.
    ///
    /// # Errors
    ///
    /// Where there is none of that name, or the default hostname is no template.
    pub fn reconfigure(
        &mut self,
        id: &RegistryId,
        backend: Option<&dyn ServiceRegistry>,
        options: RegistryOptions,
    ) -> Result<(), Error> {
        let slot = self
            .slot(id)
            .ok_or_else(|| Error::UnknownRegistry { id: id.clone() })?;
        let template = backend
            .map(|backend| backend.default_hostname().parse())
            .transpose()?;
        let mut changes = Vec::new();
        if let Some(state) = &mut self.registries[slot] {
            if let (Some(backend), Some(template)) = (backend, template) {
                state.set_backend((backend.kind(), backend.target()), template);
                state.freshness.set_bound(backend.freshness_bound());
            }
            let order = options.precedence.unwrap_or(state.order);
            state.reconfigure(order, options, &mut changes);
        }
        self.reindex(slot, changes);
        self.registries_changed = true;
        Ok(())
    }

    /// Changes the policies of the merge.
    pub fn set_policies(&mut self, policies: Vec<(Pattern, Arc<dyn MergePolicy>)>) {
        let before = std::mem::replace(&mut self.settings.policies, policies);
        let after = &self.settings.policies;
        let other = |name: &&Str| policy(&before, name).name() != policy(after, name).name();
        // A policy may leave out even the only one that claims a name.
        self.dirty.extend(self.names.keys().filter(other).cloned());
        self.dirty.extend(self.shared.iter().cloned());
    }

    /// Applies a batch of a registry.
    ///
    /// # Errors
    ///
    /// Where the backend broke its contract; what was applied before that event stays.
    pub fn apply(&mut self, id: &RegistryId, batch: Vec<Event>, now: Instant) -> Result<(), RegistryError> {
        let Some(slot) = self.slot(id) else { return Ok(()) };
        let mut changes = Vec::new();
        let result = match &mut self.registries[slot] {
            Some(state) => state.apply(batch, now, &mut changes),
            None => Ok(()),
        };
        self.reindex(slot, changes);
        result
    }

    /// Tells that the watch of a registry ended, or could not be opened. Nothing is removed.
    pub fn interrupted(&mut self, id: &RegistryId, error: Option<&Arc<RegistryError>>, now: Instant) {
        if let Some(state) = self.slot(id).and_then(|slot| self.registries[slot].as_mut()) {
            state.interrupted(error, now);
        }
    }

    /// Lets go of all endpoints of a registry that are held back. Returns how many there were.
    ///
    /// # Errors
    ///
    /// Where there is none of that name.
    pub fn acknowledge(&mut self, id: &RegistryId, now: Instant) -> Result<usize, Error> {
        let slot = self
            .slot(id)
            .ok_or_else(|| Error::UnknownRegistry { id: id.clone() })?;
        let mut changes = Vec::new();
        let gone = self.registries[slot]
            .as_mut()
            .map_or(0, |state| state.acknowledge(now, &mut changes));
        self.reindex(slot, changes);
        Ok(gone)
    }

    /// Lets time pass: what was not confirmed within its bound becomes stale. Returns when to call again at the latest.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        let mut next = None;
        let mut flipped = false;
        for slot in 0..self.registries.len() {
            let Some(state) = &mut self.registries[slot] else {
                continue;
            };
            let mut changes = Vec::new();
            let flip = state.tick(now, &mut changes);
            next = next.into_iter().chain(state.deadline(now)).min();
            if flip.stale {
                touch(&mut self.touched, slot);
                flipped = true;
                if state.options.outage != Outage::Keep {
                    self.dirty.extend(state.names().flat_map(Names::all));
                }
            }
            if flip.settled {
                self.reindex(slot, changes);
            }
        }
        if flipped {
            // What is stale and kept matters only where another registry has something to say as well.
            self.dirty.extend(self.shared.iter().cloned());
        }
        if !self.ready {
            let deadline = self.started.checked_add(self.settings.start_deadline);
            next = next
                .into_iter()
                .chain(deadline.filter(|deadline| *deadline > now))
                .min();
        }
        next
    }

    /// True where publishing may have something to publish.
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty() || !self.touched.is_empty() || self.registries_changed
    }

    /// Whether consumers may rely on what is published. To be asked after a publication.
    pub fn readiness(&mut self, now: Instant) -> Readiness {
        let late = now.saturating_duration_since(self.started) >= self.settings.start_deadline;
        let unknown = || {
            self.registries
                .iter()
                .flatten()
                .filter(|state| !state.freshness.synced())
        };
        self.ready |= !unknown().any(|state| state.options.required || !late);
        Readiness {
            ready: self.ready,
            awaited: unknown().map(|state| state.id.clone()).collect(),
        }
    }

    /// Lets time pass, merges what changed, and returns the new snapshot; `None` where nothing that readers see is
    /// different.
    pub fn publish(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        // Staleness is as of a tick, so that it changes for all services at once and not with the order of changes.
        self.tick(now);
        let revision = self.revision + 1;
        let mut changed = false;
        for hostname in std::mem::take(&mut self.dirty) {
            changed |= self.remerge(&hostname, revision);
        }
        changed |= self.summarise();
        self.registries
            .iter_mut()
            .flatten()
            .for_each(RegistryState::published);
        if !changed {
            return None;
        }
        self.revision = revision;
        Some(Arc::new(Snapshot {
            revision,
            root: self.root,
            services: self.services.clone(),
            qualified: self.qualified.clone(),
            aliases: self.aliases.published().clone(),
            vips: self.vips.published().clone(),
            registries: self.summaries.clone(),
            endpoints: self.endpoints,
            conflicts: self.conflicts,
            published: Timestamp::now(),
        }))
    }

    /// Begins with what was known of a registry before this start: known, stale, and measured against what it says.
    pub(crate) fn restore(&mut self, id: &RegistryId, saved: Saved, now: Instant) {
        let Some(slot) = self.slot(id) else { return };
        let mut changes = Vec::new();
        if let Some(state) = &mut self.registries[slot] {
            state.restore(saved, now, &mut changes);
        }
        self.reindex(slot, changes);
    }

    /// The version of what is known of a registry, where it is worth keeping for a later start.
    pub(crate) fn saved_version(&self, id: &RegistryId) -> Option<u64> {
        self.registries[self.slot(id)?].as_ref()?.saved_version()
    }

    /// All that is known of the services of a registry, before filters and templates.
    pub(crate) fn records(&self, id: &RegistryId) -> Vec<ServiceRecord> {
        let state = self.slot(id).and_then(|slot| self.registries[slot].as_ref());
        state
            .into_iter()
            .flat_map(RegistryState::records)
            .cloned()
            .collect()
    }

    /// Whether any service of a registry is known.
    pub(crate) fn knows_services(&self, id: &RegistryId) -> bool {
        let state = self.slot(id).and_then(|slot| self.registries[slot].as_ref());
        state.is_some_and(|state| state.records().next().is_some())
    }

    /// Complete knowledge that is wanted of registries since the last call: to confirm a loss, or for a comparison. A
    /// listing is an answer where it begins after the wish was [taken](Wish::take).
    pub fn take_wishes(&mut self) -> Vec<(RegistryId, Wish)> {
        let states = self.registries.iter_mut().flatten();
        states
            .flat_map(|state| {
                let wishes = state.take_wishes();
                let id = &state.id;
                wishes
                    .into_iter()
                    .map(|wish| (id.clone(), wish))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// What is known of each registry now.
    pub(crate) fn live(&self, id: &RegistryId) -> Option<Arc<Live>> {
        let state = self.registries[self.slot(id)?].as_ref()?;
        Some(state.live.clone())
    }

    fn slot(&self, id: &RegistryId) -> Option<usize> {
        self.registries
            .iter()
            .position(|state| state.as_ref().is_some_and(|state| state.id == *id))
    }

    /// Brings the summaries up to date. True where a reader could see a difference that is not in a service.
    fn summarise(&mut self) -> bool {
        let touched = std::mem::take(&mut self.touched);
        if std::mem::take(&mut self.registries_changed) {
            let mut states: Vec<&RegistryState> = self.registries.iter().flatten().collect();
            states.sort_by(|a, b| a.order.cmp(&b.order).then_with(|| a.id.cmp(&b.id)));
            self.summaries = states
                .into_iter()
                .map(|state| Arc::new(state.summary()))
                .collect();
            return true;
        }
        let mut changed = false;
        for state in touched
            .into_iter()
            .filter_map(|slot| self.registries[slot].as_ref())
        {
            if let Some(held) = self.summaries.iter_mut().find(|held| held.id == state.id) {
                let now = state.summary();
                changed |= !now.same_phases(held) || now.known != held.known || now.warnings != held.warnings;
                *held = Arc::new(now);
            }
        }
        changed
    }

    /// Notes which names the changed services of a shard claim now.
    fn reindex(&mut self, slot: usize, changes: Vec<Change>) {
        touch(&mut self.touched, slot);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "there are not four billion registries"
        )]
        let claim = |id: &ServiceId, alias| NameClaim {
            id: id.clone(),
            slot: slot as u32,
            alias,
        };
        let all = |names: &Names| -> Vec<(Str, bool)> {
            let names = names.all().enumerate();
            names.map(|(at, name)| (name, at > 0)).collect()
        };
        for Change { id, before, after } in changes {
            if let (Some(before), Some(after)) = (&before, &after)
                && before == after
            {
                if before.aliases().is_empty() {
                    self.dirty.insert(before.hostname.clone());
                } else {
                    self.dirty.extend(before.all());
                }
                continue;
            }
            for (name, alias) in before.iter().flat_map(all) {
                if let Some(entry) = self.names.get_mut(&name) {
                    entry.claims.remove(&claim(&id, alias));
                    if entry.claims.as_slice().len() <= 1 {
                        self.shared.remove(&name);
                    }
                }
                self.dirty.insert(name);
            }
            for (name, alias) in after.iter().flat_map(all) {
                let entry = self.names.entry(name.clone()).or_default();
                entry.claims.add(claim(&id, alias));
                if entry.claims.as_slice().len() > 1 {
                    self.shared.insert(name.clone());
                }
                self.dirty.insert(name);
            }
        }
    }

    /// Merges one hostname anew. True where the result differs.
    fn remerge(&mut self, hostname: &Str, revision: u64) -> bool {
        let Some(entry) = self.names.get(hostname) else {
            return false;
        };
        let unclaimed = matches!(entry.claims, Claims::None);
        let contenders = self.contenders(entry);
        let several = entry.several.as_deref();
        let full = contenders.partition_point(|contender| !contender.is_empty());
        let (service, basis) = match &contenders[..full] {
            [] => (None, None),
            contenders => {
                let (claimants, settled) = eligible(contenders);
                let last = several.and_then(|several| several.basis.as_ref());
                merge::merge(hostname, &claimants, self.policy(hostname), settled, last).unzip()
            }
        };
        let basis = basis.flatten();
        let views = match contenders.as_slice() {
            [] => Vec::new(),
            // What is served is all that it says.
            [_] if service.is_some() => Vec::new(),
            contenders => self.qualify(hostname, contenders, revision),
        };
        drop(contenders);

        // Nearly every name has one claim that needs nothing of this.
        let mut changed = false;
        if several.is_some() || basis.is_some() || !views.is_empty() {
            let (before, after) = self.keep_several(hostname, basis, &views);
            changed |= self.replace_views(&before, &after, views);
        }
        if unclaimed {
            self.names.remove(hostname);
        }
        self.replace(hostname, service, revision) || changed
    }

    /// Keeps what the next merge of the hostname starts from. Returns the names of its views before and after.
    fn keep_several(
        &mut self,
        hostname: &Str,
        basis: Option<Basis>,
        views: &[Qualified],
    ) -> (Vec<Str>, Vec<Str>) {
        let after: Vec<Str> = views.iter().map(|view| view.0.0.clone()).collect();
        let several = (basis.is_some() || !after.is_empty()).then(|| {
            Box::new(Several {
                basis,
                qualified: after.clone(),
            })
        });
        let entry = self.names.get_mut(hostname);
        let before = entry.and_then(|entry| std::mem::replace(&mut entry.several, several));
        (before.map(|before| before.qualified).unwrap_or_default(), after)
    }

    /// Publishes what each contender says by itself. True where that makes a difference.
    fn replace_views(&mut self, before: &[Str], after: &[Str], views: Vec<Qualified>) -> bool {
        let mut changed = false;
        for name in before.iter().filter(|name| !after.contains(name)) {
            changed |= self.qualified.remove(name).is_some();
        }
        for view in views {
            let held = self.qualified.get(&view.0.0);
            if !held.is_some_and(|held| same(&held.0.1, &view.0.1)) {
                self.qualified.insert(view);
                changed = true;
            }
        }
        changed
    }

    /// All that claim the hostname by a service that takes part, at most one per registry, in order of precedence; those
    /// with nothing behind their claim last.
    fn contenders<'a>(&'a self, entry: &'a NameEntry) -> Vec<Contender<'a>> {
        let mut contenders: Vec<Contender<'a>> = entry
            .claims
            .as_slice()
            .iter()
            .filter_map(|claim| {
                let state = self.registries.get(claim.slot as usize)?.as_ref()?;
                let record = state.part(&claim.id)?;
                let (freshness, origins) = (&state.freshness, record.meta().origins());
                if freshness.is_expired(&claim.id) || freshness.is_expired_behind(origins) {
                    return None;
                }
                let stale = freshness.is_stale(&claim.id) || freshness.is_stale_behind(origins);
                let claimant = Claimant {
                    registry: &state.id,
                    order: state.order,
                    record,
                    stale,
                    degraded: stale && state.options.outage == Outage::Degrade,
                };
                Some(Contender {
                    claimant,
                    alias: claim.alias,
                    set: state.names_are_set(),
                    beaten: Vec::new(),
                })
            })
            .collect();
        if contenders.len() > 1 {
            contenders.sort_by(|a, b| a.rank().cmp(&b.rank()));
            // Services of one registry never merge: the first keeps the name.
            contenders.dedup_by(|later, first| {
                let same = later.claimant.registry == first.claimant.registry;
                if same && !later.is_empty() {
                    first.beaten.push(later.claimant.record.id());
                }
                same
            });
            contenders.sort_by(|a, b| {
                let precedence = || Union.precedence(&a.claimant, &b.claimant);
                a.is_empty().cmp(&b.is_empty()).then_with(precedence)
            });
        }
        if contenders.iter().all(|contender| contender.alias) {
            contenders.clear();
        }
        contenders
    }

    fn policy(&self, hostname: &str) -> &dyn MergePolicy {
        policy(&self.settings.policies, hostname)
    }

    /// What each contender says by itself, under `hostname@registry`.
    fn qualify(&self, hostname: &Str, contenders: &[Contender<'_>], revision: u64) -> Vec<Qualified> {
        let views = contenders.iter().filter_map(|contender| {
            let (mut service, _) = merge::merge(hostname, &[contender.claimant], &Union, Vec::new(), None)?;
            service.revision = revision;
            let name = Str::from(format!("{hostname}@{}", contender.claimant.registry));
            Some(Qualified(Arc::new((name, Arc::new(service)))))
        });
        views.collect()
    }

    /// Puts the service in place of the one with its hostname. True where that makes a difference.
    fn replace(&mut self, hostname: &Str, service: Option<Service>, revision: u64) -> bool {
        let before = self.services.get(hostname).cloned();
        let after = match (service, &before) {
            (None, None) => return false,
            (Some(service), Some(before)) if same(before, &service) => return false,
            (Some(mut service), _) => {
                service.revision = revision;
                Some(Arc::new(service))
            }
            (None, Some(_)) => None,
        };
        if let Some(before) = &before {
            self.root = self.root.minus(before.hash());
            self.endpoints -= before.endpoints().len();
            self.conflicts -= before.conflicts().len();
        }
        if let Some(after) = &after {
            self.root = self.root.plus(after.hash());
            self.endpoints += after.endpoints().len();
            self.conflicts += after.conflicts().len();
        }
        let names = |service: &Option<Arc<Service>>| -> Vec<Str> {
            service
                .iter()
                .flat_map(|service| service.aliases().iter().cloned())
                .collect()
        };
        let vips = |service: &Option<Arc<Service>>| -> Vec<Str> {
            service
                .iter()
                .flat_map(|service| service.vips())
                .map(|ip| ip.to_string().into())
                .collect()
        };
        self.aliases.replace(hostname, &names(&before), &names(&after));
        self.vips.replace(hostname, &vips(&before), &vips(&after));
        match after {
            Some(after) => self.services.insert(after),
            None => self.services.remove(hostname),
        };
        true
    }
}

/// The policy of a hostname: the first that matches.
fn policy<'a>(policies: &'a [(Pattern, Arc<dyn MergePolicy>)], hostname: &str) -> &'a dyn MergePolicy {
    let found = policies.iter().find(|(pattern, _)| pattern.matches(hostname));
    found.map_or(&Union, |(_, policy)| &**policy)
}

fn touch(touched: &mut Vec<usize>, slot: usize) {
    if !touched.contains(&slot) {
        touched.push(slot);
    }
}

/// True where no reader can tell the two apart.
fn same(a: &Service, b: &Service) -> bool {
    a.hash == b.hash
        && (a.endpoints.ptr_eq(&b.endpoints) || a.endpoints == b.endpoints)
        && a.meta.is_same(&b.meta)
        && a.conflicts == b.conflicts
        && a.sources.len() == b.sources.len()
        && a.sources
            .iter()
            .zip(b.sources.iter())
            .all(|(a, b)| a.registry == b.registry && a.meta.is_same(&b.meta))
}
