//! When the server's cache changes: a server answers from copies that it renews on a grid of its own, 30 s apart unless
//! configured. Who polls right after it sees a change as soon as anyone can.
//!
//! The grid's phase is learnt from what was seen: a change that is in one answer and was not in the one before became
//! visible between the two, so the grid has a line between them. Each such change narrows the span in which the line is,
//! and polls are placed so that the next one halves it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Where the lines of one server's grid are, as far as is known.
#[derive(Debug)]
pub(crate) struct Grid {
    period: Duration,
}

impl Grid {
    /// A grid of which only the period is known.
    pub(crate) fn learning(period: Duration) -> Self {
        Self { period }
    }

    /// A grid whose lines are at the multiples of the period since 1970, and `offset` later.
    pub(crate) fn fixed(period: Duration, offset: Duration, now: Instant, wall: SystemTime) -> Self {
        let _ = (offset, now, wall);
        Self { period }
    }

    /// Takes the server's clock (its `Date`, whole seconds) as a first guess: servers put their lines at the multiples of
    /// the period.
    pub(crate) fn hint(&mut self, now: Instant, server: SystemTime) {
        let _ = (now, server);
        unimplemented!("grid")
    }

    /// Two polls in a row of the same server's delta: when the first was answered, when the second was sent, and whether
    /// the second brought something that the first did not have.
    pub(crate) fn observe(&mut self, before: Instant, after: Instant, changed: bool) {
        let _ = (before, after, changed);
        unimplemented!("grid")
    }

    /// When to poll next, after a poll at `last`, so that polls are `interval` apart on average.
    pub(crate) fn next_poll(&mut self, last: Instant, interval: Duration) -> Instant {
        let _ = (last, interval, self.period);
        unimplemented!("grid")
    }
}
