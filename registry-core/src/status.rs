//! What is known of each registry: its phase, its freshness, and what went wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::behind::{Behind, InstanceId, Lineage, StaleWays};
use crate::error::{ErrorKind, RegistryError};
use crate::event::Scope;
use crate::model::{RegistryId, ServiceId, Timestamp};
use crate::options::Outage;
use crate::registry::{Meter, lock};
use crate::state::Holding;
use crate::text::Str;

/// Failures in a row after which a registry, or a part of it, counts as stale before its bound has passed.
const FAILURES: u32 = 3;

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

/// The freshness clock of one registry.
#[derive(Debug)]
pub(crate) struct Freshness {
    bound: Duration,
    /// When complete knowledge was last had or confirmed; `None` before the first time.
    confirmed: Option<Instant>,
    /// What is known was read from disk, and nothing was heard since.
    restored: bool,
    waits_for_a_part: bool,
    failures: u32,
    last_failure: Option<Arc<RegistryError>>,
    troubles: BTreeMap<Scope, Trouble>,
    phase: Phase,
    /// Since when the whole is past its bound, as of the last tick.
    stale: Option<Instant>,
    /// How long what is stale takes part; for ever where it is not said.
    keep_for: Option<Duration>,
    /// The whole was stale for that long at the last tick.
    expired: bool,
    /// A scope that was stale at the last tick was read since.
    mended: bool,
    /// What the registry said of those behind it.
    lineage: Lineage,
    /// Of these, as of the last tick.
    stale_ways: StaleWays,
    /// How many of them have been stale for that long.
    expired_ways: usize,
    /// It said something else since.
    retold: bool,
    ticked: Option<Instant>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    failures: u32,
    error: Arc<RegistryError>,
    /// Since when it is past its bound, as of the last tick.
    stale: Option<Instant>,
    expired: bool,
}

impl Freshness {
    pub(crate) fn new(bound: Duration) -> Self {
        Self {
            bound,
            confirmed: None,
            restored: false,
            waits_for_a_part: false,
            failures: 0,
            last_failure: None,
            troubles: BTreeMap::new(),
            phase: Phase::Connecting,
            stale: None,
            keep_for: None,
            expired: false,
            mended: false,
            lineage: Lineage::default(),
            stale_ways: StaleWays::default(),
            expired_ways: 0,
            retold: false,
            ticked: None,
        }
    }

    /// What is known was read from disk, and last confirmed by the registry then.
    pub(crate) fn restore(&mut self, confirmed: Instant) {
        self.confirmed = Some(confirmed);
        self.restored = true;
    }

    pub(crate) fn set_outage(&mut self, outage: Outage) {
        self.keep_for = match outage {
            Outage::Keep | Outage::Degrade => None,
            Outage::KeepFor(time) => Some(time),
            Outage::Drop => Some(Duration::ZERO),
        };
    }

    pub(crate) fn set_bound(&mut self, bound: Duration) {
        self.bound = bound;
    }

    /// The scope was read, or confirmed to be unchanged.
    pub(crate) fn confirm(&mut self, scope: &Scope, now: Instant) {
        if *scope == Scope::Registry {
            // Only complete knowledge makes a registry known in the first place.
            if self.heard() {
                self.confirmed = Some(now);
            }
            self.failures = 0;
        } else {
            self.end_waiting(now);
        }
        self.forget(scope);
    }

    /// A first listing of everything was completed, and nothing of it could be read: nothing is known until some part is.
    pub(crate) fn wait_for_a_part(&mut self) {
        self.waits_for_a_part = true;
    }

    fn end_waiting(&mut self, now: Instant) {
        if std::mem::take(&mut self.waits_for_a_part) {
            self.confirmed = Some(now);
            self.restored = false;
        }
    }

    /// A listing of the scope was completed. What is in trouble and was not read stays in trouble.
    pub(crate) fn complete(&mut self, scope: &Scope, unread: &[(Scope, Arc<RegistryError>)], now: Instant) {
        if *scope == Scope::Registry {
            self.waits_for_a_part = false;
            self.confirmed = Some(now);
            self.restored = false;
            self.failures = 0;
        } else {
            self.end_waiting(now);
        }
        let over = |held: &Scope| scope.covers(held) && !unread.iter().any(|(unread, _)| unread.covers(held));
        self.mended |= self
            .troubles
            .iter()
            .any(|(held, trouble)| trouble.stale.is_some() && over(held));
        self.troubles.retain(|held, _| !over(held));
    }

    /// The scope could not be read.
    pub(crate) fn degrade(&mut self, scope: Scope, error: Arc<RegistryError>, now: Instant) {
        if scope == Scope::Registry {
            self.failures = self.failures.saturating_add(1);
            self.last_failure = Some(error);
            return;
        }
        let trouble = self.troubles.entry(scope).or_insert(Trouble {
            since: now,
            failures: 0,
            error: error.clone(),
            stale: None,
            expired: false,
        });
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.error = error;
    }

    /// The registry said where it knows from.
    pub(crate) fn descend(&mut self, lineage: Lineage) {
        self.retold |= !self.lineage.same(&lineage);
        self.lineage = lineage;
    }

    /// Where the registry knows from, as of now.
    pub(crate) fn lineage(&self) -> Lineage {
        self.lineage.seen(self.stale.is_some())
    }

    /// The scope is in no trouble any more: it was read, or is gone.
    pub(crate) fn forget(&mut self, scope: &Scope) {
        let trouble = self.troubles.remove(scope);
        self.mended |= trouble.is_some_and(|trouble| trouble.stale.is_some());
    }

    /// Lets time pass. True where the phase or the staleness of a scope changed, or its time is over.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let (bound, keep_for) = (self.bound, self.keep_for);
        let expired = |stale: Option<Instant>| {
            let since = |stale| now.saturating_duration_since(stale);
            stale.is_some_and(|stale| keep_for.is_some_and(|keep_for| since(stale) >= keep_for))
        };
        let mut changed = std::mem::take(&mut self.mended);
        for trouble in self.troubles.values_mut() {
            let before = (trouble.stale.is_some(), trouble.expired);
            let stale = trouble.failures >= FAILURES || now.saturating_duration_since(trouble.since) >= bound;
            trouble.stale = stale.then(|| trouble.stale.unwrap_or(now));
            trouble.expired = expired(trouble.stale);
            changed |= before != (stale, trouble.expired);
        }
        let before = (self.stale.is_some(), self.expired);
        let over = |confirmed: Instant| now.saturating_duration_since(confirmed) >= bound;
        let stale = self.restored || self.failures >= FAILURES || self.confirmed.is_some_and(over);
        // What was read from disk is stale since its bound passed, before this start perhaps.
        let since = match self.confirmed {
            Some(confirmed) if self.restored => confirmed.checked_add(bound).map_or(now, |at| at.min(now)),
            _ => now,
        };
        self.stale = stale.then(|| self.stale.unwrap_or(since));
        self.expired = expired(self.stale);
        changed |= before != (stale, self.expired);
        if std::mem::take(&mut self.retold) || before.0 != stale {
            let ways = self.lineage().stale_ways();
            self.stale_ways.replace(ways, now);
            changed = true;
        }
        let ways = self.stale_ways.times();
        let expired_ways = ways.filter(|since| expired(Some(*since))).count();
        changed |= std::mem::replace(&mut self.expired_ways, expired_ways) != expired_ways;
        self.ticked = Some(now);
        let parts_are_stale = || {
            self.lineage.any(Phase::Stale) || self.troubles.values().any(|trouble| trouble.stale.is_some())
        };
        let phase = match self.confirmed {
            None => Phase::Connecting,
            Some(_) if stale || parts_are_stale() => Phase::Stale,
            Some(_) => Phase::Synced,
        };
        changed |= phase != self.phase;
        self.phase = phase;
        changed
    }

    /// When `tick` may next have something to say.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let whole = self
            .confirmed
            .filter(|_| self.failures < FAILURES)
            .and_then(|at| at.checked_add(self.bound));
        let parts = self.troubles.values().filter(|trouble| trouble.stale.is_none());
        let stale = self
            .troubles
            .values()
            .map(|trouble| trouble.stale)
            .chain([self.stale])
            .chain(self.stale_ways.times().map(Some));
        let ends = stale.filter_map(|stale| stale?.checked_add(self.keep_for?));
        parts
            .filter_map(|trouble| trouble.since.checked_add(self.bound))
            .chain(whole)
            .chain(ends)
            .filter(|at| *at > now)
            .min()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Stale, but not as a whole.
    pub(crate) fn is_partly_stale(&self) -> bool {
        self.phase == Phase::Stale && self.stale.is_none()
    }

    /// Something is known, by the registry's word or from disk.
    pub(crate) fn synced(&self) -> bool {
        self.confirmed.is_some()
    }

    /// Something is known, and of all registries behind it as well.
    pub(crate) fn knows_all(&self) -> bool {
        self.synced() && !self.lineage.any(Phase::Connecting)
    }

    /// Something is known by the registry's own word.
    pub(crate) fn heard(&self) -> bool {
        self.confirmed.is_some() && !self.restored
    }

    /// Whether what is known of a service was out of date at the last tick, and no word of it came since.
    pub(crate) fn is_stale(&self, id: &ServiceId) -> bool {
        self.stale.is_some() || self.in_trouble(id, |trouble| trouble.stale.is_some())
    }

    /// Whether what is known of a service was out of date for so long that it does not take part.
    pub(crate) fn is_expired(&self, id: &ServiceId) -> bool {
        self.expired || self.in_trouble(id, |trouble| trouble.expired)
    }

    /// As [`is_stale`](Self::is_stale), for what the registry has from others: by none of these ways is it fresh.
    pub(crate) fn is_stale_behind(&self, origins: &[Str]) -> bool {
        self.stale_ways.since(origins).is_some()
    }

    /// As [`is_expired`](Self::is_expired), for the same.
    pub(crate) fn is_expired_behind(&self, origins: &[Str]) -> bool {
        let stale_for = || {
            Some(
                self.ticked?
                    .saturating_duration_since(self.stale_ways.since(origins)?),
            )
        };
        let keep_for = self.keep_for.filter(|_| self.expired_ways > 0);
        keep_for.is_some_and(|keep_for| stale_for().is_some_and(|stale| stale >= keep_for))
    }

    fn in_trouble(&self, id: &ServiceId, condition: impl Fn(&Trouble) -> bool) -> bool {
        let is = |scope: Scope| self.troubles.get(&scope).is_some_and(&condition);
        !self.troubles.is_empty() && (is(Scope::Service(id.clone())) || is(Scope::Group(id.group().clone())))
    }

    /// What is in trouble: the whole first, then its parts, at most 100 of them. A registry whose every service is in
    /// trouble has one trouble to read about, not ten thousand.
    fn degraded(&self) -> Vec<DegradedScope> {
        let whole = self
            .last_failure
            .as_ref()
            .filter(|_| self.failures > 0)
            .map(|error| DegradedScope {
                scope: Scope::Registry,
                stale: self.failures >= FAILURES,
                failures: self.failures,
                kind: error.kind(),
                error: error.report(),
            });
        let parts = self.troubles.iter().map(|(scope, trouble)| DegradedScope {
            scope: scope.clone(),
            stale: trouble.stale.is_some(),
            failures: trouble.failures,
            kind: trouble.error.kind(),
            error: trouble.error.report(),
        });
        whole.into_iter().chain(parts).take(100).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Arc<RegistryError> {
        Arc::new(RegistryError::new(ErrorKind::Unreachable, "down"))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_beyond_the_bound_is_stale_and_a_word_mends_it() {
        let mut clock = Freshness::new(Duration::from_secs(40));
        let start = Instant::now();
        clock.confirm(&Scope::Registry, start);
        assert!(!clock.tick(start), "a confirmation of nothing is not knowledge");
        clock.complete(&Scope::Registry, &[], start);
        assert!(clock.tick(start));
        assert_eq!(
            (clock.phase(), clock.deadline(start)),
            (Phase::Synced, Some(start + Duration::from_secs(40)))
        );
        let later = start + Duration::from_secs(40);
        assert!(clock.tick(later));
        assert_eq!(clock.phase(), Phase::Stale);
        clock.confirm(&Scope::Registry, later);
        assert!(clock.tick(later));
        assert_eq!(clock.phase(), Phase::Synced);
    }

    #[tokio::test(start_paused = true)]
    async fn three_failures_in_a_row_are_stale_before_the_bound() {
        let mut clock = Freshness::new(Duration::from_secs(40));
        let now = Instant::now();
        clock.complete(&Scope::Registry, &[], now);
        let web = ServiceId::named("web");
        for _ in 0..3 {
            assert!(!clock.is_stale(&web));
            clock.degrade(Scope::Service(web.clone()), error(), now);
            clock.tick(now);
        }
        assert!(clock.is_stale(&web));
        assert!(
            !clock.is_stale(&ServiceId::named("api")),
            "only the part that cannot be read"
        );
        assert_eq!(clock.phase(), Phase::Stale);
        clock.confirm(&Scope::Registry, now);
        assert!(
            clock.is_stale(&web),
            "a word on the whole is none on a part in trouble"
        );
        clock.confirm(&Scope::Service(web.clone()), now);
        clock.tick(now);
        assert_eq!(clock.phase(), Phase::Synced);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_is_mended_is_news_while_another_stays_stale() {
        let mut clock = Freshness::new(Duration::from_secs(40));
        let now = Instant::now();
        clock.complete(&Scope::Registry, &[], now);
        let (web, api) = (ServiceId::named("web"), ServiceId::named("api"));
        for _ in 0..3 {
            clock.degrade(Scope::Service(web.clone()), error(), now);
            clock.degrade(Scope::Service(api.clone()), error(), now);
        }
        assert!(clock.tick(now));
        assert!(!clock.tick(now));
        clock.confirm(&Scope::Service(web.clone()), now);
        assert!(
            clock.tick(now),
            "services that others have as well have to be merged anew"
        );
        assert_eq!(
            (clock.phase(), clock.is_stale(&web), clock.is_stale(&api)),
            (Phase::Stale, false, true)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_before_the_first_listing_make_what_is_held_stale() {
        let mut clock = Freshness::new(Duration::from_secs(40));
        let now = Instant::now();
        for _ in 0..3 {
            clock.degrade(Scope::Registry, error(), now);
        }
        assert!(clock.tick(now));
        assert_eq!(
            (clock.phase(), clock.is_stale(&ServiceId::named("web"))),
            (Phase::Connecting, true)
        );
    }
}
