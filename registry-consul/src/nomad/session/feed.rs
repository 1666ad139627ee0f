//! The list of a namespace, or of all: which services there are, and that something changed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable};
use registry_core::{Backoff, Event, RegistryError, Scope, ServiceId, Str};
use registry_http::Response;
use tokio::time::Instant;

use super::round::Round;
use super::service::Tracked;
use super::stream::{Stream, Wake};
use super::{Session, What};
use crate::error::Error;
use crate::nomad::answer::{self, Headers, List};
use crate::nomad::config::ALL;
use crate::nomad::plan::Haste;

/// An answer that came sooner was not parked: what it tells of may have happened before it was asked for.
pub(super) const AT_ONCE: Duration = Duration::from_millis(250);

/// The time between two readings of a list that the server does not park.
const UNPARKED: Duration = Duration::from_secs(5);

/// One namespace, or all of them: a list that is parked, and the stream of events beside it.
pub(super) struct Feed {
    pub(super) namespace: Str,
    /// The index of the last list; 0 where there is none yet.
    pub(super) index: u64,
    /// When to read the list without being parked.
    look: Option<Instant>,
    looking: bool,
    /// When to park for it again.
    due: Instant,
    parked: Option<AbortHandle>,
    backoff: Backoff,
    /// Why it cannot be read, while that is so.
    pub(super) error: Option<Arc<RegistryError>>,
    /// It could not be read, and what may have changed since has not all been read.
    recovering: bool,
    streams: bool,
    pub(super) stream: Stream,
    /// Indexes that the stream told of.
    pub(super) heard: BTreeSet<u64>,
    /// Changes of the table that the stream did not tell of yet.
    pub(super) wakes: Vec<Wake>,
    /// When all services were read in turns last, for a change that is likely another namespace's.
    pub(super) swept: Option<Instant>,
}

/// How a list was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    feed: usize,
    /// The index that was parked with; 0 where it was not.
    index: u64,
    /// The highest index that a leader had told of by then.
    high: u64,
    history: u64,
}

impl Feed {
    pub(super) fn new(namespace: &str, streams: bool, now: Instant) -> Self {
        Self {
            namespace: namespace.into(),
            index: 0,
            look: None,
            looking: false,
            due: now,
            parked: None,
            backoff: Backoff::default(),
            error: None,
            recovering: false,
            streams,
            stream: Stream::new(now),
            heard: BTreeSet::new(),
            wakes: Vec::new(),
            swept: None,
        }
    }

    pub(super) fn is_all(&self) -> bool {
        &*self.namespace == ALL
    }

    /// True where the service is in its list, if it is in any.
    pub(super) fn holds(&self, service: &ServiceId) -> bool {
        self.is_all() || self.namespace == *service.namespace()
    }

    /// The scope that is unread where its list is.
    pub(super) fn scope(&self) -> Scope {
        if self.is_all() {
            Scope::Registry
        } else {
            Scope::Group(self.namespace.clone())
        }
    }

    /// Reads the list soon, without being parked.
    pub(super) fn look(&mut self, now: Instant) {
        self.look = Some(self.look.map_or(now, |at| at.min(now)));
    }

    pub(super) fn look_not_before(&mut self, at: Instant) {
        self.look = Some(self.look.map_or(at, |due| due.max(at)));
    }

    /// The same as [`look`](Self::look), unless it is known to fail and will be tried again anyway.
    pub(super) fn look_unless_failing(&mut self, now: Instant) {
        if self.error.is_none() && !self.looking {
            self.look(now);
        }
    }

    /// The server counts anew: parked with an index from before, it would say nothing for long.
    pub(super) fn forget_index(&mut self) {
        if let Some(abort) = self.parked.take() {
            abort.abort();
        }
        self.looking = false;
        self.index = 0;
        self.heard.clear();
        self.wakes.clear();
    }

    /// That it can be read is to be said, or said again, as soon as it is so.
    pub(super) fn recover(&mut self) {
        self.recovering = true;
    }

    fn may_park(&self) -> bool {
        self.parked.is_none() && self.error.is_none() && self.index > 0
    }

    /// An index is needed to begin with: without one the stream tells of its past.
    pub(super) fn may_stream(&self) -> bool {
        self.streams && self.index > 0 && self.error.is_none()
    }

    /// When something is to be done next.
    pub(super) fn wake(&self, may_stream: bool) -> Option<Instant> {
        let look = self.look.filter(|_| !self.looking);
        let park = self.may_park().then_some(self.due);
        let wakes = self.wakes.iter().map(|wake| wake.deadline);
        let stream = self.stream.wake().filter(|_| may_stream && self.may_stream());
        look.into_iter().chain(park).chain(wakes).chain(stream).min()
    }
}

impl Session {
    /// The feed that a service belongs to.
    pub(super) fn feed_of(&self, service: &ServiceId) -> Option<usize> {
        self.feeds.iter().position(|feed| feed.holds(service))
    }

    pub(super) fn start_lists(&mut self, feed: usize, now: Instant) {
        let high = self.memory().high;
        let this = &mut self.feeds[feed];
        let mut asked = Vec::new();
        let (abort, registration) = AbortHandle::new_pair();
        if !this.looking && this.look.is_some_and(|at| at <= now) {
            (this.looking, this.look) = (true, None);
            asked.push(0);
        }
        if this.may_park() && this.due <= now {
            this.parked = Some(abort);
            asked.push(this.index);
        }
        let mut registration = Some(registration);
        for index in asked {
            let (queries, namespace) = (self.queries.clone(), self.feeds[feed].namespace.clone());
            let asked = Asked {
                feed,
                index,
                high,
                history: self.history,
            };
            let list = async move { queries.list(&namespace, index).await };
            match registration.take_if(|_| index > 0) {
                Some(registration) => {
                    let list = Abortable::new(list, registration);
                    self.spawn(async move { What::List(asked, list.await.ok()) });
                }
                None => self.spawn(async move { What::List(asked, Some(list.await)) }),
            }
        }
    }

    /// Takes an answer. An error ends the watch.
    pub(super) fn take_list(
        &mut self,
        asked: Asked,
        result: Option<Result<Response, Error>>,
        started: Instant,
        now: Instant,
    ) -> Result<(), RegistryError> {
        let Some(result) = result.filter(|_| asked.history == self.history) else {
            return Ok(());
        };
        let feed = &mut self.feeds[asked.feed];
        if asked.index > 0 {
            feed.parked = None;
        } else {
            feed.looking = false;
        }
        match result.and_then(|response| self.read_list(asked.feed, &response)) {
            Ok((headers, list)) => {
                self.accept_list(asked, headers.index, &list, started, now);
                Ok(())
            }
            Err(error) => self.list_failed(asked.feed, error, started, now),
        }
    }

    fn read_list(&self, feed: usize, response: &Response) -> Result<(Headers, List), Error> {
        let headers = Headers::of(response);
        let url = response.url();
        headers.check(self.config.max_stale, url)?;
        let list = answer::list(response, &self.feeds[feed].namespace, &self.config)?;
        if headers.index == 0 && !list.is_empty {
            return Err(Error::Index { url: url.clone() });
        }
        Ok((headers, list))
    }

    fn accept_list(&mut self, asked: Asked, index: u64, list: &List, started: Instant, now: Instant) {
        self.grow_budget(now);
        if index < asked.high {
            self.other_history(index, now);
            return;
        }
        {
            let mut memory = self.memory();
            memory.high = memory.high.max(index);
        }
        let known = self.feeds[asked.feed].index;
        let took = now - started;
        if index >= known {
            self.compare_names(asked.feed, index, list);
        }
        let feed = &mut self.feeds[asked.feed];
        let moved = index > known && known > 0;
        feed.index = known.max(index);
        feed.backoff.reset();
        feed.due = if moved {
            now + self.config.list_interval
        } else if asked.index > 0 && took < AT_ONCE {
            now + UNPARKED
        } else {
            now
        };
        if index == 0 {
            feed.look = Some(now + UNPARKED);
        }
        if feed.error.take().is_some() {
            tracing::info!(registry = %self.control.registry(), namespace = %feed.namespace, "the list of services can be read again");
            feed.recovering = true;
        }
        if moved {
            self.table_moved(asked.feed, known, index, started, now);
        } else if index >= known {
            feed.stream.prove(started);
        }
        self.list_in_round(asked.feed, None, started, now);
        self.confirm(asked.feed);
    }

    /// Says that the list was read, once all is read that changed while it could not be.
    fn confirm(&mut self, feed: usize) {
        if self.synced && self.recovered(feed) {
            self.batch.push(Event::Confirmed(Scope::Registry));
        }
    }

    /// The same for lists that could not be read for a while, as soon as nothing is left to be read.
    pub(super) fn confirm_recovered(&mut self) {
        if !self.synced || self.reading > 0 || self.plan.has_haste() || self.plan.has_turns() {
            return;
        }
        for feed in 0..self.feeds.len() {
            if self.feeds[feed].recovering {
                self.confirm(feed);
            }
        }
    }

    fn recovered(&mut self, feed: usize) -> bool {
        let this = &self.feeds[feed];
        if !this.recovering {
            return this.error.is_none();
        }
        let is_due = |(service, tracked): (&ServiceId, &Tracked)| {
            this.holds(service) && tracked.error.is_none() && self.plan.is_due(service)
        };
        if this.error.is_some() || !this.wakes.is_empty() || self.services.iter().any(is_due) {
            return false;
        }
        let scope = this.scope();
        self.feeds[feed].recovering = false;
        if scope != Scope::Registry {
            self.batch.push(Event::Confirmed(scope));
        }
        true
    }

    /// New names are read at once; those that are gone are read once more.
    fn compare_names(&mut self, feed: usize, index: u64, list: &List) {
        let listing = self.round.as_ref().is_some_and(Round::is_listing);
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for service in &list.services {
            let tracked = self.track(service);
            if !std::mem::replace(&mut tracked.listed, true) {
                new.push((service.clone(), tracked.error.is_some()));
            }
        }
        let names: HashSet<&ServiceId> = list.services.iter().collect();
        for (service, tracked) in &mut self.services {
            if tracked.listed && !names.contains(service) && self.feeds[feed].holds(service) {
                tracked.listed = false;
                gone.push((
                    service.clone(),
                    tracked.is_over() && self.plan.seen(service) >= index,
                ));
            }
        }
        for (service, failed) in new {
            // Everything will be read as soon as all lists are.
            if !listing {
                self.plan.need(&service, index, Haste::Now);
            }
            // Rights that were missing may be there again.
            if failed {
                self.plan.want(&service, Haste::Now);
            }
        }
        for (service, is_over) in gone {
            if is_over && self.round.is_none() {
                self.forget(&service);
            } else if !listing {
                // Also where it was read at this index: only rights that were taken make it vanish then.
                self.plan.need(&service, index, Haste::Now);
                self.plan.want(&service, Haste::Now);
            }
        }
    }

    /// Nothing is known of what changed: all services are read in turns.
    pub(super) fn sweep(&mut self, feed: usize, index: u64) {
        let feed = &self.feeds[feed];
        self.plan
            .need_all(index, Haste::Turn, |service| feed.holds(service));
    }

    fn list_failed(
        &mut self,
        feed: usize,
        error: Error,
        started: Instant,
        now: Instant,
    ) -> Result<(), RegistryError> {
        self.refused_by_limit(&error, started, now);
        let denied = error.is_denied();
        let told = Arc::new(RegistryError::from(error));
        let this = &mut self.feeds[feed];
        let rest = this.backoff.next_delay();
        let rest = rest.max(told.retry_after().unwrap_or_default());
        this.look = Some(now + rest);
        let is_news = this.error.replace(told.clone()).is_none();
        let scope = this.scope();
        if denied {
            self.opinions.forget_allocations(feed);
        }
        let all_failed = self.list_in_round(feed, Some(told.clone()), started, now);
        if all_failed && !self.synced {
            // The supervisor says so, and not at each attempt.
            let error = RegistryError::new(told.kind(), told.report());
            return Err(error.with_retry_after(told.retry_after()));
        }
        if is_news {
            let namespace = &self.feeds[feed].namespace;
            tracing::warn!(registry = %self.control.registry(), %namespace, error = told.report(), "the list of services cannot be read");
        }
        if self.synced {
            self.batch.push(Event::Degraded { scope, error: told });
        }
        Ok(())
    }
}
