//! A registry that plays a script, and writes down what it was asked.
//!
//! For tests of what *consumes* registries: what becomes of a snapshot when a watch breaks off in the middle of a
//! listing, hangs, panics, or answers a wish with nothing. It does no input or output and keeps time by
//! `tokio::time`, so it works under a paused clock.
//!
//! ```
//! use std::time::Duration;
//!
//! use registry_core::{Discovery, ErrorKind, ServiceId, ServiceMeta, ServiceRecord};
//! use registry_testkit::scripted::{ScriptedRegistry, Step};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let web = ServiceRecord::new(ServiceMeta::builder(ServiceId::named("web")).build(), []);
//! let registry = ScriptedRegistry::new([
//!     Step::list([web]),
//!     Step::Wait(Duration::from_millis(10)),
//!     Step::Fail(ErrorKind::Unreachable, "nobody there".to_owned()),
//! ]);
//! let handle = registry.handle();
//!
//! let discovery = Discovery::builder().registry("scripted", registry)?.start()?;
//! // After the failure it is watched again, and plays the same once more.
//! handle.until(|seen| seen.opened == 2).await;
//! assert!(discovery.snapshot().get("web.scripted").is_some(), "a failure removes nothing");
//! # discovery.shutdown().await;
//! # Ok(()) }
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream;
use registry_core::{
    Control, ErrorKind, Event, EventStream, RegistryError, Resync, Scope, ServiceRecord, ServiceRegistry,
    async_trait,
};
use tokio::sync::{Notify, watch};

/// One thing that a watch does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Step {
    /// Says a batch.
    Say(Vec<Event>),
    /// Says nothing for a time. Wishes are taken meanwhile.
    Wait(Duration),
    /// Says nothing until complete knowledge is wished, whatever of: the next steps are the answer.
    AwaitResync,
    /// Ends with an error. As the first step of a watch: it cannot be opened.
    Fail(ErrorKind, String),
    /// Ends.
    End,
    /// Panics. As the first step of a watch: when it is opened.
    Panic(String),
    /// Says nothing ever again, and takes no wishes. As the first step of a watch: it is never open.
    Hang,
}

impl Step {
    /// Says that these are all services of the registry.
    pub fn list(records: impl IntoIterator<Item = ServiceRecord>) -> Self {
        Self::Say(Event::listing(Scope::Registry, records))
    }

    /// Says that the whole registry is as it was.
    #[must_use]
    pub fn confirm() -> Self {
        Self::Say(vec![Event::Confirmed(Scope::Registry)])
    }

    /// Says that the whole registry cannot be read, and goes on.
    pub fn degrade(kind: ErrorKind, message: impl Into<String>) -> Self {
        let error = RegistryError::new(kind, message);
        Self::Say(vec![Event::degraded(Scope::Registry, error)])
    }
}

/// What a [`ScriptedRegistry`] was asked so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// How often a watch was opened, or was to be.
    pub opened: usize,
    /// How many of these are gone: ended, or dropped.
    pub gone: usize,
    /// The wishes that were taken, in their order.
    pub resyncs: Vec<Resync>,
    /// How often it was probed.
    pub probes: usize,
    /// Steps that were played, of all watches.
    pub steps: usize,
}

/// A [`ServiceRegistry`] that plays a script; see the [module](self).
///
/// Its kind is `scripted`, its default hostname `{name}.scripted`, its freshness bound 60 s. After its script a watch
/// stays open, silent, and does what the [handle](Self::handle) says.
#[derive(Debug)]
pub struct ScriptedRegistry {
    scripts: VecDeque<Vec<Step>>,
    kind: &'static str,
    target: String,
    bound: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: watch::Sender<Seen>,
    state: Mutex<State>,
    /// A step was added.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Steps for whichever watch has played its script.
    steps: VecDeque<Step>,
    answers: Option<Vec<ServiceRecord>>,
    probe: Option<(ErrorKind, String)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ScriptedRegistry ===

impl ScriptedRegistry {
    /// A registry whose every watch plays these steps.
    pub fn new(script: impl IntoIterator<Item = Step>) -> Self {
        Self {
            scripts: VecDeque::from([script.into_iter().collect()]),
            kind: "scripted",
            target: String::new(),
            bound: Duration::from_secs(60),
            shared: Arc::default(),
        }
    }

    /// The next watch, and all after it, plays these steps instead.
    #[must_use]
    pub fn then(mut self, script: impl IntoIterator<Item = Step>) -> Self {
        self.scripts.push_back(script.into_iter().collect());
        self
    }

    /// Answers wishes by itself, with what of these records lies within their scope.
    #[must_use]
    pub fn answering(self, records: impl IntoIterator<Item = ServiceRecord>) -> Self {
        self.shared.state().answers = Some(records.into_iter().collect());
        self
    }

    /// Has that kind, and `{name}.KIND` as its default hostname.
    #[must_use]
    pub fn with_kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// Has that target.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// Has that freshness bound.
    #[must_use]
    pub fn with_freshness_bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// What steers it while it runs, and tells what it was asked.
    #[must_use]
    pub fn handle(&self) -> ScriptHandle {
        ScriptHandle(self.shared.clone())
    }
}

#[async_trait]
impl ServiceRegistry for ScriptedRegistry {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn target(&self) -> String {
        self.target.clone()
    }

    fn freshness_bound(&self) -> Duration {
        self.bound
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let mut opened = 0;
        self.shared.seen.send_modify(|seen| {
            opened = seen.opened;
            seen.opened += 1;
        });
        // From here on, so that a watch that is given up while it opens counts as gone.
        let gone = Gone(self.shared.clone());
        let script = self.scripts.get(opened).or(self.scripts.back());
        let mut script: VecDeque<Step> = script.cloned().unwrap_or_default().into();
        match script.front() {
            Some(Step::Fail(kind, message)) => return Err(RegistryError::new(*kind, message.clone())),
            Some(Step::Panic(message)) => panic!("{message}"),
            Some(Step::Hang) => std::future::pending().await,
            _ => {}
        }
        let watch = Watch {
            shared: self.shared.clone(),
            control,
            script: std::mem::take(&mut script),
            ended: false,
            _gone: gone,
        };
        Ok(Box::pin(stream::unfold(watch, Watch::next)))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.shared.seen.send_modify(|seen| seen.probes += 1);
        match self.shared.state().probe.clone() {
            None => Ok(()),
            Some((kind, message)) => Err(RegistryError::new(kind, message)),
        }
    }
}

/// Steers a [`ScriptedRegistry`], and tells what it was asked. Clones share it.
#[derive(Debug, Clone)]
pub struct ScriptHandle(Arc<Shared>);

impl ScriptHandle {
    /// Adds a step. It is played by the watch that is open once that has played its script, or by the next one.
    pub fn play(&self, step: Step) {
        self.0.state().steps.push_back(step);
        self.0.news.notify_one();
    }

    /// Says a batch; short for [`play`](Self::play).
    pub fn say(&self, batch: Vec<Event>) {
        self.play(Step::Say(batch));
    }

    /// Says that these are all services, and answers wishes with them from now on.
    pub fn set(&self, records: impl IntoIterator<Item = ServiceRecord>) {
        let records: Vec<ServiceRecord> = records.into_iter().collect();
        self.0.state().answers = Some(records.clone());
        self.play(Step::list(records));
    }

    /// Answers wishes with what of these records lies within their scope; `None` leaves them without an answer.
    pub fn answer_with(&self, records: Option<Vec<ServiceRecord>>) {
        self.0.state().answers = records;
    }

    /// Lets probes fail so, or succeed again.
    pub fn set_probe(&self, failure: Option<(ErrorKind, String)>) {
        self.0.state().probe = failure;
    }

    /// What it was asked so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.0.seen.borrow().clone()
    }

    /// Waits until it was asked what is looked for. Put a deadline around it.
    pub async fn until(&self, mut wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let mut changes = self.0.seen.subscribe();
        loop {
            let seen = changes.borrow_and_update().clone();
            if wanted(&seen) {
                return seen;
            }
            // The sender is in `self`.
            let _ = changes.changed().await;
        }
    }
}

/// Counts a watch that is gone.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| seen.gone += 1);
    }
}

struct Watch {
    shared: Arc<Shared>,
    control: Control,
    script: VecDeque<Step>,
    ended: bool,
    _gone: Gone,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Vec<Event>, RegistryError>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let step = match self.script.pop_front() {
                Some(step) => step,
                None => match self.rest().await {
                    Ok(step) => step,
                    Err(answer) => return Some((Ok(answer), self)),
                },
            };
            self.shared.seen.send_modify(|seen| seen.steps += 1);
            match step {
                Step::Say(batch) => return Some((Ok(batch), self)),
                Step::Wait(time) => {
                    if let Some(answer) = self.wait(time).await {
                        return Some((Ok(answer), self));
                    }
                }
                Step::AwaitResync => {
                    self.wish().await;
                }
                Step::Fail(kind, message) => {
                    self.ended = true;
                    return Some((Err(RegistryError::new(kind, message)), self));
                }
                Step::End => return None,
                Step::Panic(message) => panic!("{message}"),
                Step::Hang => std::future::pending().await,
            }
        }
    }

    /// The next step of the handle's, or the answer to a wish that came before it.
    async fn rest(&self) -> Result<Step, Vec<Event>> {
        loop {
            let news = self.shared.news.notified();
            let step = self.shared.state().steps.pop_front();
            if let Some(step) = step {
                return Ok(step);
            }
            tokio::select! {
                () = news => {}
                wish = self.wish() => if let Some(answer) = self.answer(wish) {
                    return Err(answer);
                },
            }
        }
    }

    /// Lets time pass. An answer to a wish interrupts it: what is left of it is the next step.
    async fn wait(&mut self, time: Duration) -> Option<Vec<Event>> {
        let until = tokio::time::Instant::now() + time;
        loop {
            let wish = tokio::select! {
                () = tokio::time::sleep_until(until) => return None,
                wish = self.wish() => wish,
            };
            if let Some(answer) = self.answer(wish) {
                let left = until.saturating_duration_since(tokio::time::Instant::now());
                self.script.push_front(Step::Wait(left));
                return Some(answer);
            }
        }
    }

    async fn wish(&self) -> Resync {
        let wish = self.control.resync_requested().await;
        self.shared
            .seen
            .send_modify(|seen| seen.resyncs.push(wish.clone()));
        wish
    }

    fn answer(&self, wish: Resync) -> Option<Vec<Event>> {
        let state = self.shared.state();
        let records = state.answers.as_ref()?;
        let within = records.iter().filter(|record| wish.scope.contains(record.id()));
        let within: Vec<ServiceRecord> = within.cloned().collect();
        Some(Event::listing(wish.scope, within))
    }
}
