//! The dial gate: a layer around the connector that decides when a new connection may be dialled.
//!
//! The pool below races a dial against a connection that comes free, and finishes a dial that lost in the background.
//! Left alone, that breaks both budgets: over HTTP/1.1 the spare connection is one too many, and over TLS a thousand
//! first requests dial a thousand connections before the first of them says that HTTP/2 would have carried all. So:
//!
//! - a dial that lost the race before it began is dropped; one that had begun is finished, since the server may count it
//!   already, and holds a permit of its own until it stands in the pool;
//! - a dial waits a moment where a connection was given back just now, so that the race is won by that one;
//! - until the server is known to speak HTTP/1.1 only, dials of one channel go one after the other, and who waited
//!   first gives the finished one time to be shared.

use std::{
    error::Error as StdError,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::client::legacy::connect::Connection;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    budget::{Budget, RETURNING},
    request::Protocol,
};

/// How long a fresh HTTP/2 connection takes to reach the pool, generously.
const SHARING: Duration = Duration::from_millis(20);

type BoxError = Box<dyn StdError + Send + Sync>;

tokio::task_local! {
    /// Set while a request is polled; absent in a task that the pool spawned to finish a dial nobody waits for.
    static DIAL: Dial;
}

/// What a request learns of the dial made for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dial {
    connected: Arc<Mutex<Option<Instant>>>,
}

/// A dial that took longer than `connect_timeout`.
#[derive(Debug, thiserror::Error)]
#[error("no connection within connect_timeout = {}", registry_core::duration::format(*.0))]
pub(crate) struct DialTimeout(Duration);

/// A dial whose request took another connection.
#[derive(Debug, thiserror::Error)]
#[error("the dial is not needed any more")]
struct Abandoned;

/// Why a dial failed, told to all who waited for it: one after the other they would each wait for the same timeout.
#[derive(Debug, Clone)]
struct Failure(Arc<dyn StdError + Send + Sync>);

/// The gate of one channel; clones share it.
#[derive(Clone)]
pub(crate) struct Gate {
    budget: Arc<Budget>,
    queue: Arc<Queue>,
    connect_timeout: Duration,
}

/// Those who may only dial one after the other.
#[derive(Default)]
struct Queue {
    /// Held by the one that dials; inside, the last failure.
    turn: tokio::sync::Mutex<Option<Failure>>,
    /// Failures so far.
    failures: AtomicU64,
}

type Turn<'a> = tokio::sync::MutexGuard<'a, Option<Failure>>;

/// The connector behind the gate.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    connector: S,
    gate: Gate,
}

// === impl Dial ===

impl Dial {
    /// Runs a request that may dial.
    pub(crate) async fn scope<F: Future>(&self, request: F) -> F::Output {
        DIAL.scope(self.clone(), request).await
    }

    /// When the connection dialled for this request stood; `None` where it got one from the pool.
    pub(crate) fn connected(&self) -> Option<Instant> {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_connected(&self) {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(budget: Arc<Budget>, connect_timeout: Duration) -> Self {
        Self {
            budget,
            queue: Arc::default(),
            connect_timeout,
        }
    }

    /// Dials when it is time; meanwhile the pool may win and drop this.
    async fn dial<F, C>(&self, connect: F, started: &AtomicBool) -> Result<C, BoxError>
    where
        F: Future<Output = Result<C, BoxError>>,
        C: Connection,
    {
        let turn = match self.budget.protocol() {
            Some(Protocol::Http1) => None,
            _ => self.turn().await?,
        };
        if turn.is_none() && self.budget.is_returning() {
            tokio::time::sleep(RETURNING).await;
        }
        started.store(true, Ordering::Relaxed);
        let outcome = match tokio::time::timeout(self.connect_timeout, connect).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Box::new(DialTimeout(self.connect_timeout)) as BoxError),
        };
        match (outcome, turn) {
            (Ok(connected), _) => {
                let h2 = connected.connected().is_negotiated_h2();
                self.budget
                    .learn(if h2 { Protocol::Http2 } else { Protocol::Http1 });
                Ok(connected)
            }
            (Err(error), None) => Err(error),
            (Err(error), Some(mut turn)) => {
                let failure = Failure(error.into());
                *turn = Some(failure.clone());
                self.queue.failures.fetch_add(1, Ordering::Relaxed);
                Err(Box::new(failure))
            }
        }
    }

    /// Waits until no other dial of this channel is under way; none is needed once HTTP/1.1 turns out.
    async fn turn(&self) -> Result<Option<Turn<'_>>, BoxError> {
        let failures = || self.queue.failures.load(Ordering::Relaxed);
        let before = failures();
        if let Ok(turn) = self.queue.turn.try_lock() {
            return Ok(Some(turn));
        }
        let turn = self.queue.turn.lock().await;
        match &*turn {
            Some(failure) if failures() != before => return Err(Box::new(failure.clone())),
            _ if self.budget.protocol() == Some(Protocol::Http1) => return Ok(None),
            _ => {}
        }
        tokio::time::sleep(SHARING).await;
        Ok(Some(turn))
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the dial failed")
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

// === impl Gated ===

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, connector: S) -> Gated<S> {
        Gated {
            connector,
            gate: self.clone(),
        }
    }
}

impl<S, D> Service<D> for Gated<S>
where
    S: Service<D, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Connection + Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, destination: D) -> Self::Future {
        let connect = self.connector.call(destination);
        let gate = self.gate.clone();
        Box::pin(async move {
            let started = AtomicBool::new(false);
            let mut spare = None;
            let mut dial = pin!(gate.dial(connect, &started));
            let connected = poll_fn(|cx| {
                if DIAL.try_with(|_| ()).is_err() {
                    if !started.load(Ordering::Relaxed) {
                        return Poll::Ready(Err(Box::new(Abandoned) as BoxError));
                    }
                    spare.get_or_insert_with(|| gate.budget.spare_dial());
                }
                dial.as_mut().poll(cx)
            })
            .await?;
            // Absent where the request took another connection.
            let _ = DIAL.try_with(Dial::set_connected);
            Ok(connected)
        })
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
