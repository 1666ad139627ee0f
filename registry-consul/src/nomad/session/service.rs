//! Reads of single services: what their answers are worth, and what is told of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use registry_core::{Backoff, ErrorKind, Event, RegistryError, Scope, ServiceId, ServiceRecord, Str};
use registry_http::Response;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::{Read, Session};
use crate::error::Error;
use crate::nomad::answer::{self, Headers};
use crate::nomad::plan::{Haste, Verdict};

/// Most removals that are remembered of one service until it is read.
const ANNOUNCED: usize = 10_000;

/// How long a server gets to come as far as the one that told of a change.
const BEHIND: Duration = Duration::from_millis(50);

/// How often the leader may be behind what an event told of, until that is no more believed.
const MOST_BEHIND: u32 = 8;

/// How often a service whose list is fine may fail to be read for reasons of the connection before that is told.
const PATIENT: u32 = 3;

/// How long to wait until rights that are missing are looked for again.
const DENIED: Duration = Duration::from_secs(30);

/// What is known of one service.
#[derive(Default)]
pub(super) struct Tracked {
    /// The last list has it.
    pub(super) listed: bool,
    /// What was told of it last.
    pub(super) record: Option<ServiceRecord>,
    /// It was read once.
    known: bool,
    /// Of the last body.
    digest: u64,
    /// The last body, where opinions on instances may change without it.
    pub(super) body: Option<Bytes>,
    /// Allocations of its instances and when they were registered, under the same condition.
    pub(super) allocations: Vec<(Str, u64)>,
    /// Of what was thought of them when it was told last.
    pub(super) opinion: u64,
    /// Instances that were said to be removed, and at which index.
    announced: BTreeMap<Str, u64>,
    /// Why it could not be read, where that was told.
    pub(super) error: Option<Arc<RegistryError>>,
    failures: u32,
    backoff: Backoff,
    behind: u32,
    /// When it is to be read again.
    retry: Option<Instant>,
    /// The leader is to be asked next.
    pub(super) leader: bool,
    /// Complete knowledge is wanted; in earnest where true.
    pub(super) wished: Option<bool>,
}

impl Tracked {
    /// True where it has no instances.
    pub(super) fn is_gone(&self) -> bool {
        self.known && self.record.is_none() && self.error.is_none()
    }

    /// True where it has no instances, and is not listed.
    pub(super) fn is_over(&self) -> bool {
        self.is_gone() && !self.listed
    }

    /// True where an instance is among those that were told of last.
    pub(super) fn has(&self, instance: &str) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| ids(record).any(|id| id == instance))
    }

    /// What was told of it is not known to anybody: it has to be told again, with what was removed.
    pub(super) fn untold(&mut self, gone: Vec<Str>) {
        self.known = false;
        for instance in gone {
            if self.announced.len() < ANNOUNCED {
                // Any answer from now on is of after that; a later removal counts as what it is.
                self.announced.entry(instance).or_insert(0);
            }
        }
    }

    /// Notes that an instance was removed.
    pub(super) fn announce(&mut self, instance: Str, index: u64) {
        if self.announced.len() < ANNOUNCED {
            self.announced.insert(instance, index);
        }
    }
}

/// The endpoints of a record by their ids in Nomad.
pub(super) fn ids(record: &ServiceRecord) -> impl Iterator<Item = &str> {
    record.endpoints().iter().map(|endpoint| endpoint.id())
}

impl Session {
    /// Keeps a service from now on.
    pub(super) fn track(&mut self, service: &ServiceId) -> &mut Tracked {
        self.plan.keep(service);
        self.services.entry(service.clone()).or_default()
    }

    pub(super) fn forget(&mut self, service: &ServiceId) {
        self.services.remove(service);
        self.plan.forget(service);
        self.opinions.forget(service);
        self.memory().known.remove(service);
    }

    pub(super) fn take_service(
        &mut self,
        read: &Read,
        result: Result<Response, Error>,
        started: Instant,
        now: Instant,
    ) {
        let service = read.reading.service.clone();
        let Some(tracked) = self.services.get_mut(&service) else {
            return;
        };
        if read.history != self.history {
            self.plan.failed(&read.reading);
            tracked.wished = tracked.wished.or(read.wished);
            self.plan.want(&service, Haste::Now);
            return;
        }
        let checked = result.and_then(|response| {
            let headers = Headers::of(&response);
            headers.check(self.config.max_stale, response.url())?;
            // Before it counts for anything: an answer about another service has an index all the same.
            let instances = answer::instances(&response, &service)?.len();
            if headers.index == 0 && instances > 0 {
                let url = response.url().clone();
                return Err(Error::Index { url });
            }
            Ok((headers, response))
        });
        let (headers, response) = match checked {
            Ok(checked) => checked,
            Err(Error::Behind { .. }) if !read.leader => {
                self.plan.failed(&read.reading);
                self.ask_leader(&service, read, now);
                return;
            }
            Err(error) => {
                self.plan.failed(&read.reading);
                self.fail(&service, read, error, started, now);
                return;
            }
        };
        if read.leader && headers.index < read.high {
            self.plan.failed(&read.reading);
            self.other_history(headers.index, now);
            return;
        }
        if self.plan.answered(&read.reading, headers.index) == Verdict::Behind {
            let Some(tracked) = self.services.get_mut(&service) else {
                return;
            };
            tracked.behind += 1;
            if !read.leader || tracked.behind < MOST_BEHIND {
                self.ask_leader(&service, read, now);
                return;
            }
            // What told of it was no word of this history.
            self.plan.settle(&service, headers.index);
        }
        if read.leader {
            let mut memory = self.memory();
            memory.high = memory.high.max(headers.index);
        }
        self.accept(&service, read, headers.index, response, now);
        self.service_in_round(&service, started, now);
    }

    /// Asks again, and the leader: the server that answered has not come so far.
    fn ask_leader(&mut self, service: &ServiceId, read: &Read, now: Instant) {
        if let Some(tracked) = self.services.get_mut(service) {
            tracked.leader = true;
            tracked.wished = tracked.wished.or(read.wished);
            let pause = BEHIND * tracked.behind.clamp(1, MOST_BEHIND);
            self.retry(service, now + pause);
        }
    }

    fn retry(&mut self, service: &ServiceId, at: Instant) {
        if let Some(tracked) = self.services.get_mut(service) {
            tracked.retry = Some(at);
            self.retries.push(Reverse((at, service.clone())));
        }
    }

    /// Wants everything again whose time has come.
    pub(super) fn start_retries(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.retries.peek()
            && *at <= now
        {
            let Some(Reverse((at, service))) = self.retries.pop() else {
                return;
            };
            if let Some(tracked) = self.services.get_mut(&service)
                && tracked.retry == Some(at)
            {
                tracked.retry = None;
                self.plan.want(&service, Haste::Now);
            }
        }
    }

    fn accept(&mut self, service: &ServiceId, read: &Read, index: u64, response: Response, now: Instant) {
        let in_round = self.is_round_open();
        let Some(tracked) = self.services.get_mut(service) else {
            return;
        };
        (tracked.failures, tracked.behind) = (0, 0);
        tracked.backoff.reset();
        let error = tracked.error.take();
        let degraded = error.is_some();
        if error.is_some_and(|error| error.kind() == ErrorKind::Denied)
            && let Some(feed) = self.feed_of(service)
        {
            // Allocations that were hidden are not gone.
            self.opinions.forget_allocations(feed);
        }
        let Some(tracked) = self.services.get_mut(service) else {
            return;
        };
        let digest = xxh3_64(response.body());
        let same = tracked.known && tracked.digest == digest && tracked.announced.is_empty();
        if same && !degraded && !in_round && read.wished.is_none() {
            if tracked.is_over() {
                self.forget(service);
            }
            return;
        }
        tracked.digest = digest;
        tracked.known = true;
        let gone: BTreeMap<Str, u64> = std::mem::take(&mut tracked.announced);
        // What was announced since that answer is for the next one.
        let (gone, later): (BTreeMap<_, _>, BTreeMap<_, _>) =
            gone.into_iter().partition(|(_, at)| *at <= index);
        tracked.announced = later;
        if self.opinions.are_wanted() {
            tracked.body = Some(response.into_body());
            self.note_allocations(service, now);
            self.tell_again(service, gone.into_keys().collect(), read.wished.is_some());
        } else if let Ok(instances) = answer::instances(&response, service) {
            let record = self.mapped(service, &instances);
            self.tell(
                service,
                &record,
                gone.into_keys().collect(),
                read.wished.is_some(),
            );
        }
    }

    fn fail(&mut self, service: &ServiceId, read: &Read, error: Error, started: Instant, now: Instant) {
        self.refused_by_limit(&error, started, now);
        let (denied, broken) = (
            error.is_denied(),
            error.is_of_the_connection() || error.is_refused_by_limit(),
        );
        let error = Arc::new(RegistryError::from(error));
        // All that is denied costs no more together than the comparison does.
        let services = u32::try_from(self.plan.len()).unwrap_or(u32::MAX);
        let denied_rest = DENIED.max(self.comparison_interval().saturating_mul(services));
        let feed = self.feed_of(service);
        if let Some(feed) = feed {
            if denied {
                self.opinions.forget_allocations(feed);
            } else if broken {
                // Its list tells whether that is so for all.
                self.feeds[feed].look_unless_failing(now);
            }
        }
        let Some(tracked) = self.services.get_mut(service) else {
            return;
        };
        tracked.failures += 1;
        tracked.wished = tracked.wished.or(read.wished);
        let mut rest = tracked
            .backoff
            .next_delay()
            .max(error.retry_after().unwrap_or_default());
        if denied {
            rest = rest.max(denied_rest);
        }
        // A connection that breaks says nothing of a single service.
        let told = !broken || tracked.failures >= PATIENT;
        let again = told && tracked.error.replace(error.clone()).is_some();
        self.retry(service, now + rest);
        if !told {
            return;
        }
        let awaited = self.round.as_ref().is_some_and(|round| round.awaits(service));
        if let Some(round) = &mut self.round
            && awaited
        {
            // What is denied, or failed before, may well fail for long: nothing is gained by making everyone wait for it.
            if denied || again {
                round.leave_out(service, error);
            }
        } else {
            self.batch.push(Event::Degraded {
                scope: Scope::Service(service.clone()),
                error,
            });
        }
        self.end_round_if_due(now);
    }
}
