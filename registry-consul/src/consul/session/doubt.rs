//! Whether a loss is believed at once, or only as part of a complete listing.
//!
//! A server that was wiped, restored from a backup or swapped for another one answers as any other: 200, and fewer
//! instances. Taken service by service, such answers would empty the registry in small portions of which none looks
//! unlikely. So a loss that could be of that kind waits for a complete listing, which the supervisor can judge as a
//! whole; gains and changes never wait.
//!
//! ```text
//!  answer with a loss ──doubted?──no──▶ delivered at once
//!                         │ yes
//!                         ▼
//!  names, consistent ──▶ every service, consistent ──▶ Init(Registry) … InitDone(Registry)
//! ```
//!
//! Doubted is a loss
//! - where the server's history is another one: the catalogue's index went back, or the service's did, twice;
//! - in the first answer of a service after its connection broke, the catalogue's did, or another base URL took over;
//! - in the first answer of a service after the token lost rights to another one, or where others that are asked for
//!   a [second opinion](super::opinion) lost instances, too;
//! - where many instances of several services went within half a minute.
//!
//! Nothing is asked for as long as nothing is lost: a server that restarts with its data is met by no listing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use registry_core::{Backoff, Event, RegistryError, Scope, Str};
use registry_http::Response;
use tokio::time::Instant;

use super::{Session, What};
use crate::consul::answer::Headers;
use crate::consul::config::Consistency;
use crate::consul::memory::Seen;
use crate::error::Error;

/// How far back losses are added up.
const WINDOW: Duration = Duration::from_secs(30);

/// Fewer instances than this are no mass.
const FEWEST: usize = 10;

/// One instance of so many is a mass.
const SHARE: usize = 10;

/// The shortest time between two listings that nobody else asked for.
const REST: Duration = Duration::from_secs(2);

/// What is doubted, and the listing that is to settle it.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Counts the moments from which on the server may be another one. What was read in an earlier epoch is no reason to
    /// believe the next answer about the same service.
    epoch: u64,
    /// The epoch that began with a connection that broke.
    broken: u64,
    since: Instant,
    recent: Recent,
    /// A complete listing is wanted; true where it has to be of the strongest consistency.
    wanted: Option<bool>,
    /// The names for it are being read.
    asking: bool,
    not_before: Instant,
    backoff: Backoff,
}

/// What was lost and gained of late, by service.
#[derive(Debug, Default)]
struct Recent {
    changes: VecDeque<(Instant, Str, usize, usize)>,
}

impl Recent {
    fn note(&mut self, name: &Str, before: usize, after: usize, now: Instant) {
        self.forget_old(now);
        if before != after {
            self.changes.push_back((now, name.clone(), before, after));
        }
    }

    fn forget_old(&mut self, now: Instant) {
        let old = |at: &Instant| now.saturating_duration_since(*at) > WINDOW;
        while self.changes.front().is_some_and(|(at, ..)| old(at)) {
            self.changes.pop_front();
        }
    }

    /// Instances lost within the window, net of what the same service gained, and of how many services.
    fn lost(&mut self, now: Instant) -> (usize, usize) {
        self.forget_old(now);
        let mut spans: HashMap<&Str, (usize, usize)> = HashMap::new();
        for (_, name, before, after) in &self.changes {
            spans.entry(name).or_insert((*before, *after)).1 = *after;
        }
        let lost = spans.values().map(|(first, last)| first.saturating_sub(*last));
        lost.filter(|lost| *lost > 0)
            .fold((0, 0), |(instances, services), lost| {
                (instances + lost, services + 1)
            })
    }
}

impl Doubt {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            epoch: 1,
            broken: 1,
            since: now,
            recent: Recent::default(),
            wanted: None,
            asking: false,
            not_before: now,
            backoff: Backoff::default(),
        }
    }

    /// The epoch that an answer is of, where it belongs to the present one: it was asked for since.
    pub(super) fn epoch_of(&self, started: Instant) -> Option<u64> {
        (started >= self.since).then_some(self.epoch)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// True where no connection broke since that epoch.
    pub(super) fn is_unbroken(&self, epoch: u64) -> bool {
        epoch >= self.broken
    }

    pub(super) fn note(&mut self, name: &Str, before: usize, after: usize, now: Instant) {
        self.recent.note(name, before, after, now);
    }

    /// When the names for a wanted listing are to be read.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.wanted.is_some() && !self.asking).then_some(self.not_before)
    }

    /// A complete listing ended that took this long: the next one that nobody asks for waits for a multiple of it.
    pub(super) fn rest(&mut self, took: Duration, now: Instant) {
        self.recent.changes.clear();
        self.not_before = now + REST.max(took * 4);
    }
}

impl Session {
    /// From now on the server may be another one, or show less than before.
    pub(super) fn suspect(&mut self, why: &str, now: Instant) {
        tracing::debug!(registry = %self.control.registry(), "losses are to be confirmed by a complete listing: {why}");
        self.doubt.epoch += 1;
        self.doubt.since = now;
    }

    /// From now on the server may be another one: the connection broke, or leads elsewhere.
    pub(super) fn suspect_server(&mut self, why: &str, now: Instant) {
        self.suspect(why, now);
        self.doubt.broken = self.doubt.epoch;
    }

    /// Why a loss of that many instances is not believed by itself, if it is not.
    pub(super) fn doubts(
        &mut self,
        name: &Str,
        seen: &Seen,
        left: usize,
        headers: Headers,
        base: usize,
        now: Instant,
    ) -> Option<&'static str> {
        let history = super::service::lock(&self.memory).history;
        let tracked = self.services.get(name)?;
        let known = headers.index > 0 && headers.streaming == seen.streaming;
        if seen.history != history {
            Some("the server's history is another one")
        } else if known && headers.index <= seen.index {
            Some("its index did not move on")
        } else if tracked.epoch != self.doubt.epoch || tracked.base != base {
            Some("the server may be another one, or the token may have lost rights")
        } else if self.is_mass(name, seen.instances, left, now) {
            Some("many instances of several services went at once")
        } else {
            None
        }
    }

    fn is_mass(&mut self, name: &Str, before: usize, after: usize, now: Instant) -> bool {
        let mut recent = std::mem::take(&mut self.doubt.recent);
        recent.note(name, before, after, now);
        let (lost, services) = recent.lost(now);
        // Whether it is delivered is decided by this; it is noted then.
        if before != after {
            recent.changes.pop_back();
        }
        self.doubt.recent = recent;
        self.is_too_many(lost, services)
    }

    fn is_too_many(&self, lost: usize, services: usize) -> bool {
        let all = || super::service::lock(&self.memory).instances();
        services > 1 && lost >= FEWEST && lost * SHARE > all()
    }

    /// True where the catalogue lacks so many names that their services had better be read together.
    pub(super) fn is_mass_of_names(&self, names: &[Str]) -> bool {
        let lost = {
            let memory = super::service::lock(&self.memory);
            let seen = names.iter().filter_map(|name| memory.services.get(name));
            seen.map(|seen| seen.instances).sum()
        };
        self.is_too_many(lost, names.len())
    }

    /// Asks for a complete listing, as soon as the last one is long enough ago.
    pub(super) fn want_listing(&mut self, strong: bool) {
        let wanted = self.doubt.wanted.get_or_insert(strong);
        *wanted |= strong;
    }

    /// Asks for a complete listing at once.
    pub(super) fn want_listing_now(&mut self, strong: bool, now: Instant) {
        self.want_listing(strong);
        self.doubt.not_before = now;
    }

    /// Reads the names for a complete listing that is wanted.
    pub(super) fn start_names(&mut self, now: Instant) {
        let (Some(strong), Some(due)) = (self.doubt.wanted, self.doubt.due()) else {
            return;
        };
        if now < due {
            return;
        }
        self.doubt.asking = true;
        let consistency = match self.config.consistency {
            _ if strong => Consistency::Consistent,
            Consistency::Consistent => Consistency::Consistent,
            Consistency::Default | Consistency::Stale => Consistency::Default,
        };
        let queries = self.queries.clone();
        self.spawn(What::Names { strong }, async move {
            queries.catalog(0, consistency).await
        });
    }

    /// Takes the names, and begins the listing. An error ends the watch.
    pub(super) fn take_names(
        &mut self,
        strong: bool,
        result: Result<Response, Error>,
        started: Instant,
        now: Instant,
    ) -> Result<(), Error> {
        self.doubt.asking = false;
        match result.and_then(|response| self.read_names(&response)) {
            Ok(read) => {
                self.doubt.backoff.reset();
                self.note_history(&read, true, started, now);
                self.compare(&read.names, now);
                // Meanwhile a stronger one may have become wanted.
                if strong || self.doubt.wanted != Some(true) {
                    self.begin_round(strong, now);
                }
                Ok(())
            }
            Err(error) if error.is_unreachable() => Err(error),
            Err(error) => {
                if error.is_refused_by_limit() {
                    self.refused_by_limit(started, now);
                }
                let error = RegistryError::from(error);
                let delay = self.doubt.backoff.next_delay();
                self.doubt.not_before = now + delay.max(error.retry_after().unwrap_or_default());
                self.batch.push(Event::degraded(Scope::Registry, error));
                Ok(())
            }
        }
    }

    /// A complete listing begins: it settles all doubts.
    pub(super) fn no_listing_wanted(&mut self) {
        self.doubt.wanted = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn losses_are_added_up_net_of_gains_and_for_a_while() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let (web, api, db) = (Str::from("web"), Str::from("api"), Str::from("db"));
        recent.note(&web, 5, 2, start);
        recent.note(&api, 3, 0, start);
        recent.note(&db, 4, 3, start);
        recent.note(&db, 3, 4, start);
        assert_eq!(recent.lost(start), (6, 2), "a rolling deploy is no loss");
        let later = start + Duration::from_secs(20);
        recent.note(&web, 2, 5, later);
        assert_eq!(recent.lost(later), (3, 1));
        assert_eq!(recent.lost(start + Duration::from_secs(31)), (0, 0));
    }
}
