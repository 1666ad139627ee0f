//! Entries that stand for several registries: their members join and leave discovery while it runs.
//!
//! ```text
//!  entry ──► its own registry, without services ──► discovery: is the list of members known?
//!    └─────► sets of members ──► a task ──► roster ──► discovery: a registry each, with the options of the entry
//! ```

mod memory;
mod roster;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Discovery, DiscoveryBuilder, RegistryId, RegistryOptions, ServiceRegistry};
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::memory::Memory;
pub(super) use self::roster::Roster;
use crate::registries::{Built, Members};

/// The fleets of a running daemon. Their members are followed until this is dropped.
#[derive(Debug)]
pub struct Fleets {
    discovery: Discovery,
    deadline: Duration,
    state_dir: Option<PathBuf>,
    followed: HashMap<RegistryId, Followed>,
}

#[derive(Debug)]
struct Followed {
    /// `None` once it was taken by another one.
    roster: Arc<Mutex<Option<Roster>>>,
    _stop: DropGuard,
}

/// An entry with members, before discovery has started.
pub(super) struct Awaiting {
    id: RegistryId,
    members: Box<dyn Members>,
    options: RegistryOptions,
    memory: Option<Memory>,
    remembered: Vec<RegistryId>,
}

/// Adds the registry of an entry, and the members that it had at the end of the last run, if it has any.
pub(super) fn add(
    mut builder: DiscoveryBuilder,
    id: &RegistryId,
    built: Built,
    options: RegistryOptions,
    state_dir: Option<&Path>,
) -> (DiscoveryBuilder, Option<Awaiting>) {
    let awaiting = built.members.map(|members| {
        let memory = state_dir.map(|directory| Memory::new(directory, id, &*built.registry));
        let restored = memory.as_ref().map(|memory| memory.restore(members.kind()));
        let mut remembered = Vec::new();
        for (member, registry) in restored.into_iter().flatten() {
            remembered.push(member.clone());
            builder = std::mem::take(&mut builder).add(member, Arc::new(registry), options.clone());
        }
        Awaiting {
            id: id.clone(),
            members,
            options: options.clone(),
            memory,
            remembered,
        }
    });
    (builder.add(id.clone(), built.registry, options), awaiting)
}

impl Fleets {
    /// Follows these fleets of a discovery that has started. Members leave when those that came in their place are
    /// known, or after the deadline.
    pub(super) fn new(
        discovery: Discovery,
        deadline: Duration,
        state_dir: Option<&Path>,
        awaiting: Vec<Awaiting>,
    ) -> Self {
        let mut fleets = Self {
            discovery,
            deadline,
            state_dir: state_dir.map(Path::to_owned),
            followed: HashMap::new(),
        };
        for entry in awaiting {
            let roster = Roster::new(
                entry.id.clone(),
                fleets.discovery.clone(),
                deadline,
                entry.options,
                entry.memory,
                entry.remembered,
            );
            fleets.start(entry.id, entry.members, roster);
        }
        fleets
    }

    /// Follows the members of an entry that has come, or whose backend is another one. The roster is that of the last
    /// backend: members of both are taken over.
    pub(super) async fn follow(
        &mut self,
        id: &RegistryId,
        registry: &dyn ServiceRegistry,
        members: Box<dyn Members>,
        options: RegistryOptions,
        roster: Option<Roster>,
    ) {
        let directory = self.state_dir.as_deref();
        let memory = directory.map(|directory| Memory::new(directory, id, registry));
        let roster = match roster {
            Some(mut roster) => {
                roster.remember_by(memory);
                roster.adjust(options).await;
                roster
            }
            None => Roster::new(
                id.clone(),
                self.discovery.clone(),
                self.deadline,
                options,
                memory,
                Vec::new(),
            ),
        };
        self.start(id.clone(), members, roster);
    }

    fn start(&mut self, id: RegistryId, members: Box<dyn Members>, roster: Roster) {
        let stop = CancellationToken::new();
        let roster = Arc::new(Mutex::new(Some(roster)));
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(follow(members, roster.clone())),
        );
        let followed = Followed {
            roster,
            _stop: stop.drop_guard(),
        };
        self.followed.insert(id, followed);
    }

    /// Changes how the members of an entry take part in the merge.
    pub(super) async fn adjust(&self, id: &RegistryId, options: &RegistryOptions) {
        if let Some(followed) = self.followed.get(id)
            && let Some(roster) = &mut *followed.roster.lock().await
        {
            roster.adjust(options.clone()).await;
        }
    }

    /// Follows the members of an entry no longer. They stay as they are.
    pub(super) async fn stop(&mut self, id: &RegistryId) -> Option<Roster> {
        let followed = self.followed.remove(id)?;
        // Not before a set that is being put in force is.
        followed.roster.lock().await.take()
    }
}

/// Puts each set in force.
async fn follow(mut members: Box<dyn Members>, roster: Arc<Mutex<Option<Roster>>>) {
    while let Some(set) = members.next().await {
        let mut roster = roster.lock().await;
        let Some(roster) = &mut *roster else { return };
        roster.apply(set.members, set.certain).await;
        (set.done)();
    }
}
