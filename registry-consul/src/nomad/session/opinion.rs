//! What others than the catalogue say of instances: their checks, and the states of their allocations. Both are opt-in.

use std::collections::HashMap;
use std::time::Duration;

use registry_core::{ServiceId, Str};
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use super::{Session, What};
use crate::error::Error;
use crate::nomad::allocations::{Allocations, Reading};
use crate::nomad::answer::{self, CheckResult, Headers};
use crate::nomad::checks::Checks;
use crate::nomad::config::{Ghosts, NomadConfig};
use crate::nomad::map::Status;
use crate::nomad::query::Queries;
use crate::nomad::wire::Instance;

/// The time between two readings of all allocations.
const INTERVAL: Duration = Duration::from_secs(30);

/// Failures in a row after which what was read before says nothing any more.
const KEPT: u32 = 3;

/// Most allocations of one reading: beyond, nothing is said of any.
const MOST: usize = 1_000_000;

/// Who is asked for an opinion.
pub(super) struct Opinions {
    checks: Option<Checks>,
    ghosts: Ghosts,
    /// Of each feed.
    allocations: Vec<OfFeed>,
    /// What was read before this counts for nothing any more.
    generation: u64,
}

struct OfFeed {
    readings: Allocations,
    due: Instant,
    under_way: bool,
    failures: u32,
    generation: u64,
}

pub(super) enum Asked {
    Checks(Str),
    Allocations { feed: usize, generation: u64 },
}

pub(super) enum Answer {
    Checks(Result<HashMap<String, CheckResult>, Error>),
    Allocations(Result<Reading, Error>),
}

impl Opinions {
    pub(super) fn new(config: &NomadConfig, feeds: usize, now: Instant) -> Self {
        let checks = config.checks.as_ref();
        let allocations = (0..feeds).map(|_| OfFeed {
            readings: Allocations::default(),
            due: now,
            under_way: false,
            failures: 0,
            generation: 0,
        });
        Self {
            checks: checks.map(|checks| Checks::new(checks.interval, checks.concurrency)),
            ghosts: config.ghosts,
            allocations: allocations.collect(),
            generation: 0,
        }
    }

    fn reads_allocations(&self) -> bool {
        self.ghosts != Ghosts::Keep
    }

    /// True where anybody is asked.
    pub(super) fn are_wanted(&self) -> bool {
        self.checks.is_some() || self.reads_allocations()
    }

    /// What is to be said of an instance; nothing where it is to be left out.
    pub(super) fn status(&self, feed: Option<usize>, instance: &Instance<'_>) -> Option<Status> {
        let (namespace, service) = (&instance.namespace, &instance.service_name);
        self.judge(
            feed,
            &instance.allocation,
            namespace,
            service,
            instance.create_index,
        )
    }

    fn judge(
        &self,
        feed: Option<usize>,
        allocation: &str,
        namespace: &str,
        service: &str,
        registered: u64,
    ) -> Option<Status> {
        let of_allocation = feed
            .and_then(|feed| self.allocations.get(feed))
            .and_then(|of_feed| of_feed.readings.status(namespace, allocation, registered));
        let checked = self
            .checks
            .as_ref()
            .and_then(|checks| checks.result(allocation, service));
        match (of_allocation, checked) {
            (Some(Status::Ghost), _) if self.ghosts == Ghosts::Drop => None,
            (Some(Status::Ghost), _) => Some(Status::Ghost),
            (_, Some(CheckResult::Failure)) => Some(Status::Failure),
            (Some(status), _) => Some(status),
            (None, Some(CheckResult::Pending)) => Some(Status::Pending),
            (None, Some(CheckResult::Success)) => Some(Status::Success),
            (None, None) => Some(Status::Registered),
        }
    }

    /// What was read of the allocations of that feed says nothing any more: rights came or went.
    pub(super) fn forget_allocations(&mut self, feed: usize) {
        self.generation += 1;
        if let Some(of_feed) = self.allocations.get_mut(feed) {
            of_feed.readings = Allocations::default();
            of_feed.generation = self.generation;
        }
    }

    pub(super) fn reset(&mut self) {
        for feed in 0..self.allocations.len() {
            self.forget_allocations(feed);
        }
    }

    pub(super) fn forget(&mut self, service: &ServiceId) {
        if let Some(checks) = &mut self.checks {
            checks.watch(service, Vec::new(), Instant::now());
        }
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        let checks = self.checks.as_ref().and_then(Checks::wake);
        let allocations = self
            .allocations
            .iter()
            .filter(|of_feed| !of_feed.under_way)
            .map(|of_feed| of_feed.due);
        let allocations = allocations.min().filter(|_| self.reads_allocations());
        checks.into_iter().chain(allocations).min()
    }
}

impl Session {
    /// Notes where the instances of a service run, after it was read.
    pub(super) fn note_allocations(&mut self, service: &ServiceId, now: Instant) {
        let Some(tracked) = self.services.get_mut(service) else {
            return;
        };
        let instances: Vec<Instance<'_>> = tracked
            .body
            .as_deref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default();
        let allocations: Vec<(Str, u64)> = instances
            .iter()
            .map(|instance| (self.interner.text(&instance.allocation), instance.create_index))
            .collect();
        if let Some(checks) = &mut self.opinions.checks {
            let mut names: Vec<Str> = allocations.iter().map(|(name, _)| name.clone()).collect();
            names.retain(|name| !name.is_empty());
            names.sort_unstable();
            names.dedup();
            checks.watch(service, names, now);
        }
        tracked.allocations = allocations;
        let opinion = self.opinion_of(service);
        if let Some(tracked) = self.services.get_mut(service) {
            tracked.opinion = opinion;
        }
    }

    /// A number that changes with what is thought of the instances of a service.
    fn opinion_of(&self, service: &ServiceId) -> u64 {
        let Some(tracked) = self.services.get(service) else {
            return 0;
        };
        let feed = self.feed_of(service);
        let mut hasher = Xxh3::new();
        for (allocation, registered) in &tracked.allocations {
            let status =
                self.opinions
                    .judge(feed, allocation, service.namespace(), service.name(), *registered);
            hasher.update(&[status.map_or(0, |status| status as u8 + 1)]);
        }
        hasher.digest()
    }

    pub(super) fn start_opinions(&mut self, now: Instant) {
        while let Some(checks) = &mut self.opinions.checks
            && let Some((allocation, namespace)) = checks.begin(now)
        {
            let queries = self.queries.clone();
            self.spawn(async move {
                let response = queries.checks(&allocation, &namespace).await;
                let results = response.and_then(|response| answer::checks(&response));
                What::Opinion(Asked::Checks(allocation), Answer::Checks(results))
            });
        }
        if !self.opinions.reads_allocations() {
            return;
        }
        for feed in 0..self.feeds.len() {
            let of_feed = &mut self.opinions.allocations[feed];
            if of_feed.under_way || of_feed.due > now {
                continue;
            }
            if self.feeds[feed].error.is_some() {
                of_feed.due = now + INTERVAL;
                continue;
            }
            of_feed.under_way = true;
            let generation = of_feed.generation;
            let (queries, namespace) = (self.queries.clone(), self.feeds[feed].namespace.clone());
            self.spawn(async move {
                let reading = read_allocations(&queries, &namespace).await;
                let asked = Asked::Allocations { feed, generation };
                What::Opinion(asked, Answer::Allocations(reading))
            });
        }
    }

    pub(super) fn take_opinion(&mut self, asked: Asked, answer: Answer, now: Instant) {
        match (asked, answer) {
            (Asked::Checks(allocation), Answer::Checks(results)) => {
                if let Err(error) = &results {
                    tracing::debug!(registry = %self.control.registry(), %allocation, %error, "no results of checks");
                }
                let Some(checks) = &mut self.opinions.checks else {
                    return;
                };
                let services = checks.answered(&allocation, results.ok(), now);
                self.tell_opinions(services);
            }
            (Asked::Allocations { feed, generation }, Answer::Allocations(reading)) => {
                self.take_allocations(feed, generation, reading, now);
            }
            _ => {}
        }
    }

    fn take_allocations(
        &mut self,
        feed: usize,
        generation: u64,
        reading: Result<Reading, Error>,
        now: Instant,
    ) {
        let of_feed = &mut self.opinions.allocations[feed];
        of_feed.under_way = false;
        of_feed.due = now + INTERVAL;
        if of_feed.generation != generation {
            return;
        }
        match reading {
            Ok(reading) => {
                of_feed.failures = 0;
                of_feed.readings.take(reading);
            }
            Err(error) => {
                tracing::debug!(registry = %self.control.registry(), %error, "the allocations cannot be read");
                of_feed.failures += 1;
                if of_feed.failures < KEPT && !error.is_denied() {
                    return;
                }
                of_feed.readings = Allocations::default();
            }
        }
        let of_feed = self
            .services
            .keys()
            .filter(|service| self.feed_of(service) == Some(feed));
        let services: Vec<ServiceId> = of_feed.cloned().collect();
        self.tell_opinions(services);
    }

    /// Tells of those services anew of which something else is thought now, and which can be read: of what is hidden by
    /// missing rights nothing is known.
    fn tell_opinions(&mut self, services: Vec<ServiceId>) {
        for service in services {
            let opinion = self.opinion_of(&service);
            let Some(tracked) = self.services.get_mut(&service) else {
                continue;
            };
            if tracked.opinion == opinion || !tracked.listed || tracked.error.is_some() {
                continue;
            }
            tracked.opinion = opinion;
            self.tell_again(&service, Vec::new(), false);
        }
    }
}

async fn read_allocations(queries: &Queries, namespace: &str) -> Result<Reading, Error> {
    let mut reading = Reading::new(namespace, u64::MAX);
    let mut page: Option<String> = None;
    loop {
        let response = queries.allocations(namespace, page.as_deref()).await?;
        let index = Headers::of(&response).index;
        let url = response.url().clone();
        if index == 0 {
            return Err(Error::Index { url });
        }
        let before = reading.len();
        reading.add(&answer::allocations(&response)?, index);
        page = response
            .header_str("X-Nomad-NextToken")
            .filter(|next| !next.is_empty())
            .map(str::to_owned);
        if page.is_none() {
            return Ok(reading);
        }
        // What was not read must not be taken for absent.
        if reading.len() == before || reading.len() > MOST {
            let problem = "the pages of allocations do not come to an end".to_owned();
            return Err(Error::Behind { url, problem });
        }
    }
}
