//! Deltas for consumers: each stands between two snapshots, and compares them when it is asked.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::Shared;
use crate::snapshot::{Delta, Snapshot};

/// A stream of deltas. Nothing is queued for a consumer: however long it does not look, it gets one delta from the
/// snapshot it last saw to the newest one.
pub struct Changes {
    last: Arc<Snapshot>,
    shared: Arc<Shared>,
    revisions: watch::Receiver<u64>,
}

impl Changes {
    pub(super) fn new(last: Arc<Snapshot>, shared: Arc<Shared>) -> Self {
        let revisions = shared.subscribe();
        Self {
            last,
            shared,
            revisions,
        }
    }

    /// The next delta, never an empty one; `None` once discovery was shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<Delta> {
        loop {
            // Marked as seen before the load: a publication in between is seen once more, never missed.
            self.revisions.borrow_and_update();
            let newest = self.shared.load();
            if newest.revision() != self.last.revision() {
                let delta = newest.changes_since(&self.last);
                // Publications without a delta are no step of this stream: the next one starts where the last one led.
                if !delta.is_empty() {
                    self.last = newest;
                    return Some(delta);
                }
            }
            tokio::select! {
                () = self.shared.stop.cancelled() => return None,
                changed = self.revisions.changed() => changed.ok()?,
            }
        }
    }

    /// The snapshot that the deltas so far lead to.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.last
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
