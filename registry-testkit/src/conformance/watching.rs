//! A watch that is driven as a supervisor would: opened again after a backoff whenever it ends, panics caught.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use registry_core::{
    Backoff, Control, Event, EventStream, PortDefaults, RegistryError, RegistryId, Resync, Scope,
    ServiceRegistry,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Rule;
use super::reader::{Reader, Truth, Word};
use super::world::{Subject, WorldError};

/// Batches within a second beyond which nothing else can be judged: under a paused clock no time would ever pass.
const SPIN: usize = 5000;

/// Why a scenario cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// It presupposes a rule that is broken.
    Needs(Rule, String),
    /// The world did not do as it was told.
    World(WorldError),
}

impl From<WorldError> for Stop {
    fn from(error: WorldError) -> Self {
        Self::World(error)
    }
}

/// What is found out by the way, in any scenario.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) violations: Vec<String>,
    pub(super) panics: Vec<String>,
    pub(super) errors: Vec<Arc<RegistryError>>,
}

/// Shared by all watches of a world, and read when they are gone.
pub(super) type Found = Arc<Mutex<Findings>>;

pub(super) fn lock(found: &Found) -> MutexGuard<'_, Findings> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

type Opening = Pin<Box<dyn Future<Output = Result<EventStream, RegistryError>> + Send>>;

/// Where a watch stands.
enum State {
    /// It ended, and is opened again then.
    Resting(Instant),
    Opening(Opening),
    Open(EventStream),
}

/// What a state led to.
enum Step {
    Opened(EventStream),
    Said(Vec<Event>),
    Ended(Option<RegistryError>),
    Panicked(String),
}

/// A watch, and what was read of it.
pub(super) struct Watching<'a> {
    registry: Arc<dyn ServiceRegistry>,
    control: Control,
    backoff: Backoff,
    state: State,
    second: (Instant, usize),
    found: Found,
    pub(super) reader: Reader<'a>,
    /// What has to be held all the time; what is not goes to `losses`.
    kept: Truth,
    losses: Vec<String>,
}

impl<'a> Watching<'a> {
    pub(super) fn open(
        subject: &'a dyn Subject,
        registry: Arc<dyn ServiceRegistry>,
        id: RegistryId,
        found: Found,
    ) -> Self {
        let control = Control::new(id, PortDefaults::default());
        Self {
            state: opening(&registry, &control),
            registry,
            control,
            backoff: Backoff::default(),
            second: (Instant::now(), 0),
            found,
            reader: Reader::new(subject),
            kept: Truth::new(),
            losses: Vec::new(),
        }
    }

    /// Asks for complete knowledge.
    pub(super) fn wish(&self, scope: &Scope, strong: bool) {
        let scope = scope.clone();
        self.control.request_resync(Resync { scope, strong });
    }

    /// Requests that the backend counted.
    pub(super) fn requests(&self) -> u64 {
        self.control.meter().requests()
    }

    /// Demands from now on what of the truth is held now; what was never seen cannot be lost.
    pub(super) fn keep(&mut self, truth: &Truth) {
        self.kept = self.reader.held_of(truth);
        self.losses.clear();
    }

    /// What was lost since, of what was to be kept.
    pub(super) fn lost(&mut self) -> Vec<String> {
        self.kept.clear();
        std::mem::take(&mut self.losses)
    }

    /// Takes what is said until there is what is looked for. False where the deadline passed before.
    pub(super) async fn until(
        &mut self,
        deadline: Instant,
        mut wanted: impl FnMut(&Reader<'_>) -> bool,
    ) -> Result<bool, Stop> {
        while !wanted(&self.reader) {
            if !self.next(deadline).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes what is said for a time.
    pub(super) async fn run(&mut self, time: Duration) -> Result<(), Stop> {
        let deadline = Instant::now() + time;
        while self.next(deadline).await? {}
        Ok(())
    }

    /// Takes one step. False where the deadline passed first.
    async fn next(&mut self, deadline: Instant) -> Result<bool, Stop> {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        let step = match &mut self.state {
            State::Resting(until) => {
                let until = *until;
                sleep_until(until.min(deadline)).await;
                if until > deadline {
                    return Ok(false);
                }
                self.state = opening(&self.registry, &self.control);
                return Ok(true);
            }
            State::Opening(opening) => {
                let opened = AssertUnwindSafe(opening).catch_unwind();
                match timeout_at(deadline, opened).await {
                    Err(_) => return Ok(false),
                    Ok(opened) => Step::opened(opened),
                }
            }
            State::Open(stream) => {
                let said = AssertUnwindSafe(stream.next()).catch_unwind();
                match timeout_at(deadline, said).await {
                    Err(_) => return Ok(false),
                    Ok(said) => Step::said(said),
                }
            }
        };
        self.take(step)?;
        Ok(true)
    }

    /// Polls on behalf of nobody until there is nothing to take: whoever polls next has to be woken all the same.
    pub(super) fn poll_for_nobody(&mut self) -> Result<(), Stop> {
        loop {
            let mut nobody = Context::from_waker(Waker::noop());
            let step = match &mut self.state {
                State::Resting(_) => return Ok(()),
                State::Opening(opening) => {
                    match AssertUnwindSafe(opening).catch_unwind().poll_unpin(&mut nobody) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(opened) => Step::opened(opened),
                    }
                }
                State::Open(stream) => {
                    match AssertUnwindSafe(stream.next())
                        .catch_unwind()
                        .poll_unpin(&mut nobody)
                    {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(said) => Step::said(said),
                    }
                }
            };
            self.take(step)?;
        }
    }

    fn take(&mut self, step: Step) -> Result<(), Stop> {
        self.pace()?;
        match step {
            Step::Opened(stream) => self.state = State::Open(stream),
            Step::Said(batch) => {
                let progress = |event: &Event| !matches!(event, Event::Degraded { .. } | Event::Init(_));
                if batch.iter().any(progress) {
                    self.backoff.reset();
                }
                self.reader.read(batch);
                if self.losses.is_empty() {
                    let mut lost = self.reader.missing(&self.kept);
                    if let Some(last) = lost.last_mut() {
                        let word = self.reader.since(0).next_back().map(Word::to_string);
                        last.push_str(&format!(" after {}", word.unwrap_or_default()));
                    }
                    self.losses = lost;
                }
            }
            Step::Ended(None) => self.end("it came to its end".to_owned(), Duration::ZERO),
            Step::Ended(Some(error)) => {
                self.end(error.report(), error.retry_after().unwrap_or_default());
                self.reader.errors.push(Arc::new(error));
            }
            Step::Panicked(text) => {
                self.end(format!("it panicked: {text}"), Duration::ZERO);
                lock(&self.found).panics.push(text);
            }
        }
        Ok(())
    }

    fn end(&mut self, why: String, at_least: Duration) {
        let delay = self.backoff.next_delay().max(at_least);
        self.reader.ended(why);
        self.state = State::Resting(Instant::now() + delay);
    }

    fn pace(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        if now - self.second.0 >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        if self.second.1 < SPIN {
            return Ok(());
        }
        let text = format!(
            "{SPIN} batches within a second; {}",
            self.reader.excerpt(self.reader.now().saturating_sub(SPIN))
        );
        Err(Stop::Needs(Rule::PacesItself, text))
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut found = lock(&self.found);
        found.violations.append(&mut self.reader.violations);
        found.errors.append(&mut self.reader.errors);
    }
}

impl Step {
    fn opened(opened: Result<Result<EventStream, RegistryError>, Panic>) -> Self {
        match opened {
            Ok(Ok(stream)) => Self::Opened(stream),
            Ok(Err(error)) => Self::Ended(Some(error)),
            Err(panic) => Self::Panicked(text(&*panic)),
        }
    }

    fn said(said: Result<Option<Result<Vec<Event>, RegistryError>>, Panic>) -> Self {
        match said {
            Ok(Some(Ok(batch))) => Self::Said(batch),
            Ok(Some(Err(error))) => Self::Ended(Some(error)),
            Ok(None) => Self::Ended(None),
            Err(panic) => Self::Panicked(text(&*panic)),
        }
    }
}

type Panic = Box<dyn Any + Send>;

fn opening(registry: &Arc<dyn ServiceRegistry>, control: &Control) -> State {
    let (registry, control) = (registry.clone(), control.clone());
    State::Opening(Box::pin(async move { registry.watch(control).await }))
}

pub(super) fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}
