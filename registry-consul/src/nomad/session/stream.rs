//! The event stream of a feed: it says which services changed, so that not all have to be read.
//!
//! It is a trigger and no more. It may have gaps that nothing tells of: its buffer is short, some changes have no event,
//! and it is open to those namespaces that there were when it was opened. So each change of the table that the list tells
//! of has to be accounted for by an event; one that is not means that everything has to be read.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable};
use registry_core::Backoff;
use registry_http::Lines;
use tokio::time::Instant;

use super::feed::AT_ONCE;
use super::round::Round;
use super::tell::announced;
use super::{Session, What};
use crate::error::Error;
use crate::nomad::events::{self, Change};
use crate::nomad::plan::Haste;

/// A stream that may be read begins with a heartbeat; one that may not is silent.
const FIRST: Duration = Duration::from_secs(3);

/// Heartbeats come every 30 s.
const SILENCE: Duration = Duration::from_secs(90);

/// How long an event may come after the list that tells of the same change.
const LATE: Duration = Duration::from_secs(2);

/// A stream that lived so long was worth opening.
const PROVEN: Duration = Duration::from_secs(60);

/// The longest rest between two attempts: a stream that is refused is refused for long.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The shortest time between two readings of everything for changes that are likely another namespace's.
const FOREIGN: Duration = Duration::from_secs(60);

/// Most indexes that are remembered of what the stream told.
const HEARD: usize = 4096;

/// Where the stream of a feed stands.
#[derive(Debug)]
pub(super) struct Stream {
    state: State,
    /// Which attempt this is: what comes of earlier ones is not taken any more.
    generation: u64,
    backoff: Backoff,
    /// It may have missed what happened before it was open: its buffer is short, and says nothing of what it left out.
    unproven: bool,
    /// Why it is not to be had, while that is so.
    pub(super) problem: Option<String>,
}

#[derive(Debug)]
enum State {
    Closed { due: Instant },
    Opening(AbortHandle),
    Live { since: Instant, abort: AbortHandle },
}

/// What came of a stream.
pub(super) enum Streamed {
    Line(Box<Lines>, Bytes),
    Ended(Error),
    Cancelled,
}

/// A change of the table that the list tells of.
#[derive(Debug)]
pub(super) struct Wake {
    /// The index before.
    from: u64,
    /// The index of the last change.
    to: u64,
    /// It may have happened before the list was asked for.
    at_once: bool,
    /// Until when an event has to tell of it.
    pub(super) deadline: Instant,
}

impl Stream {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed { due: now },
            generation: 0,
            backoff: Backoff::new(Duration::from_millis(200), LONGEST_REST),
            unproven: false,
            problem: None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// All that happened until a list was asked for then is accounted for: what comes later is told where it was open already.
    pub(super) fn prove(&mut self, started: Instant) {
        if let State::Live { since, .. } = self.state
            && started >= since
        {
            self.unproven = false;
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        match self.state {
            State::Closed { due } => Some(due),
            State::Opening(_) | State::Live { .. } => None,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Stream {
    fn abort(&mut self) {
        if let State::Opening(abort) | State::Live { abort, .. } = &self.state {
            abort.abort();
        }
    }
}

impl Session {
    pub(super) fn start_stream(&mut self, feed: usize, now: Instant) {
        // What it tells of before that would be told before anything is known.
        if self.round.as_ref().is_some_and(Round::waits_for_lists) {
            return;
        }
        let this = &mut self.feeds[feed];
        if !this.may_stream() || this.stream.wake().is_none_or(|at| at > now) {
            return;
        }
        let (abort, registration) = AbortHandle::new_pair();
        this.stream.state = State::Opening(abort);
        this.stream.generation += 1;
        let generation = this.stream.generation;
        let (queries, namespace, index) = (self.queries.clone(), this.namespace.clone(), this.index);
        let open = async move {
            match queries.events(&namespace, index).await {
                Ok(lines) => next(lines, FIRST).await,
                Err(error) => Streamed::Ended(error),
            }
        };
        let open = Abortable::new(open, registration);
        self.spawn(async move { What::Stream(feed, generation, open.await.unwrap_or(Streamed::Cancelled)) });
    }

    pub(super) fn take_stream(
        &mut self,
        feed: usize,
        generation: u64,
        streamed: Streamed,
        started: Instant,
        now: Instant,
    ) {
        if self.feeds[feed].stream.generation != generation {
            return;
        }
        match streamed {
            Streamed::Line(lines, line) => match events::read(&line) {
                Ok(changes) => {
                    self.stream_lives(feed, lines, now);
                    for change in changes {
                        self.take_change(feed, change);
                    }
                }
                Err(source) => {
                    let url = lines.url().clone();
                    self.stream_ended(feed, &Error::Decode { url, source }, now);
                }
            },
            Streamed::Ended(error) => {
                self.refused_by_limit(&error, started, now);
                self.stream_ended(feed, &error, now);
            }
            Streamed::Cancelled => {}
        }
    }

    fn stream_lives(&mut self, feed: usize, lines: Box<Lines>, now: Instant) {
        let (abort, registration) = AbortHandle::new_pair();
        let stream = &mut self.feeds[feed].stream;
        match &mut stream.state {
            State::Live { abort: held, .. } => *held = abort,
            _ => self.stream_opened(feed, abort, now),
        }
        let stream = &mut self.feeds[feed].stream;
        let generation = stream.generation;
        if stream.problem.take().is_some() {
            let namespace = &self.feeds[feed].namespace;
            tracing::info!(registry = %self.control.registry(), %namespace, "the event stream is open");
        }
        let line = Abortable::new(next(lines, SILENCE), registration);
        self.spawn(async move { What::Stream(feed, generation, line.await.unwrap_or(Streamed::Cancelled)) });
    }

    fn stream_opened(&mut self, feed: usize, abort: AbortHandle, now: Instant) {
        let this = &mut self.feeds[feed];
        this.stream.state = State::Live { since: now, abort };
        this.stream.unproven = true;
        // Where the table stands still, the next list says that nothing was missed.
        this.look_unless_failing(now);
        // That it tells of the last change would not mean that it told of those before.
        if let Some(to) = this.wakes.last().map(|wake| wake.to) {
            self.sweep(feed, to);
        }
    }

    fn stream_ended(&mut self, feed: usize, error: &Error, now: Instant) {
        let report = {
            let mut report = error.to_string();
            if let Some(cause) = std::error::Error::source(error) {
                report.push_str(&format!(": {cause}"));
            }
            report
        };
        let was_live = self.feeds[feed].stream.is_live();
        self.close_stream(feed, now);
        let this = &mut self.feeds[feed];
        if was_live {
            tracing::debug!(registry = %self.control.registry(), namespace = %this.namespace, error = report, "the event stream ended");
            // It ends for one whose rights were taken, while a parked list sleeps on.
            this.look(now);
        } else if this.stream.problem.replace(report.clone()).is_none() {
            tracing::warn!(
                registry = %self.control.registry(),
                namespace = %this.namespace,
                error = report,
                "no event stream: each change means a reading of all services; it needs `read-job` in every namespace that is watched",
            );
        }
    }

    /// Closes the stream, to be opened again.
    pub(super) fn close_stream(&mut self, feed: usize, now: Instant) {
        let stream = &mut self.feeds[feed].stream;
        stream.abort();
        if let State::Live { since, .. } = stream.state
            && now - since >= PROVEN
        {
            stream.backoff.reset();
        }
        let due = now + stream.backoff.next_delay();
        stream.state = State::Closed { due };
        stream.generation += 1;
    }

    fn take_change(&mut self, feed: usize, change: Change) {
        let Change {
            service,
            index,
            removed,
        } = change;
        let this = &mut self.feeds[feed];
        this.heard.insert(index);
        while this.heard.len() > HEARD {
            this.heard.pop_first();
        }
        let (all, heard) = (this.is_all(), &this.heard);
        this.wakes.retain(|wake| !wake.is_told(all, heard));
        if self.feed_of(&service) != Some(feed) || !self.config.wants_name(service.name()) {
            return;
        }
        if let Some(instance) = removed {
            // What is known already without that instance lacks it for this reason: it may be held back.
            let known = self.plan.seen(&service) >= index;
            match self.services.get_mut(&service) {
                Some(tracked) if known && tracked.has(&instance) => {}
                Some(tracked) if !known => tracked.announce(instance, index),
                _ => {
                    let gone = vec![instance];
                    self.note_told(&service, &gone);
                    self.batch.extend(announced(&service, gone));
                }
            }
        } else {
            self.track(&service);
        }
        self.plan.need(&service, index, Haste::Now);
    }

    /// The list says that the table changed; it was asked for then.
    pub(super) fn table_moved(&mut self, feed: usize, from: u64, to: u64, started: Instant, now: Instant) {
        if self.feeds[feed].stream.unproven {
            self.sweep(feed, to);
        }
        let at_once = now - started < AT_ONCE;
        let this = &mut self.feeds[feed];
        this.stream.prove(started);
        let wake = Wake {
            from,
            to,
            at_once,
            deadline: now + LATE,
        };
        let is_told = wake.is_told(this.is_all(), &this.heard);
        if this.wakes.is_empty() {
            this.heard = this.heard.split_off(&(to + 1));
        }
        if is_told {
            return;
        }
        // One that is being opened tells of what happened since the index that it was opened with.
        if !self.config.events || this.stream.is_closed() {
            self.sweep(feed, to);
        } else {
            this.wakes.push(wake);
        }
    }

    /// Changes that no event told of in time: there is a gap.
    pub(super) fn judge_wakes(&mut self, feed: usize, now: Instant) {
        let this = &mut self.feeds[feed];
        let mut overdue = Vec::new();
        this.wakes.retain_mut(|wake| {
            let waits = wake.deadline > now;
            if !waits {
                overdue.push((wake.from, wake.to, wake.at_once));
            }
            waits
        });
        let Some(&(_, to, _)) = overdue.last() else { return };
        // The index is that of all namespaces. What moved it between two lists of one is most likely another's; a change
        // of its own would have ended a parked list, or the stream would have told of it.
        let foreign =
            !this.is_all() && this.stream.is_live() && overdue.iter().all(|(_, _, at_once)| *at_once);
        if foreign {
            if let Some(swept) = this.swept.filter(|swept| now - *swept < FOREIGN) {
                // No event can tell of one that leads nowhere, and one of these is enough.
                this.wakes.retain(|wake| wake.from < wake.to);
                this.wakes.push(Wake {
                    from: to,
                    to,
                    at_once: true,
                    deadline: swept + FOREIGN,
                });
                return;
            }
            this.swept = Some(now);
            self.sweep(feed, to);
            return;
        }
        tracing::debug!(
            registry = %self.control.registry(),
            namespace = %this.namespace,
            index = to,
            "the event stream did not tell of a change: all services are read, and it is opened again",
        );
        // One that is still being opened may be late for no other reason.
        if this.stream.is_live() {
            self.close_stream(feed, now);
        }
        self.sweep(feed, to);
    }

    /// What an operator should know of how the registry is watched.
    pub(super) fn note(&self) -> Option<String> {
        let problem = self.feeds.iter().find_map(|feed| feed.stream.problem.as_ref())?;
        let (services, rate) = (self.plan.len(), self.config.reads_per_second);
        Some(format!(
            "no event stream: after each change all {services} services are read, {rate} each second: {problem}"
        ))
    }
}

impl Wake {
    /// True where the stream told of it. The index of the whole table is that of an event where all namespaces are watched;
    /// where one is, it may be another's, and an event of this one's on the way there is.
    fn is_told(&self, all: bool, heard: &std::collections::BTreeSet<u64>) -> bool {
        if all {
            heard.contains(&self.to)
        } else {
            self.from < self.to && heard.range(self.from + 1..=self.to).next().is_some()
        }
    }
}

async fn next(mut lines: Box<Lines>, silence: Duration) -> Streamed {
    match lines.next_line(silence).await {
        Ok(Some(line)) => Streamed::Line(lines, line),
        Ok(None) => Streamed::Ended(Error::StreamEnded {
            url: lines.url().clone(),
        }),
        Err(error) => Streamed::Ended(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use registry_core::ServiceId;

    use super::super::tests::{keep, session};
    use super::*;
    use crate::nomad::answer::id;
    use crate::nomad::plan::Reading;

    /// A watch of everything that was listed at that index.
    fn listed(web: &ServiceId, index: u64) -> Session {
        let mut session = session(&["*"]);
        keep(&mut session, &[web]);
        (session.round, session.synced) = (None, true);
        session.feeds[0].index = index;
        take_read(&mut session, web, index);
        session
    }

    fn take_read(session: &mut Session, web: &ServiceId, index: u64) {
        let reading = Reading {
            service: web.clone(),
            needed: 0,
        };
        session.plan.answered(&reading, index);
    }

    fn open(session: &mut Session, now: Instant) {
        session.stream_opened(0, AbortHandle::new_pair().0, now);
    }

    #[tokio::test]
    async fn what_a_stream_may_have_missed_while_it_opened_is_read_once() {
        let web = id("default", "web");
        let mut session = listed(&web, 500);
        let before = Instant::now();
        let since = before + Duration::from_secs(1);
        open(&mut session, since);
        // It tells of the last change alone, and each list was asked for later than the one before.
        for (from, to, started, reads) in [
            (500, 640, before, true),
            (640, 641, since, true),
            (641, 642, since, false),
        ] {
            session.feeds[0].heard.insert(to);
            session.table_moved(0, from, to, started, since);
            assert_eq!(session.plan.is_due(&web), reads, "from {from} to {to}");
            take_read(&mut session, &web, to);
        }
    }

    #[tokio::test]
    async fn a_change_before_a_stream_is_open_is_not_left_to_it() {
        let web = id("default", "web");
        let mut session = listed(&web, 500);
        let now = Instant::now();
        session.feeds[0].stream.state = State::Opening(AbortHandle::new_pair().0);
        session.table_moved(0, 500, 640, now, now);
        assert!(!session.plan.is_due(&web), "it may still tell of it");
        open(&mut session, now);
        assert!(session.plan.is_due(&web));
    }

    #[tokio::test]
    async fn a_table_that_stands_still_while_a_stream_opens_costs_no_reads() {
        let web = id("default", "web");
        let mut session = listed(&web, 500);
        let now = Instant::now();
        open(&mut session, now);
        session.feeds[0].stream.prove(now);
        session.feeds[0].heard.insert(501);
        session.table_moved(0, 500, 501, now, now);
        assert!(!session.plan.is_due(&web));
    }
}
