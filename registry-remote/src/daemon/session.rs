//! One watch: one connection to one of the daemons at a time, and what is told of it.
//!
//! ```text
//!             ages: not ready                  ages: nothing was missed
//!             ┌──────────┐                    ┌───────────────────────┐
//!  (dial) ────┴▶ open ───┴─▶ begin ─ service … ─ end ─▶ (in step) ◀───┴── begin ─ service … ─ end
//!    ▲                         │                           │
//!    └── broke, silent, wrong ─┴───────────────────────────┘     with the revision that is held, at the next daemon
//! ```
//!
//! Everything runs inside the stream that the supervisor polls; dropping it drops the connection.

mod state;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use registry_core::{
    Backoff, Behind, Control, ErrorKind, Event, InstanceId, LONGEST_REST, RegistryError, Resync, Scope, short,
};
use registry_http::{Credential, FailOver, HttpClient, Lane, Lines, Opened, Placement, Request};
use tokio::time::Instant;

use super::config::DaemonConfig;
use super::events::{Assembly, Kind, Sent};
use super::lineage::Loop;
use super::map::{self, Mapper};
use super::wire;
use crate::error::Error;
use state::{Change, Known, Listing, Revision};

const PATH: &str = "/v1/watch";
const INSTANCE: &str = "x-registryd-instance";

/// One watch.
#[derive(Debug)]
pub(super) struct Session {
    client: HttpClient,
    config: Arc<DaemonConfig>,
    control: Control,
    line: Option<Line>,
    mapper: Mapper,
    known: Known,
    /// Daemons in a row that were of no use.
    tried: usize,
    /// The refused daemon of which was told last what is behind it, until another one is taken or none can be asked.
    refusing: Option<InstanceId>,
    backoff: Backoff,
    /// Nobody is asked before.
    rest: Option<Instant>,
    outbox: VecDeque<Vec<Event>>,
}

/// An open connection.
#[derive(Debug)]
struct Line {
    lines: Box<Lines>,
    opened: Instant,
    assembly: Assembly,
    instance: InstanceId,
    /// What is being told.
    under_way: UnderWay,
    /// It has said that it is not ready.
    waiting: bool,
    /// Since when nothing is taken, as it leads back to this daemon.
    refused: Option<Instant>,
}

#[derive(Debug)]
enum UnderWay {
    Nothing,
    Listing(Listing),
    Change(Change),
}

/// The client for the daemons.
pub(super) fn client(config: &DaemonConfig) -> Result<HttpClient, Error> {
    let credential: Credential = config.credentials.credential(Placement::Bearer)?;
    Ok(HttpClient::try_new(
        &config.urls,
        config.http.clone(),
        credential,
    )?)
}

impl Session {
    pub(super) fn new(client: HttpClient, config: Arc<DaemonConfig>, control: Control) -> Self {
        Self {
            client,
            config,
            control,
            line: None,
            mapper: Mapper::default(),
            known: Known::default(),
            tried: 0,
            refusing: None,
            backoff: Backoff::default(),
            rest: None,
            outbox: VecDeque::new(),
        }
    }

    /// What happened next.
    pub(super) async fn next_batch(&mut self) -> Vec<Event> {
        let control = self.control.clone();
        loop {
            if let Some(batch) = self.outbox.pop_front() {
                return batch;
            }
            let Some(line) = &mut self.line else {
                self.dial().await;
                continue;
            };
            // A wish is taken only where nothing is under way: what is told from now on answers it.
            let at_rest = matches!(line.under_way, UnderWay::Nothing) && self.known.revision.is_some();
            let outcome = tokio::select! {
                wish = control.resync_requested(), if at_rest => {
                    self.begin_anew(&wish);
                    continue;
                }
                read = line.lines.next_line(self.config.silence) => match read {
                    Ok(Some(text)) => self.take_line(&text),
                    Ok(None) => Err(self.document("found the end of the stream, expected none")),
                    Err(error) => Err(Error::from(error).into()),
                },
            };
            if let Err(error) = outcome {
                self.leave(error);
            }
        }
    }

    // === connections ===

    async fn dial(&mut self) {
        if let Some(rest) = self.rest.take() {
            tokio::time::sleep_until(rest).await;
        }
        let mut request = Request::get(PATH)
            .with_query("pieces", "true")
            .with_accept("text/event-stream")
            .with_lane(Lane::Watch)
            .with_fail_over(FailOver::always());
        let held = self
            .known
            .revision
            .map(|held| HeaderValue::from_str(&held.to_string()));
        if let Some(Ok(held)) = held {
            request = request.with_header(HeaderName::from_static("last-event-id"), held);
        }
        let opened = self.client.open(&request).await;
        let meter = self.control.meter();
        meter.count_request(!matches!(opened, Ok(Opened::Lines(_))));
        meter.set_connections(self.client.connections_in_use() as u64);
        let error = match opened {
            Ok(Opened::Lines(lines)) => match self.greet(lines) {
                Ok(line) => {
                    self.line = Some(line);
                    return;
                }
                Err(error) => error,
            },
            Ok(Opened::Refused(answer)) => {
                self.client.fail_over(answer.base());
                Error::status(&answer).into()
            }
            // The client has tried all of them.
            Err(error) => {
                self.tried = self.config.urls.len();
                Error::from(error).into()
            }
        };
        self.give_up(error);
    }

    /// Looks at the head of an answer.
    fn greet(&self, lines: Box<Lines>) -> Result<Line, RegistryError> {
        let named = lines.headers().get(INSTANCE);
        let named = named.and_then(|value| value.to_str().ok());
        let instance = named.and_then(|text| text.parse::<InstanceId>().ok());
        let Some(instance) = instance else {
            self.client.fail_over(lines.base());
            let problem = format!("found no {INSTANCE} in the answer, expected that of a registryd");
            return Err(document(&lines, problem));
        };
        if instance == self.control.instance() {
            self.client.fail_over(lines.base());
            let message = format!("{}: this is the daemon itself, expected another one", lines.url());
            return Err(RegistryError::new(ErrorKind::Configuration, message));
        }
        tracing::debug!(registry = %self.control.registry(), url = %lines.url(), %instance, "a daemon answers");
        Ok(Line {
            lines,
            opened: Instant::now(),
            assembly: Assembly::default(),
            instance,
            under_way: UnderWay::Nothing,
            waiting: false,
            refused: None,
        })
    }

    /// The connection is of no use any more.
    fn leave(&mut self, error: RegistryError) {
        if let Some(line) = self.line.take() {
            self.client.fail_over(line.lines.base());
        }
        let connections = self.client.connections_in_use() as u64;
        self.control.meter().set_connections(connections);
        self.give_up(error);
    }

    /// The daemon is refused: the others are asked, each once, before it is come back to.
    fn look_around(&mut self) {
        if let Some(line) = self.line.take() {
            self.client.fail_over(line.lines.base());
        }
        self.tried = 0;
    }

    /// One of the daemons was of no use: what is held stays. Once none is left to be asked that is told, and rested from.
    fn give_up(&mut self, error: RegistryError) {
        self.tried += 1;
        let error = Arc::new(error);
        let registry = self.control.registry();
        tracing::debug!(%registry, error = error.report(), "a daemon cannot be read");
        if self.tried < self.config.urls.len() {
            return;
        }
        self.tried = 0;
        if self.refusing.take().is_some() {
            // A refusal holds for as long as the daemon can be heard to say why.
            self.outbox.push_back(vec![Event::Behind {
                instance: None,
                registries: Vec::new(),
            }]);
        }
        // Within the time after which a watch that says nothing is taken for dead.
        let longest = LONGEST_REST.min(self.config.silence / 2);
        let wished = error.retry_after().unwrap_or_default().min(longest);
        self.rest = Instant::now().checked_add(self.backoff.next_delay().max(wished));
        self.outbox
            .push_back(vec![Event::degraded(Scope::Registry, error)]);
    }

    /// Complete knowledge is wanted, where it is to confirm something from another daemon.
    fn begin_anew(&mut self, wish: &Resync) {
        self.known.revision = None;
        if let Some(line) = self.line.take()
            && wish.strong
        {
            self.client
                .settle_on((line.lines.base() + 1) % self.config.urls.len());
        }
    }

    /// A registry behind the daemon is heard for the first time: only everything tells what is gone of it.
    fn dial_anew(&mut self) {
        self.known.revision = None;
        self.line = None;
    }

    // === events ===

    fn take_line(&mut self, text: &Bytes) -> Result<(), RegistryError> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let sent = line.assembly.take(text);
        match sent.map_err(|problem| self.document(problem))? {
            Some(sent) => self.take(&sent),
            None => Ok(()),
        }
    }

    fn take(&mut self, sent: &Sent) -> Result<(), RegistryError> {
        let refused = self.line.as_ref().is_some_and(|line| line.refused.is_some());
        match sent.kind {
            Kind::Ages => self.take_ages(&sent.data),
            Kind::Begin => self.begin(&sent.data),
            Kind::Service | Kind::End if refused => Ok(()),
            Kind::Service => self.take_service(&sent.data),
            Kind::End => self.end(sent),
            Kind::Other => Ok(()),
        }
    }

    fn take_ages(&mut self, data: &[u8]) -> Result<(), RegistryError> {
        let ages: wire::Ages<'_> = self.read("ages", data)?;
        let behind = self.behind(&ages.registries)?;
        let outdone = self.known.is_outdone(&behind);
        let Some(behind) = self.unless_it_leads_back(behind)? else {
            return Ok(());
        };
        let Some(line) = &mut self.line else { return Ok(()) };
        let told = ages.revision.map(|revision| Revision {
            instance: line.instance,
            revision,
        });
        if ages.ready {
            line.waiting = false;
            // Otherwise what was missed follows.
            if told == self.known.revision && told.is_some() {
                if outdone {
                    self.dial_anew();
                    return Ok(());
                }
                self.in_step();
                self.outbox
                    .push_back(vec![behind, Event::Confirmed(Scope::Registry)]);
            }
            return Ok(());
        }
        let again = std::mem::replace(&mut line.waiting, true);
        let message = format!(
            "{}: the daemon is not ready, as it waits for its own registries",
            line.lines.url()
        );
        let error = RegistryError::new(ErrorKind::Unavailable, message);
        if self.known.revision.is_none() && self.refusing.is_none() {
            self.outbox.push_back(vec![behind]);
        }
        let others = self.config.urls.len() > 1;
        if self.tried + 1 < self.config.urls.len() || (others && again) {
            return Err(error);
        }
        self.outbox
            .push_back(vec![Event::degraded(Scope::Registry, error)]);
        Ok(())
    }

    fn begin(&mut self, data: &[u8]) -> Result<(), RegistryError> {
        let begin: wire::Begin<'_> = self.read("begin", data)?;
        let behind = self.behind(&begin.registries)?;
        let (unheard, outdone) = (state::unheard(&behind), self.known.is_outdone(&behind));
        let Some(behind) = self.unless_it_leads_back(behind)? else {
            return Ok(());
        };
        let Some(line) = &mut self.line else { return Ok(()) };
        let revision = Revision {
            instance: line.instance,
            revision: begin.revision,
        };
        line.waiting = false;
        line.under_way = match begin.from {
            None => {
                // From here on what is held is in parts: only another listing mends one that breaks off.
                self.known.revision = None;
                self.outbox.push_back(vec![Event::Init(Scope::Registry)]);
                UnderWay::Listing(Listing::new(revision, behind, unheard, data.len()))
            }
            Some(from) => {
                let from = Revision {
                    instance: line.instance,
                    revision: from,
                };
                if self.known.revision != Some(from) {
                    self.known.revision = None;
                    return Err(self.document("found changes since a revision that was never told"));
                }
                if outdone {
                    self.dial_anew();
                    return Ok(());
                }
                let removed = begin.removed.iter().map(|name| map::identity(&name.0));
                UnderWay::Change(Change::new(revision, behind, removed, data.len()))
            }
        };
        Ok(())
    }

    fn take_service(&mut self, data: &[u8]) -> Result<(), RegistryError> {
        let read = self.mapper.service(data);
        let most = self.config.max_state_bytes;
        let Some(line) = &mut self.line else { return Ok(()) };
        let bytes = match &mut line.under_way {
            UnderWay::Nothing => return Err(self.document("found a service before its beginning")),
            UnderWay::Listing(listing) => listing.count(data.len()),
            UnderWay::Change(change) => change.count(data.len()),
        };
        if bytes > most {
            let message = format!(
                "{}: a state of more than max_state_bytes = {most}",
                line.lines.url()
            );
            return Err(RegistryError::new(ErrorKind::Limit, message));
        }
        let outcome = match read {
            Ok(record) => Ok(record),
            Err((None, problem)) => return Err(self.document(problem)),
            Err((Some(id), problem)) => {
                self.control.meter().count_skipped(1);
                let name = short(id.name(), 300);
                let message = format!("{}: service {name}: {problem}", line.lines.url());
                tracing::warn!(registry = %self.control.registry(), service = name, problem, "a service cannot be read; what it had stays");
                Err((id, Arc::new(RegistryError::new(ErrorKind::Malformed, message))))
            }
        };
        match &mut line.under_way {
            UnderWay::Nothing => {}
            UnderWay::Listing(listing) => {
                if let Some(batch) = listing.take(outcome) {
                    self.outbox.push_back(batch);
                }
            }
            UnderWay::Change(change) => change.take(outcome),
        }
        Ok(())
    }

    fn end(&mut self, sent: &Sent) -> Result<(), RegistryError> {
        let end: wire::End = self.read("end", &sent.data)?;
        let Some(line) = &mut self.line else { return Ok(()) };
        let id = sent.id.as_deref().and_then(|id| std::str::from_utf8(id).ok());
        let (revision, count) = match &line.under_way {
            UnderWay::Nothing => return Err(self.document("found an end before its beginning")),
            UnderWay::Listing(listing) => (listing.revision, listing.services),
            UnderWay::Change(change) => (change.revision, change.services),
        };
        if end.services != count || id != Some(revision.to_string().as_str()) {
            let (id, said) = (short(id.unwrap_or_default(), 100), end.services);
            let problem = format!(
                "found the end {id:?} of {said} services, expected {revision} and the {count} that were told"
            );
            self.known.revision = None;
            return Err(self.document(problem));
        }
        match std::mem::replace(&mut line.under_way, UnderWay::Nothing) {
            UnderWay::Nothing => {}
            UnderWay::Listing(listing) => self.outbox.extend(listing.finish(&mut self.known)),
            UnderWay::Change(change) => self.outbox.push_back(change.finish(&mut self.known)),
        }
        self.in_step();
        Ok(())
    }

    /// What is held is what a daemon has.
    fn in_step(&mut self) {
        self.refusing = None;
        let Some(line) = &self.line else { return };
        self.client.settle_on(line.lines.base());
        // Another daemon resumes nothing. Connections that all break after the full state would have it sent again and
        // again without a rest, if each counted as a success at once.
        if self.config.urls.len() == 1 || line.opened.elapsed() >= self.config.silence / 2 {
            self.tried = 0;
            self.backoff.reset();
        }
    }

    // === registries behind ===

    fn behind(&self, registries: &wire::Registries<'_>) -> Result<Vec<Behind>, RegistryError> {
        map::behind(registries, Instant::now())
            .map_err(|problem| self.document(format!("registries: {problem}")))
    }

    /// What is to be told of the registries behind the daemon; nothing where it is refused for one of them, which is this
    /// daemon itself.
    fn unless_it_leads_back(&mut self, behind: Vec<Behind>) -> Result<Option<Event>, RegistryError> {
        let Some(line) = &mut self.line else {
            return Ok(None);
        };
        let instance = line.instance;
        let Some(found) = Loop::find(self.control.instance(), &behind) else {
            if line.refused.is_some() {
                // It may be taken again, from the beginning.
                self.known.revision = None;
                let message = format!(
                    "{}: it does not lead back to this daemon any more",
                    line.lines.url()
                );
                return Err(RegistryError::new(ErrorKind::Unavailable, message));
            }
            return Ok(Some(Event::Behind {
                instance: Some(instance),
                registries: behind,
            }));
        };
        let message = format!(
            "{}: the daemon has its services from this one in turn, as {}; take one of the two from the other's registries",
            line.lines.url(),
            found.ways.join(", ")
        );
        line.under_way = UnderWay::Nothing;
        self.known.revision = None;
        let news = line.refused.is_none();
        let since = *line.refused.get_or_insert_with(Instant::now);
        let error = RegistryError::new(ErrorKind::Configuration, message);
        let own = self.known.take_own(&found);
        // What is told of a refused daemon lets that one refuse as well. It stays until another is taken: if it came and
        // went with each look at the others, the two would refuse by turns.
        if self.refusing.is_some_and(|told| told != instance) {
            if !own.is_empty() {
                self.outbox.push_back(own);
            }
            return Err(error);
        }
        let met_again = self.refusing.replace(instance).is_some();
        if !met_again {
            tracing::error!(registry = %self.control.registry(), error = error.report(), "refused");
        }
        let mut batch = vec![Event::Behind {
            instance: Some(instance),
            registries: found.cut.clone(),
        }];
        batch.extend(own);
        let stays = self.config.urls.len() == 1
            || (met_again && (news || since.elapsed() <= self.config.silence * 2));
        if stays || !news {
            batch.push(Event::degraded(Scope::Registry, error));
        }
        self.outbox.push_back(batch);
        if !stays {
            self.look_around();
        }
        Ok(None)
    }

    // === errors ===

    fn read<'a, T: serde::Deserialize<'a>>(&self, what: &str, data: &'a [u8]) -> Result<T, RegistryError> {
        serde_json::from_slice(data).map_err(|error| self.document(format!("{what}: {}", map::told(&error))))
    }

    fn document(&self, problem: impl Into<String>) -> RegistryError {
        match &self.line {
            Some(line) => document(&line.lines, problem),
            None => RegistryError::new(ErrorKind::Internal, problem),
        }
    }
}

fn document(lines: &Lines, problem: impl Into<String>) -> RegistryError {
    let error = Error::Document {
        url: lines.url().clone(),
        problem: problem.into(),
    };
    error.into()
}

/// Asks the daemons for something small, to see whether they can be asked.
pub(super) async fn probe(config: &DaemonConfig) -> Result<(), RegistryError> {
    let client = client(config)?;
    let request = Request::get("/v1/registries")
        .with_deadline(config.http.request_timeout.min(Duration::from_secs(10)))
        .with_fail_over(FailOver::always());
    let answer = client.send(&request).await.map_err(Error::from)?;
    if !answer.is_success() {
        return Err(Error::status(&answer).into());
    }
    let daemon = serde_json::from_slice::<wire::Daemon<'_>>(answer.body()).map_err(|error| map::told(&error));
    let instance = daemon.and_then(|daemon| daemon.instance.0.parse::<InstanceId>());
    instance.map(drop).map_err(|problem| {
        let error = Error::Document {
            url: answer.url().clone(),
            problem,
        };
        error.into()
    })
}
