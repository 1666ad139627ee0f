//! The embeddable whole: registries in, snapshots and deltas out.

mod builder;
mod changes;
mod keeper;
mod task;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use builder::DiscoveryBuilder;
pub use changes::Changes;

use self::keeper::Place;
use crate::behind::InstanceId;
use crate::cell::Cell;
use crate::engine::Readiness;
use crate::error::{Error, RegistryError};
use crate::event::{Event, Scope};
use crate::hostname::Pattern;
use crate::merge::MergePolicy;
use crate::model::RegistryId;
use crate::options::RegistryOptions;
use crate::registry::{Resync, ServiceRegistry, lock};
use crate::snapshot::Snapshot;
use crate::status::RegistryStatus;
use crate::store::Saved;

/// What the task that owns the engine is told.
pub(crate) enum Input {
    Batch {
        id: RegistryId,
        session: u64,
        batch: Vec<Event>,
        applied: oneshot::Sender<Result<(), RegistryError>>,
    },
    Interrupted {
        id: RegistryId,
        session: u64,
        error: Arc<RegistryError>,
    },
    Add {
        id: RegistryId,
        registry: Arc<dyn ServiceRegistry>,
        options: Box<RegistryOptions>,
        saved: Result<Option<Saved>, String>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Replace {
        id: RegistryId,
        registry: Option<Arc<dyn ServiceRegistry>>,
        options: Box<RegistryOptions>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Remove {
        id: RegistryId,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Acknowledge {
        id: RegistryId,
        done: oneshot::Sender<Result<usize, Error>>,
    },
    Policies(Vec<(Pattern, Arc<dyn MergePolicy>)>),
    Resync(RegistryId, Resync),
    Published(oneshot::Sender<()>),
}

/// A running discovery: registries, supervised; their services, merged; the newest snapshot, at hand.
///
/// Cloning it shares it. It runs until [`shutdown`](Self::shutdown), or until the last clone is dropped.
///
/// ```
/// use registry_core::{Address, Discovery, Endpoint, ServiceId, ServiceMeta, ServiceRecord, StaticRegistry};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let meta = ServiceMeta::builder(ServiceId::named("payments")).build();
/// let endpoint = Endpoint::builder("10.0.0.7".parse::<Address>()?).port("http", 8080).build();
///
/// let discovery = Discovery::builder()
///     .registry("vms", StaticRegistry::new([ServiceRecord::new(meta, [endpoint])]))?
///     .start()?;
/// discovery.ready().await;
/// let snapshot = discovery.snapshot();
/// assert_eq!(snapshot.get("payments.static").map(|service| service.endpoints().len()), Some(1));
/// discovery.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Discovery {
    shared: Arc<Shared>,
    // Ends the tasks when the last handle is gone; the tasks themselves hold only `shared`.
    _alive: Arc<tokio_util::sync::DropGuard>,
}

pub(crate) struct Shared {
    instance: InstanceId,
    snapshot: Cell<Snapshot>,
    revisions: watch::Sender<u64>,
    readiness: watch::Sender<Readiness>,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
    tasks: TaskTracker,
    latency: Latency,
    /// Empty once it was shut down, so that a successor can have the directory.
    place: Mutex<Arc<Place>>,
}

impl Discovery {
    /// Starts to put a discovery together.
    pub fn builder() -> DiscoveryBuilder {
        DiscoveryBuilder::default()
    }

    /// Its name, made up at its start; no other discovery has it.
    pub fn instance(&self) -> InstanceId {
        self.shared.instance
    }

    /// The newest snapshot. Never waits for a merge.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load()
    }

    /// False once it was shut down, or its task broke: nothing is published any more.
    pub fn is_running(&self) -> bool {
        !self.shared.inputs.is_closed() && !self.shared.stop.is_cancelled()
    }

    /// Resolves once consumers may rely on the snapshot: every required registry is known and published, and every
    /// optional one is, or the start deadline has passed. **Never resolves** where it is shut
    /// down before that: race it against a deadline where that can happen.
    pub async fn ready(&self) {
        let mut readiness = self.shared.readiness.subscribe();
        if readiness.wait_for(|readiness| readiness.ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether consumers may rely on the snapshot, and what is still awaited.
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness.borrow().clone()
    }

    /// A stream of deltas, from the newest snapshot on. A slow consumer gets one coalesced delta, never a queue.
    pub fn changes(&self) -> Changes {
        Changes::new(self.snapshot(), self.shared.clone())
    }

    /// A stream of deltas that begins with everything in the newest snapshot.
    pub fn changes_from_empty(&self) -> Changes {
        Changes::new(Arc::default(), self.shared.clone())
    }

    /// All about each registry, as of now, in order of precedence.
    pub fn status(&self) -> Vec<RegistryStatus> {
        self.snapshot()
            .registries()
            .iter()
            .map(|registry| registry.status())
            .collect()
    }

    /// How long updates took from their arrival to their publication.
    pub fn latency(&self) -> &Latency {
        &self.shared.latency
    }

    /// Resolves once all that this discovery was told before this call is in the snapshot. What adds, changes or
    /// removes a registry returns as soon as it is in force: readers see it with the next publication, which may be an
    /// interval away.
    ///
    /// # Errors
    ///
    /// Where discovery was shut down: nothing is published any more.
    pub async fn published(&self) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let input = Input::Published(done);
        self.shared.inputs.send(input).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Adds a registry and begins to watch it.
    ///
    /// # Errors
    ///
    /// Where there is one of that name, or discovery was shut down.
    pub async fn add(
        &self,
        id: RegistryId,
        registry: Arc<dyn ServiceRegistry>,
        options: RegistryOptions,
    ) -> Result<(), Error> {
        let place = lock(&self.shared.place).clone();
        let (of, backend) = (id.clone(), registry.clone());
        let saved = tokio::task::spawn_blocking(move || place.load(&of, &*backend));
        let saved = saved.await.unwrap_or_else(|error| Err(error.to_string()));
        self.ask(|done| Input::Add {
            id,
            registry,
            options: Box::new(options),
            saved,
            done,
        })
        .await
    }

    /// Changes the settings of a registry, and its backend where one is given. Settings apply at once to what is held;
    /// a new backend is watched in place of the old one, whose services stay until the new one knows better.
    ///
    /// # Errors
    ///
    /// Where there is none of that name, or discovery was shut down.
    pub async fn replace(
        &self,
        id: RegistryId,
        registry: Option<Arc<dyn ServiceRegistry>>,
        options: RegistryOptions,
    ) -> Result<(), Error> {
        self.ask(|done| Input::Replace {
            id,
            registry,
            options: Box::new(options),
            done,
        })
        .await
    }

    /// Removes a registry with all of its services.
    ///
    /// # Errors
    ///
    /// Where there is none of that name, or discovery was shut down.
    pub async fn remove(&self, id: RegistryId) -> Result<(), Error> {
        self.ask(|done| Input::Remove { id, done }).await
    }

    /// Changes the policies of the merge: the first pattern that matches a hostname counts.
    pub async fn set_policies(&self, policies: Vec<(Pattern, Arc<dyn MergePolicy>)>) {
        // Where this fails discovery was shut down, and there is nothing to merge any more.
        let _ = self.shared.inputs.send(Input::Policies(policies)).await;
    }

    /// Asks a registry for complete knowledge, as an operator or a periodic comparison does.
    pub async fn resync(&self, id: RegistryId) {
        let wish = Resync {
            scope: Scope::Registry,
            strong: false,
        };
        let _ = self.shared.inputs.send(Input::Resync(id, wish)).await;
    }

    /// Lets go of all endpoints of a registry that are held back, as an operator does who knows that they are gone.
    /// Returns how many there were.
    ///
    /// # Errors
    ///
    /// Where there is no registry of that name, or discovery was shut down.
    pub async fn acknowledge(&self, id: RegistryId) -> Result<usize, Error> {
        let (done, answer) = oneshot::channel();
        let input = Input::Acknowledge { id, done };
        self.shared.inputs.send(input).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Ends all watches and tasks. Snapshots that are held stay valid. At most five seconds.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks = self.shared.tasks.len(),
                "tasks of discovery did not end in time"
            );
        }
    }

    async fn ask(
        &self,
        input: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Input,
    ) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.shared
            .inputs
            .send(input(done))
            .await
            .map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

/// A histogram of the time from the arrival of an update to its publication.
#[derive(Debug, Default)]
pub struct Latency {
    counts: [AtomicU64; Self::BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Latency {
    /// The upper bounds of the buckets, in seconds; beyond the last one there is one more.
    pub const BOUNDS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0, 10.0];

    pub(crate) fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = Self::BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(Self::BOUNDS.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// How many updates fell into each bucket, the one beyond the last bound included.
    pub fn counts(&self) -> [u64; Self::BOUNDS.len() + 1] {
        std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed))
    }

    /// The sum of all times.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn publish(&self, snapshot: Arc<Snapshot>, arrived: Option<Instant>, now: Instant) {
        let revision = snapshot.revision();
        self.snapshot.store(snapshot);
        self.revisions.send_replace(revision);
        if let Some(arrived) = arrived {
            self.latency.record(now.saturating_duration_since(arrived));
        }
    }

    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }
}
