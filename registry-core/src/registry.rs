//! The seam: what a backend implements.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::Stream;
use tokio::sync::Notify;

use crate::behind::InstanceId;
use crate::error::RegistryError;
use crate::event::{Event, Scope};
use crate::model::{RegistryId, ServicePort};
use crate::options::Guard;
use crate::text::Str;

/// What a watch yields: batches of events, each applied and published as one.
///
/// Any [`Stream`] of these items will do; the crate `futures-util` (0.3) has the means to make one, such as
/// `stream::unfold`.
///
/// Dropping the stream cancels all of its work. Its end, or an `Err` item, means "reopen after a backoff"; neither
/// removes anything.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Vec<Event>, RegistryError>> + Send>>;

/// One source of services: one data centre, one cluster, one directory of files.
///
/// Implemented by backends, called by the supervisor alone, one watch at a time. The contract:
///
/// - A watch begins with complete knowledge of the whole registry (`Init(Registry)` … `InitDone(Registry)`), in one
///   batch or many; from then on it tells what changed. See [`Event`] for the three kinds of knowledge.
/// - Telling everything anew at every poll is fine, and publishes nothing where nothing changed: records are compared on
///   arrival, and what is equal is dropped. It is the simplest correct backend.
/// - Within every [`freshness_bound`](Self::freshness_bound) it says something of the whole registry: another listing,
///   or `Confirmed(Registry)`. Silence beyond the bound means stale, as do three failures in a row; after twice the bound
///   the watch is taken for dead and opened again. A backend that polls states at least three of its intervals.
/// - When [`Control::resync_requested`] resolves, it answers in the same stream with complete knowledge of that scope,
///   or of one that covers it. The next `Init` of such a scope counts as the beginning of the answer: what was asked of
///   the registry before the wish was taken is no answer to it.
/// - Failure is `Degraded` or an `Err` item, never an empty listing.
/// - All of its work lives in the stream: a backend that spawns tasks ends them when the stream is dropped.
///
/// ```
/// use std::time::Duration;
/// use registry_core::{async_trait, Control, Event, EventStream, RegistryError, Scope, ServiceRegistry};
///
/// /// A registry that is always empty, and says so every ten seconds.
/// struct Nothing;
///
/// #[async_trait]
/// impl ServiceRegistry for Nothing {
///     fn kind(&self) -> &'static str {
///         "nothing"
///     }
///
///     async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
///         let listing = || Ok(Event::listing(Scope::Registry, []));
///         Ok(Box::pin(futures_util::stream::unfold((control, true), move |(control, first)| async move {
///             if !first {
///                 tokio::select! {
///                     _ = control.resync_requested() => {}
///                     () = tokio::time::sleep(Duration::from_secs(10)) => {}
///                 }
///             }
///             Some((listing(), (control, false)))
///         })))
///     }
///
///     async fn probe(&self) -> Result<(), RegistryError> {
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait ServiceRegistry: Send + Sync + 'static {
    /// The kind of registry, a word for logs and metrics such as `consul`.
    fn kind(&self) -> &'static str;

    /// The hostname template of services whose registry sets none. It should keep kinds apart.
    fn default_hostname(&self) -> String {
        format!("{{name}}.{}", self.kind())
    }

    /// What exactly it watches, such as its URL and data centre, without secrets. State that was saved for another target
    /// is not restored.
    fn target(&self) -> String {
        String::new()
    }

    /// How old the last word on the whole registry may be before it counts as stale.
    fn freshness_bound(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// When a loss of endpoints is too large to be believed at once, where nobody says. A backend whose registry announces
    /// removals may be strict with what merely vanishes.
    fn default_guard(&self) -> Guard {
        Guard::default()
    }

    /// Opens a watch. Called again, after a backoff, whenever the last one ended.
    ///
    /// A failure that the backend wants to retry by itself, or that concerns a part only, is `Degraded` in the stream; one
    /// that is best met by starting over is an error, here or as an item.
    ///
    /// # Errors
    ///
    /// Where the watch cannot even begin. What was known stays.
    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError>;

    /// One cheap round trip that tells whether the registry can be reached with these settings and credentials.
    ///
    /// # Errors
    ///
    /// Where it cannot, saying what to mend.
    async fn probe(&self) -> Result<(), RegistryError>;

    /// What somebody who sets it up should know although [`probe`](Self::probe) finds nothing wrong: such as that there
    /// is nothing to read yet, where something else has to be installed first. Asked for after a probe.
    async fn remark(&self) -> Option<String> {
        None
    }
}

/// A wish for complete knowledge of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    /// The scope.
    pub scope: Scope,
    /// True where the answer should come from another server or with stronger consistency than usual, where the
    /// registry offers that: it is to confirm something unlikely.
    pub strong: bool,
}

/// A wish of the engine's, which hears when the watch takes it: only a listing that begins after that is an answer.
#[derive(Debug)]
pub struct Wish {
    pub(crate) resync: Resync,
    pub(crate) taken: Taken,
}

impl Wish {
    /// What is wanted, taken by whoever answers it now. [`Control`] does so when the watch asks it.
    pub fn take(self) -> Resync {
        self.taken.set();
        self.resync
    }
}

/// Whether a wish was taken. Clones are one mark.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Arc<AtomicBool>);

impl Taken {
    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Settings for ports of registries that have no service ports, only instances' (Consul, Nomad, Eureka).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortDefaults {
    /// The name of the port; where it is not set the port is called `default`, until a merge knows better.
    pub name: Option<Str>,
    /// The number of the service's port.
    pub number: Option<u16>,
    /// What is spoken on it.
    pub app_protocol: Option<Str>,
}

impl PortDefaults {
    /// The port of a service whose registry names none.
    pub fn port(&self) -> ServicePort {
        ServicePort {
            name: self
                .name
                .clone()
                .unwrap_or_else(|| ServicePort::DEFAULT_NAME.into()),
            number: self.number,
            app_protocol: self.app_protocol.clone().unwrap_or_default(),
            implicit: self.name.is_none(),
            ..ServicePort::default()
        }
    }
}

/// The supervisor's line to a running watch. Cloning it shares the line.
#[derive(Clone)]
pub struct Control(Arc<Line>);

struct Line {
    registry: RegistryId,
    instance: InstanceId,
    ports: PortDefaults,
    meter: Arc<Meter>,
    known: AtomicBool,
    wishes: Mutex<Vec<Pending>>,
    wake: Notify,
}

/// A wish that nobody took yet, and the marks of all that were merged into it.
struct Pending {
    resync: Resync,
    taken: Vec<Taken>,
}

impl Control {
    /// A line to the watch of that registry. The supervisor makes these; backends need it in their own tests.
    pub fn new(registry: RegistryId, ports: PortDefaults) -> Self {
        Self::within(InstanceId::random(), registry, ports, Arc::default())
    }

    pub(crate) fn within(
        instance: InstanceId,
        registry: RegistryId,
        ports: PortDefaults,
        meter: Arc<Meter>,
    ) -> Self {
        Self(Arc::new(Line {
            registry,
            instance,
            ports,
            meter,
            known: AtomicBool::new(false),
            wishes: Mutex::default(),
            wake: Notify::new(),
        }))
    }

    /// The name of the registry that is watched, for logs.
    pub fn registry(&self) -> &RegistryId {
        &self.0.registry
    }

    /// The discovery that watches it: a registry that is one itself must not get back what it said.
    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// Settings for ports that the registry does not name.
    pub fn ports(&self) -> &PortDefaults {
        &self.0.ports
    }

    /// Where the backend counts what it asks of its registry.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Whether services of the registry are known already: restored from disk, or told by an earlier watch. A backend that
    /// can tell "nothing" from "nothing yet" only by waiting need not wait where nothing is at stake.
    pub fn knows_services(&self) -> bool {
        self.0.known.load(Ordering::Relaxed)
    }

    /// Says that services of the registry are known. The supervisor does; backends need it in their own tests.
    pub fn set_known(&self) {
        self.0.known.store(true, Ordering::Relaxed);
    }

    /// Resolves when complete knowledge of a scope is wanted. Cancel safe; wishes that nobody took yet are merged.
    ///
    /// Resolving is taking: the next listing of that scope, or of one that covers it, counts as the answer. A backend
    /// that has something under way tells it before it asks here, or starts it over.
    pub async fn resync_requested(&self) -> Resync {
        loop {
            let woken = self.0.wake.notified();
            if let Some(wish) = self.take() {
                return wish;
            }
            woken.await;
        }
    }

    fn take(&self) -> Option<Resync> {
        let mut wishes = lock(&self.0.wishes);
        let Pending { resync, taken } = (!wishes.is_empty()).then(|| wishes.remove(0))?;
        taken.iter().for_each(Taken::set);
        Some(resync)
    }

    /// Asks for complete knowledge of a scope.
    pub fn request_resync(&self, wish: Resync) {
        self.ask(wish, None);
    }

    /// Passes on what the engine wants.
    pub(crate) fn pass_on(&self, wish: Wish) {
        self.ask(wish.resync, Some(wish.taken));
    }

    fn ask(&self, wish: Resync, mark: Option<Taken>) {
        let mut wishes = lock(&self.0.wishes);
        let mut pending = Pending {
            resync: wish,
            taken: mark.into_iter().collect(),
        };
        let scope = pending.resync.scope.clone();
        if let Some(covering) = wishes.iter_mut().find(|held| held.resync.scope.covers(&scope)) {
            covering.merge(pending);
        } else {
            for held in wishes.extract_if(.., |held| scope.covers(&held.resync.scope)) {
                pending.merge(held);
            }
            wishes.push(pending);
        }
        drop(wishes);
        self.0.wake.notify_one();
    }
}

impl Pending {
    /// Takes in a wish that an answer to this one answers as well.
    fn merge(&mut self, other: Self) {
        self.resync.strong |= other.resync.strong;
        // A watch that never takes a wish may be asked for ever: what is marked already, or of interest to nobody any
        // more, must not pile up.
        let is_news = |mark: &Taken| !other.taken.iter().any(|other| Arc::ptr_eq(&other.0, &mark.0));
        self.taken
            .retain(|mark| is_news(mark) && Arc::strong_count(&mark.0) > 1);
        self.taken.extend(other.taken);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Control").field(&self.0.registry).finish()
    }
}

/// A lock whose holders never panic half-way through a change: what a poisoned one guards is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a backend asks of its registry, counted: requests, failures and skipped objects since the start, and connections as
/// they are now.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    failures: AtomicU64,
    skipped: AtomicU64,
    connections: AtomicU64,
    note: Mutex<Option<String>>,
}

impl Meter {
    /// Counts one request and whether it failed.
    pub fn count_request(&self, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts objects that could not be read and were left out.
    pub fn count_skipped(&self, objects: u64) {
        self.skipped.fetch_add(objects, Ordering::Relaxed);
    }

    /// Says how many connections are open.
    pub fn set_connections(&self, open: u64) {
        self.connections.store(open, Ordering::Relaxed);
    }

    /// Says what an operator should know of how the registry is being watched, for instance a wider bound on age.
    pub fn set_note(&self, note: Option<String>) {
        *lock(&self.note) = note;
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that failed so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Objects that were left out so far.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// What an operator should know of how the registry is being watched.
    pub fn note(&self) -> Option<String> {
        lock(&self.note).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wishes_that_nobody_took_are_merged() {
        let control = Control::new("r".parse().unwrap(), PortDefaults::default());
        let group = |name: &str| Scope::Group(name.into());
        control.request_resync(Resync {
            scope: group("a"),
            strong: true,
        });
        control.request_resync(Resync {
            scope: group("b"),
            strong: false,
        });
        control.request_resync(Resync {
            scope: Scope::Registry,
            strong: false,
        });
        control.request_resync(Resync {
            scope: group("a"),
            strong: false,
        });
        assert_eq!(
            control.resync_requested().await,
            Resync {
                scope: Scope::Registry,
                strong: true
            }
        );
        let more = tokio::time::timeout(Duration::from_millis(10), control.resync_requested()).await;
        assert!(more.is_err());
    }

    #[tokio::test]
    async fn all_wishes_that_are_taken_together_are_marked_and_marks_do_not_pile_up() {
        let control = Control::new("r".parse().unwrap(), PortDefaults::default());
        let pass_on = |scope: Scope, taken: &Taken| {
            control.pass_on(Wish {
                resync: Resync { scope, strong: false },
                taken: taken.clone(),
            });
        };
        let (part, whole, later) = (Taken::default(), Taken::default(), Taken::default());
        pass_on(Scope::Group("a".into()), &part);
        for _ in 0..10 {
            pass_on(Scope::Registry, &whole);
            pass_on(Scope::Registry, &Taken::default());
        }
        control.request_resync(Resync {
            scope: Scope::Registry,
            strong: true,
        });
        assert!(!part.is_set() && !whole.is_set());
        assert!(lock(&control.0.wishes)[0].taken.len() <= 3);
        assert!(control.resync_requested().await.strong);
        pass_on(Scope::Registry, &later);
        assert!(part.is_set() && whole.is_set() && !later.is_set());
    }
}
