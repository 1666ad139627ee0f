//! One type of resource on one stream: what the client asked for, and where it differs from the newest set.
//!
//! What the client has is not listed: it has what the newest set has, except for the names in `behind`, `owed` and `fresh`.
//! All are empty while nothing is under way.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use registry_core::{NameHasher, NameMap, Str};
use tonic::Status;

use super::exchange::Exchange;
use crate::names;
use crate::resource::{Held, Resource, ResourceSet, ResourceType};

/// The bound of what one client may subscribe to in one type, as [`weight`]: about a million names.
const MOST: usize = 64 << 20;

/// What it costs to hold a name, in bytes.
fn weight(name: &str) -> usize {
    name.len() + 32
}

/// Checks that a client may hold all of that.
///
/// # Errors
///
/// `RESOURCE_EXHAUSTED`.
pub(super) fn check_weight<'a>(
    type_: ResourceType,
    held: usize,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<usize, Status> {
    let total = names.into_iter().map(weight).fold(held, usize::saturating_add);
    if total > MOST {
        return Err(Status::resource_exhausted(format!(
            "{type_}: more than {} MiB of names",
            MOST >> 20
        )));
    }
    Ok(total)
}

/// What the client has of a resource, where that is not what the newest set has.
#[derive(Debug, Clone)]
pub(super) enum Had {
    Nothing,
    /// It got it on an earlier stream, and said which version; `None` where that is none of ours.
    Version(Option<NonZeroU64>),
    Resource(Arc<Resource>),
    /// Something of that name, nobody knows what, in whose place it got this.
    Tombstone(Arc<Resource>),
}

impl Had {
    /// Reads what a client calls the version of a resource.
    pub(super) fn version(text: &str) -> Self {
        let ours = text.len() == 16;
        let number = ours.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        Self::Version(number.and_then(NonZeroU64::new))
    }

    fn is(&self, now: Option<&Arc<Resource>>) -> bool {
        match (self, now) {
            (Self::Nothing, None) => true,
            (Self::Version(Some(version)), Some(now)) => version.get() == now.version_number(),
            (Self::Resource(had), Some(now)) => had == now,
            _ => false,
        }
    }
}

/// What has to happen with a name for the client to be where the newest set is.
pub(super) enum Step<'a> {
    /// It gets the resource.
    Add(&'a Arc<Resource>),
    /// It would get the resource, but what belongs into it is not all known yet.
    AddLater,
    /// It has a resource that is no more.
    Remove,
    /// As before, but nobody may say so yet.
    RemoveLater,
    /// It asked for what does not exist.
    Deny,
    /// As before, but nobody may say so yet.
    DenyLater,
    /// Nothing any more.
    Nothing,
}

/// Which steps may be taken now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Open {
    pub(super) add: bool,
    pub(super) remove: bool,
    pub(super) deny: bool,
}

/// What goes into one response.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What the client gets.
    pub(super) added: Vec<Arc<Resource>>,
    /// What it has to be told is not there.
    pub(super) gone: Vec<Str>,
    /// What turned out to need nothing.
    pub(super) moot: Vec<Str>,
}

/// Names come from the network, and there are many.
pub(super) type Names = HashSet<Str, NameHasher>;

/// A response that states all there is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) all: Vec<Arc<Resource>>,
    /// What changes by it.
    pub(super) batch: Batch,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) type_: ResourceType,
    /// It wants everything.
    pub(super) wildcard: bool,
    /// It wants these by name.
    pub(super) names: Names,
    /// State of the world: of these, the client has dropped some since it was last listened to.
    pub(super) forgotten: Names,
    /// What they weigh.
    weight: usize,
    /// State of the world: it named something once, after which an empty list means nothing and no longer everything.
    pub(super) listed: bool,
    /// The answer to the wish for everything is due, be it empty.
    pub(super) listing: bool,
    /// State of the world: the version that the client has from an earlier stream, while there is no set to compare.
    pub(super) claim: Option<String>,
    /// The client has something from an earlier stream.
    pub(super) returning: bool,
    /// What it has where the newest set has something else.
    behind: HashMap<Str, Had, NameHasher>,
    /// What it gets or is told whatever it has. What is only in here, it has nothing of.
    owed: Names,
    /// What it gets, too, and has nothing of: in no particular order, each as the newest set has it, and none in `behind`
    /// or `owed`. A client that comes gets nearly everything this way, without a look-up for each name; whatever does not
    /// leave this as it is [spills](Self::spill) it.
    fresh: Vec<Arc<Resource>>,
    pub(super) exchange: Exchange,
}

impl Subscription {
    pub(super) fn new(type_: ResourceType, returning: bool) -> Self {
        Self {
            type_,
            wildcard: false,
            names: Names::default(),
            forgotten: Names::default(),
            weight: 0,
            listed: false,
            listing: false,
            claim: None,
            returning,
            behind: HashMap::default(),
            owed: Names::default(),
            fresh: Vec::new(),
            exchange: Exchange::default(),
        }
    }

    /// True where it wants anything at all.
    pub(super) fn is_active(&self) -> bool {
        self.wildcard || !self.names.is_empty()
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// True where something is due, now or later.
    pub(super) fn is_due(&self) -> bool {
        self.listing || !self.fresh.is_empty() || !self.owed.is_empty() || !self.behind.is_empty()
    }

    /// Takes in a name that the client subscribes to, or subscribes to again: it gets it, even where it had it, as it may
    /// have forgotten it.
    pub(super) fn subscribe(&mut self, name: &str, table: &NameMap<Held>) -> Result<(), Status> {
        let held = table.get(name).map(|held| &held.0);
        let new = match held {
            // The text of the resource is there anyway, and the same for all streams.
            Some(resource) => self.names.insert(resource.name().clone()),
            None => self.names.insert(Str::from(name)),
        };
        if new {
            self.weight = check_weight(self.type_, self.weight, [name])?;
        }
        match held {
            Some(resource) if new && !self.wildcard => self.fresh.push(resource.clone()),
            None if new && !self.wildcard => drop(self.owed.insert(Str::from(name))),
            _ => self.owe(name, table),
        }
        Ok(())
    }

    /// Takes in that the client has something of a name, whatever was known before.
    pub(super) fn has(&mut self, name: &str, had: Had) {
        self.spill();
        self.behind.insert(Str::from(name), had);
    }

    /// True where the client has to keep something of which nothing but the name is known.
    pub(super) fn has_tombstones(&self) -> bool {
        self.behind.values().any(|had| matches!(had, Had::Tombstone(_)))
    }

    /// Keeps what is in `fresh` where it can be found by name.
    pub(super) fn spill(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.owed
            .extend(fresh.iter().map(|resource| resource.name().clone()));
    }

    /// Forgets a name. True where the client wants it all the same, with everything else.
    pub(super) fn unsubscribe(&mut self, name: &str) -> bool {
        let Some(name) = self.names.take(name) else {
            return false;
        };
        self.weight -= weight(&name);
        if !self.wildcard {
            self.spill();
            self.settle(&name);
        }
        if self.names.len() < self.names.capacity() / 8 {
            self.names.shrink_to_fit();
        }
        self.wildcard
    }

    /// The client wants everything from now on. `has` is what it has of a resource from before.
    pub(super) fn begin_wildcard(&mut self, table: &NameMap<Held>, has: impl Fn(&Resource) -> Option<Had>) {
        self.listing = true;
        if self.wildcard {
            table.iter().for_each(|held| self.owe(held.0.name(), table));
            return;
        }
        self.wildcard = true;
        for held in table.iter() {
            let name = held.0.name();
            if !self.names.is_empty() && self.names.contains(&**name) {
                continue;
            }
            match has(&held.0) {
                // What is not in `names` was not wanted, so nothing was known of it.
                None => self.fresh.push(held.0.clone()),
                Some(had) if had.is(Some(&held.0)) => {}
                Some(had) => drop(self.behind.insert(name.clone(), had)),
            }
        }
    }

    /// The first set there is. What the client named before is owed already.
    pub(super) fn begin(&mut self, table: &NameMap<Held>) {
        if !self.wildcard {
            return;
        }
        if !self.behind.is_empty() {
            let nothing = NameMap::default();
            table.diff(&nothing, &mut |before, now| self.changed(before, now));
            return;
        }
        let owed = |held: &&Held| !self.owed.is_empty() && self.owed.contains(&**held.0.name());
        let rest = table.iter().filter(|held| !owed(held));
        self.fresh.extend(rest.map(|held| held.0.clone()));
    }

    /// The client does not want everything any more.
    pub(super) fn end_wildcard(&mut self) {
        self.wildcard = false;
        self.listing = false;
        self.spill();
        self.behind.retain(|name, _| self.names.contains(name));
        self.owed.retain(|name| self.names.contains(name));
    }

    /// Owes a name that the client subscribed to, whatever it has of it.
    pub(super) fn owe(&mut self, name: &str, table: &NameMap<Held>) {
        self.spill();
        if self.owed.contains(name) {
            return;
        }
        let held = table.get(name).map(|held| &held.0);
        let name = held.map_or_else(|| Str::from(name), |resource| resource.name().clone());
        if let (Some(resource), None) = (held, self.behind.get(&name)) {
            self.behind.insert(name.clone(), Had::Resource(resource.clone()));
        }
        self.owed.insert(name);
    }

    /// A resource of the set changed.
    pub(super) fn changed(&mut self, before: Option<&Held>, now: Option<&Held>) {
        let Some(either) = now.or(before) else { return };
        let name = either.0.name();
        if !self.wants(name) {
            return;
        }
        self.spill();
        let now = now.map(|held| &held.0);
        match self.behind.get(name) {
            // Back to what the client has: it never hears of what was between.
            Some(had) if had.is(now) && !self.owed.contains(name) => self.settle(name),
            Some(_) => {}
            None if self.owed.contains(name) => {}
            None => {
                let had = before.map_or(Had::Nothing, |held| Had::Resource(held.0.clone()));
                if !had.is(now) {
                    self.behind.insert(name.clone(), had);
                }
            }
        }
    }

    /// The client is where the newest set is, as far as this name goes.
    pub(super) fn settle(&mut self, name: &str) {
        if !self.behind.is_empty() && self.behind.remove(name).is_some() && self.behind.is_empty() {
            self.behind = HashMap::default();
        }
        if !self.owed.is_empty() && self.owed.remove(name) && self.owed.is_empty() {
            self.owed = Names::default();
        }
    }

    /// The names for which something is due, apart from what is `fresh`.
    fn due(&self) -> impl Iterator<Item = &Str> {
        let behind = self.behind.keys().filter(|name| !self.owed.contains(&***name));
        self.owed.iter().chain(behind)
    }

    /// What is due for a name.
    fn step<'a>(&self, name: &str, set: &'a ResourceSet) -> Step<'a> {
        if let Some(resource) = set.get(self.type_, name) {
            // A resource that several services share tells of absences by what is not in it. Who had it on this stream got
            // it when nothing was in doubt, so that only what went since then can be.
            let known = || !set.has_lost() && matches!(self.behind.get(name), Some(Had::Resource(_)));
            return match set.is_complete() || names::hostname(self.type_, name).is_some() || known() {
                true => Step::Add(resource),
                false => Step::AddLater,
            };
        }
        // Endpoints of a cluster that exists are never missing, so nobody is told that they are.
        let of_a_cluster =
            || self.type_ == ResourceType::Endpoints && set.get(ResourceType::Cluster, name).is_some();
        match self.behind.get(name) {
            Some(Had::Version(_) | Had::Resource(_) | Had::Tombstone(_)) => {
                match set.is_undecided(self.type_, name) || of_a_cluster() {
                    true => Step::RemoveLater,
                    false => Step::Remove,
                }
            }
            _ if !self.owed.contains(name) || !self.names.contains(name) => Step::Nothing,
            _ if set.may_exist(self.type_, name) || of_a_cluster() => Step::DenyLater,
            _ => Step::Deny,
        }
    }

    /// True where resources have still to reach the client.
    pub(super) fn has_additions(&self, set: &ResourceSet) -> bool {
        !self.fresh.is_empty()
            || self
                .due()
                .any(|name| matches!(self.step(name, set), Step::Add(_) | Step::AddLater))
    }

    /// True where resources have still to reach the client, or to be taken from it.
    pub(super) fn is_moving(&self, set: &ResourceSet) -> bool {
        !self.fresh.is_empty()
            || self
                .due()
                .any(|name| !matches!(self.step(name, set), Step::Deny | Step::DenyLater | Step::Nothing))
    }

    /// Collects what is due and open, up to about `limit` bytes, measured by `size`, and regards it as done.
    pub(super) fn collect(
        &mut self,
        set: &ResourceSet,
        open: Open,
        limit: usize,
        size: impl Fn(&Resource) -> usize,
    ) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        if !set.is_complete() {
            // Some of it may have to wait.
            self.spill();
        }
        while open.add
            && bytes < limit
            && let Some(resource) = self.fresh.pop()
        {
            bytes += size(&resource);
            batch.added.push(resource);
        }
        if self.fresh.is_empty() {
            self.fresh = Vec::new();
        }
        let swift = batch.added.len();
        for name in self.due() {
            if bytes >= limit {
                break;
            }
            match self.step(name, set) {
                Step::Add(resource) if open.add => {
                    bytes += size(resource);
                    batch.added.push(resource.clone());
                }
                Step::Remove if open.remove => {
                    bytes += name.len();
                    batch.gone.push(name.clone());
                }
                Step::Deny if open.deny => {
                    bytes += name.len();
                    batch.gone.push(name.clone());
                }
                Step::Nothing => batch.moot.push(name.clone()),
                _ => {}
            }
        }
        self.settle_all(&batch, swift);
        batch
    }

    /// Settles a batch, whose first `swift` additions were in neither map.
    fn settle_all(&mut self, batch: &Batch, swift: usize) {
        let added = batch.added.iter().skip(swift).map(|resource| resource.name());
        for name in added.chain(&batch.gone).chain(&batch.moot) {
            self.settle(name);
        }
    }

    /// All that the client is to have, if it has to be told anything: what exists, and what it has and must keep for now.
    /// What changes by it is regarded as done.
    pub(super) fn state_all(&mut self, set: &ResourceSet, open: Open) -> Option<State> {
        if !set.is_complete() {
            self.spill();
        }
        let mut batch = Batch::default();
        let mut kept = Vec::new();
        let mut withheld = HashSet::new();
        for name in self.due() {
            match self.step(name, set) {
                Step::Add(resource) => batch.added.push(resource.clone()),
                Step::Remove if open.remove => batch.gone.push(name.clone()),
                Step::Deny if open.deny => batch.gone.push(name.clone()),
                Step::Nothing => batch.moot.push(name.clone()),
                step => {
                    if matches!(step, Step::AddLater) {
                        withheld.insert(name.clone());
                    }
                    if let Some(Had::Resource(had) | Had::Tombstone(had)) = self.behind.get(name) {
                        kept.push(had.clone());
                    }
                }
            }
        }
        // It needs no response, and there may be none.
        for name in batch.moot.drain(..) {
            self.settle(&name);
        }
        let adds = self.listing || !self.fresh.is_empty() || !batch.added.is_empty();
        if adds && !open.add || !adds && batch.gone.is_empty() {
            return None;
        }
        let exists =
            |resource: &&Arc<Resource>| withheld.is_empty() || !withheld.contains(&**resource.name());
        if self.wildcard {
            kept.extend(set.iter(self.type_).filter(exists).cloned());
        } else {
            let named = self.names.iter().filter_map(|name| set.get(self.type_, name));
            kept.extend(named.filter(exists).cloned());
        }
        self.settle_all(&batch, 0);
        batch.added.append(&mut self.fresh);
        self.fresh = Vec::new();
        Some(State { all: kept, batch })
    }
}
