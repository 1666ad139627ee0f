//! Looking at every revision that is published.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use registry_core::{Discovery, Snapshot, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::status;

/// `hostname address:port` of every endpoint.
pub(crate) fn endpoints(snapshot: &Snapshot) -> BTreeSet<String> {
    let lines = snapshot.services().flat_map(|service| {
        let hostname = service.hostname().to_string();
        let lines: Vec<String> = service
            .endpoints()
            .iter()
            .map(|endpoint| {
                let port = endpoint.ports().get("default").unwrap_or(0);
                format!("{hostname} {}:{port}", endpoint.address())
            })
            .collect();
        lines
    });
    lines.collect()
}

/// The first revision that lacked something.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    pub(crate) what: Vec<String>,
    pub(crate) published: Timestamp,
    pub(crate) seen: Instant,
}

/// What was there when it was called, and when something of it was missing first.
#[derive(Debug)]
pub(crate) struct Witness {
    missing: Arc<Mutex<Option<Missing>>>,
    task: JoinHandle<()>,
}

impl Witness {
    pub(crate) fn call(discovery: &Discovery) -> Self {
        let missing = Arc::new(Mutex::new(None));
        let mut changes = discovery.changes();
        let known = endpoints(changes.snapshot());
        assert!(!known.is_empty());
        let (noted, discovery) = (missing.clone(), discovery.clone());
        let task = tokio::spawn(async move {
            while changes.next().await.is_some() {
                // The one that woke us, and one that followed at once.
                for snapshot in [changes.snapshot(), &discovery.snapshot()] {
                    let there = endpoints(snapshot);
                    let what: Vec<String> = known.difference(&there).cloned().collect();
                    let mut noted = noted.lock().unwrap();
                    if !what.is_empty() && noted.is_none() {
                        *noted = Some(Missing {
                            what,
                            published: snapshot.published(),
                            seen: Instant::now(),
                        });
                    }
                }
            }
        });
        Self { missing, task }
    }

    pub(crate) fn missing(&self) -> Option<Missing> {
        self.missing.lock().unwrap().clone()
    }

    /// Panics where anything was missing.
    pub(crate) fn saw_everything(&self, when: &str, discovery: &Discovery) {
        if let Some(missing) = self.missing() {
            panic!(
                "{when}: {} endpoints are missing, such as {:?}; {:?}",
                missing.what.len(),
                missing.what.first(),
                status(discovery)
            );
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
