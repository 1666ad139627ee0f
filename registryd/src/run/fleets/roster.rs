//! The members of one entry that are in force.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use registry_core::{Discovery, RegistryId, RegistryOptions};

use super::super::leave::{Leaving, Wait, leave};
use super::memory::{Known, Memory};
use crate::registries::{Member, names};

/// What stands for a member's backend; `None` of one that is remembered and was not heard of since.
type Fingerprint = Option<u128>;

/// The members of one entry that are in force, and those that are about to leave.
#[derive(Debug)]
pub(in crate::run) struct Roster {
    entry: RegistryId,
    discovery: Discovery,
    /// How long leaving waits for those that come in place.
    deadline: Duration,
    options: RegistryOptions,
    members: BTreeMap<RegistryId, Fingerprint>,
    leaving: HashMap<RegistryId, (Leaving, Fingerprint)>,
    memory: Option<Memory>,
}

impl Roster {
    /// A roster on which those members stand that discovery has already.
    pub(super) fn new(
        entry: RegistryId,
        discovery: Discovery,
        deadline: Duration,
        options: RegistryOptions,
        memory: Option<Memory>,
        remembered: Vec<RegistryId>,
    ) -> Self {
        Self {
            entry,
            discovery,
            deadline,
            options,
            members: remembered.into_iter().map(|id| (id, None)).collect(),
            leaving: HashMap::new(),
            memory,
        }
    }

    /// The members that do not leave by themselves.
    pub(in crate::run) fn members(&self) -> Vec<RegistryId> {
        self.members.keys().cloned().collect()
    }

    /// Keeps in another place who is on it.
    pub(super) fn remember_by(&mut self, memory: Option<Memory>) {
        self.memory = memory;
    }

    /// Puts a complete set in force, which may be beyond doubt.
    pub(super) async fn apply(&mut self, set: Vec<Member>, certain: bool) {
        self.leaving.retain(|_, (leaving, _)| !leaving.is_finished());
        let before = self.members.len();
        let (mut added, mut changed) = (Vec::new(), 0);
        let mut now = BTreeMap::new();
        let mut known = Vec::new();
        for (id, member) in names::assign(&self.entry, set) {
            if let Some((leaving, fingerprint)) = self.leaving.remove(&id)
                && leaving.stay().await
            {
                self.members.insert(id.clone(), fingerprint);
            }
            let entry = Known::new(&id, &*member.registry);
            let (backend, options) = (member.registry, self.options.clone());
            let result = match self.members.remove(&id) {
                Some(held) if held == Some(member.fingerprint) => Ok(()),
                Some(_) => {
                    changed += 1;
                    self.discovery.replace(id.clone(), Some(backend), options).await
                }
                None => {
                    added.push(id.clone());
                    self.discovery.add(id.clone(), backend, options).await
                }
            };
            match result {
                Ok(()) => {
                    now.insert(id, Some(member.fingerprint));
                    known.push(entry);
                }
                Err(error) => tracing::error!(registry = %id, %error, "the registry could not be set up"),
            }
        }
        let gone = std::mem::replace(&mut self.members, now);
        if !added.is_empty() || changed > 0 || !gone.is_empty() {
            tracing::info!(
                registry = %self.entry,
                members = self.members.len(),
                added = added.len(),
                changed,
                gone = gone.len(),
                "its members have changed"
            );
        }
        let before = (!certain).then_some(before);
        self.release(gone, before, &added);
        if let Some(memory) = &self.memory {
            memory.write(known).await;
        }
    }

    /// Lets members go that are not in the set any more. Where that takes many of those that are only remembered they
    /// stay as long as a sudden loss of endpoints is held back: their source cannot know what it lacks since the start,
    /// as a directory does that is not mounted yet. `before` is how many there were, where the set may be doubted.
    fn release(
        &mut self,
        gone: BTreeMap<RegistryId, Fingerprint>,
        before: Option<usize>,
        added: &[RegistryId],
    ) {
        let unheard = gone.values().filter(|fingerprint| fingerprint.is_none()).count();
        #[allow(clippy::cast_precision_loss, reason = "numbers of clusters")]
        let is_sudden = |share: f64| before.is_some_and(|before| unheard as f64 > share * before as f64);
        let hold = match &self.options.guard {
            Some(guard) if is_sudden(guard.share) => guard.hold,
            _ => Duration::ZERO,
        };
        if hold > Duration::ZERO {
            tracing::warn!(
                registry = %self.entry,
                gone = gone.len(),
                of = before.unwrap_or_default(),
                "the list lacks many members that it had before the start; they stay for {hold:?}, unless they come back"
            );
        }
        for (id, fingerprint) in gone {
            let wait = Wait {
                hold,
                successors: added.to_vec(),
                deadline: self.deadline,
            };
            let leaving = leave(self.discovery.clone(), vec![id.clone()], wait);
            self.leaving.insert(id, (leaving, fingerprint));
        }
    }

    /// Changes how all members take part in the merge.
    pub(super) async fn adjust(&mut self, options: RegistryOptions) {
        if self.options == options {
            return;
        }
        self.options = options;
        for id in self.members.keys().chain(self.leaving.keys()) {
            let result = self
                .discovery
                .replace(id.clone(), None, self.options.clone())
                .await;
            // One that leaves may have left.
            if let Err(error) = result
                && self.members.contains_key(id)
            {
                tracing::error!(registry = %id, %error, "the registry could not be set up");
            }
        }
    }

    /// Forgets on disk who was on it.
    pub(in crate::run) async fn forget(&self) {
        if let Some(memory) = &self.memory {
            memory.remove().await;
        }
    }
}
