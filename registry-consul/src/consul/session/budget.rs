//! Which polls may be parked, and how the rest is read in turns.

use std::time::Duration;

use registry_core::Str;
use tokio::time::Instant;

use super::Session;

/// The shortest turn: below it reading in turns costs more than it tells.
const SHORTEST_TURN: Duration = Duration::from_secs(5);

/// How long no read begins after a refusal: those that wait their turn would be refused as well.
const REFUSED: Duration = Duration::from_millis(100);

impl Session {
    /// How many services' polls may be parked at once, beside the catalogue's and the detector's.
    pub(super) fn capacity(&self) -> usize {
        let all = self.queries.client().watch_capacity().saturating_sub(1);
        if self.services.len() > all {
            all.saturating_sub(1)
        } else {
            all
        }
    }

    /// True where there are more services than can be parked.
    pub(super) fn is_hybrid(&self) -> bool {
        self.services.len() > self.queries.client().watch_capacity().saturating_sub(1)
    }

    pub(super) fn refused_by_limit(&mut self, started: Instant, now: Instant) {
        self.next_read = self.next_read.max(now + REFUSED);
        // A connection that was open for a while was not closed for being one too many.
        if now - started > Duration::from_secs(1) {
            return;
        }
        if let Some(smaller) = self.budget.shrink(now) {
            tracing::warn!(
                registry = %self.control.registry(),
                connections = smaller,
                "the server closes new connections: its limit for one client is reached; using fewer",
            );
            self.queries.client().set_max_connections(smaller);
        }
    }

    pub(super) fn grow_budget(&mut self, now: Instant) {
        if let Some(larger) = self.budget.grow(now) {
            self.queries.client().set_max_connections(larger);
        }
    }

    /// How long a turn takes: between two reads of a service whose poll is not parked.
    pub(super) fn sweep_interval(&self) -> Duration {
        let in_turns = self.services.len().saturating_sub(self.capacity());
        let rate = f64::from(self.config.sweep_reads_per_second);
        #[allow(clippy::cast_precision_loss, reason = "far fewer services than 2^52")]
        let turn = Duration::from_secs_f64(in_turns as f64 / rate);
        turn.max(SHORTEST_TURN)
    }

    /// Gives the service a place among the parked polls, if there is one: a free one, or for a service that just changed
    /// that of the one which changed longest ago.
    pub(super) fn find_place(&mut self, name: &Str, just_changed: bool, now: Instant) {
        let capacity = self.capacity();
        let Some(tracked) = self.services.get(name) else {
            return;
        };
        if tracked.has_place {
            if just_changed {
                self.places.push_back((now, name.clone()));
                self.tidy_places();
            }
            return;
        }
        let changed = tracked.changed;
        if self.placed >= capacity && !(just_changed && self.free_oldest_place(now)) {
            return;
        }
        if let Some(tracked) = self.services.get_mut(name) {
            tracked.has_place = true;
            self.placed += 1;
            self.places.push_back((changed, name.clone()));
        }
    }

    /// Stops watching a service.
    pub(super) fn forget(&mut self, name: &Str) {
        if self
            .services
            .remove(name)
            .is_some_and(|tracked| tracked.has_place)
        {
            self.placed -= 1;
        }
    }

    fn free_oldest_place(&mut self, now: Instant) -> bool {
        let turn = self.sweep_interval();
        while let Some((changed, name)) = self.places.pop_front() {
            let Some(tracked) = self.services.get_mut(&name) else {
                continue;
            };
            if !tracked.has_place || tracked.changed != changed {
                continue;
            }
            tracked.has_place = false;
            self.placed -= 1;
            // A parked poll is left to its end: the server would keep its connection's place all the same until then,
            // and count it against every program on the host. Whoever is next parks when there is room.
            if tracked.parked.is_none() && !tracked.reading {
                tracked.read_next = true;
                self.schedule(&name, now + turn);
            }
            return true;
        }
        false
    }

    /// Forgets entries that no longer hold: each change leaves one behind, and without others that want a place nobody
    /// would ever take them out.
    fn tidy_places(&mut self) {
        if self.places.len() > 4 * self.placed + 64 {
            let services = &self.services;
            self.places.retain(|(changed, name)| {
                services
                    .get(name)
                    .is_some_and(|tracked| tracked.has_place && tracked.changed == *changed)
            });
        }
    }

    /// What an operator should know of the mode of watching.
    pub(super) fn note(&self) -> Option<String> {
        let places = self.capacity();
        self.is_hybrid().then(|| {
            let turn = self.sweep_interval();
            format!(
                "{} services and room for {places} parked polls: the others are read in turns, every {:.0} s",
                self.services.len(),
                (turn + turn / 10).as_secs_f64().ceil(),
            )
        })
    }
}
