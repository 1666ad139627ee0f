//! The freshness clock of one registry: when what is known of it, or a part of that, is too old to be trusted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{DegradedScope, Phase};
use crate::behind::{Lineage, StaleWays};
use crate::error::RegistryError;
use crate::event::Scope;
use crate::model::ServiceId;
use crate::options::Outage;
use crate::text::Str;

/// Failures in a row after which a registry, or a part of it, counts as stale before its bound has passed.
const FAILURES: u32 = 3;

/// The freshness clock of one registry.
#[derive(Debug)]
pub(crate) struct Freshness {
    bound: Duration,
    /// When complete knowledge was last had or confirmed; `None` before the first time.
    pub(super) confirmed: Option<Instant>,
    /// What is known was read from disk, and nothing was heard since.
    pub(super) restored: bool,
    waits_for_a_part: bool,
    pub(super) failures: u32,
    last_failure: Option<Arc<RegistryError>>,
    pub(super) troubles: BTreeMap<Scope, Trouble>,
    phase: Phase,
    /// Since when the whole is past its bound, as of the last tick.
    pub(super) stale: Option<Instant>,
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
pub(super) struct Trouble {
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
    pub(super) fn degraded(&self) -> Vec<DegradedScope> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

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
