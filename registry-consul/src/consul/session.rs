//! One watch: the catalogue's poll, the polls of its services, and the budget that they share.
//!
//! Everything runs inside the stream that the supervisor polls; dropping it drops every request.

mod budget;
mod catalog;
mod doubt;
mod opinion;
mod service;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use registry_core::{Control, Event, Interner, RegistryError, Resync, Scope, Str};
use registry_http::Response;
use tokio::time::Instant;

use super::answer;
use super::config::{Consistency, ConsulConfig};
use super::detector::Detector;
use super::memory::Memory;
use super::query::Queries;
use super::tracked::Tracked;
use crate::budget::Budget;
use crate::error::Error;
use catalog::Catalog;
use doubt::Doubt;
use opinion::Opinion;
use service::lock;

/// Short reads under way at once.
const READS: usize = 32;

/// Reads start at least this far apart, so that a server that came back is not met by all at once.
const SPACING: Duration = Duration::from_millis(1);

/// How far reads may lag behind that and still catch up: timers are no finer than a millisecond, and a busy machine's
/// are late.
const CATCH_UP: Duration = Duration::from_millis(5);

/// How long a complete listing waits for services that cannot be read, after the last one that could.
const PATIENCE: Duration = Duration::from_secs(15);

/// Fewer connections than this are not worth having.
const FEWEST: usize = 8;

/// Most events in a batch.
const BATCH: usize = 1024;

pub(super) struct Session {
    queries: Queries,
    config: Arc<ConsulConfig>,
    control: Control,
    memory: Arc<Mutex<Memory>>,
    interner: Interner,
    catalog: Catalog,
    detector: Detector,
    doubt: Doubt,
    opinion: Opinion,
    budget: Budget,
    services: HashMap<Str, Tracked>,
    /// Services by the time of their next request; entries that no longer hold are skipped.
    due: BinaryHeap<Reverse<(Instant, Str)>>,
    /// Services whose polls have a place, the one that changed longest ago first; entries that no longer hold are
    /// skipped.
    places: VecDeque<(Instant, Str)>,
    placed: usize,
    polls: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    reading: usize,
    parked: usize,
    next_read: Instant,
    round: Option<Round>,
    /// A complete listing was given.
    synced: bool,
    batch: Vec<Event>,
}

/// A complete listing under way.
struct Round {
    awaited: HashSet<Str>,
    unread: Vec<(Scope, Arc<RegistryError>)>,
    /// Services that could be read.
    read: usize,
    /// Services without an instance: they are forgotten when the listing is complete, and not before.
    gone: HashSet<Str>,
    began: Instant,
    deadline: Instant,
    /// Asks for the strongest consistency: it is to confirm something unlikely.
    strong: bool,
}

/// A request that ended.
struct Done {
    what: What,
    started: Instant,
    /// `None` where it was cancelled.
    result: Option<Result<Response, Error>>,
}

/// How a service was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The index that was parked with; 0 for a read.
    index: u64,
    /// With the strongest consistency.
    strong: bool,
}

enum What {
    Catalog { asked: u64, leader: bool },
    Names { strong: bool },
    Checks,
    Read { name: Str, strong: bool },
    Poll { name: Str, asked: u64 },
}

impl Session {
    pub(super) fn new(
        queries: Queries,
        config: Arc<ConsulConfig>,
        control: Control,
        memory: Arc<Mutex<Memory>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            budget: Budget::new(config.http.max_connections, FEWEST),
            queries,
            config,
            control,
            memory,
            interner: Interner::default(),
            catalog: Catalog::new(now),
            detector: Detector::new(now),
            doubt: Doubt::new(now),
            opinion: Opinion::new(now),
            services: HashMap::new(),
            due: BinaryHeap::new(),
            places: VecDeque::new(),
            placed: 0,
            polls: FuturesUnordered::new(),
            reading: 0,
            parked: 0,
            next_read: now,
            round: None,
            synced: false,
            batch: Vec::new(),
        }
    }

    /// What happened next. An error ends the watch: nobody answers any more.
    pub(super) async fn next_batch(&mut self) -> Result<Vec<Event>, Error> {
        let control = self.control.clone();
        loop {
            let now = Instant::now();
            self.end_round_if_due(now);
            self.start(now);
            // What is ready already travels in the same batch.
            while self.batch.len() < BATCH {
                match self.polls.next().now_or_never() {
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
                Some(done) = self.polls.next() => self.take(done)?,
                wish = control.resync_requested() => self.resync(&wish),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn take(&mut self, done: Done) -> Result<(), Error> {
        let now = Instant::now();
        let Done {
            what,
            started,
            result,
        } = done;
        match what {
            What::Catalog { asked, leader } => {
                self.catalog.under_way = false;
                return result.map_or(Ok(()), |result| {
                    self.take_catalog(asked, leader, result, started, now)
                });
            }
            What::Names { strong } => {
                return result.map_or(Ok(()), |result| self.take_names(strong, result, started, now));
            }
            What::Checks => {
                self.detector.under_way = false;
                if let Some(result) = result {
                    self.take_checks(result, started, now);
                }
            }
            What::Read { name, strong } => {
                self.reading -= 1;
                if let Some(tracked) = self.services.get_mut(&name) {
                    tracked.reading = false;
                }
                if let Some(result) = result {
                    self.take_service(&name, Asked { index: 0, strong }, result, started, now);
                }
            }
            What::Poll { name, asked } => {
                self.parked -= 1;
                if let Some(result) = result {
                    if let Some(tracked) = self.services.get_mut(&name) {
                        tracked.parked = None;
                    }
                    let asked = Asked {
                        index: asked,
                        strong: false,
                    };
                    self.take_service(&name, asked, result, started, now);
                }
            }
        }
        Ok(())
    }

    /// Starts every request that is due and within the budget.
    fn start(&mut self, now: Instant) {
        self.start_catalog(now);
        self.start_names(now);
        self.start_opinion(now);
        self.start_checks(now);
        while let Some(Reverse((at, _))) = self.due.peek()
            && *at <= now
        {
            let Some(Reverse((at, name))) = self.due.pop() else {
                return;
            };
            let capacity = self.capacity();
            let sweep = self.sweep_interval();
            let Some(tracked) = self
                .services
                .get_mut(&name)
                .filter(|tracked| tracked.due == Some(at))
            else {
                continue;
            };
            let read = tracked.read_next || tracked.index == 0 || !tracked.has_place;
            if read && (self.reading >= READS || now < self.next_read) {
                self.due.push(Reverse((at, name)));
                return;
            }
            tracked.due = None;
            if read {
                tracked.reading = true;
                tracked.read_next = false;
                self.reading += 1;
                self.next_read = (self.next_read + SPACING).max(now - CATCH_UP);
                self.read(name);
            } else if self.parked < capacity {
                self.park(name);
            } else {
                // The budget shrank: in turns, until there is room.
                tracked.read_next = true;
                self.schedule(&name, now + sweep);
            }
        }
    }

    fn read(&mut self, name: Str) {
        let wished = self.services.get(&name).and_then(|tracked| tracked.wished);
        let strong = wished == Some(true) || self.round.as_ref().is_some_and(|round| round.strong);
        let consistency = if strong {
            Consistency::Consistent
        } else {
            self.config.consistency
        };
        let queries = self.queries.clone();
        let what = What::Read {
            name: name.clone(),
            strong,
        };
        self.spawn(what, async move { queries.service(&name, 0, consistency).await });
    }

    fn park(&mut self, name: Str) {
        let Some(tracked) = self.services.get_mut(&name) else {
            return;
        };
        let (abort, registration) = AbortHandle::new_pair();
        tracked.parked = Some(abort);
        self.parked += 1;
        let (asked, consistency, queries) = (tracked.index, self.config.consistency, self.queries.clone());
        let what = What::Poll {
            name: name.clone(),
            asked,
        };
        let poll = async move { queries.service(&name, asked, consistency).await };
        let started = Instant::now();
        let poll = Abortable::new(poll, registration);
        self.polls.push(Box::pin(async move {
            Done {
                what,
                started,
                result: poll.await.ok(),
            }
        }));
    }

    fn spawn(&self, what: What, request: impl Future<Output = Result<Response, Error>> + Send + 'static) {
        let started = Instant::now();
        self.polls.push(Box::pin(async move {
            Done {
                what,
                started,
                result: Some(request.await),
            }
        }));
    }

    fn schedule(&mut self, name: &Str, at: Instant) {
        if let Some(tracked) = self.services.get_mut(name) {
            tracked.due = Some(at);
            self.due.push(Reverse((at, name.clone())));
        }
    }

    /// Reads a service at once, whatever else is under way.
    fn read_soon(&mut self, name: &Str, now: Instant) {
        let Some(tracked) = self.services.get_mut(name) else {
            return;
        };
        tracked.read_next = true;
        if !tracked.reading {
            self.schedule(name, now);
        }
    }

    fn wake(&self, now: Instant) -> Instant {
        let mut wake = now + Duration::from_secs(60);
        if !self.catalog.under_way {
            wake = wake.min(self.catalog.due);
        }
        if let Some(due) = self.doubt.due() {
            wake = wake.min(due);
        }
        if let Some(due) = self.opinion.due().filter(|_| self.round.is_none()) {
            wake = wake.min(due);
        }
        if self.is_hybrid() && !self.detector.under_way {
            wake = wake.min(self.detector.due);
        }
        if let Some(Reverse((at, _))) = self.due.peek()
            && self.reading < READS
        {
            wake = wake.min((*at).max(self.next_read));
        }
        if let Some(round) = &self.round {
            wake = wake.min(round.deadline);
        }
        wake
    }

    /// Begins a complete listing of everything that the catalogue listed just now, in the place of one under way.
    fn begin_round(&mut self, strong: bool, now: Instant) {
        self.no_listing_wanted();
        self.batch.push(Event::Init(Scope::Registry));
        let names: Vec<Str> = self.services.keys().cloned().collect();
        for name in &names {
            self.read_soon(name, now);
        }
        let awaited = names.into_iter().collect();
        self.round = Some(Round {
            awaited,
            unread: Vec::new(),
            read: 0,
            gone: HashSet::new(),
            began: now,
            deadline: now + PATIENCE,
            strong,
        });
        self.end_round_if_due(now);
    }

    fn end_round_if_due(&mut self, now: Instant) {
        let Some(round) = &mut self.round else { return };
        if now >= round.deadline && !self.synced && round.read == 0 {
            // A listing of which nothing could be read is no knowledge: there is nothing that could be relied upon yet.
            let known = |name: &Str| self.services.get(name)?.error.clone();
            let error = round
                .awaited
                .iter()
                .find_map(known)
                .unwrap_or_else(service::no_answer);
            round.deadline = now + PATIENCE;
            self.batch.push(Event::degraded(Scope::Registry, error));
            return;
        }
        if now >= round.deadline {
            for name in std::mem::take(&mut round.awaited) {
                let scope = Scope::Service(service::id(&name));
                let Some(tracked) = self.services.get_mut(&name) else {
                    continue;
                };
                tracked.degraded = true;
                round.gone.remove(&name);
                let error = tracked.error.clone().unwrap_or_else(service::no_answer);
                round.unread.push((scope, error));
            }
        }
        if round.awaited.is_empty()
            && let Some(round) = self.round.take()
        {
            self.synced = true;
            for name in round.gone {
                lock(&self.memory).services.remove(&name);
                if self.services.get(&name).is_some_and(|tracked| !tracked.listed) {
                    self.forget(&name);
                }
            }
            if round.strong {
                lock(&self.memory).strong = false;
            }
            self.doubt.rest(now - round.began, now);
            self.opinion.settle();
            self.batch.push(Event::InitDone {
                scope: Scope::Registry,
                unread: round.unread,
            });
        }
    }

    fn resync(&mut self, wish: &Resync) {
        let now = Instant::now();
        match &wish.scope {
            Scope::Service(id) if self.services.contains_key(id.name()) => {
                if let Some(tracked) = self.services.get_mut(id.name()) {
                    tracked.wished = Some(wish.strong || tracked.wished == Some(true));
                }
                self.read_soon(id.name(), now);
            }
            _ => {
                lock(&self.memory).strong |= wish.strong;
                // Before the first listing one is about to begin anyway.
                if self.catalog.listed {
                    let strong = wish.strong || self.round.as_ref().is_some_and(|round| round.strong);
                    self.want_listing_now(strong, now);
                }
            }
        }
    }

    fn start_checks(&mut self, now: Instant) {
        if !self.is_hybrid() || self.detector.under_way || now < self.detector.due {
            return;
        }
        self.detector.under_way = true;
        let (queries, index) = (self.queries.clone(), self.detector.index);
        self.spawn(What::Checks, async move { queries.checks(index).await });
    }

    fn take_checks(&mut self, result: Result<Response, Error>, started: Instant, now: Instant) {
        // Parked time is no work of the server's; what is left of a quick answer is.
        let took = if self.detector.index == 0 {
            now - started
        } else {
            Duration::ZERO
        };
        let changed = result.and_then(|response| {
            let headers = answer::Headers::of(&response);
            let changed = self.detector.compare(&answer::checks(&response)?);
            Ok((headers.index, changed))
        });
        self.detector.due = now + Detector::rest(took);
        match changed {
            Ok((index, changed)) => {
                self.detector.index = super::tracked::next_index(self.detector.index, index);
                let on_changed_node = |tracked: &Tracked| {
                    tracked
                        .nodes
                        .iter()
                        .any(|node| changed.nodes.binary_search(node).is_ok())
                };
                // A place may still be taken by the poll of the service that had it before.
                let in_turns = self
                    .services
                    .iter()
                    .filter(|(_, tracked)| tracked.parked.is_none());
                let names: Vec<Str> = in_turns
                    .filter(|(name, tracked)| {
                        changed
                            .services
                            .binary_search_by(|held| held.as_str().cmp(name))
                            .is_ok()
                            || on_changed_node(tracked)
                    })
                    .map(|(name, _)| name.clone())
                    .collect();
                for name in names {
                    self.read_soon(&name, now);
                }
            }
            Err(error) => {
                // The turns go on without it; the bound that is stated does not count on it.
                self.detector.index = 0;
                tracing::debug!(registry = %self.control.registry(), error = %error, "the checks cannot be read");
            }
        }
    }

    /// Tells how the watch goes.
    fn report(&self) {
        let meter = self.control.meter();
        meter.set_connections(self.queries.client().connections_in_use() as u64);
        meter.set_note(self.note());
    }
}
