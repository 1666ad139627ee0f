//! What a server of this crate saw: the log of requests and the counters of connections.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::http1::path_of;

/// How many requests the log keeps; older ones are dropped.
const LOG_SIZE: usize = 100_000;

/// A request that a [`FaultProxy`](crate::FaultProxy) or a [`ReplayServer`](crate::ReplayServer) has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// When the request was complete.
    pub at: Instant,
    /// The number of the client's connection, in the order of their arrival, starting at 1.
    pub connection: u64,
    /// The method, as sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// The status the client got; `None` as long as, or if, nothing was sent.
    pub status: Option<u16>,
}

impl Logged {
    /// The path without the query.
    pub fn path(&self) -> &str {
        path_of(&self.target)
    }

    /// The first value of a query parameter, decoded; a parameter without a value gives the empty string.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        form_urlencoded::parse(query.as_bytes())
            .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }
}

/// The log and the counters of one server, shared by its connections.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    seen: Mutex<Seen>,
    /// Woken at every change of `seen`.
    changed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    log: VecDeque<Logged>,
    pub(crate) requests: u64,
    pub(crate) open: usize,
    pub(crate) total: u64,
    pub(crate) max: usize,
}

impl Activity {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic of a test's own closure must not hide what the server saw.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an accepted connection and gives its number.
    pub(crate) fn accepted(&self) -> u64 {
        let mut seen = self.seen();
        seen.total += 1;
        let number = seen.total;
        drop(seen);
        self.changed.notify_waiters();
        number
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn opened(self: &Arc<Self>) -> Open {
        let mut seen = self.seen();
        seen.open += 1;
        seen.max = seen.max.max(seen.open);
        drop(seen);
        self.changed.notify_waiters();
        Open {
            activity: Arc::clone(self),
        }
    }

    /// Logs a request and gives its number, for [`Activity::answering`].
    pub(crate) fn requested(&self, connection: u64, method: &str, target: &str) -> u64 {
        let mut seen = self.seen();
        if seen.log.len() == LOG_SIZE {
            seen.log.pop_front();
        }
        seen.log.push_back(Logged {
            at: Instant::now(),
            connection,
            method: method.to_owned(),
            target: target.to_owned(),
            status: None,
        });
        seen.requests += 1;
        let number = seen.requests;
        drop(seen);
        self.changed.notify_waiters();
        number
    }

    /// Notes the status of an answer. Called before its first byte is written, so that whoever has read the
    /// answer finds the status in the log.
    pub(crate) fn answering(&self, request: u64, status: u16) {
        let mut seen = self.seen();
        let newer = usize::try_from(seen.requests - request).unwrap_or(usize::MAX);
        let index = seen.log.len().checked_sub(newer.saturating_add(1));
        if let Some(logged) = index.and_then(|index| seen.log.get_mut(index)) {
            logged.status = Some(status);
        }
        drop(seen);
        self.changed.notify_waiters();
    }

    pub(crate) fn requests(&self) -> Vec<Logged> {
        self.seen().log.iter().cloned().collect()
    }

    /// Waits until `reached` holds for what was seen.
    pub(crate) async fn until(&self, reached: impl Fn(&Seen) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, or a change between the two would be missed.
            changed.as_mut().enable();
            if reached(&self.seen()) {
                return;
            }
            changed.await;
        }
    }
}

/// Keeps a connection counted as open.
#[derive(Debug)]
pub(crate) struct Open {
    activity: Arc<Activity>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.activity.seen().open -= 1;
        self.activity.changed.notify_waiters();
    }
}
