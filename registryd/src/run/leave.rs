//! Registries that are to go, but not before those are known that came in their place.

use std::time::Duration;

use registry_core::{Discovery, RegistryId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a registry has synced, while others wait for that with leaving.
const LOOK: Duration = Duration::from_millis(100);

/// Registries that leave together.
#[derive(Debug)]
pub(super) struct Leaving {
    stay: CancellationToken,
    ended: CancellationToken,
    /// Says whether they left.
    task: JoinHandle<bool>,
}

/// What is waited for before registries leave.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    /// How long they stay in any case.
    pub(super) hold: Duration,
    /// Registries that come in their place.
    pub(super) successors: Vec<RegistryId>,
    /// How long these may take.
    pub(super) deadline: Duration,
}

impl Leaving {
    /// Stops them from leaving. True where they are still there.
    pub(super) async fn stay(self) -> bool {
        self.stay.cancel();
        !self.task.await.unwrap_or(true)
    }

    /// Cancelled as soon as nothing is waited for any more: they are gone, or stay after all.
    pub(super) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// True where they are gone.
    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

/// Removes registries as soon as those are known that come in their place, or after the deadline.
pub(super) fn leave(discovery: Discovery, ids: Vec<RegistryId>, wait: Wait) -> Leaving {
    let (stay, ended) = (CancellationToken::new(), CancellationToken::new());
    let token = stay.clone();
    let end = ended.clone().drop_guard();
    let task = tokio::spawn(async move {
        let _end = end;
        let known = async {
            tokio::time::sleep(wait.hold).await;
            tokio::time::timeout(wait.deadline, all_known(&discovery, &wait.successors)).await
        };
        let Some(in_time) = token.run_until_cancelled(known).await else {
            return false;
        };
        for id in ids {
            match in_time {
                Err(_) => {
                    tracing::warn!(registry = %id, "removed, although not all that came in its place is known yet");
                }
                Ok(()) => tracing::info!(registry = %id, "removed"),
            }
            // It can only fail where there is nothing to remove any more.
            let _ = discovery.remove(id).await;
        }
        true
    });
    Leaving { stay, ended, task }
}

/// Resolves when all of these are known, with the members of those that have any.
async fn all_known(discovery: &Discovery, ids: &[RegistryId]) {
    loop {
        let snapshot = discovery.snapshot();
        let known = |id: &RegistryId| {
            let is_of = |other: &RegistryId| {
                let rest = other.as_str().strip_prefix(id.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let registries = || snapshot.registries().iter();
            registries().any(|registry| registry.id() == id)
                && registries()
                    .filter(|registry| is_of(registry.id()))
                    .all(|registry| registry.is_known())
        };
        if ids.iter().all(known) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
