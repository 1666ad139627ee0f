//! A second opinion on a loss: do others lose instances at this moment, too?
//!
//! A token whose rights shrink hides instances of many services, and where their indexes happen to move nothing in an
//! answer tells that from deregistrations. But it tells when some others are read: either they have lost instances as
//! well, some of them with an index that stood still, or this loss is its own. So with a token a loss that nothing else
//! speaks against waits for the time of two reads; losses that come together share their opinion.

use std::collections::HashSet;
use std::time::Duration;

use registry_core::Str;
use tokio::time::Instant;

use super::Session;

/// How many others are asked. Of a loss of half of all services one in 250 opinions would know nothing.
const OTHERS: usize = 8;

/// The shortest time between two opinions.
const INTERVAL: Duration = Duration::from_millis(250);

/// How long the others have time to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an opinion counts.
const VALID: Duration = Duration::from_secs(10);

/// The opinion that is being formed, and who waits for the next one.
#[derive(Debug)]
pub(super) struct Opinion {
    waiting: HashSet<Str>,
    /// Those whom the present one is for.
    clients: Vec<Str>,
    /// Those who have not answered yet.
    asked: HashSet<Str>,
    /// How many know of no loss.
    fine: usize,
    /// The epoch in which they were asked.
    epoch: u64,
    deadline: Instant,
    not_before: Instant,
    /// Where to begin among all services, so that it is not always the same ones.
    turn: usize,
}

/// What an answer of another service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It lacks nothing.
    Fine,
    /// It lacks instances as well.
    Loss,
    /// It could not be read.
    Nothing,
}

impl Opinion {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: HashSet::new(),
            clients: Vec::new(),
            asked: HashSet::new(),
            fine: 0,
            epoch: 0,
            deadline: now,
            not_before: now,
            turn: 0,
        }
    }

    /// When there is something to do without an answer.
    pub(super) fn due(&self) -> Option<Instant> {
        if !self.clients.is_empty() {
            Some(self.deadline)
        } else if self.waiting.is_empty() {
            None
        } else {
            Some(self.not_before)
        }
    }

    /// A complete listing settles everything.
    pub(super) fn settle(&mut self) {
        self.waiting.clear();
        self.clients.clear();
        self.asked.clear();
    }
}

impl Session {
    /// Whether a loss may be believed: somebody was asked since, and knows of no other.
    pub(super) fn is_vouched_for(&mut self, name: &Str, started: Instant, now: Instant) -> bool {
        if !self.config.has_token() {
            return true;
        }
        let vouched = self.services.get_mut(name).is_some_and(|tracked| {
            let valid = |at: &mut Instant| started >= *at && now - *at < VALID;
            tracked.vouched.take_if(valid).is_some()
        });
        if !vouched {
            self.opinion.waiting.insert(name.clone());
        }
        vouched
    }

    /// Asks some others, where somebody waits for their opinion.
    pub(super) fn start_opinion(&mut self, now: Instant) {
        if !self.opinion.clients.is_empty() {
            if now >= self.opinion.deadline {
                self.end_opinion(now);
            }
            return;
        }
        if self.opinion.waiting.is_empty() || self.round.is_some() || now < self.opinion.not_before {
            return;
        }
        let waiting = std::mem::take(&mut self.opinion.waiting);
        self.opinion.turn = self.opinion.turn.wrapping_add(OTHERS);
        let start = self.opinion.turn % self.services.len().max(1);
        let others = self
            .services
            .iter()
            .skip(start)
            .chain(self.services.iter().take(start));
        let others = others
            .filter(|(name, tracked)| {
                tracked.listed && tracked.known && !tracked.degraded && !waiting.contains(*name)
            })
            .map(|(name, _)| name.clone());
        self.opinion.asked = others.take(OTHERS).collect();
        self.opinion.clients = waiting.into_iter().collect();
        self.opinion.fine = 0;
        self.opinion.epoch = self.doubt.epoch();
        self.opinion.deadline = now + PATIENCE;
        if self.opinion.asked.is_empty() {
            // There are no others.
            self.opinion.fine = 1;
            self.end_opinion(now);
        }
        for name in self.opinion.asked.clone() {
            self.read_soon(&name, now);
        }
    }

    /// Takes the word of a service that may have been asked.
    pub(super) fn note_opinion(&mut self, name: &Str, word: Word, now: Instant) {
        if !self.opinion.asked.remove(name) {
            return;
        }
        match word {
            Word::Fine => self.opinion.fine += 1,
            Word::Loss => self.suspect("several services lost instances at the same moment", now),
            Word::Nothing => {}
        }
        if self.opinion.asked.is_empty() {
            self.end_opinion(now);
        }
    }

    fn end_opinion(&mut self, now: Instant) {
        // Where something is suspected since, the listing that is wanted then will tell.
        let vouched = self.opinion.fine > 0 && self.opinion.epoch == self.doubt.epoch();
        self.opinion.asked.clear();
        self.opinion.not_before = now + INTERVAL;
        for name in std::mem::take(&mut self.opinion.clients) {
            if let Some(tracked) = self.services.get_mut(&name) {
                tracked.vouched = vouched.then_some(now);
            }
            self.read_soon(&name, now);
        }
    }
}
