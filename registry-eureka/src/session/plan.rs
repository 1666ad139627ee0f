//! What to ask for next, and when: the rules of the protocol, without a connection.
//!
//! ```text
//!            ┌──────────────────────── any of the reasons for a full fetch ───────────────────────┐
//!            ▼                                                                                    │
//!  start ─▶ full ──answered──▶ wait for the server's grid ─▶ delta ──answered, counts match──▶ wait
//!            ▲                                                 │ │
//!            │◀── refused, or cannot be read ──────────────────┘ └── counts differ: soon, then with a backoff
//!            └──── nobody answers: after a backoff
//! ```

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use registry_core::Backoff;
use tokio::time::Instant;

use super::clock::Moment;
use crate::config::{Alignment, EurekaConfig};
use crate::grid::{Grid, Poll};

/// Where the counts differ for the first time, the full fetch follows within this.
const SOON: Duration = Duration::from_secs(1);

/// The rest after a full fetch that did not make the counts match. It doubles with each further one.
const FIRST_REST: Duration = Duration::from_secs(30);

/// Deltas in a row that cannot be read, after which a server is not asked for them for a while.
const UNREADABLE: u32 = 2;

/// Rounds in a row in which nobody answered, after which the server may have been restarted meanwhile.
const ROUNDS: u32 = 2;

/// The time between two periodic full fetches, as parts of what is configured.
const SHORTEST_PERIOD: f64 = 0.8;
const LONGEST_PERIOD: f64 = 1.2;

/// The shortest time from an answer to the next poll.
const PAUSE: Duration = Duration::from_millis(50);

/// What to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Delta,
    Full(Why),
}

/// Why everything is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing is held yet.
    Start,
    /// Somebody wants complete knowledge.
    Wish { strong: bool },
    /// What is held came from another server.
    Server,
    /// The server has no deltas, or is not to be asked for them.
    NoDelta,
    /// Changes may have come and gone unseen.
    Gap,
    /// The last delta could not be read, or another server may answer by now.
    Doubt,
    /// The counts by status differ.
    Mismatch,
    /// An equal count proves nothing.
    Periodic,
}

#[derive(Debug)]
pub(super) struct Plan {
    config: Arc<EurekaConfig>,
    members: Vec<Member>,
    held: Option<Held>,
    /// When the next poll is due.
    due: Instant,
    wish: Option<bool>,
    doubt: bool,
    mismatch: Option<Mismatch>,
    /// Rounds in a row in which nobody answered.
    failures: u32,
    /// When a server that is preferred to the one in use may be tried.
    back_due: Instant,
    backoff: Backoff,
    seen: Option<Seen>,
}

/// What is held, as a whole.
#[derive(Debug)]
struct Held {
    base: usize,
    /// When the last answer that counts was asked for.
    good: Moment,
    full_due: Instant,
}

/// One server.
#[derive(Debug)]
struct Member {
    grid: Option<Grid>,
    /// It refused to send a delta; unless it refuses to answer at all, it has none.
    refused: bool,
    /// Until when it is not asked for deltas.
    off_until: Option<Instant>,
    unreadable: u32,
    /// It asked to be left alone until then.
    rests_until: Option<Instant>,
}

#[derive(Debug)]
struct Mismatch {
    /// No full fetch is made for it earlier.
    not_before: Instant,
    rest: Duration,
}

/// The last delta.
#[derive(Debug)]
struct Seen {
    base: usize,
    poll: Poll,
    digest: u128,
}

/// A number from 0 to 1, good enough to spread clients.
#[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
fn random() -> f64 {
    (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64
}

fn grid(config: &EurekaConfig, now: Moment) -> Option<Grid> {
    let period = config.cache_interval;
    match config.alignment {
        Alignment::Learn => Some(Grid::learning(period)),
        Alignment::Fixed => Some(Grid::fixed(period, config.cache_offset, now.instant, now.wall)),
        Alignment::Never => None,
    }
}

impl Plan {
    pub(super) fn new(config: Arc<EurekaConfig>, servers: usize, now: Moment) -> Self {
        let member = || Member {
            grid: grid(&config, now),
            refused: false,
            off_until: None,
            unreadable: 0,
            rests_until: None,
        };
        let mut plan = Self {
            members: (0..servers).map(|_| member()).collect(),
            config,
            held: None,
            due: now.instant,
            wish: None,
            doubt: false,
            mismatch: None,
            failures: 0,
            back_due: now.instant,
            backoff: Backoff::default(),
            seen: None,
        };
        plan.may_come_back(now);
        plan
    }

    // --- questions

    /// When to ask next.
    pub(super) fn wake(&self) -> Instant {
        if self.is_failing() {
            return self.due;
        }
        let mismatch = self.mismatch.as_ref().map(|mismatch| mismatch.not_before);
        mismatch.map_or(self.due, |at| at.min(self.due))
    }

    /// What to ask for, where the server of that number is in use.
    pub(super) fn ask(&self, current: usize, now: Moment) -> Ask {
        Ask::Full(match &self.held {
            None => Why::Start,
            _ if self.wish.is_some() => Why::Wish {
                strong: self.wish == Some(true),
            },
            Some(held) if held.base != current => Why::Server,
            _ if self.is_without_delta(current, now.instant) => Why::NoDelta,
            _ if self.is_gap(now) => Why::Gap,
            _ if self.doubt => Why::Doubt,
            _ if self
                .mismatch
                .as_ref()
                .is_some_and(|mismatch| mismatch.not_before <= now.instant) =>
            {
                Why::Mismatch
            }
            Some(held) if held.full_due <= now.instant => Why::Periodic,
            _ => return Ask::Delta,
        })
    }

    /// True where a delta is to be taken before everything is fetched. A full fetch merely lacks what was cancelled since
    /// the last poll; only a delta announces it, and it is not held back for that.
    pub(super) fn has_delta_before(&self, ask: Ask, current: usize, now: Moment) -> bool {
        let may_wait = matches!(ask, Ask::Full(Why::Periodic | Why::Wish { strong: false }));
        let is_held = self.held.as_ref().is_some_and(|held| held.base == current);
        may_wait
            && is_held
            && !self.doubt
            && !self.is_gap(now)
            && !self.is_without_delta(current, now.instant)
    }

    /// True where changes may have come and gone since the last answer.
    pub(super) fn is_gap(&self, now: Moment) -> bool {
        let half = self.config.delta_retention / 2;
        self.held.as_ref().is_none_or(|held| now.since(&held.good) > half)
    }

    /// True where a full fetch may go to a server that is preferred to the one in use. Not again soon after.
    pub(super) fn may_come_back(&mut self, now: Moment) -> bool {
        let due = self.back_due <= now.instant;
        if due {
            self.back_due = now.instant + self.config.full_interval.mul_f64(SHORTEST_PERIOD);
        }
        due
    }

    fn is_without_delta(&self, base: usize, now: Instant) -> bool {
        let member = self.members.get(base);
        !self.config.delta
            || member
                .is_some_and(|member| member.refused || member.off_until.is_some_and(|until| now < until))
    }

    /// True where that server has asked to be left alone for longer.
    pub(super) fn rests(&self, base: usize, now: Moment) -> bool {
        let member = self.members.get(base);
        member.is_some_and(|member| member.rests_until.is_some_and(|until| now.instant < until))
    }

    /// Complete knowledge is wanted, and a confirmation is no answer.
    pub(super) fn is_wished(&self) -> bool {
        self.wish.is_some()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn is_mismatched(&self) -> bool {
        self.mismatch.is_some()
    }

    // --- what happened

    /// Complete knowledge is wanted. Who does not answer is not asked earlier for it.
    pub(super) fn wished(&mut self, strong: bool, now: Moment) {
        self.wish = Some(self.wish.unwrap_or(false) || strong);
        if !self.is_failing() {
            self.due = now.instant;
        }
    }

    /// Everything was fetched from that server. Returns true where it turned out just now that it has no deltas.
    pub(super) fn full_fetched(&mut self, base: usize, poll: Poll, asked: Moment) -> bool {
        let first = self.held.is_none();
        if self.held.as_ref().is_some_and(|held| held.base != base) {
            self.mismatch = None;
            self.seen = None;
        }
        let spread = SHORTEST_PERIOD + (LONGEST_PERIOD - SHORTEST_PERIOD) * random();
        let full_due = poll.answered + self.config.full_interval.mul_f64(spread);
        self.held = Some(Held {
            base,
            good: asked,
            full_due,
        });
        self.wish = None;
        self.doubt = false;
        if let Some(mismatch) = &mut self.mismatch {
            mismatch.not_before = poll.answered + mismatch.rest;
            mismatch.rest = (mismatch.rest * 2).min(self.config.full_interval.max(FIRST_REST));
        }
        let mut news = false;
        if let Some(member) = self.members.get_mut(base)
            && std::mem::take(&mut member.refused)
        {
            news = member.off_until.is_none();
            member.off_until = Some(poll.answered + self.config.full_interval);
        }
        self.answered(base, poll, first);
        news
    }

    /// Changes were fetched from that server.
    pub(super) fn delta_fetched(&mut self, base: usize, poll: Poll, asked: Moment, digest: u128) {
        if let Some(held) = &mut self.held {
            held.good = asked;
        }
        if let Some(member) = self.members.get_mut(base) {
            member.unreadable = 0;
            member.off_until = None;
        }
        self.observe(base, poll, digest);
        self.answered(base, poll, false);
    }

    /// The counts by status of what is held and of what the server says were compared.
    pub(super) fn counted(&mut self, equal: bool, now: Moment) {
        if equal {
            self.mismatch = None;
        } else if self.mismatch.is_none() {
            self.mismatch = Some(Mismatch {
                not_before: now.instant + SOON.mul_f64(random()),
                rest: FIRST_REST,
            });
        }
    }

    /// The server refused to send a delta.
    pub(super) fn delta_refused(&mut self, base: usize) {
        if let Some(member) = self.members.get_mut(base) {
            member.refused = true;
        }
    }

    /// What came in the place of a delta cannot be read.
    pub(super) fn delta_unreadable(&mut self, base: usize) {
        self.doubt = true;
        if let Some(member) = self.members.get_mut(base) {
            member.unreadable += 1;
            member.refused = member.unreadable >= UNREADABLE;
        }
    }

    /// The next answer has to be complete: another server may have sent the last one.
    pub(super) fn doubted(&mut self) {
        self.doubt = true;
    }

    /// That server did not answer, or not well.
    pub(super) fn failed(&mut self, base: usize, retry_after: Option<Duration>, now: Moment) {
        if let Some(member) = self.members.get_mut(base) {
            // A server that refuses everything says nothing of its deltas.
            member.refused = false;
            member.rests_until = retry_after.map(|rest| now.instant + rest);
        }
    }

    /// No server answered. The next attempt follows after a backoff, and not before there is one that did not ask to be
    /// left alone for longer. Returns true where that is news.
    pub(super) fn gave_up(&mut self, now: Moment) -> bool {
        let backoff = now.instant + self.backoff.next_delay();
        let rests = self
            .members
            .iter()
            .map(|member| member.rests_until.unwrap_or(backoff));
        self.due = rests.min().map_or(backoff, |until| until.max(backoff));
        self.failures = self.failures.saturating_add(1);
        self.doubt |= self.failures >= ROUNDS;
        self.failures == 1
    }

    fn answered(&mut self, base: usize, poll: Poll, first: bool) {
        self.failures = 0;
        self.backoff.reset();
        let interval = self.config.interval;
        // To learn takes further polls, which are too dear where each fetches everything.
        let is_aligned =
            self.config.alignment == Alignment::Fixed || !self.is_without_delta(base, poll.answered);
        let grid = self.members.get_mut(base).and_then(|member| {
            member.rests_until = None;
            member.grid.as_mut()
        });
        let due = match grid.filter(|_| is_aligned) {
            Some(grid) => {
                let now = Moment::now();
                grid.clock(now.instant, now.wall);
                grid.next_poll(poll.sent, interval)
            }
            // Spreads daemons that were started together.
            None if first => poll.sent + interval.mul_f64(0.5 + 0.5 * random()),
            None => poll.sent + interval,
        };
        // Whatever a grid is taken for: neither a loop nor a silence.
        self.due = due.min(poll.sent + interval * 2).max(poll.answered + PAUSE);
    }

    /// Takes the server's own clock.
    pub(super) fn told_time(&mut self, base: usize, poll: Poll, date: std::time::SystemTime) {
        if let Some(grid) = self.members.get_mut(base).and_then(|member| member.grid.as_mut()) {
            grid.hint(poll.answered, date);
        }
    }

    fn observe(&mut self, base: usize, poll: Poll, digest: u128) {
        let before = self.seen.replace(Seen { base, poll, digest });
        let Some(before) = before.filter(|before| before.base == base) else {
            return;
        };
        if let Some(grid) = self.members.get_mut(base).and_then(|member| member.grid.as_mut()) {
            let known = grid.learnt().is_some();
            grid.observe(before.poll, poll, before.digest != digest);
            if let Some(within) = grid.learnt().filter(|_| !known) {
                tracing::debug!(?within, "learnt when the server's cache changes");
            }
        }
    }

    /// This machine slept: moments from before cannot be compared with those from now on.
    pub(super) fn slept(&mut self, now: Moment) {
        self.seen = None;
        for member in &mut self.members {
            member.grid = grid(&self.config, now);
        }
    }
}

#[cfg(test)]
mod tests;
