//! What passed per path: old answers to replay, and the order of answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::http1::Answer;

#[derive(Debug, Default)]
pub(crate) struct Paths {
    known: Mutex<HashMap<String, Known>>,
    /// Woken when an answer has passed.
    passed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    first: Option<Answer>,
    previous: Option<Answer>,
    last: Option<Answer>,
    /// How many answers were written completely.
    passed: u64,
}

impl Paths {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer as it came from upstream.
    pub(crate) fn record(&self, path: &str, answer: &Answer) {
        let mut known = self.known();
        let entry = known.entry(path.to_owned()).or_default();
        if entry.first.is_none() {
            entry.first = Some(answer.clone());
        }
        entry.previous = entry.last.replace(answer.clone());
    }

    pub(crate) fn first(&self, path: &str) -> Option<Answer> {
        self.known().get(path)?.first.clone()
    }

    /// The answer before the last.
    pub(crate) fn previous(&self, path: &str) -> Option<Answer> {
        self.known().get(path)?.previous.clone()
    }

    pub(crate) fn pass(&self, path: &str) {
        self.known().entry(path.to_owned()).or_default().passed += 1;
        self.passed.notify_waiters();
    }

    fn passed(&self, path: &str) -> u64 {
        self.known().get(path).map_or(0, |known| known.passed)
    }

    /// Waits until another answer for the path has passed.
    pub(crate) async fn next_pass(&self, path: &str) {
        let before = self.passed(path);
        loop {
            let passed = self.passed.notified();
            tokio::pin!(passed);
            // Registered before the look, or a pass between the two would be missed.
            passed.as_mut().enable();
            if self.passed(path) > before {
                return;
            }
            passed.await;
        }
    }
}
