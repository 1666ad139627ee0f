//! Services and slices of one cluster, joined to records. Synchronous, and without a clock of its own.
//!
//! ```text
//!  ServiceExport, where exports are joined ─┐
//!  Service, or ServiceImport ────────────┐  ▼
//!  EndpointSlice ─▶ shelf ──┐            ▼
//!  EndpointSlice ─▶ shelf ──┼─▶ places ─▶ EndpointSet ─▶ record
//!  (what just left) shelf ──┘   one by one: what changed, and no more
//!  Node ─▶ regions and zones
//! ```
//!
//! Slices belong to services by label, whoever made them, and wait for a Service that is not there yet. Services and slices
//! wait in the same way for an export.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod locality;
mod nodes;
mod objects;
mod resolve;
mod service;
mod shelf;
mod unread;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Interner, PortDefaults, RegistryError, ServiceId, ServiceRecord, Str};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use self::nodes::Nodes;
use self::service::{Export, Object, Service, Tools, Until};
use self::unread::Unread;
use crate::{map, wire};

/// The kinds of object that are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Service,
    Slice,
    /// Metadata alone.
    Node,
    /// A ServiceExport.
    Export,
    /// A ServiceImport, which takes the place of a Service.
    Import,
}

/// Which objects make a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Join {
    /// A Service and its slices.
    #[default]
    Services,
    /// A ServiceExport, and the Service of its name with its slices.
    Exports,
    /// A ServiceImport, and the slices that were imported for it.
    Imports,
}

/// A kind of object in a namespace, or in all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    /// `None` for all namespaces, and for nodes.
    pub(crate) namespace: Option<Str>,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Slice => "EndpointSlice",
            Self::Node => "Node",
            Self::Export => "ServiceExport",
            Self::Import => "ServiceImport",
        }
    }
}

impl Join {
    /// True where there is a service exactly as long as there is its object of this kind.
    fn is_made_by(self, kind: Kind) -> bool {
        match self {
            Self::Services => kind == Kind::Service,
            Self::Exports => kind == Kind::Export,
            Self::Imports => kind == Kind::Import,
        }
    }

    /// The service that a slice with these labels belongs to; empty where it belongs to none. What was imported is none of
    /// the cluster's own, whatever other labels it has.
    fn owner<'a>(self, labels: &'a wire::Pairs<'_>) -> &'a str {
        match self {
            Self::Imports => labels.get(wire::IMPORTED_SERVICE_NAME),
            Self::Services | Self::Exports if labels.has(wire::IMPORTED_SERVICE_NAME) => "",
            Self::Services | Self::Exports => labels.get(wire::SERVICE_NAME),
        }
    }
}

impl Part {
    fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// Settings of the mapping.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    pub(crate) join: Join,
    pub(crate) cluster: Str,
    pub(crate) network: Str,
    pub(crate) fqdn: bool,
    pub(crate) removal_delay: Duration,
    pub(crate) ports: PortDefaults,
}

/// How an object came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Listed,
    Watched,
}

/// What has changed for one service.
#[derive(Debug)]
pub(crate) enum Change {
    Apply { record: ServiceRecord, explicit: bool },
    Delete { id: ServiceId, explicit: bool },
}

/// An object that cannot be read. What was known of it stays; its service is among [`Index::unreadable`].
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Names the object and the field, what was found and what was expected.
    pub(crate) error: Arc<RegistryError>,
}

/// A version of an object: hashes of its uid and its resource version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version(Option<(u64, u64)>);

impl Version {
    fn of(uid: &str, resource_version: &str) -> Self {
        let known = !resource_version.is_empty();
        Self(known.then(|| (xxh3_64(uid.as_bytes()), xxh3_64(resource_version.as_bytes()))))
    }

    /// True where this is known to be that version.
    fn is(self, other: Self) -> bool {
        self.0.is_some() && self == other
    }
}

/// A listing that is under way.
#[derive(Debug, Clone, Copy)]
struct Listing {
    /// What is seen in it is marked with this number or a higher one.
    since: u64,
    /// There were objects before it: most are the same.
    again: bool,
    /// Something in it could not be read, not even its name: nothing is known to be missing.
    blind: bool,
}

/// What is known of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    services: HashMap<Str, Service>,
    /// The services of slices, by the names of slices.
    owners: HashMap<Str, Str>,
}

/// All that is known of one cluster.
#[derive(Debug)]
pub(crate) struct Index {
    mapping: Mapping,
    interner: Interner,
    namespaces: HashMap<Str, Namespace>,
    nodes: Nodes,
    unread: Unread,
    listings: HashMap<Part, Listing>,
    /// Counts listings.
    now_seen: u64,
    /// Services that may have changed, by namespace and name.
    dirty: Vec<(Str, Str)>,
    /// When something goes, of which service.
    due: BTreeSet<(Instant, Str, Str)>,
    /// Services that went with their namespace, and whether that was announced.
    forgotten: BTreeMap<ServiceId, bool>,
    /// Services of which what makes them was removed: they may be known elsewhere from before, though nothing was taken.
    removed: BTreeSet<(Str, Str)>,
}

impl Index {
    pub(crate) fn new(mapping: Mapping) -> Self {
        Self {
            mapping,
            interner: Interner::default(),
            namespaces: HashMap::new(),
            nodes: Nodes::default(),
            unread: Unread::default(),
            listings: HashMap::new(),
            now_seen: 0,
            dirty: Vec::new(),
            due: BTreeSet::new(),
            forgotten: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    /// What it joins.
    pub(crate) fn join(&self) -> Join {
        self.mapping.join
    }

    // === what is told ===

    /// A complete listing of the part begins; one under way is forgotten. What is applied from now on is true at once,
    /// and marked as listed. Only what it lacks waits for its end.
    pub(crate) fn begin(&mut self, part: &Part) {
        self.now_seen += 1;
        let covered = self.namespaces.iter().filter(|(name, _)| part.covers(name));
        let mut covered = covered.map(|(_, namespace)| namespace);
        let again = match part.kind {
            Kind::Service | Kind::Export | Kind::Import => {
                covered.any(|namespace| !namespace.services.is_empty())
            }
            Kind::Slice => covered.any(|namespace| !namespace.owners.is_empty()),
            Kind::Node => !self.nodes.is_empty(),
        };
        let listing = Listing {
            since: self.now_seen,
            again,
            blind: false,
        };
        self.listings.insert(part.clone(), listing);
    }

    /// An object is as given. `now` is what removals are delayed from.
    pub(crate) fn apply(
        &mut self,
        kind: Kind,
        object: &[u8],
        source: Source,
        now: Instant,
    ) -> Result<(), Unreadable> {
        if source == Source::Listed && self.is_known(kind, object) {
            return Ok(());
        }
        let outcome = match kind {
            Kind::Service | Kind::Import => self.apply_service(kind, object, source),
            Kind::Export => self.apply_export(object, source),
            Kind::Slice => self.apply_slice(object, source, now),
            Kind::Node => self.apply_node(object),
        };
        outcome.map_err(|problem| self.refuse(kind, object, &problem, true))
    }

    /// An object was removed, and was like this at the end.
    pub(crate) fn remove(&mut self, kind: Kind, object: &[u8], now: Instant) -> Result<(), Unreadable> {
        // Its name is enough: whatever else is wrong with it, it is gone.
        let read = wire::named::<wire::Head<wire::Lenient<'_>>>(object, |head| &head.metadata.name);
        let metadata = match read {
            Ok(head) => head.metadata,
            Err(error) => return Err(self.refuse(kind, object, &error.to_string(), false)),
        };
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        self.unread.clear(kind, namespace, name);
        if self.mapping.join.is_made_by(kind) {
            self.removed
                .insert((self.interner.text(namespace), self.interner.text(name)));
        }
        match kind {
            Kind::Service | Kind::Import => self.set_object(namespace, name, None, Source::Watched),
            Kind::Export => self.set_export(namespace, name, None, Source::Watched),
            Kind::Slice => {
                let until = self.until(namespace, Source::Watched, now);
                self.drop_slice(namespace, name, until, Source::Watched);
            }
            Kind::Node => {
                self.nodes.remove(name);
                self.forget_nodes();
            }
        }
        Ok(())
    }

    /// Something of the part could not be read as an object at all. During a listing it may be any of those that are
    /// held: none is known to be missing then.
    pub(crate) fn skip(&mut self, part: &Part) {
        if let Some(listing) = self.listings.get_mut(part) {
            listing.blind = true;
        }
    }

    /// The listing is complete: what of the part was not listed since `begin` is gone, without having been announced.
    /// False where something in it could not be read, not even its name: then nothing is gone.
    pub(crate) fn complete(&mut self, part: &Part, _now: Instant) -> bool {
        let Some(listing) = self.listings.remove(part) else {
            return true;
        };
        if listing.blind {
            self.unread.blinded(part);
            return false;
        }
        let since = listing.since;
        let was_in_doubt = self.unread.complete(part, since);
        let covered: Vec<Str> = self
            .namespaces
            .keys()
            .filter(|name| part.covers(name))
            .cloned()
            .collect();
        match part.kind {
            Kind::Service | Kind::Import => {
                for namespace in covered {
                    for name in self.unseen(&namespace, since, |service| Some(service.object.as_ref()?.seen))
                    {
                        self.set_object(&namespace, &name, None, Source::Listed);
                    }
                    if was_in_doubt {
                        self.end_doubts(&namespace);
                    }
                }
            }
            Kind::Export => {
                for namespace in covered {
                    for name in self.unseen(&namespace, since, |service| Some(service.export.as_ref()?.seen))
                    {
                        self.set_export(&namespace, &name, None, Source::Listed);
                    }
                }
            }
            Kind::Slice => {
                for namespace in covered {
                    for name in self.missing_slices(&namespace, since) {
                        self.drop_slice(&namespace, &name, Until::Now, Source::Listed);
                    }
                    for name in self.names(&namespace) {
                        let listed = |until| until == Until::Listed;
                        self.change(&namespace, &name, Source::Listed, |service, tools| {
                            service.let_go(listed, tools)
                        });
                    }
                }
            }
            Kind::Node => {
                self.nodes.complete(since);
                self.forget_nodes();
            }
        }
        true
    }

    /// Everything of a namespace is gone at once, because it is not watched any more; `explicit` where that was announced.
    pub(crate) fn forget(&mut self, namespace: &str, explicit: bool) {
        let unread = self.unread.forget(namespace);
        self.forgotten.extend(unread.map(|id| (id, explicit)));
        self.listings
            .retain(|part, _| part.namespace.as_deref() != Some(namespace));
        self.due.retain(|(_, held, _)| *held != namespace);
        let Some(gone) = self.namespaces.remove(namespace) else {
            return;
        };
        // What nobody took may be known from before, and was in doubt.
        let services = gone.services.into_iter();
        let told = services.filter(|(_, service)| service.taken.is_some() || service.is_there());
        self.forgotten
            .extend(told.map(|(name, _)| (id_of(namespace, &name), explicit)));
    }

    /// Whatever is held of exports and imports is read again, in whatever version it comes: the same object in another
    /// version of its API has the same resource version.
    pub(crate) fn distrust_custom(&mut self) {
        let join = self.mapping.join;
        let namespaces = self.namespaces.values_mut();
        for service in namespaces.flat_map(|namespace| namespace.services.values_mut()) {
            match join {
                Join::Services => {}
                Join::Exports => service
                    .export
                    .iter_mut()
                    .for_each(|export| export.version = Version(None)),
                Join::Imports => service
                    .object
                    .iter_mut()
                    .for_each(|import| import.version = Version(None)),
            }
        }
    }

    // === what is asked ===

    /// What changed since the last call, removals that are due by now included, each service at most once.
    pub(crate) fn take_changes(&mut self, now: Instant) -> Vec<Change> {
        self.relocate();
        while let Some((due, namespace, name)) = self.due.first().cloned()
            && due <= now
        {
            let is_due = |until| matches!(until, Until::Due(due) if due <= now);
            self.due.remove(&(due, namespace.clone(), name.clone()));
            self.change(&namespace, &name, Source::Watched, |service, tools| {
                service.let_go(is_due, tools)
            });
        }
        let mut changes = Vec::new();
        for (namespace, name) in std::mem::take(&mut self.dirty) {
            let Some(services) = self.namespaces.get_mut(&namespace) else {
                continue;
            };
            let Some(service) = services.services.get_mut(&name) else {
                continue;
            };
            service.dirty = false;
            let removed = self.removed.remove(&(namespace.clone(), name.clone()));
            if service.is_in_doubt(&self.unread, &namespace, &name) {
                continue;
            }
            let explicit = !std::mem::take(&mut service.absent);
            match (service.record(), service.taken.take()) {
                (Some(record), Some(taken)) if same(&record, &taken) => {
                    service.settle(&taken);
                    service.taken = Some(taken);
                }
                (Some(record), _) => {
                    service.taken = Some(record.clone());
                    let explicit = self.forgotten.remove(record.id()).unwrap_or(true) && explicit;
                    changes.push(Change::Apply { record, explicit });
                }
                (None, Some(taken)) => {
                    let id = taken.id().clone();
                    changes.push(Change::Delete { id, explicit });
                }
                (None, None) if removed => {
                    let id = id_of(&namespace, &name);
                    changes.push(Change::Delete { id, explicit: true });
                }
                (None, None) => {}
            }
            if service.is_void() {
                services.services.remove(&name);
            }
            if services.services.is_empty() && services.owners.is_empty() {
                self.namespaces.remove(&namespace);
            }
        }
        // Nothing is held of these.
        let removed = std::mem::take(&mut self.removed).into_iter();
        self.forgotten
            .extend(removed.map(|(namespace, name)| (id_of(&namespace, &name), true)));
        let forgotten = std::mem::take(&mut self.forgotten).into_iter();
        changes.extend(forgotten.map(|(id, explicit)| Change::Delete { id, explicit }));
        changes
    }

    /// When the next delayed removal is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _, _)| *due)
    }

    /// All services of a namespace, or of all of them, as last taken or changed since, but for exports of Services that
    /// cannot be read. Nodes that changed since the last call of [`take_changes`](Self::take_changes) do not count yet.
    pub(crate) fn records<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = ServiceRecord> + 'a {
        let one = namespace.and_then(|namespace| self.namespaces.get_key_value(namespace));
        let all = namespace.is_none().then(|| self.namespaces.iter());
        let namespaces = one.into_iter().chain(all.into_iter().flatten());
        namespaces.flat_map(|(namespace, held)| {
            let known = held
                .services
                .iter()
                .filter(|(name, service)| !service.is_in_doubt(&self.unread, namespace, name));
            known.filter_map(|(_, service)| service.record())
        })
    }

    /// Services of which an object cannot be read now, each with the last such error. What is wrong with a service that
    /// nobody exports is no trouble where only exports count.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = (&ServiceId, &Arc<RegistryError>)> {
        let counts = |kind, id: &ServiceId| match self.mapping.join {
            Join::Services | Join::Imports => true,
            Join::Exports => kind == Kind::Export || self.is_exported(id),
        };
        self.unread.services(counts)
    }

    /// Whether there is such a service; none where nobody knows.
    pub(crate) fn has(&self, id: &ServiceId) -> Option<bool> {
        let (namespace, name) = (id.namespace(), id.name());
        let held = self.namespaces.get(namespace);
        match held.and_then(|held| held.services.get(name)) {
            Some(service) if service.is_in_doubt(&self.unread, namespace, name) => None,
            Some(service) if service.is_there() => Some(true),
            _ => {
                let is_blind =
                    |kind| self.mapping.join.is_made_by(kind) && self.unread.is_blind(kind, namespace);
                let blind = [Kind::Service, Kind::Export, Kind::Import]
                    .into_iter()
                    .any(is_blind);
                (!blind).then_some(false)
            }
        }
    }

    fn is_exported(&self, id: &ServiceId) -> bool {
        let namespace = self.namespaces.get(id.namespace());
        let service = namespace.and_then(|namespace| namespace.services.get(id.name()));
        service.is_some_and(|service| service.export.is_some())
    }

    // === one service ===

    /// How long what a slice does not say any more stays.
    fn until(&self, namespace: &str, source: Source, now: Instant) -> Until {
        let delay = self.mapping.removal_delay;
        let listing = |part: &Part| part.kind == Kind::Slice && part.covers(namespace);
        match source {
            Source::Listed if self.listings.keys().any(listing) => Until::Listed,
            Source::Watched if !delay.is_zero() => Until::Due(now + delay),
            Source::Listed | Source::Watched => Until::Now,
        }
    }

    fn set_object(&mut self, namespace: &str, name: &str, object: Option<Object>, source: Source) {
        self.renew(namespace, name, object.is_some(), source, |service, tools| {
            service.set_object(object, tools)
        });
    }

    fn set_export(&mut self, namespace: &str, name: &str, export: Option<Export>, source: Source) {
        self.renew(namespace, name, export.is_some(), source, |service, tools| {
            service.set_export(export, tools)
        });
    }

    /// Changes an object of a service, which need not be known where there is one now.
    fn renew(
        &mut self,
        namespace: &str,
        name: &str,
        is_there: bool,
        source: Source,
        change: impl FnOnce(&mut Service, &mut Tools<'_>) -> bool,
    ) {
        let (namespace, name) = (self.interner.text(namespace), self.interner.text(name));
        if is_there {
            self.enter(&namespace, &name);
        }
        self.change(&namespace, &name, source, change);
    }

    /// Makes room for a service.
    fn enter(&mut self, namespace: &Str, name: &Str) -> &mut Namespace {
        let join = self.mapping.join;
        let held = self.namespaces.entry(namespace.clone()).or_default();
        let new = || Service::new(join);
        held.services.entry(name.clone()).or_insert_with(new);
        held
    }

    /// Exports of which nobody knew whether there is a Service have none, by a listing.
    fn end_doubts(&mut self, namespace: &Str) {
        let held = self.namespaces.get(namespace);
        let services = held.into_iter().flat_map(|held| &held.services);
        let without = services.filter(|(_, service)| service.export.is_some() && service.object.is_none());
        let names: Vec<Str> = without.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.change(namespace, &name, Source::Listed, |_, _| true);
        }
    }

    fn drop_slice(&mut self, namespace: &str, name: &str, until: Until, source: Source) {
        let Some((namespace, held)) = self.namespaces.get_key_value(namespace) else {
            return;
        };
        let Some((name, owner)) = held.owners.get_key_value(name) else {
            return;
        };
        let (namespace, name, owner) = (namespace.clone(), name.clone(), owner.clone());
        if let Some(held) = self.namespaces.get_mut(&namespace) {
            held.owners.remove(&name);
        }
        self.change(&namespace, &owner, source, |service, tools| {
            service.set_slice(&name, None, until, tools)
        });
    }

    /// Changes a service, and keeps account of it.
    fn change(
        &mut self,
        namespace: &Str,
        name: &Str,
        source: Source,
        change: impl FnOnce(&mut Service, &mut Tools<'_>) -> bool,
    ) {
        let held = self.namespaces.get_mut(namespace);
        let Some(service) = held.and_then(|held| held.services.get_mut(name)) else {
            return;
        };
        let entry = |due| (due, namespace.clone(), name.clone());
        let before: Vec<Instant> = service.dues().collect();
        let mut tools = Tools {
            interner: &mut self.interner,
            ports: &self.mapping.ports,
            // So a service never has more than some ten lots of them, however quickly it changes.
            grain: self.mapping.removal_delay / 8,
        };
        let lost = change(service, &mut tools);
        service.absent |= lost && source == Source::Listed;
        for due in before {
            self.due.remove(&entry(due));
        }
        for due in service.dues() {
            self.due.insert(entry(due));
        }
        if !service.dirty {
            service.dirty = true;
            self.dirty.push((namespace.clone(), name.clone()));
        }
    }

    fn names(&self, namespace: &str) -> Vec<Str> {
        let held = self.namespaces.get(namespace);
        let waiting = held.into_iter().flat_map(|held| &held.services);
        waiting
            .filter(|(_, service)| service.waits_for_listing())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Services of which something was not seen since then.
    fn unseen(&self, namespace: &str, since: u64, seen: impl Fn(&Service) -> Option<u64>) -> Vec<Str> {
        let held = self.namespaces.get(namespace);
        let services = held.into_iter().flat_map(|held| &held.services);
        let missing = services.filter(|(_, service)| seen(service).is_some_and(|seen| seen < since));
        missing.map(|(name, _)| name.clone()).collect()
    }

    fn missing_slices(&self, namespace: &str, since: u64) -> Vec<Str> {
        let held = self.namespaces.get(namespace);
        let services = held.into_iter().flat_map(|held| held.services.values());
        let slices = services.flat_map(Service::slices);
        let missing = slices.filter(|slice| slice.seen < since);
        missing.map(|slice| slice.name.clone()).collect()
    }
}

fn id_of(namespace: &str, name: &Str) -> ServiceId {
    let group = Str::from(namespace);
    ServiceId::new(group.clone(), group, name.clone())
}

fn same(a: &ServiceRecord, b: &ServiceRecord) -> bool {
    map::service::same(a.meta(), b.meta())
        && (a.endpoints().ptr_eq(b.endpoints())
            || (a.endpoints().content_hash() == b.endpoints().content_hash()
                && a.endpoints() == b.endpoints()))
}

#[cfg(test)]
mod tests;
