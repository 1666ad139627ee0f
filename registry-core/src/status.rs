//! What is known of each registry: its phase, its freshness, and what went wrong.

mod freshness;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::behind::{Behind, InstanceId, Lineage};
use crate::error::{ErrorKind, RegistryError};
use crate::event::Scope;
use crate::model::{RegistryId, ServiceId, Timestamp};
use crate::options::Outage;
use crate::registry::{Meter, lock};
use crate::state::Holding;
pub(crate) use freshness::Freshness;

/// How far the knowledge of a registry can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Phase {
    /// Nothing is known yet.
    #[default]
    Connecting,
    /// Completely known, and confirmed within the bound.
    Synced,
    /// Known, but all or a part of it is older than its bound. Nothing is lost.
    Stale,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 3] = [Self::Connecting, Self::Synced, Self::Stale];

    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Synced => "synced",
            Self::Stale => "stale",
        }
    }
}

/// A part of a registry that could not be read.
#[derive(Debug, Clone)]
pub struct DegradedScope {
    /// The part.
    pub scope: Scope,
    /// True where it is past its bound.
    pub stale: bool,
    /// Failures in a row.
    pub failures: u32,
    /// The kind of the last failure.
    pub kind: ErrorKind,
    /// The last error.
    pub error: String,
}

/// What readers of any snapshot can ask about a registry as of now.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) meter: Arc<Meter>,
    state: Mutex<LiveState>,
}

#[derive(Debug, Default)]
struct LiveState {
    confirmed: Option<Instant>,
    confirmed_at: Option<Timestamp>,
    attempts: u64,
    panics: u64,
    last_error: Option<LastError>,
    degraded: Vec<DegradedScope>,
    restored: bool,
    stale: Option<Instant>,
    outage: Outage,
    holding: Option<Holding>,
    comparisons: u64,
    repaired: u64,
    saved: Option<Timestamp>,
    save_error: Option<String>,
    lineage: Lineage,
}

/// The last thing that went wrong.
#[derive(Debug, Clone)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The message, with its causes.
    pub message: String,
}

impl Live {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self {
            meter,
            state: Mutex::default(),
        }
    }

    pub(crate) fn note_freshness(&self, freshness: &Freshness) {
        let mut state = lock(&self.state);
        if state.confirmed != freshness.confirmed {
            state.confirmed = freshness.confirmed;
            state.confirmed_at = freshness.confirmed.map(|at| ago(at.elapsed()));
        }
        state.restored = freshness.restored;
        state.stale = freshness.stale;
        state.lineage = freshness.lineage();
        if !(state.degraded.is_empty() && freshness.failures == 0 && freshness.troubles.is_empty()) {
            state.degraded = freshness.degraded();
        }
    }

    pub(crate) fn note_survival(
        &self,
        outage: Outage,
        holding: Option<Holding>,
        (comparisons, repaired): (u64, u64),
    ) {
        let mut state = lock(&self.state);
        state.outage = outage;
        state.holding = holding;
        state.comparisons = comparisons;
        state.repaired = repaired;
    }

    /// What is held was written to disk, or could not be.
    pub(crate) fn note_saved(&self, result: Result<Timestamp, String>) {
        let mut state = lock(&self.state);
        match result {
            Ok(saved) => {
                state.saved = Some(saved);
                state.save_error = None;
            }
            Err(error) => state.save_error = Some(error),
        }
    }

    /// When the registry last confirmed what is known of it.
    pub(crate) fn last_confirmed(&self) -> Option<Timestamp> {
        lock(&self.state).confirmed_at
    }

    pub(crate) fn note_attempt(&self) {
        lock(&self.state).attempts += 1;
    }

    pub(crate) fn note_panic(&self) {
        lock(&self.state).panics += 1;
    }

    pub(crate) fn note_error(&self, error: &RegistryError) {
        let error = LastError {
            at: Timestamp::now(),
            kind: error.kind(),
            message: error.report(),
        };
        lock(&self.state).last_error = Some(error);
    }

    /// Where the registry knows from.
    pub(crate) fn lineage(&self) -> Lineage {
        lock(&self.state).lineage.clone()
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        Some(lock(&self.state).degraded.first()?.error.clone())
    }

    pub(crate) fn age(&self) -> Option<Duration> {
        lock(&self.state).confirmed.map(|confirmed| confirmed.elapsed())
    }

    /// The status of a registry, whose share of a snapshot is `summary`.
    pub(crate) fn status(&self, summary: &RegistrySummary) -> RegistryStatus {
        let state = lock(&self.state);
        RegistryStatus {
            id: summary.id.clone(),
            kind: summary.kind,
            required: summary.required,
            phase: summary.phase,
            since: summary.since,
            age: state.confirmed.map(|confirmed| confirmed.elapsed()),
            last_confirmed: state.confirmed_at,
            attempts: state.attempts,
            panics: state.panics,
            last_error: state.last_error.clone(),
            degraded: state.degraded.clone(),
            services: summary.services,
            endpoints: summary.endpoints,
            warnings: summary.warnings.clone(),
            requests: self.meter.requests(),
            failures: self.meter.failures(),
            skipped: self.meter.skipped(),
            connections: self.meter.connections(),
            note: self.meter.note(),
            restored: state.restored,
            held: state.holding.as_ref().map(|holding| HeldBack {
                endpoints: holding.endpoints,
                services: holding.services,
                names: holding.names.clone(),
                since: ago(holding.since.elapsed()),
                remaining: holding
                    .due
                    .map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now())),
            }),
            outage: OutageStatus {
                policy: state.outage,
                since: state.stale.map(|stale| ago(stale.elapsed())),
                remaining: match (state.outage, state.stale) {
                    (Outage::KeepFor(time), Some(stale)) => Some(time.saturating_sub(stale.elapsed())),
                    _ => None,
                },
            },
            comparisons: state.comparisons,
            repaired: state.repaired,
            saved: state.saved,
            save_error: state.save_error.clone(),
            instance: state.lineage.instance,
            behind: state.lineage.behind.to_vec(),
        }
    }
}

fn ago(time: Duration) -> Timestamp {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(millis))
}

/// A registry as of one snapshot.
#[derive(Debug, Clone)]
pub struct RegistrySummary {
    pub(crate) id: RegistryId,
    pub(crate) kind: &'static str,
    pub(crate) required: bool,
    pub(crate) phase: Phase,
    pub(crate) partly: bool,
    pub(crate) since: Timestamp,
    pub(crate) known: bool,
    pub(crate) services: usize,
    pub(crate) endpoints: usize,
    pub(crate) warnings: Vec<String>,
    pub(crate) domains: Vec<crate::hostname::Pattern>,
    /// As of the snapshot. Of what is shown the ages are as of now.
    pub(crate) lineage: Lineage,
    pub(crate) live: Arc<Live>,
}

impl RegistrySummary {
    /// Its name.
    pub fn id(&self) -> &RegistryId {
        &self.id
    }

    /// The kind of registry.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// How far its knowledge could be trusted when the snapshot was published.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// True where it was stale for a part of what is known alone: for some services, or some registries behind it.
    pub fn is_partly_stale(&self) -> bool {
        self.partly
    }

    /// True where the snapshot holds complete knowledge of it, and of all registries behind it.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The discovery that it is, where it is one and has said so, as of now.
    pub fn instance(&self) -> Option<InstanceId> {
        self.live.lineage().instance
    }

    /// The registries behind it, where it watches others itself: their phases as of the snapshot, as those that were
    /// heard since have services that it lacks, and their ages as of now.
    pub fn behind(&self) -> Arc<[Behind]> {
        let now = self.live.lineage();
        if now.same(&self.lineage) {
            now.behind
        } else {
            self.lineage.behind.clone()
        }
    }

    /// True where both are in the same phase, with the same registries behind them.
    pub(crate) fn same_phases(&self, other: &Self) -> bool {
        (self.phase, self.partly) == (other.phase, other.partly) && self.lineage.same(&other.lineage)
    }

    /// Time since its last confirmation, as of now; `None` where there was none.
    pub fn age(&self) -> Option<Duration> {
        self.live.age()
    }

    /// Why it cannot be read, or the first of its parts that cannot be, as of now.
    pub fn trouble(&self) -> Option<String> {
        self.live.trouble()
    }

    /// All about it, as of now.
    pub fn status(&self) -> RegistryStatus {
        self.live.status(self)
    }
}

/// All about one registry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RegistryStatus {
    /// Its name.
    pub id: RegistryId,
    /// The kind of registry.
    pub kind: &'static str,
    /// Whether readiness waits for it without a deadline.
    pub required: bool,
    /// How far its knowledge can be trusted.
    pub phase: Phase,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// Time since its last confirmation.
    pub age: Option<Duration>,
    /// When it was last confirmed.
    pub last_confirmed: Option<Timestamp>,
    /// How often a watch was opened.
    pub attempts: u64,
    /// How often the backend panicked.
    pub panics: u64,
    /// The last thing that went wrong; it stays after it was mended.
    pub last_error: Option<LastError>,
    /// Parts that could not be read, at most 100 of them.
    pub degraded: Vec<DegradedScope>,
    /// Services that take part in the merge.
    pub services: usize,
    /// Their endpoints.
    pub endpoints: usize,
    /// What looks like a mistake in its settings.
    pub warnings: Vec<String>,
    /// Requests sent.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Objects that could not be read and were left out.
    pub skipped: u64,
    /// Connections open.
    pub connections: u64,
    /// What the backend says of how it watches.
    pub note: Option<String>,
    /// True where what is held was read from disk, and nothing was heard of the registry since.
    pub restored: bool,
    /// Endpoints that the registry no longer lists and that are held back, where there are any.
    pub held: Option<HeldBack>,
    /// What happens while it is stale.
    pub outage: OutageStatus,
    /// How often complete knowledge that was asked for was compared with what was held.
    pub comparisons: u64,
    /// Services that differed in these comparisons, and were put right.
    pub repaired: u64,
    /// When what is held was last written to disk.
    pub saved: Option<Timestamp>,
    /// Why what is held could not be written to disk, or read from it.
    pub save_error: Option<String>,
    /// The discovery that it is, where it is one.
    pub instance: Option<InstanceId>,
    /// The registries behind it, where it watches others itself.
    pub behind: Vec<Behind>,
}

/// Endpoints that a registry no longer lists, in such numbers that it is not believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// How many endpoints.
    pub endpoints: usize,
    /// Of how many services.
    pub services: usize,
    /// The first of these services, at most 100 of them.
    pub names: Vec<ServiceId>,
    /// Since when.
    pub since: Timestamp,
    /// How long until the registry is asked for complete knowledge that may confirm the loss; zero once it was asked.
    pub remaining: Duration,
}

/// What happens to the endpoints of a registry while it is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutageStatus {
    /// The policy.
    pub policy: Outage,
    /// Since when all of the registry is stale, where it is.
    pub since: Option<Timestamp>,
    /// With [`Outage::KeepFor`] and while it is stale: how long until its endpoints are taken out; zero once they are.
    pub remaining: Option<Duration>,
}
