//! One watch: full fetches and deltas, and what is told of them.
//!
//! Everything runs inside the stream that the supervisor polls; dropping it drops every request.

mod clock;
mod listing;
mod plan;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, ErrorKind, Event, RegistryError, Scope, ServiceId};
use tokio::time::Instant;

use crate::config::EurekaConfig;
use crate::error::{Error, short};
use crate::table::{Changes, Table};
use crate::transport::{Answer, Fetch, Transport};
use crate::wire::Head;
use clock::Moment;
use listing::Outbox;
use plan::{Ask, Plan, Why};

/// The clocks drift apart by less; by more only where the machine slept, or one of them was set.
const DRIFT: Duration = Duration::from_secs(1);

/// How many services of which something cannot be read are named in the log at once.
const TOLD: usize = 20;

/// One watch.
#[derive(Debug)]
pub(crate) struct Session {
    transport: Transport,
    control: Control,
    table: Table,
    plan: Plan,
    outbox: Outbox,
    /// What could not be read in the last full fetch.
    unread: Vec<(ServiceId, String)>,
    /// Services of which was logged that not all can be read.
    told: HashSet<ServiceId>,
    /// The last full fetch, as long as what is held is what it said.
    full: Option<u128>,
    /// The last delta that is contained in what is held, and whether the counts matched by it.
    delta: Option<u128>,
    /// When the clocks were last compared.
    looked: Moment,
    /// How long nothing is said at most while nothing can be read.
    silence: Duration,
    /// Why nothing can be read, while that is so.
    trouble: Option<Arc<RegistryError>>,
}

/// What became of asking for a delta.
enum Outcome {
    /// It is told.
    Taken,
    /// Everything has to be fetched.
    FullNeeded,
}

impl Session {
    pub(crate) fn new(transport: Transport, config: Arc<EurekaConfig>, control: Control) -> Self {
        let now = Moment::now();
        let ports = control.ports().clone();
        Self {
            plan: Plan::new(config.clone(), transport.len(), now),
            silence: config.full_timeout + config.interval,
            table: Table::new(config, ports),
            transport,
            control,
            outbox: Outbox::default(),
            unread: Vec::new(),
            told: HashSet::new(),
            full: None,
            delta: None,
            looked: now,
            trouble: None,
        }
    }

    /// What happened next.
    pub(crate) async fn next_batch(&mut self) -> Vec<Event> {
        let control = self.control.clone();
        let began = Instant::now();
        loop {
            if let Some(batch) = self.outbox.next_batch() {
                return batch;
            }
            let wake = self.plan.wake();
            let silence = tokio::time::sleep_until(began + self.silence);
            // A wish is taken only here, where nothing is under way: what is fetched from now on answers it.
            tokio::select! {
                wish = control.resync_requested() => self.plan.wished(wish.strong, Moment::now()),
                () = tokio::time::sleep_until(wake) => self.poll().await,
                // A server may ask to be left alone for long. A watch that says nothing is taken for dead.
                () = silence, if self.trouble.is_some() => self.outbox.degrade_again(self.trouble.as_ref()),
            }
        }
    }

    /// Asks for what is due. Something is told in any case.
    async fn poll(&mut self) {
        let now = self.look_at_the_clocks();
        let current = self.step_aside(now);
        let ask = self.plan.ask(current, now);
        if ask == Ask::Delta || self.plan.has_delta_before(ask, current, now) {
            match self.fetch_delta(current).await {
                Ok(Outcome::Taken) if ask == Ask::Delta => return,
                Ok(Outcome::Taken | Outcome::FullNeeded) => {}
                Err(error) => {
                    if self.leave(current, &error).is_none() {
                        return self.give_up(error);
                    }
                }
            }
        }
        self.fetch_full_somewhere().await;
    }

    /// Asks one server after the other for everything, until one answers.
    async fn fetch_full_somewhere(&mut self) {
        let began = Instant::now();
        let now = Moment::now();
        let ask = self.plan.ask(self.transport.current(), now);
        let may_come_back = self.plan.may_come_back(now);
        let may_be_asked = |base| !self.plan.rests(base, now);
        let mut elsewhere = match ask {
            Ask::Full(Why::Wish { strong: true }) => self.transport.another(may_be_asked),
            _ if may_come_back => self.transport.better(may_be_asked),
            _ => None,
        };
        let mut left = self.transport.len();
        loop {
            let tried_elsewhere = elsewhere.is_some();
            let current = self.transport.current();
            let base = elsewhere.take().unwrap_or(current);
            let error = match self.fetch_full(base).await {
                Ok(()) => {
                    self.transport.settle_on(base);
                    let url = self.transport.url(base);
                    tracing::debug!(registry = %self.control.registry(), url, ?ask, "everything was fetched");
                    if base != current {
                        tracing::info!(registry = %self.control.registry(), url, "another server is in use now");
                    }
                    return;
                }
                Err(error) => error,
            };
            let next = self.leave(base, &error);
            if tried_elsewhere {
                // The one in use has not been asked yet.
                continue;
            }
            left -= 1;
            if next.is_none() || left == 0 || began.elapsed() > self.transport.patience() {
                return self.give_up(error);
            }
        }
    }

    /// Everything, from that server.
    async fn fetch_full(&mut self, base: usize) -> Result<(), Error> {
        let asked = Moment::now();
        let answer = self.fetch(base, Fetch::Full).await?;
        let digest = answer.digest();
        let same = self.full == Some(digest);
        if !same {
            let mut staged = self.table.stage();
            let table = &mut self.table;
            let head = answer.read(|application| table.stage_application(&mut staged, application));
            let head = self.counted(head)?;
            let changes = self.table.replace(staged);
            self.forget_told(&changes);
            self.note_troubles(&changes);
            self.unread = changes.troubles;
            self.full = Some(digest);
            self.delta = None;
            if let Some(said) = head.hash.filter(|said| *said != self.table.hash()) {
                // What it lists is what it has; a delta will tell whether the counts stay different.
                let url = &answer.url;
                tracing::debug!(registry = %self.control.registry(), %url, said, held = self.table.hash(), "the counts of a full fetch differ");
            }
        } else {
            self.control.meter().count_request(false);
        }
        self.note_time(base, &answer);
        let poll = answer.poll;
        // Tens of megabytes, which are not needed while records are told.
        drop(answer);
        if same && !self.plan.is_wished() {
            self.outbox.confirm();
        } else {
            self.outbox.list(self.table.records(), self.unread_scopes());
        }
        if self.plan.full_fetched(base, poll, asked) {
            let url = self.transport.url(base);
            tracing::warn!(registry = %self.control.registry(), url, "the server has no deltas that can be read: everything is fetched at each poll; with `delta: false` removals are believed as soon as those of other registries");
        }
        self.recovered(base);
        Ok(())
    }

    /// What changed, from that server, which is the one that what is held came from.
    async fn fetch_delta(&mut self, base: usize) -> Result<Outcome, Error> {
        let asked = Moment::now();
        let answer = match self.fetch(base, Fetch::Delta).await {
            Ok(answer) => answer,
            Err(error) if error.is_refusal() => {
                tracing::debug!(registry = %self.control.registry(), %error, "no delta");
                self.plan.delta_refused(base);
                return Ok(Outcome::FullNeeded);
            }
            Err(error) if error.is_of_the_body() => return Ok(self.delta_is_unreadable(base, error)),
            Err(error) => return Err(error),
        };
        if answer.resent || self.plan.is_gap(Moment::now()) {
            self.plan.doubted();
            return Ok(Outcome::FullNeeded);
        }
        let digest = answer.digest();
        if self.delta == Some(digest) {
            self.control.meter().count_request(false);
            self.outbox.confirm();
        } else {
            // To its end before anything of it is applied.
            let mut applications = 0;
            let head = answer.read(|_| applications += 1);
            let head = match self.counted(head) {
                Ok(head) => head,
                Err(error) => return Ok(self.delta_is_unreadable(base, error)),
            };
            let table = &mut self.table;
            answer.read(|application| table.apply(application))?;
            let changes = self.table.changes();
            self.note_troubles(&changes);
            if applications > 0 {
                // Also where nothing of it is watched, or seems new: what is held is no longer just what the last full
                // fetch said.
                self.full = None;
            }
            self.delta = Some(digest);
            self.compare(head);
            self.outbox.change(changes);
        }
        self.note_time(base, &answer);
        // After a mass registration as large as everything.
        let poll = answer.poll;
        drop(answer);
        self.plan.delta_fetched(base, poll, asked, digest);
        self.recovered(base);
        Ok(Outcome::Taken)
    }

    fn delta_is_unreadable(&mut self, base: usize, error: Error) -> Outcome {
        let error = RegistryError::from(error).report();
        tracing::debug!(registry = %self.control.registry(), error, "a delta cannot be read; everything is fetched");
        self.plan.delta_unreadable(base);
        Outcome::FullNeeded
    }

    async fn fetch(&self, base: usize, what: Fetch) -> Result<Answer, Error> {
        let meter = self.control.meter();
        meter.set_connections(self.transport.connections() as u64);
        let answer = self.transport.fetch(base, what).await;
        meter.set_connections(self.transport.connections() as u64);
        if answer.is_err() {
            meter.count_request(true);
        }
        answer
    }

    /// Counts a request whose answer was read, as far as that was possible.
    fn counted(&self, head: Result<Head, Error>) -> Result<Head, Error> {
        self.control.meter().count_request(head.is_err());
        head
    }

    /// Says what could not be read, each service once until it can.
    fn note_troubles(&mut self, changes: &Changes) {
        self.control.meter().count_skipped(changes.skipped);
        let registry = self.control.registry();
        for record in &changes.applied {
            self.told.remove(record.id());
        }
        let (mut told, mut left) = (0, 0);
        for (service, problem) in &changes.troubles {
            if !self.told.insert(service.clone()) {
                continue;
            }
            if told < TOLD {
                let problem = short(problem, 300);
                tracing::warn!(%registry, %service, problem, "not all of the service can be read; what it had stays");
                told += 1;
            } else {
                left += 1;
            }
        }
        if left > 0 {
            tracing::warn!(%registry, services = left, "and more of which not all can be read");
        }
        for note in changes.notes.iter().take(TOLD) {
            tracing::info!(%registry, note = short(note, 300), "left out");
        }
    }

    /// Of services that a full fetch has no trouble with, or that are gone, nothing has to be remembered.
    fn forget_told(&mut self, changes: &Changes) {
        if !self.told.is_empty() {
            let troubled: HashSet<&ServiceId> = changes.troubles.iter().map(|(service, _)| service).collect();
            self.told.retain(|service| troubled.contains(service));
        }
    }

    fn unread_scopes(&self) -> Vec<(Scope, Arc<RegistryError>)> {
        let unread = self.unread.iter();
        let unread = unread.map(|(service, problem)| (Scope::Service(service.clone()), trouble(problem)));
        unread.collect()
    }

    fn compare(&mut self, head: Head) {
        let Some(said) = head.hash else { return };
        let held = self.table.hash();
        let was_mismatched = self.plan.is_mismatched();
        self.plan.counted(said == held, Moment::now());
        if said != held {
            let note = format!(
                "counts by status differ: the server says {:?}, held is {held:?}; everything is fetched from time to time",
                short(&said, 200)
            );
            if !was_mismatched {
                tracing::info!(registry = %self.control.registry(), note, "what is held is not what the server counts");
            }
            self.control.meter().set_note(Some(note));
        } else {
            self.control.meter().set_note(None);
        }
    }

    fn note_time(&mut self, base: usize, answer: &Answer) {
        if let Some(date) = answer.date {
            self.plan.told_time(base, answer.poll, date);
        }
    }

    /// That server did not answer well. Returns the one to ask in its place, where there is one.
    fn leave(&mut self, base: usize, error: &Error) -> Option<usize> {
        let now = Moment::now();
        self.plan.failed(base, error.retry_after(), now);
        if error.is_our_own() {
            return None;
        }
        self.transport.fail_over(base);
        let next = self.step_aside(now);
        tracing::debug!(registry = %self.control.registry(), %error, "no good answer");
        (next != base && !self.plan.rests(next, now)).then_some(next)
    }

    /// The server in use, or where that one asked to be left alone the next one that did not.
    fn step_aside(&self, now: Moment) -> usize {
        for _ in 1..self.transport.len() {
            let current = self.transport.current();
            if !self.plan.rests(current, now) {
                break;
            }
            self.transport.fail_over(current);
        }
        self.transport.current()
    }

    /// Nobody answers: what is held stays, and ages.
    fn give_up(&mut self, error: Error) {
        let news = self.plan.gave_up(Moment::now());
        let error = Arc::new(RegistryError::from(error));
        let report = error.report();
        if news {
            tracing::warn!(registry = %self.control.registry(), kind = error.kind().as_str(), error = report, "the registry cannot be read; attempts go on");
        } else {
            tracing::debug!(registry = %self.control.registry(), error = report, "the registry still cannot be read");
        }
        self.outbox.degrade(error.clone());
        self.trouble = Some(error);
    }

    fn recovered(&mut self, base: usize) {
        if self.trouble.take().is_some() {
            let url = self.transport.url(base);
            tracing::info!(registry = %self.control.registry(), url, "the registry can be read again");
        }
    }

    fn look_at_the_clocks(&mut self) -> Moment {
        let now = Moment::now();
        let by_the_longer = now.since(&self.looked);
        let monotonic = now.instant.saturating_duration_since(self.looked.instant);
        if by_the_longer > monotonic + DRIFT {
            self.plan.slept(now);
        }
        self.looked = now;
        now
    }
}

fn trouble(problem: &str) -> Arc<RegistryError> {
    Arc::new(RegistryError::new(ErrorKind::Malformed, short(problem, 300)))
}

#[cfg(test)]
mod tests;
