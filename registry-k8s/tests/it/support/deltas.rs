//! What is published, step by step.

use std::sync::{Arc, Mutex, PoisonError};

use registry_core::{Discovery, Phase};
use tokio::task::JoinHandle;

/// Writes down every delta from its call on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Deltas {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    services: Vec<String>,
    phases: Vec<Phase>,
}

// === impl Deltas ===

impl Deltas {
    pub(crate) fn of(discovery: &Discovery) -> Self {
        let mut changes = discovery.changes();
        let seen = Arc::new(Mutex::new(Seen::default()));
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
            }
        });
        Self { seen, task }
    }

    /// The services that changed or went, as often as they did.
    pub(crate) fn services(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.services.clone()
    }

    /// The phases that followed.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.phases.clone()
    }

    /// Asserts that no service changed.
    pub(crate) fn saw_no_service(&self, when: &str) {
        let services = self.services();
        assert!(services.is_empty(), "{when}: {services:?} changed");
    }
}

impl Drop for Deltas {
    fn drop(&mut self) {
        self.task.abort();
    }
}
