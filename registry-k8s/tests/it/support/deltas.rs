//! What is published, step by step.

use std::sync::{Arc, Mutex, PoisonError};

use registry_core::{Discovery, Phase, Snapshot};
use registry_testkit::wait;
use tokio::task::JoinHandle;

use super::DEADLINE;

/// Writes down every delta from its call on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Deltas {
    discovery: Discovery,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    /// What the deltas so far lead to.
    snapshot: Arc<Snapshot>,
    services: Vec<String>,
    phases: Vec<Phase>,
}

// === impl Deltas ===

impl Deltas {
    pub(crate) fn of(discovery: &Discovery) -> Self {
        let mut changes = discovery.changes();
        let seen = Arc::new(Mutex::new(Seen {
            snapshot: changes.snapshot().clone(),
            services: Vec::new(),
            phases: Vec::new(),
        }));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            while let Some(delta) = changes.next().await {
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                let updated = delta.updated.iter().map(|service| service.hostname());
                let names = updated.chain(&delta.removed).map(ToString::to_string);
                noted.services.extend(names);
                noted
                    .phases
                    .extend(delta.phases.into_iter().filter_map(|(_, phase)| phase));
                noted.snapshot = changes.snapshot().clone();
            }
        });
        Self {
            discovery: discovery.clone(),
            seen,
            task,
        }
    }

    /// The services that changed or went, as often as they did, without repetitions in a row.
    pub(crate) async fn services(&self) -> Vec<String> {
        let mut services = self.with(|seen| seen.services.clone()).await;
        services.dedup();
        services
    }

    /// The phases that followed.
    pub(crate) async fn phases(&self) -> Vec<Phase> {
        self.with(|seen| seen.phases.clone()).await
    }

    /// Asserts that no service changed.
    pub(crate) async fn saw_no_service(&self, when: &str) {
        let services = self.services().await;
        assert!(services.is_empty(), "{when}: {services:?} changed");
    }

    /// Looks when all that was published by now is written down.
    async fn with<T>(&self, look: impl Fn(&Seen) -> T) -> T {
        let newest = self.discovery.snapshot();
        let caught_up = wait::until("the last delta", DEADLINE, async || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let is_last = newest.revision() <= seen.snapshot.revision()
                || newest.changes_since(&seen.snapshot).is_empty();
            is_last.then(|| look(&seen))
        });
        caught_up.await.unwrap()
    }
}

impl Drop for Deltas {
    fn drop(&mut self) {
        self.task.abort();
    }
}
