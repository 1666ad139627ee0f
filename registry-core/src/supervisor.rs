//! One task per registry: opens its watch, hands its batches on, and opens it again when it ends.
//!
//! Whatever a backend does (error, end, silence, panic), the next attempt follows after a backoff and nothing else
//! notices.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, LONGEST_REST};
use crate::discovery::Input;
use crate::error::{ErrorKind, RegistryError};
use crate::event::Event;
use crate::model::RegistryId;
use crate::registry::{Control, ServiceRegistry};
use crate::status::Live;

/// A watch that says nothing at all for this many freshness bounds is taken for dead and opened again.
const SILENCE: u32 = 2;

pub(crate) struct Supervisor {
    pub(crate) id: RegistryId,
    /// Tells this supervisor's batches from those of one that it replaced.
    pub(crate) session: u64,
    pub(crate) registry: Arc<dyn ServiceRegistry>,
    pub(crate) control: Control,
    pub(crate) live: Arc<Live>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) stop: CancellationToken,
}

impl Supervisor {
    pub(crate) async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.keep_watching()).await;
    }

    async fn keep_watching(self) {
        let mut backoff = Backoff::default();
        // One line for each new trouble, not for each attempt: a registry may be down for a night.
        let mut told: Option<ErrorKind> = None;
        loop {
            self.live.note_attempt();
            // All of it, as a backend may panic in any of its methods and when its stream is dropped.
            let watching = AssertUnwindSafe(self.watch_once(&mut backoff)).catch_unwind();
            let error = match watching.await {
                Ok(error) => Arc::new(error),
                Err(panic) => Arc::new(self.panicked(&*panic)),
            };
            self.live.note_error(&error);
            let first = backoff.is_first();
            let wished = error.retry_after().unwrap_or_default().min(LONGEST_REST);
            let delay = backoff.next_delay().max(wished);
            let report = error.report();
            if first || told != Some(error.kind()) {
                told = Some(error.kind());
                tracing::warn!(registry = %self.id, kind = error.kind().as_str(), error = report, "the watch ended; attempts go on");
            } else {
                tracing::debug!(registry = %self.id, error = report, "the watch ended; the next attempt follows in {delay:?}");
            }
            let interrupted = Input::Interrupted {
                id: self.id.clone(),
                session: self.session,
                error,
            };
            if self.inputs.send(interrupted).await.is_err() {
                return;
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Opens the watch and hands on what it says until it ends, and says why it did.
    async fn watch_once(&self, backoff: &mut Backoff) -> RegistryError {
        // A backend that cannot even open its watch in this time is as dead as one that says nothing.
        let patience = self
            .registry
            .freshness_bound()
            .max(Duration::from_secs(1))
            .saturating_mul(SILENCE);
        let silent = || {
            let message = format!("no word from the watch for {patience:?}");
            RegistryError::new(ErrorKind::Unreachable, message)
        };
        let mut stream = match timeout(patience, self.registry.watch(self.control.clone())).await {
            None => return silent(),
            Some(Err(error)) => return error,
            Some(Ok(stream)) => stream,
        };
        loop {
            let batch = match timeout(patience, stream.next()).await {
                None => return silent(),
                Some(None) => return RegistryError::new(ErrorKind::Unavailable, "the watch ended"),
                Some(Some(Err(error))) => return error,
                Some(Some(Ok(batch))) => batch,
            };
            // A beginning is no success: a registry that always breaks off after it would be asked without a pause.
            let progress = |event: &Event| !matches!(event, Event::Degraded { .. } | Event::Init(_));
            let progress = batch.iter().any(progress);
            let services = batch.iter().any(|event| matches!(event, Event::Apply { .. }));
            // Waiting for the answer keeps one batch of each registry under way: a busy one cannot fill the queue.
            let (applied, done) = oneshot::channel();
            let input = Input::Batch {
                id: self.id.clone(),
                session: self.session,
                batch,
                applied,
            };
            if self.inputs.send(input).await.is_err() {
                return RegistryError::new(ErrorKind::Internal, "discovery was shut down");
            }
            let done = done.await;
            if services && matches!(done, Ok(Ok(()))) {
                self.control.set_known();
            }
            match done {
                Ok(Ok(())) if progress => backoff.reset(),
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_) => return RegistryError::new(ErrorKind::Internal, "discovery was shut down"),
            }
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> RegistryError {
        self.live.note_panic();
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        RegistryError::new(
            ErrorKind::Internal,
            format!("the backend panicked: {}", text.unwrap_or("no message")),
        )
    }
}

/// As `tokio::time::timeout`, for ever where the duration is beyond any clock.
async fn timeout<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    if tokio::time::Instant::now().checked_add(duration).is_none() {
        return Some(future.await);
    }
    tokio::time::timeout(duration, future).await.ok()
}
