//! When the server's cache changes: a server answers from copies that it renews on a grid of its own, 30 s apart unless
//! configured. Who polls right after it sees a change as soon as anyone can.
//!
//! The grid's phase is learnt from what was seen: a change that is in one answer and was not in the one before became
//! visible between the two, so the grid has a line between them. Each such change narrows the span in which the line is
//! (`grid/span.rs`), and polls are placed so that the next one halves it (`grid/learner.rs`).
//!
//! - Polls a whole period apart teach nothing, so learning takes further polls: one or two more a period, for an hour
//!   after a change was seen, then in every fourth period only; once the line is known, one more in every eighth period,
//!   which would notice that the line moved.
//! - Lines move: the server's timer starts its next period when the last run begins, and so each is a little later than
//!   the one before, by seconds after a pause for garbage. The span grows with time, and where a change is seen outside
//!   of it, it is looked for again, shortly after where it was first.
//! - A server without such a cache, or with another period, contradicts whatever was learnt again and again. Then polls
//!   are merely `interval` apart for two hours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_core::Backoff;
use tokio::time::Instant;

mod learner;
mod span;
#[cfg(test)]
mod tests;

use learner::Learner;
use span::{Micros, Span};

/// Polls are up to so much later than they could be, so that many daemons do not ask in the same millisecond.
const JITTER: Duration = Duration::from_millis(150);

/// How long after a line a poll is sent. The server needs a moment to renew its copies.
const MARGIN: Micros = 50_000;

/// The same for lines that are configured: two clocks that are kept by NTP differ by less.
const FIXED_MARGIN: Micros = 250_000;

/// Two polls are at least so far apart.
const GAP: Micros = 200_000;

/// Below that period there is nothing to win.
const SHORTEST_PERIOD: Micros = 2_000_000;

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
    period: Micros,
    /// What all times in here are counted from: the first instant that was heard of.
    origin: Option<Instant>,
    lines: Lines,
    /// Spans that do not grow: only their random part is wanted.
    jitter: Backoff,
}

#[derive(Debug)]
enum Lines {
    /// Polls are placed by the interval alone.
    Unknown,
    /// At this time, and whole periods before and after.
    Fixed { line: Micros, offset: Micros },
    /// As far as was learnt.
    Learning(Learner),
}

impl Grid {
    /// A grid of which only the period is known.
    pub(crate) fn learning(period: Duration) -> Self {
        let period = micros(period);
        let lines = if period < SHORTEST_PERIOD {
            Lines::Unknown
        } else {
            Lines::Learning(Learner::new(period))
        };
        Self::new(period, lines)
    }

    /// A grid whose lines are at the multiples of the period since 1970, and `offset` later, by this machine's clock,
    /// which says `wall` at `now`.
    pub(crate) fn fixed(period: Duration, offset: Duration, now: Instant, wall: SystemTime) -> Self {
        let period = micros(period);
        let lines = if period < SHORTEST_PERIOD {
            Lines::Unknown
        } else {
            let offset = micros(offset).rem_euclid(period);
            Lines::Fixed { line: 0, offset }
        };
        let mut grid = Self::new(period, lines);
        grid.clock(now, wall);
        grid
    }

    fn new(period: Micros, lines: Lines) -> Self {
        Self {
            period,
            origin: None,
            lines,
            jitter: Backoff::new(JITTER, JITTER),
        }
    }

    /// The same with a given seed, for tests that have to repeat.
    #[cfg(test)]
    fn seeded(mut self, seed: u64) -> Self {
        self.jitter = Backoff::seeded(JITTER, JITTER, seed);
        self
    }

    /// Takes what this machine's clock says now: it may have been set since. To be called before each
    /// [`next_poll`](Self::next_poll); changes nothing where the grid is learnt.
    pub(crate) fn clock(&mut self, now: Instant, wall: SystemTime) {
        let now = self.since_origin(now);
        if let (Lines::Fixed { line, offset }, Ok(wall)) = (&mut self.lines, wall.duration_since(UNIX_EPOCH))
        {
            *line = now - (micros(wall) - *offset).rem_euclid(self.period);
        }
    }

    /// Takes the server's clock (its `Date`, whole seconds, of an answer that was there at `now`) as a first guess:
    /// servers put their lines at the multiples of the period. Later calls refresh it; it matters only while nothing
    /// better is known.
    pub(crate) fn hint(&mut self, now: Instant, server: SystemTime) {
        let now = self.since_origin(now);
        if let (Lines::Learning(learner), Ok(server)) = (&mut self.lines, server.duration_since(UNIX_EPOCH)) {
            learner.hint(now, micros(server));
        }
    }

    /// Two polls in a row of the same server's delta, and whether the second brought something that the first did not
    /// have.
    pub(crate) fn observe(&mut self, before: Poll, after: Poll, changed: bool) {
        let before = self.flight(before);
        let after = self.flight(after);
        if let Lines::Learning(learner) = &mut self.lines {
            learner.observe(before, after, changed);
        }
    }

    /// When to poll next, after a poll that was sent at `last`. Polls are at most `interval` apart, or rather the largest
    /// multiple of the period in it but at least one period, and one of them is right after a line.
    pub(crate) fn next_poll(&mut self, last: Instant, interval: Duration) -> Instant {
        let at = self.since_origin(last);
        let pause = micros(interval);
        // A whole interval ends no later than an aligned poll would be of use.
        let by_interval = at.saturating_add(pause);
        let next = match &mut self.lines {
            Lines::Learning(learner) if pause > GAP => learner.next_poll(at, pause),
            Lines::Fixed { line, .. } if pause > GAP => {
                // A clock that is kept by NTP moves a little all the time: half of the margin is enough to have been late.
                let passed = (at - *line - FIXED_MARGIN / 2).div_euclid(self.period);
                let lines = (pause / self.period).max(1);
                Some(Point::after_line(
                    *line + (passed + lines) * self.period + FIXED_MARGIN,
                ))
            }
            _ => None,
        };
        let Some(mut point) = next else {
            return last.checked_add(interval).unwrap_or(last);
        };
        if point.jittered {
            point.at += micros(self.jitter.next_delay());
        }
        let due = point.at.max(at + GAP);
        // Polls that have only the interval to keep may be a little late where that spares one.
        let due = if pause < self.period && due > by_interval + GAP {
            by_interval
        } else {
            due
        };
        last + Duration::from_micros(u64::try_from(due - at).unwrap_or_default())
    }

    /// Within how much time the line is known to be, once polls are placed right after it.
    pub(crate) fn learnt(&self) -> Option<Duration> {
        match &self.lines {
            Lines::Learning(learner) => {
                let width = learner.learnt()?;
                Some(Duration::from_micros(u64::try_from(width).unwrap_or_default()))
            }
            Lines::Fixed { .. } => Some(Duration::ZERO),
            Lines::Unknown => None,
        }
    }

    fn flight(&mut self, poll: Poll) -> Span {
        Span {
            from: self.since_origin(poll.sent),
            to: self.since_origin(poll.answered),
        }
    }

    fn since_origin(&mut self, at: Instant) -> Micros {
        let origin = *self.origin.get_or_insert(at);
        match at.checked_duration_since(origin) {
            Some(later) => micros(later),
            None => -micros(origin.duration_since(at)),
        }
    }
}

/// A moment for a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    at: Micros,
    /// Polls that tell where a line is are sent exactly then.
    jittered: bool,
}

impl Point {
    fn after_line(at: Micros) -> Self {
        Self { at, jittered: true }
    }

    fn exactly(at: Micros) -> Self {
        Self { at, jittered: false }
    }
}

/// Three centuries stand for all that is longer, so that sums stay far from overflowing.
fn micros(duration: Duration) -> Micros {
    const LONGEST: Micros = 10_000_000_000_000_000;
    Micros::try_from(duration.as_micros()).map_or(LONGEST, |micros| micros.min(LONGEST))
}
