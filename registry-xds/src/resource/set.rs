//! What one view serves at one moment.

use std::fmt;
use std::sync::Arc;

use registry_core::{ContentHash, Lookup, NameMap, Snapshot};
use xxhash_rust::xxh3::xxh3_128;

use super::{Held, Resource, ResourceType};
use crate::names;

/// All resources that nodes of one view get, at one revision. Immutable once handed out, and shared with the sets before
/// and after it: a clone costs nothing, a change a path.
#[derive(Clone, Default)]
pub struct ResourceSet {
    tables: [NameMap<Held>; 4],
    sums: [ContentHash; 4],
    revision: u64,
    /// The snapshot it was made from, while some registry has not said anything yet.
    undecided: Option<Arc<Snapshot>>,
    /// Nobody waits for such a registry.
    partial: bool,
    /// Meanwhile a service went that such a registry may still have.
    has_lost: bool,
}

/// What the registries that have not said anything yet leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Nothing: there are none.
    None,
    /// Whether a name exists. They are not waited for, and what is absent counts as gone.
    OfNames,
    /// What an absence means.
    OfAbsences,
}

impl ResourceSet {
    /// The resource of that type and name.
    pub fn get(&self, type_: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        self.tables[type_.index()].get(name).map(|held| &held.0)
    }

    /// All resources of a type, in no particular order.
    pub fn iter(&self, type_: ResourceType) -> impl Iterator<Item = &Arc<Resource>> {
        self.tables[type_.index()].iter().map(|held| &held.0)
    }

    /// How many resources of a type there are.
    pub fn len(&self, type_: ResourceType) -> usize {
        self.tables[type_.index()].len()
    }

    /// True where there are none at all.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(NameMap::is_empty)
    }

    /// The version of all resources of a type: equal in every process that serves the same ones.
    pub fn version(&self, type_: ResourceType) -> String {
        format!("{:016x}", self.sums[type_.index()].as_u128() >> 64)
    }

    /// The revision of the snapshot that it was made from.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// True where no absence is in doubt: every registry has said what it has, or is not waited for any more.
    pub fn is_complete(&self) -> bool {
        self.undecided.is_none() || self.partial
    }

    /// True where that resource is not there, and a registry that may own its service has not said anything yet and is
    /// waited for: from nobody who has it may it be taken.
    pub fn is_undecided(&self, type_: ResourceType, name: &str) -> bool {
        !self.partial && self.may_exist(type_, name)
    }

    /// True where that resource is not there, and a registry that may own its service has not said anything yet, waited
    /// for or not: nobody may be told that it does not exist.
    pub fn may_exist(&self, type_: ResourceType, name: &str) -> bool {
        let Some(snapshot) = &self.undecided else {
            return false;
        };
        match names::hostname(type_, name) {
            Some(hostname) => matches!(snapshot.lookup(hostname), Lookup::Undecided(_)),
            // It stands for many services, any of which may still come.
            None => true,
        }
    }

    /// True where what several services share tells of an absence that is in doubt: a service was there, went, and a
    /// registry that may own it has not said anything yet.
    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost
    }

    pub(crate) fn table(&self, type_: ResourceType) -> &NameMap<Held> {
        &self.tables[type_.index()]
    }

    /// Adds a resource, or puts it in place of the one with its name. One that is equal changes nothing. Returns whether
    /// anything changed.
    pub(crate) fn insert(&mut self, resource: Arc<Resource>) -> bool {
        let type_ = resource.type_();
        let table = &mut self.tables[type_.index()];
        if table
            .get(resource.name())
            .is_some_and(|held| *held.0 == *resource)
        {
            return false;
        }
        let added = digest(&resource);
        let old = table.insert(Held(resource));
        let sum = &mut self.sums[type_.index()];
        *sum = sum.plus(added);
        if let Some(old) = old {
            *sum = sum.minus(digest(&old.0));
        }
        true
    }

    /// Takes a resource out. Returns whether it was there.
    pub(crate) fn remove(&mut self, type_: ResourceType, name: &str) -> bool {
        let Some(old) = self.tables[type_.index()].remove(name) else {
            return false;
        };
        let sum = &mut self.sums[type_.index()];
        *sum = sum.minus(digest(&old.0));
        true
    }

    /// States which snapshot it was made from, and keeps it where absences are in doubt; and whether one of them is that of
    /// a service that was there.
    pub(crate) fn made_from(&mut self, snapshot: &Arc<Snapshot>, doubt: Doubt, has_lost: bool) {
        self.revision = snapshot.revision();
        self.undecided = (doubt != Doubt::None).then(|| snapshot.clone());
        self.partial = doubt == Doubt::OfNames;
        self.has_lost = doubt == Doubt::OfAbsences && has_lost;
    }

    /// True where it is known of every name whether it exists.
    pub(crate) fn is_decided(&self) -> bool {
        self.undecided.is_none()
    }
}

fn digest(resource: &Resource) -> ContentHash {
    xxh3_128(resource.delta()).into()
}

impl fmt::Debug for ResourceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ResourceSet");
        for type_ in ResourceType::ALL {
            shown.field(type_.as_str(), &self.len(type_));
        }
        shown.field("revision", &self.revision).finish_non_exhaustive()
    }
}
