//! Services and slices of one cluster, joined to records. Synchronous, and without a clock of its own.
//!
//! ```text
//!  Service ──────────────────────────────┐
//!  EndpointSlice ─▶ shelf ──┐            ▼
//!  EndpointSlice ─▶ shelf ──┼─▶ places ─▶ EndpointSet ─▶ record
//!  (what just left) shelf ──┘   one by one: what changed, and no more
//!  Node ─▶ regions and zones
//! ```
//!
//! Slices belong to services by label, whoever made them, and wait for a Service that is not there yet.

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod nodes;
mod resolve;
mod service;
mod shelf;
mod unread;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    Endpoint, ErrorKind, Interner, PortDefaults, RegistryError, ServiceId, ServiceRecord, Str,
};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use self::nodes::Nodes;
use self::service::{Object, Service, Slice, Tools, Until};
use self::shelf::Shelf;
use self::unread::Unread;
use crate::error::short;
use crate::map::endpoints::{SaidPlace, Surroundings, locality, rebuilt};
use crate::{map, wire};

/// The kinds of object that are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Service,
    Slice,
    /// Metadata alone.
    Node,
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

/// An object that cannot be read. What was known of it stays.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The service that it belongs to, as far as that can be told.
    pub(crate) service: Option<ServiceId>,
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
        }
    }

    // === what is told ===

    /// A complete listing of the part begins; one under way is forgotten. What is applied from now on is true at once,
    /// and marked as listed. Only what it lacks waits for its end.
    pub(crate) fn begin(&mut self, part: &Part) {
        self.now_seen += 1;
        let covered = self.namespaces.iter().filter(|(name, _)| part.covers(name));
        let mut covered = covered.map(|(_, namespace)| namespace);
        let again = match part.kind {
            Kind::Service => covered.any(|namespace| !namespace.services.is_empty()),
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
            Kind::Service => self.apply_service(object, source),
            Kind::Slice => self.apply_slice(object, source, now),
            Kind::Node => self.apply_node(object),
        };
        outcome.map_err(|problem| self.refuse(kind, object, &problem, true))
    }

    /// An object was removed, and was like this at the end.
    pub(crate) fn remove(&mut self, kind: Kind, object: &[u8], now: Instant) -> Result<(), Unreadable> {
        let read = wire::named::<wire::Head<wire::Identity<'_>>>(object, |head| &head.metadata.name);
        let metadata = match read {
            Ok(head) => head.metadata,
            Err(error) => return Err(self.refuse(kind, object, &error.to_string(), false)),
        };
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        self.unread.clear(kind, namespace, name);
        match kind {
            Kind::Service => self.set_object(namespace, name, None, Source::Watched),
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

    /// The listing is complete: what of the part was not listed since `begin` is gone, without having been announced.
    pub(crate) fn complete(&mut self, part: &Part, _now: Instant) {
        let Some(listing) = self.listings.remove(part) else {
            return;
        };
        if listing.blind {
            return;
        }
        let since = listing.since;
        self.unread.complete(part, since);
        let covered: Vec<Str> = self
            .namespaces
            .keys()
            .filter(|name| part.covers(name))
            .cloned()
            .collect();
        match part.kind {
            Kind::Service => {
                for namespace in covered {
                    for name in self.missing_services(&namespace, since) {
                        self.set_object(&namespace, &name, None, Source::Listed);
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
    }

    /// Everything of a namespace is gone at once, because it is not watched any more; `explicit` where that was announced.
    pub(crate) fn forget(&mut self, namespace: &str, explicit: bool) {
        self.unread.forget(namespace);
        self.listings
            .retain(|part, _| part.namespace.as_deref() != Some(namespace));
        self.due.retain(|(_, held, _)| *held != namespace);
        let Some(gone) = self.namespaces.remove(namespace) else {
            return;
        };
        let taken = gone.services.into_values().filter_map(|service| service.taken);
        self.forgotten
            .extend(taken.map(|record| (record.id().clone(), explicit)));
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
            let explicit = !std::mem::take(&mut service.absent);
            match (service.record(), service.taken.take()) {
                (Some(record), Some(taken)) if same(&record, &taken) => {
                    service.settle(&taken);
                    service.taken = Some(taken);
                }
                (Some(record), _) => {
                    service.taken = Some(record.clone());
                    let explicit = explicit && self.forgotten.remove(record.id()).unwrap_or(true);
                    changes.push(Change::Apply { record, explicit });
                }
                (None, Some(taken)) => {
                    let id = taken.id().clone();
                    changes.push(Change::Delete { id, explicit });
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
        let forgotten = std::mem::take(&mut self.forgotten).into_iter();
        changes.extend(forgotten.map(|(id, explicit)| Change::Delete { id, explicit }));
        changes
    }

    /// When the next delayed removal is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _, _)| *due)
    }

    /// All services of a namespace, or of all of them, as last taken or changed since. Nodes that changed since the last
    /// call of [`take_changes`](Self::take_changes) do not count yet.
    pub(crate) fn records<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = ServiceRecord> + 'a {
        let one = namespace.and_then(|namespace| self.namespaces.get(namespace));
        let all = namespace.is_none().then(|| self.namespaces.values());
        let namespaces = one.into_iter().chain(all.into_iter().flatten());
        namespaces.flat_map(|namespace| namespace.services.values().filter_map(Service::record))
    }

    /// Services of which an object cannot be read now, each with the last such error.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = (&ServiceId, &Arc<RegistryError>)> {
        self.unread.services()
    }

    // === one object ===

    /// True where an object is held in this very version. It counts as seen; nothing is allocated.
    fn is_known(&mut self, kind: Kind, object: &[u8]) -> bool {
        let again = |(part, listing): (&Part, &Listing)| part.kind == kind && listing.again;
        if !self.listings.iter().any(again) {
            return false;
        }
        let Ok(head) = serde_json::from_slice::<wire::Head<wire::Identity<'_>>>(object) else {
            return false;
        };
        let metadata = &head.metadata;
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        if !self.see(kind, namespace, name, version) {
            return false;
        }
        self.unread.clear(kind, namespace, name);
        true
    }

    /// True where an object is held in this version; then it counts as seen.
    fn see(&mut self, kind: Kind, namespace: &str, name: &str, version: Version) -> bool {
        let seen = self.now_seen;
        if kind == Kind::Node {
            return self.nodes.see(name, version, seen);
        }
        match self.held(kind, namespace, name) {
            Some((held, held_seen)) if held.is(version) => {
                *held_seen = seen;
                true
            }
            _ => false,
        }
    }

    /// The version and the mark of an object that is held.
    fn held(&mut self, kind: Kind, namespace: &str, name: &str) -> Option<(Version, &mut u64)> {
        let namespace = self.namespaces.get_mut(namespace)?;
        match kind {
            Kind::Service => {
                let object = namespace.services.get_mut(name)?.object.as_mut()?;
                Some((object.version, &mut object.seen))
            }
            Kind::Slice => {
                let owner = namespace.owners.get(name)?;
                let slice = namespace.services.get_mut(owner)?.slice_mut(name)?;
                Some((slice.version, &mut slice.seen))
            }
            Kind::Node => None,
        }
    }

    fn apply_service(&mut self, object: &[u8], source: Source) -> Result<(), String> {
        let read = wire::named::<wire::Service<'_>>(object, |read| &read.metadata.name);
        let service = read.map_err(|error| error.to_string())?;
        let metadata = &service.metadata;
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        self.unread.clear(Kind::Service, namespace, name);
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        if self.see(Kind::Service, namespace, name, version) {
            return Ok(());
        }
        let mapped = map::service::service(&service, &self.mapping, &mut self.interner);
        let object = Object {
            version,
            seen: self.now_seen,
            meta: mapped.meta,
            ports: mapped.ports,
            terms: mapped.terms,
        };
        self.set_object(namespace, name, Some(object), source);
        Ok(())
    }

    fn apply_slice(&mut self, object: &[u8], source: Source, now: Instant) -> Result<(), String> {
        let read = wire::named::<wire::Slice<'_>>(object, |read| &read.metadata.name);
        let slice = read.map_err(|error| error.to_string())?;
        let metadata = &slice.metadata;
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        if self.see(Kind::Slice, namespace, name, version) {
            self.unread.clear(Kind::Slice, namespace, name);
            return Ok(());
        }
        let until = self.until(namespace, source, now);
        let owner = metadata.labels.get(wire::SERVICE_NAME);
        if owner.is_empty() {
            self.unread.clear(Kind::Slice, namespace, name);
            self.drop_slice(namespace, name, until, source);
            return Ok(());
        }
        let mapped = self.map_slice(&slice, owner, version)?;
        self.unread.clear(Kind::Slice, namespace, name);
        let before = self
            .namespaces
            .get(namespace)
            .and_then(|held| held.owners.get(name));
        if before.is_some_and(|before| *before != owner) {
            self.drop_slice(namespace, name, Until::Now, source);
        }
        let (slice_name, owner) = (mapped.name.clone(), self.interner.text(owner));
        let namespace = self.interner.text(namespace);
        let held = self.namespaces.entry(namespace.clone()).or_default();
        held.owners.insert(slice_name.clone(), owner.clone());
        held.services.entry(owner.clone()).or_default();
        self.change(&namespace, &owner, source, |service, tools| {
            service.set_slice(&slice_name, Some(mapped), until, tools)
        });
        Ok(())
    }

    fn apply_node(&mut self, object: &[u8]) -> Result<(), String> {
        let read = wire::named::<wire::Head<wire::Metadata<'_>>>(object, |read| &read.metadata.name);
        let metadata = read.map_err(|error| error.to_string())?.metadata;
        self.unread.clear(Kind::Node, "", &metadata.name);
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        if !self.nodes.see(&metadata.name, version, self.now_seen) {
            self.nodes.apply(&metadata, self.now_seen, &mut self.interner);
        }
        Ok(())
    }

    /// Maps a slice. Endpoints that are as they were stay the allocations that they were.
    fn map_slice(&mut self, slice: &wire::Slice<'_>, owner: &str, version: Version) -> Result<Slice, String> {
        let metadata = &slice.metadata;
        let held = self.namespaces.get(&*metadata.namespace);
        let service = held.and_then(|held| held.services.get(owner));
        let old = service.and_then(|service| service.slice(&metadata.name));
        let ports = map::ports::of_slice(&slice.ports, &self.mapping.ports, &mut self.interner);
        let surroundings = Surroundings {
            mapping: &self.mapping,
            headless: service.is_some_and(Service::is_headless),
            nodes: &|name| self.nodes.place(name),
        };
        let mapped = map::endpoints::endpoints(slice, &ports, surroundings, &mut self.interner)?;
        let mut said = HashMap::new();
        let mut endpoints = Vec::with_capacity(mapped.len());
        for one in mapped {
            let known = old.and_then(|old| {
                let mut held = old.shelf.at(one.endpoint.address()).iter();
                held.find(|held| ***held == one.endpoint).cloned()
            });
            let endpoint = known.unwrap_or_else(|| Arc::new(one.endpoint));
            if !is_plain(&one.said, &endpoint) {
                said.insert(Arc::as_ptr(&endpoint), one.said);
            }
            endpoints.push(endpoint);
        }
        let shelf = Shelf::new(endpoints);
        let said = shelf.all().iter().enumerate().filter_map(|(at, endpoint)| {
            let said = said.get(&Arc::as_ptr(endpoint))?;
            Some((at, said.clone()))
        });
        Ok(Slice {
            name: Str::from(&*metadata.name),
            version,
            seen: self.now_seen,
            trigger: map::text::nanos(&metadata.annotations.last_change_trigger_time).unwrap_or(0),
            ports,
            said: said.collect(),
            shelf,
        })
    }

    /// What cannot be read is told, and counts as seen: what was known of it stays.
    fn refuse(&mut self, kind: Kind, object: &[u8], problem: &str, is_there: bool) -> Unreadable {
        let lenient: Option<wire::Head<wire::Lenient<'_>>> = serde_json::from_slice(object).ok();
        let lenient = lenient
            .map(|head| head.metadata)
            .filter(|metadata| !metadata.name.is_empty());
        let Some(metadata) = lenient else {
            for (part, listing) in &mut self.listings {
                listing.blind |= part.kind == kind;
            }
            let message = format!("{}: {}", kind.as_str(), short(problem, 400));
            return Unreadable {
                service: None,
                error: Arc::new(RegistryError::new(ErrorKind::Malformed, message)),
            };
        };
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        let owner = match kind {
            Kind::Service => name.to_owned(),
            Kind::Slice => metadata.service(),
            Kind::Node => String::new(),
        };
        let held = self.namespaces.get(namespace);
        let owner = match held.and_then(|held| held.owners.get(name)) {
            Some(held) if owner.is_empty() && kind == Kind::Slice => held.to_string(),
            _ => owner,
        };
        let seen = self.now_seen;
        match kind {
            Kind::Node => self.nodes.keep(name, seen),
            Kind::Service | Kind::Slice => {
                if let Some((_, held)) = self.held(kind, namespace, name) {
                    *held = seen;
                }
            }
        }
        let group = self.interner.text(namespace);
        let service = (!owner.is_empty()).then(|| ServiceId::new(group.clone(), group, owner));
        let place = if namespace.is_empty() {
            short(name, 253)
        } else {
            format!("{}/{}", short(namespace, 253), short(name, 253))
        };
        let message = format!("{} {place}: {}", kind.as_str(), short(problem, 400));
        let error = Arc::new(RegistryError::new(ErrorKind::Malformed, message));
        if is_there {
            self.unread
                .note(kind, (namespace, name), service.clone(), error.clone(), seen);
        }
        Unreadable { service, error }
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
        let (namespace, name) = (self.interner.text(namespace), self.interner.text(name));
        if object.is_some() {
            let held = self.namespaces.entry(namespace.clone()).or_default();
            held.services.entry(name.clone()).or_default();
        }
        self.change(&namespace, &name, source, |service, tools| {
            service.set_object(object, tools)
        });
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

    fn missing_services(&self, namespace: &str, since: u64) -> Vec<Str> {
        let held = self.namespaces.get(namespace);
        let services = held.into_iter().flat_map(|held| &held.services);
        let missing = services.filter(|(_, service)| {
            let object = service.object.as_ref();
            object.is_some_and(|object| object.seen < since)
        });
        missing.map(|(name, _)| name.clone()).collect()
    }

    fn missing_slices(&self, namespace: &str, since: u64) -> Vec<Str> {
        let held = self.namespaces.get(namespace);
        let services = held.into_iter().flat_map(|held| held.services.values());
        let slices = services.flat_map(Service::slices);
        let missing = slices.filter(|slice| slice.seen < since);
        missing.map(|slice| slice.name.clone()).collect()
    }

    // === nodes ===

    fn services(&self) -> impl Iterator<Item = (&Str, &Str, &Service)> {
        self.namespaces.iter().flat_map(|(namespace, held)| {
            let services = held.services.iter();
            services.map(move |(name, service)| (namespace, name, service))
        })
    }

    /// Endpoints follow their nodes.
    fn relocate(&mut self) {
        let moved = self.nodes.take_moved();
        if moved.is_empty() {
            return;
        }
        let affected: Vec<(Str, Str)> = self
            .services()
            .filter(|(_, _, service)| {
                let slices = service.slices().iter();
                let mut endpoints = slices.flat_map(|slice| slice.shelf.all());
                endpoints.any(|endpoint| moved.contains(endpoint.node()))
            })
            .map(|(namespace, name, _)| (namespace.clone(), name.clone()))
            .collect();
        for (namespace, name) in affected {
            let held = self.namespaces.get(&namespace);
            let Some(service) = held.and_then(|held| held.services.get(&name)) else {
                continue;
            };
            let mut changed = Vec::new();
            for (number, slice) in service.slices().iter().enumerate() {
                for (at, endpoint) in slice.shelf.all().iter().enumerate() {
                    if !moved.contains(endpoint.node()) {
                        continue;
                    }
                    let said = slice.said(at);
                    let locality = locality(&said, self.nodes.place(endpoint.node()));
                    if locality != *endpoint.locality() {
                        let endpoint = rebuilt(endpoint).locality(locality);
                        let endpoint = Arc::new(endpoint.build_in(&mut self.interner));
                        let said = (!is_plain(&said, &endpoint)).then_some(said);
                        changed.push((number, at, endpoint, said));
                    }
                }
            }
            self.change(&namespace, &name, Source::Watched, |service, tools| {
                service.relocate(changed, tools);
                false
            });
        }
    }

    fn forget_nodes(&mut self) {
        if !self.nodes.is_overfull() {
            return;
        }
        let mut named = HashSet::new();
        for (_, _, service) in self.services() {
            for endpoint in service.slices().iter().flat_map(|slice| slice.shelf.all()) {
                if !named.contains(endpoint.node()) {
                    named.insert(endpoint.node().clone());
                }
            }
        }
        self.nodes.forget(&named);
    }
}

/// True where what a slice says of the place of an endpoint can be seen from the endpoint: its zone, and no region.
fn is_plain(said: &SaidPlace, endpoint: &Endpoint) -> bool {
    said.region.is_empty() && said.zone == endpoint.locality().zone
}

impl Slice {
    /// What it says of the place of an endpoint.
    fn said(&self, at: usize) -> SaidPlace {
        match self.said.binary_search_by_key(&at, |(held, _)| *held) {
            Ok(found) => self.said[found].1.clone(),
            Err(_) => SaidPlace {
                region: Str::default(),
                zone: self.shelf.all()[at].locality().zone.clone(),
            },
        }
    }
}

fn same(a: &ServiceRecord, b: &ServiceRecord) -> bool {
    map::service::same(a.meta(), b.meta())
        && (a.endpoints().ptr_eq(b.endpoints())
            || (a.endpoints().content_hash() == b.endpoints().content_hash()
                && a.endpoints() == b.endpoints()))
}

#[cfg(test)]
mod tests;
