//! The poll of the catalogue: which services there are, and whether the servers have a leader.

use std::collections::HashSet;
use std::time::Duration;

use registry_core::{Backoff, Event, RegistryError, Scope, Str};
use registry_http::Response;
use tokio::time::Instant;

use super::{Session, What};
use crate::consul::answer::{self, Headers};
use crate::consul::config::Consistency;
use crate::consul::memory::Memory;
use crate::consul::tracked::{Answered, Pace, Tracked, next_index};
use crate::error::Error;

/// How often to look for a leader while there is none.
const LEADERLESS: Duration = Duration::from_secs(2);

/// Where the poll of the catalogue stands.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) under_way: bool,
    pub(super) due: Instant,
    /// It was read once.
    pub(super) listed: bool,
    /// It listed the servers themselves before, and does not any more.
    pub(super) blind: bool,
    index: u64,
    /// Which of the base URLs answered last.
    base: Option<usize>,
    pace: Pace,
    /// Ask any server: the leader did not answer.
    any_server: bool,
    leaderless_since: Option<Instant>,
    backoff: Backoff,
}

/// An answer about the catalogue.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) headers: Headers,
    pub(super) names: Vec<Str>,
    url: registry_http::RedactedUrl,
    base: usize,
    resent: bool,
}

impl Catalog {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            under_way: false,
            due: now,
            listed: false,
            blind: false,
            index: 0,
            base: None,
            pace: Pace::default(),
            any_server: false,
            leaderless_since: None,
            backoff: Backoff::default(),
        }
    }
}

impl Catalog {
    /// A connection broke: the server may be another one by now, or may have been wiped. Asked with an index from before,
    /// it would be blind for a whole wait.
    pub(super) fn distrust_index(&mut self) {
        if !self.under_way {
            self.index = 0;
        }
    }
}

impl Session {
    pub(super) fn start_catalog(&mut self, now: Instant) {
        if self.catalog.under_way || now < self.catalog.due {
            return;
        }
        self.catalog.under_way = true;
        // The leader answers this one query, whatever the consistency of the others: a lost leader shows at once, where
        // parked stale polls sleep through an election. While there is none, any server will do.
        let consistency = match self.config.consistency {
            Consistency::Consistent => Consistency::Consistent,
            _ if self.catalog.any_server => Consistency::Stale,
            // A server that was started again answers all other reads, with a leader and no delay, while it still plays its
            // log: what is registered is not there yet, and a service that comes later in the log is gone. Only this read
            // waits for the end of that. Nothing may be known to compare with, so no listing begins without it.
            _ if !self.catalog.listed => Consistency::Consistent,
            _ => Consistency::Default,
        };
        let (queries, asked) = (self.queries.clone(), self.catalog.index);
        let leader = consistency != Consistency::Stale;
        self.spawn(What::Catalog { asked, leader }, async move {
            queries.catalog(asked, consistency).await
        });
    }

    /// Takes an answer. An error ends the watch.
    pub(super) fn take_catalog(
        &mut self,
        asked: u64,
        leader: bool,
        result: Result<Response, Error>,
        started: Instant,
        now: Instant,
    ) -> Result<(), Error> {
        let read = match result.and_then(|response| self.read_names(&response)) {
            Ok(read) => read,
            // The first listing did not even begin, or nobody listens there any more: all polls start over.
            Err(error) if !self.catalog.listed || error.is_unreachable() => return Err(error),
            Err(error) => {
                if error.is_refused_by_limit() {
                    self.refused_by_limit(started, now);
                }
                if error.is_of_the_connection() {
                    self.suspect_server("the connection of the catalogue's poll broke", now);
                }
                self.catalog.index = 0;
                self.catalog.any_server = true;
                let error = RegistryError::from(error);
                let delay = self
                    .catalog
                    .backoff
                    .next_delay()
                    .max(error.retry_after().unwrap_or_default());
                self.catalog.due = now + delay;
                self.batch.push(Event::degraded(Scope::Registry, error));
                return Ok(());
            }
        };
        self.note_history(&read, leader, started, now);
        let Read {
            headers, names, url, ..
        } = read;
        if asked > 0 || headers.index == 0 {
            self.catalog.backoff.reset();
        }
        self.grow_budget(now);

        let changed = self.compare(&names, now);
        let answered = Answered {
            asked,
            index: headers.index,
            took: now - started,
            changed,
            // Any registration moves this index, also one that adds no name.
            woken: headers.index > asked,
        };
        let delay = self.catalog.pace.delay(answered, self.config.wait);
        self.catalog.index = next_index(asked, headers.index);
        self.catalog.due = now + self.config.catalog_interval.max(delay);
        if self.is_hybrid() && !changed && headers.index > asked {
            // An instance of a known service was added or removed: the checks may say of which.
            self.detector.due = self.detector.due.min(now + Duration::from_secs(1));
        }

        let fresh = self.judge_freshness(headers, now, &url);
        if !self.catalog.listed {
            self.catalog.listed = true;
            let strong = super::service::lock(&self.memory).strong;
            self.begin_round(strong, now);
        } else if let Err(error) = fresh {
            self.batch
                .push(Event::degraded(Scope::Registry, RegistryError::from(error)));
        } else {
            self.batch.push(Event::Confirmed(Scope::Registry));
        }
        Ok(())
    }

    /// Reads the names in the catalogue.
    pub(super) fn read_names(&mut self, response: &Response) -> Result<Read, Error> {
        let listed = answer::catalog(response, &self.config)?;
        self.note_servers(listed.servers);
        Ok(Read {
            headers: Headers::of(response),
            names: listed.names.iter().map(|name| self.interner.text(name)).collect(),
            url: response.url().clone(),
            base: response.base(),
            resent: response.is_resent(),
        })
    }

    /// Notes what an answer about the catalogue says of the server that gave it.
    pub(super) fn note_history(&mut self, read: &Read, leader: bool, started: Instant, now: Instant) {
        if self
            .catalog
            .base
            .replace(read.base)
            .is_some_and(|base| base != read.base)
        {
            self.suspect_server("another base URL answers", now);
        }
        if read.resent {
            self.suspect_server("a kept connection broke", now);
        }
        // Any other server than the leader may be behind.
        if leader && super::service::lock(&self.memory).note_catalog(read.headers.index, started, now) {
            tracing::warn!(
                registry = %self.control.registry(),
                "the catalogue's index went back: the server was wiped, restored, or is another one",
            );
            self.suspect_server("the catalogue's index went back", now);
        }
    }

    fn note_servers(&mut self, listed: bool) {
        let mut memory = super::service::lock(&self.memory);
        memory.servers_listed |= listed;
        let blind = memory.servers_listed && !listed;
        if blind && !self.catalog.blind {
            tracing::warn!(
                registry = %self.control.registry(),
                "the catalogue does not list `consul` any more: the token lost rights, and nothing is removed",
            );
        }
        self.catalog.blind = blind;
    }

    fn judge_freshness(
        &mut self,
        headers: Headers,
        now: Instant,
        url: &registry_http::RedactedUrl,
    ) -> Result<(), Error> {
        let bound = self.config.max_stale;
        let behind = |problem: String| {
            Err(Error::Behind {
                url: url.clone(),
                problem,
            })
        };
        if headers.leader {
            self.catalog.any_server = false;
            self.catalog.leaderless_since = None;
        } else {
            let since = *self.catalog.leaderless_since.get_or_insert(now);
            self.catalog.any_server = true;
            self.catalog.index = 0;
            self.catalog.due = now + LEADERLESS;
            if now - since >= bound {
                return behind(format!(
                    "the server has known no leader for {} s",
                    (now - since).as_secs()
                ));
            }
        }
        if headers.behind > bound {
            // A parked poll would not tell when it has caught up.
            self.catalog.index = 0;
            self.catalog.due = now + LEADERLESS;
            return behind(format!(
                "the server heard of its leader {} s ago",
                headers.behind.as_secs()
            ));
        }
        Ok(())
    }

    /// Begins to watch names that are new, and reads once more those that are gone: only that decides. True where the
    /// names are not the same as before.
    pub(super) fn compare(&mut self, names: &[Str], now: Instant) -> bool {
        let mut changed = false;
        for name in names {
            match self.services.get_mut(name) {
                Some(tracked) if tracked.listed => {}
                Some(tracked) => {
                    changed = true;
                    tracked.listed = true;
                    self.read_soon(name, now);
                }
                None => {
                    changed = true;
                    self.services.insert(name.clone(), Tracked::new(now));
                    self.read_soon(name, now);
                }
            }
        }
        let listed: HashSet<&Str> = names.iter().collect();
        // Services of an earlier watch whose names are gone by now want the same proof.
        let remembered: Vec<Str> = {
            let memory: &Memory = &super::service::lock(&self.memory);
            memory
                .services
                .keys()
                .filter(|name| !self.services.contains_key(*name))
                .cloned()
                .collect()
        };
        for name in remembered {
            if self.config.wants(&name, &[]) || !self.config.tags.is_empty() {
                self.services.insert(name.clone(), Tracked::new(now));
            }
        }
        let gone: Vec<Str> = self
            .services
            .keys()
            .filter(|name| !listed.contains(*name))
            .cloned()
            .collect();
        let mut newly_gone = Vec::new();
        for name in &gone {
            if let Some(tracked) = self.services.get_mut(name)
                && std::mem::take(&mut tracked.listed)
            {
                newly_gone.push(name.clone());
            }
        }
        changed |= !newly_gone.is_empty();
        if self.round.is_none() && self.is_mass_of_names(&newly_gone) {
            // One by one they would be gone before anybody could see how many they are.
            self.suspect("many names are gone from the catalogue at once", now);
            self.want_listing(true);
        } else {
            for name in &gone {
                self.read_soon(name, now);
            }
        }
        changed
    }
}
