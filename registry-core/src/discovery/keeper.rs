//! Keeps what each registry said last on disk, behind everybody's back: nothing waits for a disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::error::report;
use crate::model::{RegistryId, Timestamp};
use crate::registry::ServiceRegistry;
use crate::status::Live;
use crate::store::{Saved, Store};

/// How often to look for changes.
const LOOK: Duration = Duration::from_secs(1);

/// Changes are collected for this long before they are written, so that a first listing is written as one.
const DELAY: Duration = Duration::from_secs(1);

/// A registry is written at most this often.
const INTERVAL: Duration = Duration::from_secs(5);

/// A registry that does not change is written this often: the file says when it was last confirmed.
const REFRESH: Duration = Duration::from_secs(300);

/// Where states are kept.
#[derive(Debug, Default)]
pub(crate) struct Place {
    store: Option<Store>,
    /// Why they are not, where they should be.
    problem: Option<String>,
}

impl Place {
    /// The directory, where one is wanted. One that cannot be used is no reason not to start.
    pub(super) fn open(dir: Option<&Path>) -> Self {
        let Some(dir) = dir else { return Self::default() };
        match Store::open(dir) {
            Ok(store) => Self {
                store: Some(store),
                problem: None,
            },
            Err(error) => {
                tracing::error!(
                    error = report(&error),
                    "nothing is kept for a later start, and nothing is restored"
                );
                Self {
                    store: None,
                    problem: Some(report(&error)),
                }
            }
        }
    }

    pub(super) fn store(&self) -> Option<Store> {
        self.store.clone()
    }

    /// What is kept of a registry, where that is any use; what is wrong with it is said.
    pub(super) fn load(
        &self,
        id: &RegistryId,
        registry: &dyn ServiceRegistry,
    ) -> Result<Option<Saved>, String> {
        let Some(store) = &self.store else {
            return self.problem.clone().map_or(Ok(None), Err);
        };
        store
            .load(id, registry.kind(), &registry.target())
            .map_err(|error| {
                tracing::warn!(registry = %id, error = report(&error), "what was known of the registry is not restored");
                report(&error)
            })
    }
}

pub(super) struct Keeper {
    store: Option<Store>,
    tasks: TaskTracker,
    kept: HashMap<RegistryId, Kept>,
    /// Files that are being removed: a registry that is added anew must not lose the next one to that.
    leaving: HashMap<RegistryId, JoinHandle<()>>,
    /// When to look for changes again: not with every batch of a busy registry.
    look: Instant,
}

/// Where the file of one registry stands.
struct Kept {
    kind: &'static str,
    target: String,
    live: Arc<Live>,
    /// The version that was written last, and when.
    written: Option<(u64, Instant)>,
    /// Since when there is another one.
    changed: Option<Instant>,
    writing: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn new(store: Option<Store>, tasks: TaskTracker) -> Self {
        Self {
            store,
            tasks,
            kept: HashMap::new(),
            leaving: HashMap::new(),
            look: Instant::now(),
        }
    }

    /// Keeps a registry from now on, or what another backend says of it.
    pub(super) fn keep(&mut self, id: &RegistryId, registry: &dyn ServiceRegistry, live: Arc<Live>) {
        if self.store.is_none() {
            return;
        }
        let last = self.kept.remove(id);
        let kept = Kept {
            kind: registry.kind(),
            target: registry.target(),
            live,
            written: None,
            changed: None,
            writing: last
                .and_then(|last| last.writing)
                .or_else(|| self.leaving.remove(id)),
        };
        self.kept.insert(id.clone(), kept);
    }

    /// Forgets a registry that was removed, and its file.
    pub(super) fn forget(&mut self, id: RegistryId) {
        let (Some(kept), Some(store)) = (self.kept.remove(&id), self.store.clone()) else {
            return;
        };
        let tasks = self.tasks.clone();
        self.leaving.retain(|_, leaving| !leaving.is_finished());
        let of = id.clone();
        let leaving = self.tasks.spawn(async move {
            if let Some(writing) = kept.writing {
                // Whatever became of it, the file goes.
                let _ = writing.await;
            }
            let removed = tasks.spawn_blocking(move || {
                if let Err(error) = store.remove(&id) {
                    tracing::warn!(registry = %id, error = report(&error), "the state of a removed registry stays on disk");
                }
            });
            let _ = removed.await;
        });
        self.leaving.insert(of, leaving);
    }

    /// Begins to write what is due. To be called at least every [`LOOK`].
    pub(super) fn advance(&mut self, engine: &Engine, now: Instant) {
        let Some(store) = self.store.as_ref().filter(|_| self.look <= now) else {
            return;
        };
        self.look = now + LOOK;
        for (id, kept) in &mut self.kept {
            let is_busy = kept
                .writing
                .as_ref()
                .is_some_and(|writing| !writing.is_finished());
            if let Some(version) = engine.saved_version(id).filter(|_| !is_busy)
                && kept.due(version, now) <= now
            {
                kept.write(id, store, &self.tasks, engine, version, now);
            }
        }
    }

    /// Writes all that is known, at the end.
    pub(super) async fn finish(mut self, engine: &Engine) {
        let Some(store) = self.store.take() else { return };
        for (id, kept) in &mut self.kept {
            if let Some(writing) = kept.writing.take() {
                // It reported its own failure; a newer version follows.
                let _ = writing.await;
            }
            if let Some(version) = engine.saved_version(id) {
                kept.write(id, &store, &self.tasks, engine, version, Instant::now());
            }
        }
        for kept in self.kept.into_values() {
            if let Some(writing) = kept.writing {
                let _ = writing.await;
            }
        }
    }
}

impl Kept {
    fn due(&mut self, version: u64, now: Instant) -> Instant {
        match self.written {
            Some((written, at)) if written == version => {
                self.changed = None;
                at + REFRESH
            }
            written => {
                let settled = *self.changed.get_or_insert(now) + DELAY;
                written.map_or(settled, |(_, at)| settled.max(at + INTERVAL))
            }
        }
    }

    fn write(
        &mut self,
        id: &RegistryId,
        store: &Store,
        tasks: &TaskTracker,
        engine: &Engine,
        version: u64,
        now: Instant,
    ) {
        let saved = Saved {
            kind: self.kind.to_owned(),
            target: self.target.clone(),
            confirmed: self.live.last_confirmed().unwrap_or_else(Timestamp::now),
            saved: Timestamp::now(),
            records: engine.records(id),
        };
        self.written = Some((version, now));
        self.changed = None;
        let (id, store, live) = (id.clone(), store.clone(), self.live.clone());
        self.writing = Some(tasks.spawn_blocking(move || {
            let at = saved.saved;
            let result = store.save(&id, &saved).map(|()| at).map_err(|error| {
                tracing::warn!(registry = %id, error = report(&error), "what is known of the registry could not be written to disk");
                report(&error)
            });
            live.note_saved(result);
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::static_registry::StaticRegistry;

    #[tokio::test]
    async fn a_registry_that_is_added_anew_is_not_written_before_its_old_file_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(Some(Store::open(dir.path()).unwrap()), TaskTracker::new());
        let (registry, live) = (StaticRegistry::new([]), Arc::new(Live::new(Arc::default())));
        let id: RegistryId = "a".parse().unwrap();
        keeper.keep(&id, &registry, live.clone());
        keeper.forget(id.clone());
        keeper.keep(&id, &registry, live);
        let removal = keeper.kept.remove(&id).and_then(|kept| kept.writing);
        assert!(!removal.as_ref().unwrap().is_finished());
        removal.unwrap().await.unwrap();
    }
}
