//! Learning where the line is: what a change that was seen says of it, and where the next polls tell most.
//!
//! A poll right after the span that holds the line is the one that matters; it sees every change at most the span's width
//! late. To learn, two more are sent where needed: one in the middle, which halves the span at the next change, and one
//! just before the span. A change that is seen there contradicts the span, and without a poll there a wrong span would
//! never be noticed: each change would be seen by the first poll of the next period and taken for one of its beginning.

use super::span::{Common, Micros, Span};
use super::{GAP, MARGIN, Point};

const SECOND: Micros = 1_000_000;

/// A span as narrow as this is not halved any more.
const NARROW: Micros = SECOND * 2 / 5;

/// No span gets narrower: the server renews one copy after the other, ours not always in the same moment of its run.
const NARROWEST: Micros = SECOND / 10;

/// How much later a line may be each period, and how much earlier: timers run late, and clocks of two machines differ by
/// some 50 millionths.
const LATER: Micros = 1_500;
const EARLIER: Micros = 500;

/// How far the line of a server that paused is looked for after where it was.
const PAUSE: Micros = 4 * SECOND;

/// The server's `Date` is cut to whole seconds, and made up to a second before it is sent; the answer was on its way; and
/// a server that has been up for a day is a second or two behind its own grid.
const HINT_LATE: Micros = SECOND * 6 / 5;
const HINT_EARLY: Micros = SECOND * 23 / 10;

/// For how long after a change all periods are used for learning.
const LIVELY: Micros = 3600 * SECOND;

/// Of how many periods one is used for learning: after a long time without a change, and once the line is known.
const QUIET_PACE: i64 = 4;
const KNOWN_PACE: i64 = 8;

/// So many contradictions, not made up for by as many changes where they were expected, and polls are not aligned for
/// a while.
const CONTRADICTIONS: u32 = 4;
const REST: Micros = 2 * 3600 * SECOND;

#[derive(Debug)]
pub(super) struct Learner {
    period: Micros,
    /// Holds a line that no poll was placed behind yet.
    span: Option<Known>,
    hint: Option<Span>,
    /// How long polls are on their way: the longest of late.
    flight: Micros,
    /// Whether the polls up to the span's end include those that learn; not decided right after the last line.
    probing: Option<bool>,
    /// The end of the last span before which they did.
    probed: Option<Micros>,
    /// When a change was last seen.
    changed: Option<Micros>,
    contradictions: u32,
    resting_until: Option<Micros>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    span: Span,
    source: Source,
    /// False where a poll just before the span is due: a change seen there would disprove it.
    verified: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The server's clock.
    Hint,
    /// Where the line was, and a pause.
    Pause,
    /// Changes that were seen.
    Changes,
}

impl Learner {
    pub(super) fn new(period: Micros) -> Self {
        Self {
            period,
            span: None,
            hint: None,
            flight: 0,
            probing: None,
            probed: None,
            changed: None,
            contradictions: 0,
            resting_until: None,
        }
    }

    /// The server's clock, in microseconds since 1970, said `server` at `now`.
    pub(super) fn hint(&mut self, now: Micros, server: Micros) {
        let line = now - server.rem_euclid(self.period);
        self.hint = Some(Span {
            from: line - HINT_EARLY.min(self.period / 4),
            to: line + HINT_LATE.min(self.period / 4),
        });
    }

    /// The flights of two polls in a row, and whether the second brought a change.
    pub(super) fn observe(&mut self, before: Span, after: Span, changed: bool) {
        self.flight = after
            .width()
            .max(self.flight - self.flight / 8)
            .clamp(0, 2 * SECOND);
        if !changed {
            return;
        }
        self.changed = Some(after.to);
        let seen = Span {
            from: before.from,
            to: after.to,
        };
        if self.resting_until.is_some() || seen.width() <= 0 || seen.width() >= self.period {
            return;
        }
        let Some(known) = self.span else {
            self.expect(Known {
                span: seen,
                source: Source::Changes,
                verified: true,
            });
            return;
        };
        match known.span.common(seen, self.period) {
            Common::Part(common) => self.narrow(known, common, seen, after),
            // Either one says more than what they have in common could be told as.
            Common::Twice if seen.width() < known.span.width() => {
                self.expect(Known {
                    span: seen,
                    source: Source::Changes,
                    verified: true,
                });
            }
            Common::Twice => {}
            Common::Nothing => self.contradicted(known, seen),
        }
    }

    fn narrow(&mut self, known: Known, common: Span, seen: Span, after: Span) {
        // The line may be anywhere since the poll before, unless that was sent just before the span or in it.
        let exact = seen.from + SECOND + 2 * self.flight >= common.from;
        if !exact && common.from >= after.from {
            // Seen by a poll that was sent before the span and answered in it. That is no reason to think that the line
            // is in the first moments of the span.
            self.span = Some(Known {
                verified: false,
                ..known
            });
            return;
        }
        if exact && common.width() <= 2 * NARROW {
            self.contradictions = self.contradictions.saturating_sub(1);
        }
        let narrowed = common.width() < known.span.width();
        let span = Span {
            to: common.to.max(common.from + NARROWEST),
            ..common
        };
        self.expect(Known {
            span,
            source: if exact { Source::Changes } else { known.source },
            verified: exact || (known.verified && !narrowed),
        });
    }

    fn contradicted(&mut self, known: Known, seen: Span) {
        let wide = seen.width() > 2 * PAUSE.min(self.period / 4);
        let narrow = known.span.width() <= 2 * self.narrow_enough();
        if known.source == Source::Changes {
            self.contradictions += 1;
            if self.contradictions >= CONTRADICTIONS {
                self.span = None;
                self.probing = None;
                self.resting_until = Some(seen.to + REST);
                return;
            }
        }
        let hint = self
            .hint
            .filter(|hint| hint.common(seen, self.period) != Common::Nothing);
        let (span, source) = match (known.source, hint) {
            (Source::Changes, _) if wide && narrow => {
                let to = known.span.to + PAUSE.min(self.period / 4);
                (Span { to, ..known.span }, Source::Pause)
            }
            // A server that was started again is back at its own grid.
            (Source::Changes | Source::Pause, Some(hint)) if wide => (hint, Source::Hint),
            _ => {
                self.expect(Known {
                    span: seen,
                    source: Source::Changes,
                    verified: true,
                });
                return;
            }
        };
        // The line may be about to come: unlike that of an observation, a recurrence of a guess is not over yet.
        let (span, _) = span.recurring_after(seen.to, self.period);
        self.probing = None;
        self.span = Some(Known {
            span,
            source,
            verified: false,
        });
    }

    /// The line just passed is in that span: so is the next one, a period later.
    fn expect(&mut self, known: Known) {
        self.probing = None;
        self.span = Some(self.later(known, 1));
    }

    /// The same line so many periods later, by which it may have moved.
    fn later(&self, known: Known, periods: i64) -> Known {
        let moved = known.span.shifted(periods * self.period);
        let doubt = periods.max(0);
        Known {
            span: Span {
                from: moved.from - doubt * EARLIER,
                to: moved.to + doubt * LATER,
            },
            ..known
        }
    }

    /// When to poll after a poll that was sent at `last`; `None` for an interval later.
    pub(super) fn next_poll(&mut self, last: Micros, interval: Micros) -> Option<Point> {
        match self.resting_until {
            Some(until) if last < until => return None,
            Some(_) => {
                self.resting_until = None;
                // One more than before, or two: it is still the same server.
                self.contradictions = CONTRADICTIONS / 2;
            }
            None => {}
        }
        let changed = *self.changed.get_or_insert(last);
        let lively = last - changed < LIVELY;
        let known = match (self.span, self.hint) {
            (Some(known), _) => known,
            (None, Some(span)) => Known {
                span,
                source: Source::Hint,
                verified: false,
            },
            (None, None) => return self.anywhere(last, interval, lively),
        };
        let (_, periods) = known.span.recurring_after(last, self.period);
        let known = if self.span.is_none() || periods > 0 {
            self.probing = None;
            self.later(known, periods)
        } else {
            known
        };
        if known.span.width() >= self.period {
            // Too long ago to say anything.
            self.span = None;
            self.hint = None;
            return self.anywhere(last, interval, lively);
        }
        let lines = (interval / self.period).max(1);
        let probing = match self.probing {
            Some(probing) => probing,
            None => self.probes(known, lively, lines),
        };
        let known = if self.probing.is_none() && !probing {
            self.later(known, lines - 1)
        } else {
            known
        };
        self.probing = Some(probing);
        self.span = Some(known);
        let point = probing.then(|| self.probe(last, known, lines)).flatten();
        Some(point.unwrap_or(Point::after_line(known.span.to + MARGIN)))
    }

    /// Whether polls that learn are sent before the end of that span.
    fn probes(&mut self, known: Known, lively: bool, lines: i64) -> bool {
        let pace = if self.is_known(known) {
            KNOWN_PACE
        } else if lively {
            1
        } else {
            QUIET_PACE
        };
        let due = self
            .probed
            .is_none_or(|probed| known.span.to - probed >= (pace * lines * 2 - 1) * self.period / 2);
        if due {
            self.probed = Some(known.span.to);
        }
        due
    }

    /// The next poll that learns, if there is one before the end of the span.
    fn probe(&self, last: Micros, known: Known, lines: i64) -> Option<Point> {
        let span = known.span;
        let wide = span.width() > self.narrow_enough();
        // Answered before the span begins. With several lines between two polls only changes after this one tell.
        let before = (!known.verified || !wide || lines > 1).then_some(span.from - self.flight - MARGIN);
        // Both outcomes leave half of the span and half of the flight.
        let middle = wide.then_some(span.from + (span.width() - self.flight) / 2);
        before
            .into_iter()
            .chain(middle)
            .find(|at| *at >= last + GAP && *at < span.to)
            .map(Point::exactly)
    }

    /// Nothing is known: two polls a period, so that the first change leaves half of it.
    fn anywhere(&mut self, last: Micros, interval: Micros, lively: bool) -> Option<Point> {
        let half = self.period / 2;
        let pace = if lively { 1 } else { QUIET_PACE };
        let due = self
            .probed
            .is_none_or(|probed| last - probed >= pace * interval.max(self.period) - half);
        if due && interval > half {
            self.probed = Some(last);
            return Some(Point::exactly(last + half));
        }
        None
    }

    fn narrow_enough(&self) -> Micros {
        NARROW.max(2 * self.flight).min(self.period / 8)
    }

    fn is_known(&self, known: Known) -> bool {
        known.verified && known.source == Source::Changes && known.span.width() <= self.narrow_enough()
    }

    /// How wide the span is, once polls right after it are all that is needed.
    pub(super) fn learnt(&self) -> Option<Micros> {
        let known = self.span.filter(|known| self.is_known(*known))?;
        Some(known.span.width())
    }
}
