//! One client at a time: built when it is first needed, and again when its credentials are refused, expire or change.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout, timeout_at};

use super::kubeconfig::wrong;
use super::session::{Session, Settings};
use super::source::Source;
use crate::error::Error;

/// How long a request is held up by what it could do without: a look at files, and a client that is newer than one that
/// still works.
const MOMENT: Duration = Duration::from_secs(1);

/// How often things are done.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Least time between two clients.
    pub(super) pause: Duration,
    /// The same, after one that could not be built.
    pub(super) pause_after_failure: Duration,
    /// How often the files are looked at, while requests are made.
    pub(super) look_every: Duration,
}

/// The client in use.
#[derive(Debug)]
pub(super) struct Renewal {
    source: Source,
    settings: Settings,
    pace: Pace,
    state: Mutex<State>,
}

type Attempt = Shared<BoxFuture<'static, Result<Arc<Session>, Arc<Error>>>>;

#[derive(Debug)]
struct State {
    current: Option<Arc<Session>>,
    /// Many may wait for it; it goes on when nobody does.
    attempt: Option<Attempt>,
    not_before: Instant,
    looked: Instant,
    /// Who needs a client, beyond single requests.
    users: usize,
    /// There was a user, and there is none any more: no client is kept.
    idle: bool,
    /// Why the last attempt failed.
    failed: Option<Arc<Error>>,
}

/// Why there is no client.
#[derive(Debug)]
pub(super) enum Missing {
    Failed(Arc<Error>),
    /// It is still being built.
    Late,
}

#[derive(Debug)]
enum Cause {
    /// Everything is read again.
    Credentials,
    /// The same credentials, with other connections.
    Connections(Arc<Session>),
}

impl Renewal {
    pub(super) fn new(source: Source, settings: Settings, pace: Pace) -> Self {
        let now = Instant::now();
        Self {
            source,
            settings,
            pace,
            state: Mutex::new(State {
                current: None,
                attempt: None,
                not_before: now,
                looked: now,
                users: 0,
                idle: false,
                failed: None,
            }),
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn begin_use(&self) {
        let mut state = self.state();
        state.users += 1;
        state.idle = false;
    }

    /// After the last user the client goes, and with it its connections. One whose request is under way keeps it.
    pub(super) fn end_use(&self) {
        let mut state = self.state();
        state.users = state.users.saturating_sub(1);
        state.idle = state.users == 0;
        let unused = if state.idle { state.current.take() } else { None };
        drop(state);
        drop(unused);
    }

    /// The client to use now. One that needs a successor is good enough where that does not come in time.
    pub(super) async fn session(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Session>, Missing> {
        let now = Instant::now();
        let (session, attempt) = {
            let mut state = self.state();
            match state.current.clone() {
                None => {
                    if state.attempt.is_none()
                        && now < state.not_before
                        && let Some(failed) = &state.failed
                    {
                        return Err(Missing::Failed(failed.clone()));
                    }
                    (None, Some(self.start(&mut state, Cause::Credentials)))
                }
                Some(session) if now < state.not_before => (Some(session), None),
                Some(session) if session.is_expiring(now) => {
                    let attempt = self.start(&mut state, Cause::Credentials);
                    (Some(session), Some(attempt))
                }
                Some(session) if session.is_retired() => {
                    let attempt = self.start(&mut state, Cause::Connections(session.clone()));
                    (Some(session), Some(attempt))
                }
                Some(session) => (Some(session), None),
            }
        };
        match (session, attempt) {
            (None, Some(attempt)) => match timeout_at(deadline, attempt).await {
                Ok(built) => built.map_err(Missing::Failed),
                Err(_) => Err(Missing::Late),
            },
            (Some(session), Some(attempt)) => Ok(successor(attempt, deadline.min(now + MOMENT))
                .await
                .unwrap_or(session)),
            (Some(session), None) => {
                let renewed = self
                    .renewed_if_changed(&session, self.pace.look_every, deadline.min(now + 2 * MOMENT))
                    .await;
                Ok(renewed.unwrap_or(session))
            }
            (None, None) => Err(Missing::Late),
        }
    }

    /// The client after this one, whose credentials were refused; `None` where there is none yet, or it is too early.
    pub(super) async fn renewed(
        self: &Arc<Self>,
        refused: &Arc<Session>,
        deadline: Instant,
    ) -> Option<Arc<Session>> {
        let attempt = {
            let mut state = self.state();
            let now = Instant::now();
            match &state.current {
                Some(current) if !Arc::ptr_eq(current, refused) => return Some(current.clone()),
                _ => {}
            }
            // Credentials that were read a moment ago would be the same.
            let is_young = now < refused.built() + self.pace.pause;
            if state.attempt.is_none() && (is_young || now < state.not_before) {
                return None;
            }
            self.start(&mut state, Cause::Credentials)
        };
        successor(attempt, deadline).await
    }

    /// The client after this one where a file is another one by now; the files are looked at only so often.
    pub(super) async fn renewed_if_changed(
        self: &Arc<Self>,
        session: &Arc<Session>,
        every: Duration,
        deadline: Instant,
    ) -> Option<Arc<Session>> {
        {
            let mut state = self.state();
            let now = Instant::now();
            if now < state.looked + every {
                return None;
            }
            state.looked = now;
        }
        let looked_at = session.clone();
        let looking = tokio::task::spawn_blocking(move || looked_at.is_outdated());
        if !matches!(timeout(MOMENT, looking).await, Ok(Ok(true))) {
            return None;
        }
        let attempt = self.start(&mut self.state(), Cause::Credentials);
        successor(attempt, deadline).await
    }

    /// Least time between two looks at the files when something hints that they have changed.
    pub(super) fn pause(&self) -> Duration {
        self.pace.pause
    }

    /// Why the credentials in use are older than they should be.
    pub(super) fn failed(&self) -> Option<Arc<Error>> {
        self.state().failed.clone()
    }

    /// The attempt under way, else a new one, on a task of its own: who waits for it may go away.
    fn start(self: &Arc<Self>, state: &mut State, cause: Cause) -> Attempt {
        if let Some(attempt) = &state.attempt {
            return attempt.clone();
        }
        let renewal = self.clone();
        let task = tokio::spawn(async move {
            let built = AssertUnwindSafe(renewal.build(cause)).catch_unwind().await;
            renewal
                .finish(built.unwrap_or_else(|_| Err(wrong("kubeconfig", "reading it failed unexpectedly"))))
        });
        let attempt = async move {
            let stopped = |_| Err(Arc::new(wrong("kubeconfig", "reading it was stopped")));
            task.await.unwrap_or_else(stopped)
        };
        let attempt = attempt.boxed().shared();
        state.attempt = Some(attempt.clone());
        attempt
    }

    async fn build(&self, cause: Cause) -> Result<Session, Error> {
        match cause {
            Cause::Credentials => Session::build(&self.source, &self.settings).await,
            Cause::Connections(session) => session.again().await,
        }
    }

    fn finish(&self, built: Result<Session, Error>) -> Result<Arc<Session>, Arc<Error>> {
        let mut state = self.state();
        let now = Instant::now();
        state.attempt = None;
        match built {
            Ok(session) => {
                let session = Arc::new(session);
                state.not_before = now + self.pace.pause;
                state.looked = now;
                state.failed = None;
                tracing::debug!(
                    server = session.base(),
                    "a client with credentials as they are now"
                );
                state.current = (!state.idle).then(|| session.clone());
                Ok(session)
            }
            Err(error) => {
                let error = Arc::new(error);
                state.not_before = now + self.pace.pause_after_failure;
                let is_news = state
                    .failed
                    .as_ref()
                    .is_none_or(|last| last.to_string() != error.to_string());
                if state.current.is_some() && is_news {
                    tracing::warn!(%error, "credentials cannot be read again, the old ones stay in use");
                }
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes of the attempt, if it comes in time.
async fn successor(attempt: Attempt, deadline: Instant) -> Option<Arc<Session>> {
    timeout_at(deadline, attempt).await.ok()?.ok()
}
