//! The answers about one service.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use registry_core::{ErrorKind, Event, RegistryError, Scope, ServiceId, Str};
use registry_http::Response;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::opinion::Word;
use super::{Asked, Session};
use crate::consul::answer::{self, Headers};
use crate::consul::detector::node_hash;
use crate::consul::map::{self, Mapping};
use crate::consul::memory::{Circumstances, Seen, Verdict, identity, judge};
use crate::consul::tracked::{Answered, next_index};
use crate::error::Error;

/// How long to wait before looking again at a service that is listed and shows no instance: the catalogue is read at
/// most this often, and may say by then that it is gone.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// How often to look at a service whose loss waits for a complete listing.
const WAITING: Duration = Duration::from_secs(5);

pub(super) fn id(name: &Str) -> ServiceId {
    ServiceId::named(name.clone())
}

pub(super) fn no_answer() -> Arc<RegistryError> {
    Arc::new(RegistryError::new(ErrorKind::Unavailable, "no answer yet"))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How it shows that a token lost rights, where nothing in the answer says so.
const VANISHED: &str = "instances vanished while the index stood still: the token lost its rights";

/// What an answer came to.
enum Outcome {
    /// As before, to the byte.
    Same,
    /// Other bytes that mean the same to us.
    Alike,
    /// Read for the first time.
    First,
    /// Something else.
    Changed,
    /// The service is gone.
    Gone,
    /// To be looked at again.
    Doubtful,
    /// Instances are gone, which a complete listing has to confirm.
    Waiting,
    /// Instances are gone, and others are asked whether theirs are, too.
    Unvouched,
}

impl Session {
    pub(super) fn take_service(
        &mut self,
        name: &Str,
        asked: Asked,
        result: Result<Response, Error>,
        started: Instant,
        now: Instant,
    ) {
        if !self.services.contains_key(name) {
            return;
        }
        let taken = result.and_then(|response| {
            let headers = Headers::of(&response);
            Ok((
                headers,
                self.take_instances(name, asked, &response, headers, started, now)?,
            ))
        });
        match &taken {
            Ok((_, Outcome::Same | Outcome::Alike | Outcome::First | Outcome::Changed)) => {
                self.note_opinion(name, Word::Fine, now);
            }
            // It is looked at again.
            Ok((_, Outcome::Doubtful)) => {}
            Ok((_, Outcome::Gone)) => self.note_opinion(name, Word::Nothing, now),
            Ok((_, Outcome::Waiting | Outcome::Unvouched)) | Err(Error::Filtered { .. }) => {
                self.note_opinion(name, Word::Loss, now);
            }
            Err(_) => self.note_opinion(name, Word::Nothing, now),
        }
        match taken {
            Ok((_, Outcome::Gone)) => {
                match &mut self.round {
                    Some(round) => {
                        round.gone.insert(name.clone());
                    }
                    None => self.forget(name),
                }
                self.finish_in_round(name, asked, now);
                if self.is_awaited(name) {
                    // Not before the stronger read that the listing waits for says so, too.
                    self.read_soon(name, now);
                }
            }
            Ok((_, Outcome::Waiting)) => {
                if let Some(tracked) = self.services.get_mut(name) {
                    tracked.read_next = true;
                    tracked.index = 0;
                }
                // The instances may be back before the listing can begin.
                self.schedule(name, now + WAITING);
                self.want_listing(true);
            }
            Ok((_, Outcome::Unvouched)) => {
                if let Some(tracked) = self.services.get_mut(name) {
                    tracked.read_next = true;
                    tracked.index = 0;
                }
                self.schedule(name, now + WAITING);
            }
            Ok((headers, Outcome::Doubtful)) => {
                // An index that went back is settled by a full read at once; all else takes the catalogue's word.
                let back = headers.index == 0 || headers.index < asked.index;
                let second_look = SECOND_LOOK.max(self.config.catalog_interval * 2);
                if let Some(tracked) = self.services.get_mut(name) {
                    tracked.again.get_or_insert(now);
                    tracked.read_next = true;
                    tracked.index = 0;
                }
                self.schedule(name, now + if back { Duration::ZERO } else { second_look });
                // Its word is wanted soon, but a thousand services that go at once must not make a storm of it.
                self.catalog.due = self.catalog.due.min(now + self.config.catalog_interval / 4);
            }
            Ok((headers, outcome)) => {
                self.finish_in_round(name, asked, now);
                self.follow_up(name, asked.index, headers, &outcome, now - started, now);
            }
            Err(error) => self.fail(name, error, started, now),
        }
    }

    /// Reads an answer and says what it came to.
    fn take_instances(
        &mut self,
        name: &Str,
        asked: Asked,
        response: &Response,
        headers: Headers,
        started: Instant,
        now: Instant,
    ) -> Result<Outcome, Error> {
        let awaited = self.is_awaited(name);
        let epoch = self.doubt.epoch_of(started);
        let body = xxh3_64(response.body()).max(1);
        let (seen, history) = {
            let memory = lock(&self.memory);
            (memory.services.get(name).cloned(), memory.history)
        };
        let Some(tracked) = self.services.get_mut(name) else {
            return Ok(Outcome::Same);
        };
        if response.is_resent() {
            // The client mended it, and yet the server may be another one.
            tracked.epoch = 0;
        }
        // Only an answer as strong as was wished for grants the wish.
        let wished = tracked.wished.is_some_and(|strong| asked.strong || !strong);
        // An equal body with an index at which it was accepted before needs no second reading.
        if body == tracked.body && !awaited && !wished && tracked.listed && tracked.again.is_none() {
            if std::mem::take(&mut tracked.degraded) {
                self.batch.push(Event::Confirmed(Scope::Service(id(name))));
            }
            tracked.error = None;
            tracked.base = response.base();
            tracked.epoch = epoch.unwrap_or(tracked.epoch);
            if let Some(seen) = lock(&self.memory).services.get_mut(name) {
                seen.index = headers.index;
                seen.streaming = headers.streaming;
                seen.history = history;
                seen.filtered = false;
            }
            return Ok(Outcome::Same);
        }
        let instances = answer::instances(response, name)?;
        let mut identities: Box<[u64]> = instances.iter().map(identity).collect();
        identities.sort_unstable();
        let circumstances = Circumstances {
            instances: instances.len(),
            listed: tracked.listed,
            blind: self.catalog.blind,
            narrowed: self.config.narrows(),
            token: self.config.has_token(),
            again: tracked.again.is_some(),
            // Other reasons may have had it looked at before the catalogue could tell.
            in_time: tracked
                .again
                .is_some_and(|since| now - since >= SECOND_LOOK * 9 / 10),
            history,
            kin: seen.as_ref().is_some_and(|seen| {
                identities
                    .iter()
                    .all(|identity| seen.identities.binary_search(identity).is_ok())
            }),
            missing: seen.as_ref().is_some_and(|seen| {
                seen.identities
                    .iter()
                    .any(|identity| identities.binary_search(identity).is_err())
            }),
            unbroken: self.doubt.is_unbroken(tracked.epoch) && tracked.base == response.base(),
        };
        let filtered = |problem| {
            Err(Error::Filtered {
                url: response.url().clone(),
                problem,
            })
        };
        match judge(seen.as_ref(), headers, circumstances) {
            Verdict::Accept => {}
            Verdict::LookAgain => return Ok(Outcome::Doubtful),
            Verdict::Filtered(problem) => return filtered(problem),
            Verdict::Vanished => {
                self.note_vanished(name, now);
                return filtered(VANISHED);
            }
        }
        let before = seen.as_ref().map_or(0, |seen| seen.instances);
        let lost = seen.filter(|seen| circumstances.is_loss(seen, headers));
        // Who asked for this service alone and in earnest gets its answer.
        let insisted = wished && asked.strong;
        if let Some(seen) = lost.as_ref().filter(|_| self.round.is_none() && !insisted) {
            // The index of a service that may not be seen moves for many reasons. Who sees some of it, sees again.
            if seen.filtered && instances.is_empty() {
                return filtered(VANISHED);
            }
            let base = response.base();
            if let Some(why) = self.doubts(name, seen, instances.len(), headers, base, now) {
                tracing::debug!(
                    registry = %self.control.registry(),
                    service = %name,
                    "{} of {} instances are left, which a complete listing has to confirm: {why}",
                    instances.len(),
                    seen.instances,
                );
                return Ok(Outcome::Waiting);
            }
            if !self.is_vouched_for(name, started, now) {
                return Ok(Outcome::Unvouched);
            }
        }
        if self.round.is_none() {
            self.doubt.note(name, before, instances.len(), now);
        }
        let Some(tracked) = self.services.get_mut(name) else {
            return Ok(Outcome::Same);
        };
        let mapping = Mapping {
            tagged_address: self.config.tagged_address.as_deref(),
            ports: self.control.ports(),
        };
        let (record, skipped) = map::record(name, &instances, mapping, &mut self.interner);
        for problem in &skipped {
            tracing::warn!(registry = %self.control.registry(), service = %name, "instance left out: {problem}");
        }
        self.control.meter().count_skipped(skipped.len() as u64);

        if wished {
            tracked.wished = None;
        }
        tracked.again = None;
        tracked.degraded = false;
        tracked.error = None;
        tracked.base = response.base();
        tracked.epoch = epoch.unwrap_or(tracked.epoch);
        let content = record.endpoints().content_hash();
        // What is seen for the first time says nothing of how often it will change: it takes nobody's place.
        let outcome = match (std::mem::replace(&mut tracked.known, true), body == tracked.body) {
            (false, _) => Outcome::First,
            (true, _) if content != tracked.content => Outcome::Changed,
            (true, false) => Outcome::Alike,
            (true, true) => Outcome::Same,
        };
        if matches!(outcome, Outcome::First | Outcome::Changed) {
            tracked.changed = now;
        }
        tracked.body = body;
        tracked.content = content;
        tracked.nodes = instances
            .iter()
            .map(|instance| node_hash(&instance.node.node))
            .collect();

        // A complete listing under way holds back what is told in it. What is lost has to wait for its end; what is merely
        // new need not, and goes as a listing of its own.
        let listed_alone = match &self.round {
            None => wished,
            Some(_) if lost.is_some() => false,
            Some(_) => wished || (self.synced && matches!(outcome, Outcome::First | Outcome::Changed)),
        };
        let listing = |event| {
            let scope = Scope::Service(id(name));
            let open = listed_alone.then(|| Event::Init(scope.clone()));
            open.into_iter()
                .chain(event)
                .chain(listed_alone.then(|| Event::init_done(scope)))
        };
        if instances.is_empty() {
            match &mut self.round {
                // Until the listing is complete nothing is gone.
                Some(round) => {
                    round.gone.insert(name.clone());
                }
                None => {
                    lock(&self.memory).services.remove(name);
                }
            }
            let delete = Event::Delete {
                id: id(name),
                explicit: false,
            };
            self.batch.extend(listing((!listed_alone).then_some(delete)));
            return Ok(if tracked.listed { outcome } else { Outcome::Gone });
        }
        let seen = Seen {
            index: headers.index,
            streaming: headers.streaming,
            instances: instances.len(),
            identities,
            history,
            filtered: false,
        };
        lock(&self.memory).services.insert(name.clone(), seen);
        if let Some(round) = &mut self.round {
            round.gone.remove(name);
        }
        self.batch.extend(listing(Some(Event::apply(record))));
        Ok(outcome)
    }

    /// Schedules what follows an answer that was taken.
    fn follow_up(
        &mut self,
        name: &Str,
        asked: u64,
        headers: Headers,
        outcome: &Outcome,
        took: Duration,
        now: Instant,
    ) {
        let wait = self.config.wait;
        self.find_place(name, matches!(outcome, Outcome::Changed), now);
        let turn = self.turn_of(name);
        let Some(tracked) = self.services.get_mut(name) else {
            return;
        };
        // A read that succeeds between polls that fail is no recovery, or the two would chase each other.
        if asked > 0 || headers.index == 0 || !tracked.has_place {
            tracked.backoff.reset();
        }
        let answered = Answered {
            asked,
            index: headers.index,
            took,
            changed: matches!(outcome, Outcome::First | Outcome::Changed),
            woken: !matches!(outcome, Outcome::Same),
        };
        let delay = tracked.pace.delay(answered, wait);
        // A read beside a parked poll leaves that poll's index alone.
        if tracked.parked.is_some() || tracked.reading {
            // It was asked for while another read was under way.
            if tracked.read_next && !tracked.reading {
                self.schedule(name, now);
            }
            return;
        }
        tracked.index = next_index(asked, headers.index);
        let at = if tracked.read_next {
            now
        } else if tracked.has_place {
            now + delay
        } else {
            now + turn.max(delay)
        };
        self.schedule(name, at);
    }

    /// The time until the next turn of a service, spread so that services do not stay in step.
    fn turn_of(&self, name: &Str) -> Duration {
        let interval = self.sweep_interval();
        let spread = u32::from(xxh3_64(name.as_bytes()).to_le_bytes()[0]);
        interval - interval / 10 + interval * spread / (5 * 256)
    }

    fn fail(&mut self, name: &Str, error: Error, started: Instant, now: Instant) {
        if error.is_refused_by_limit() {
            self.refused_by_limit(started, now);
        }
        if matches!(error, Error::Http(_)) {
            self.catalog.distrust_index();
        }
        let broken = error.is_of_the_connection();
        let error = Arc::new(RegistryError::from(error));
        let awaited = self.is_awaited(name);
        let rate = f64::from(self.config.sweep_reads_per_second);
        #[allow(clippy::cast_precision_loss, reason = "far fewer services than 2^52")]
        let turn = Duration::from_secs_f64(self.services.len() as f64 / rate);
        let Some(tracked) = self.services.get_mut(name) else {
            return;
        };
        tracked.index = 0;
        if broken {
            tracked.epoch = 0;
        }
        tracked.error = Some(error.clone());
        let mut delay = tracked
            .backoff
            .next_delay()
            .max(error.retry_after().unwrap_or_default());
        if error.kind() == ErrorKind::Denied {
            // Rights that are missing are missing for long and for many: they are tried in turns.
            delay = delay.max(turn);
        }
        if awaited && (tracked.degraded || (self.synced && error.kind() == ErrorKind::Denied)) {
            // It failed before the listing, too, or will for long: nothing is gained by making everyone wait for it.
            tracked.degraded = true;
            if let Some(round) = &mut self.round {
                round.awaited.remove(name);
                round.gone.remove(name);
                round.unread.push((Scope::Service(id(name)), error));
            }
        } else if !awaited {
            // A listing says at its end what it could not read.
            tracked.degraded = true;
            self.batch.push(Event::Degraded {
                scope: Scope::Service(id(name)),
                error,
            });
        }
        tracked.read_next = true;
        // Also beside a parked poll, which may sleep for long.
        if !tracked.reading {
            self.schedule(name, now + delay);
        }
        self.end_round_if_due(now);
    }

    /// The token lost its rights to instances of this service: what others lack from now on may be of the same kind.
    fn note_vanished(&mut self, name: &Str, now: Instant) {
        let first = {
            let mut memory = lock(&self.memory);
            let seen = memory.services.get_mut(name);
            seen.is_some_and(|seen| !std::mem::replace(&mut seen.filtered, true))
        };
        if first {
            self.suspect("the token lost rights", now);
        }
    }

    fn is_awaited(&self, name: &Str) -> bool {
        self.round
            .as_ref()
            .is_some_and(|round| round.awaited.contains(name))
    }

    /// Notes that a listing has one service less to wait for.
    fn finish_in_round(&mut self, name: &Str, asked: Asked, now: Instant) {
        let Some(round) = &mut self.round else { return };
        // A poll that was parked before says nothing with the consistency that was wished for.
        if (asked.strong || !round.strong) && round.awaited.remove(name) {
            round.read += 1;
            round.deadline = now + super::PATIENCE;
        }
        self.end_round_if_due(now);
    }
}
