//! The published picture: every service of every registry, immutable, structurally shared with the one before it.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::counted::Counted;
use crate::hash::ContentHash;
use crate::hostname::normalised;
use crate::model::{Endpoint, RegistryId, Service, Timestamp};
use crate::status::{Phase, RegistrySummary};
use crate::text::Str;
use crate::trie::{Entry, NameMap};

impl Entry for Arc<Service> {
    fn key(&self) -> &str {
        self.hostname()
    }

    fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// A service under a name of its own: its hostname as one registry renders it, `@`, and that registry.
#[derive(Clone)]
pub(crate) struct Qualified(pub(crate) Arc<(Str, Arc<Service>)>);

impl Entry for Qualified {
    fn key(&self) -> &str {
        &self.0.0
    }

    fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Counted for Qualified {
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// What a further name or a virtual address leads to: hostnames, in alphabetical order.
#[derive(Clone)]
pub(crate) struct Target(pub(crate) Arc<(Str, Vec<Str>)>);

impl Entry for Target {
    fn key(&self) -> &str {
        &self.0.0
    }

    fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Counted for Target {
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// The merged, immutable picture of all services at one publication.
///
/// Cloning the `Arc` that holds it is all it costs to keep one; two of them are compared by what differs.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) root: ContentHash,
    pub(crate) services: NameMap<Arc<Service>>,
    pub(crate) qualified: NameMap<Qualified>,
    pub(crate) aliases: NameMap<Target>,
    pub(crate) vips: NameMap<Target>,
    pub(crate) registries: Vec<Arc<RegistrySummary>>,
    pub(crate) endpoints: usize,
    pub(crate) conflicts: usize,
    pub(crate) published: Timestamp,
}

/// What is known of a name.
#[derive(Debug, Clone)]
pub enum Lookup<'a> {
    /// The service.
    Found(&'a Arc<Service>),
    /// No service of that name is known, but these registries may own it and have not said anything yet.
    Undecided(Vec<&'a RegistryId>),
    /// There is no such service.
    NotFound,
}

impl Snapshot {
    /// Counts the publications of this process; larger is newer.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The hash of all content: equal in every process that holds the same services.
    pub fn root_hash(&self) -> ContentHash {
        self.root
    }

    /// When it was published.
    pub fn published(&self) -> Timestamp {
        self.published
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many endpoints all services have together.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints
    }

    /// How many conflicts all services have together.
    pub fn conflict_count(&self) -> usize {
        self.conflicts
    }

    /// All services, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter()
    }

    /// The service of that name: a hostname, an alias, a virtual address, or `hostname@registry` for what one registry
    /// alone says. Letters are compared without case; it allocates nothing for names in lower case.
    ///
    /// ```
    /// # use registry_core::*;
    /// # let snapshot = Snapshot::default();
    /// assert!(snapshot.get("payments.mesh.internal").is_none());
    /// assert!(snapshot.get("payments.mesh.internal@consul-dc1").is_none());
    /// ```
    pub fn get(&self, name: &str) -> Option<&Arc<Service>> {
        let name = normalised(name);
        if let Some(service) = self.services.get(&name) {
            return Some(service);
        }
        if let Some((hostname, registry)) = name.rsplit_once('@') {
            if let Some(qualified) = self.qualified.get(&name) {
                return Some(&qualified.0.1);
            }
            // Where only one registry has the hostname, the service is that registry's alone.
            return self.services.get(hostname).filter(|service| {
                service.sources().len() == 1 && service.sources()[0].registry.as_str() == registry
            });
        }
        let target = self.aliases.get(&name).or_else(|| self.vips.get(&name))?;
        target.0.1.iter().find_map(|hostname| self.services.get(hostname))
    }

    /// What each registry says by itself of a hostname, whether it is served or a policy of the merge leaves it out, in
    /// order of precedence. Each is what [`get`](Self::get) finds as `hostname@registry`.
    pub fn claims(&self, hostname: &str) -> impl Iterator<Item = (&RegistryId, &Arc<Service>)> {
        let hostname = normalised(hostname);
        // Where only one registry has the hostname, the service is that registry's alone.
        let alone = self.services.get(&hostname);
        let alone = alone.filter(|service| service.sources().len() == 1);
        let mut name = format!("{hostname}@");
        let stem = name.len();
        self.registries.iter().filter_map(move |registry| {
            name.truncate(stem);
            name.push_str(registry.id.as_str());
            let claim = match self.qualified.get(&name) {
                Some(qualified) => &qualified.0.1,
                None => alone.filter(|service| service.sources()[0].registry == registry.id)?,
            };
            Some((&registry.id, claim))
        })
    }

    /// As [`claims`](Self::claims), of all hostnames: each is a service as one registry has it, in no particular order.
    pub fn all_claims(&self) -> impl Iterator<Item = &Arc<Service>> {
        let several = || self.qualified.iter().map(|claim| &claim.0.1);
        // Of a hostname that several registries claim, what each of them says is there under a name of its own.
        let claimed: HashSet<&Str> = several().map(|claim| claim.hostname()).collect();
        let alone = move |service: &&Arc<Service>| {
            service.sources().len() == 1 && !claimed.contains(service.hostname())
        };
        several().chain(self.services.iter().filter(alone))
    }

    /// The hostnames that registries [claim](Self::claims) and that are not served, because a policy of the merge lets
    /// none of them take part. In alphabetical order; looks at every name that several registries claim.
    pub fn unserved(&self) -> BTreeSet<&Str> {
        let claimed = self.qualified.iter().map(|claim| claim.0.1.hostname());
        claimed
            .filter(|hostname| self.services.get(hostname).is_none())
            .collect()
    }

    /// As [`get`](Self::get), and tells "there is none" from "nobody can know yet".
    pub fn lookup(&self, name: &str) -> Lookup<'_> {
        if let Some(service) = self.get(name) {
            return Lookup::Found(service);
        }
        let name = normalised(name);
        let (hostname, only) = match name.rsplit_once('@') {
            Some((hostname, registry)) => (hostname, Some(registry)),
            None => (&*name, None),
        };
        let awaited: Vec<&RegistryId> = self
            .registries
            .iter()
            .filter(|registry| !registry.known)
            .filter(|registry| only.is_none_or(|only| registry.id.as_str() == only))
            .filter(|registry| {
                registry.domains.is_empty() || registry.domains.iter().any(|domain| domain.matches(hostname))
            })
            .map(|registry| &registry.id)
            .collect();
        if awaited.is_empty() {
            Lookup::NotFound
        } else {
            Lookup::Undecided(awaited)
        }
    }

    /// The services with that virtual address; several where clusters use the same range.
    pub fn at_vip(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<Service>> {
        let target = self.vips.get(&ip.to_string());
        target.into_iter().flat_map(|target| {
            target
                .0
                .1
                .iter()
                .filter_map(|hostname| self.services.get(hostname))
        })
    }

    /// The endpoints with that address, each with its service. Scans all of them.
    pub fn find_address(&self, ip: IpAddr) -> impl Iterator<Item = (&Arc<Service>, &Arc<Endpoint>)> {
        self.services()
            .flat_map(move |service| service.endpoints().find_ip(ip).map(move |found| (service, found)))
    }

    /// The registries, in order of precedence.
    pub fn registries(&self) -> &[Arc<RegistrySummary>] {
        &self.registries
    }

    /// The registry of that name.
    pub fn registry(&self, id: &RegistryId) -> Option<&Arc<RegistrySummary>> {
        self.registries.iter().find(|registry| registry.id == *id)
    }

    /// What turns the older snapshot into this one. Costs what differs, not what there is.
    pub fn changes_since(&self, older: &Self) -> Delta {
        let mut delta = Delta {
            from: older.revision,
            to: self.revision,
            updated: Vec::new(),
            removed: Vec::new(),
            phases: Vec::new(),
        };
        self.services
            .diff(&older.services, &mut |before, after| match (before, after) {
                (_, Some(service)) => delta.updated.push(service.clone()),
                (Some(service), None) => delta.removed.push(service.hostname().clone()),
                (None, None) => {}
            });
        for registry in &self.registries {
            let before = older.registry(&registry.id);
            if !before.is_some_and(|before| before.same_phases(registry)) {
                delta.phases.push((registry.id.clone(), Some(registry.phase)));
            }
        }
        let gone = older
            .registries
            .iter()
            .filter(|before| self.registry(&before.id).is_none());
        delta
            .phases
            .extend(gone.map(|registry| (registry.id.clone(), None)));
        delta
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("root", &self.root)
            .field("services", &self.len())
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// What differs between two snapshots.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// The revision that it starts from.
    pub from: u64,
    /// The revision that it leads to.
    pub to: u64,
    /// Services that are new or changed, in their new state.
    pub updated: Vec<Arc<Service>>,
    /// Hostnames that are gone.
    pub removed: Vec<Str>,
    /// Registries whose phase changed, or that of a registry behind them; `None` for those that were removed.
    pub phases: Vec<(RegistryId, Option<Phase>)>,
}

impl Delta {
    /// True where nothing differs.
    pub fn is_empty(&self) -> bool {
        self.updated.is_empty() && self.removed.is_empty() && self.phases.is_empty()
    }
}
