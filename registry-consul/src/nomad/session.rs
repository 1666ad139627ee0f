//! One watch: the lists of its namespaces, their event streams, and the reads of services that follow from both.
//!
//! Everything runs inside the stream that the supervisor polls; dropping it drops every request.

mod feed;
mod opinion;
mod round;
mod service;
mod stream;
mod tell;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use registry_core::{Control, Event, Interner, RegistryError, Resync, Scope, ServiceId, Str};
use registry_http::Response;
use tokio::time::Instant;

use super::config::NomadConfig;
use super::memory::Memory;
use super::plan::{Haste, Plan, Reading};
use super::query::Queries;
use crate::budget::Budget;
use crate::error::Error;
use feed::{Asked, Feed};
use opinion::Opinions;
use round::Round;
use service::Tracked;
use stream::Streamed;

/// Most events in a batch.
const BATCH: usize = 1024;

/// How far reads may lag behind their rate and still catch up, timers being no finer than a millisecond: by one of them at the
/// default rate.
const CATCH_UP: Duration = Duration::from_millis(20);

/// How long a leader whose index went back gets until it is asked for everything.
const SETTLED: Duration = Duration::from_secs(2);

/// How long no read begins after a refusal: those that wait their turn would be refused as well.
const REFUSED: Duration = Duration::from_millis(100);

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

pub(super) struct Session {
    queries: Queries,
    config: Arc<NomadConfig>,
    control: Control,
    memory: Arc<Mutex<Memory>>,
    interner: Interner,
    budget: Budget,
    feeds: Vec<Feed>,
    services: HashMap<ServiceId, Tracked>,
    plan: Plan,
    opinions: Opinions,
    work: FuturesUnordered<Work>,
    reading: usize,
    /// Services that are to be read again at a time.
    retries: BinaryHeap<Reverse<(Instant, ServiceId)>>,
    next_read: Instant,
    next_turn: Instant,
    next_comparison: Instant,
    /// How often the indexes were found to count another history.
    history: u64,
    round: Option<Round>,
    /// What was told since a complete listing was opened, with the instances that were said to be removed, as long as it is
    /// not closed: a round that takes the place of another one opens it anew, and all of that is dropped.
    listing: Option<HashMap<ServiceId, Vec<Str>>>,
    /// A complete listing was given.
    synced: bool,
    batch: Vec<Event>,
}

/// Something that ended.
struct Done {
    what: What,
    started: Instant,
}

enum What {
    /// Without a result where it was cancelled.
    List(Asked, Option<Result<Response, Error>>),
    Service(Box<Read>, Result<Response, Error>),
    Stream(usize, u64, Streamed),
    Opinion(opinion::Asked, opinion::Answer),
}

/// How a service was asked for.
struct Read {
    reading: Reading,
    /// Of the leader, and not of any server.
    leader: bool,
    /// Somebody wants the answer as complete knowledge; in earnest where true.
    wished: Option<bool>,
    /// The highest index that a leader had told of by then.
    high: u64,
    history: u64,
}

impl Session {
    pub(super) fn new(
        queries: Queries,
        config: Arc<NomadConfig>,
        control: Control,
        memory: Arc<Mutex<Memory>>,
    ) -> Self {
        let now = Instant::now();
        let connections = config.http().max_connections;
        let feeds: Vec<Feed> = config
            .namespaces
            .iter()
            .map(|name| Feed::new(name, config.events, now))
            .collect();
        let mut session = Self {
            budget: Budget::new(connections, config.fewest_connections()),
            opinions: Opinions::new(&config, feeds.len(), now),
            queries,
            config,
            control,
            memory,
            interner: Interner::default(),
            feeds,
            services: HashMap::new(),
            plan: Plan::default(),
            work: FuturesUnordered::new(),
            reading: 0,
            retries: BinaryHeap::new(),
            next_read: now,
            next_turn: now,
            next_comparison: now,
            history: 0,
            round: None,
            listing: None,
            synced: false,
            batch: Vec::new(),
        };
        // What an earlier watch knew is asked for, too, before it counts as gone.
        let known: Vec<ServiceId> = session.memory().known.iter().cloned().collect();
        for service in known {
            session.track(&service);
        }
        let strong = session.memory().strong;
        session.begin_round(strong, now);
        session
    }

    /// What happened next. An error ends the watch: nothing could be listed.
    pub(super) async fn next_batch(&mut self) -> Result<Vec<Event>, RegistryError> {
        let control = self.control.clone();
        loop {
            let now = Instant::now();
            self.pass_time(now);
            self.start(now);
            // What is ready already travels in the same batch.
            while self.batch.len() < BATCH {
                match self.work.next().now_or_never() {
                    Some(Some(done)) => self.take(done)?,
                    _ => break,
                }
            }
            if !self.batch.is_empty() {
                self.report();
                return Ok(std::mem::take(&mut self.batch));
            }
            let wake = self.wake(now);
            tokio::select! {
                Some(done) = self.work.next() => self.take(done)?,
                wish = control.resync_requested() => self.resync(&wish),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn take(&mut self, done: Done) -> Result<(), RegistryError> {
        let now = Instant::now();
        let Done { what, started } = done;
        match what {
            What::List(asked, result) => return self.take_list(asked, result, started, now),
            What::Service(read, result) => {
                self.reading -= 1;
                self.take_service(&read, result, started, now);
            }
            What::Stream(feed, generation, streamed) => {
                self.take_stream(feed, generation, streamed, started, now);
            }
            What::Opinion(asked, answer) => self.take_opinion(asked, answer, now),
        }
        Ok(())
    }

    /// Does what is due by the clock alone.
    fn pass_time(&mut self, now: Instant) {
        for feed in 0..self.feeds.len() {
            self.judge_wakes(feed, now);
        }
        self.start_retries(now);
        self.confirm_recovered();
        self.end_round_if_due(now);
    }

    /// Starts every request that is due and within the budget.
    fn start(&mut self, now: Instant) {
        for feed in 0..self.feeds.len() {
            self.start_lists(feed, now);
            self.start_stream(feed, now);
        }
        while self.may_read() && now >= self.next_read {
            let Some(reading) = self.next_reading(now) else {
                break;
            };
            self.read(reading);
        }
        if self.synced {
            self.start_opinions(now);
        }
    }

    /// What to read next: what is known to have changed, then what may have, then the comparison.
    fn next_reading(&mut self, now: Instant) -> Option<Reading> {
        if let Some(reading) = self.plan.begin(Haste::Now) {
            return Some(reading);
        }
        if now >= self.next_turn
            && let Some(reading) = self.plan.begin(Haste::Turn)
        {
            self.next_turn = self.next_turn.max(now - CATCH_UP) + per_second(self.config.reads_per_second);
            return Some(reading);
        }
        if self.compares() && now >= self.next_comparison {
            self.next_comparison = now + self.comparison_interval();
            let feeds = &self.feeds;
            return self.plan.begin_comparison(|service| {
                let feed = feeds.iter().find(|feed| feed.holds(service));
                feed.is_some_and(|feed| feed.error.is_none())
            });
        }
        None
    }

    /// True where there is room for another read, and what it says would be of use: before the first complete listing, and
    /// after the indexes went back, everything is read as soon as all lists are.
    fn may_read(&self) -> bool {
        let waits = self.round.as_ref().is_some_and(Round::waits_for_lists);
        self.reading < self.queries.reads() && !waits
    }

    fn compares(&self) -> bool {
        self.synced
            && self.round.is_none()
            && self.config.compare_reads_per_second > 0
            && self.plan.len() > 0
            && !self.plan.has_turns()
    }

    /// The time between two reads of the comparison. None is read more often than its list, however few there are.
    fn comparison_interval(&self) -> Duration {
        let services = u32::try_from(self.plan.len()).unwrap_or(u32::MAX).max(1);
        per_second(self.config.compare_reads_per_second).max(self.config.wait / services)
    }

    fn read(&mut self, reading: Reading) {
        let strong = self.round.as_ref().is_some_and(Round::is_strong);
        let tracked = self.services.get_mut(&reading.service);
        let (wished, leader) = tracked.map_or((None, false), |tracked| {
            (tracked.wished.take(), std::mem::take(&mut tracked.leader))
        });
        let read = Read {
            leader: leader || strong || wished == Some(true) || !self.config.stale,
            wished,
            high: self.memory().high,
            history: self.history,
            reading,
        };
        self.reading += 1;
        let queries = self.queries.clone();
        self.spawn(async move {
            let result = queries.service(&read.reading.service, read.leader).await;
            What::Service(Box::new(read), result)
        });
    }

    fn spawn(&self, work: impl Future<Output = What> + Send + 'static) {
        let started = Instant::now();
        self.work.push(Box::pin(async move {
            Done {
                what: work.await,
                started,
            }
        }));
    }

    fn wake(&self, now: Instant) -> Instant {
        let mut wake = now + Duration::from_secs(60);
        let waits = self.round.as_ref().is_some_and(Round::waits_for_lists);
        for feed in &self.feeds {
            wake = feed.wake(!waits).map_or(wake, |at| wake.min(at));
        }
        if self.may_read() {
            if self.plan.has_haste() {
                wake = wake.min(self.next_read);
            }
            if self.plan.has_turns() {
                wake = wake.min(self.next_turn.max(self.next_read));
            }
            if self.compares() {
                wake = wake.min(self.next_comparison.max(self.next_read));
            }
        }
        if let Some(Reverse((at, _))) = self.retries.peek() {
            wake = wake.min(*at);
        }
        if let Some(at) = self.round.as_ref().and_then(Round::deadline) {
            wake = wake.min(at);
        }
        if self.synced
            && let Some(at) = self.opinions.wake()
        {
            wake = wake.min(at);
        }
        wake
    }

    fn resync(&mut self, wish: &Resync) {
        let now = Instant::now();
        match &wish.scope {
            Scope::Service(service) if self.synced && self.services.contains_key(service) => {
                if let Some(tracked) = self.services.get_mut(service) {
                    tracked.wished = Some(wish.strong || tracked.wished == Some(true));
                }
                self.plan.want(service, Haste::Now);
            }
            // One of a group is answered by one of everything: its lists are those of everything, mostly.
            _ => {
                let strong = wish.strong || self.round.as_ref().is_some_and(Round::is_strong);
                self.memory().strong |= strong;
                self.begin_round(strong, now);
            }
        }
    }

    /// The server counts other events than it did: it was wiped, restored, or is another one. Nothing that is known of
    /// indexes holds any more, and what is gone by it is told all at once.
    fn other_history(&mut self, index: u64, now: Instant) {
        tracing::warn!(
            registry = %self.control.registry(),
            index,
            "the leader's index went back: the servers were wiped, restored, or are others",
        );
        self.history += 1;
        self.plan.reset();
        {
            let mut memory = self.memory();
            (memory.high, memory.strong) = (index, true);
        }
        for feed in 0..self.feeds.len() {
            self.feeds[feed].forget_index();
            self.close_stream(feed, now);
        }
        self.opinions.reset();
        self.begin_round(true, now);
        // A leader that was just elected, or started again, may not have come to the end of its log yet.
        if let Some(round) = &mut self.round {
            round.wait();
        }
        for feed in &mut self.feeds {
            feed.look_not_before(now + SETTLED);
        }
    }

    fn refused_by_limit(&mut self, error: &Error, started: Instant, now: Instant) {
        if !error.is_refused_by_limit() {
            return;
        }
        self.next_read = self.next_read.max(now + REFUSED);
        // A connection that was open for a while was not closed for being one too many.
        if now - started > Duration::from_secs(1) {
            return;
        }
        if let Some(smaller) = self.budget.shrink(now) {
            tracing::warn!(
                registry = %self.control.registry(),
                connections = smaller,
                "the server refuses connections: its limit for one client is reached; using fewer",
            );
            self.queries.client().set_max_connections(smaller);
        }
    }

    fn grow_budget(&mut self, now: Instant) {
        if let Some(larger) = self.budget.grow(now) {
            self.queries.client().set_max_connections(larger);
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        super::memory::lock(&self.memory)
    }

    /// Tells how the watch goes.
    fn report(&self) {
        let meter = self.control.meter();
        meter.set_connections(self.queries.client().connections_in_use() as u64);
        meter.set_note(self.note());
    }
}

fn per_second(rate: u32) -> Duration {
    Duration::from_secs(1) / rate.max(1)
}

#[cfg(test)]
mod tests;
