//! One watch: when to look, and what to tell of it. All of it runs inside the stream that the supervisor polls.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Backoff, Control, Event, RegistryError, Scope};
use tokio::time::{Instant, sleep_until};

use super::config::HttpSdConfig;
use super::map::Reading;
use super::source::{Closely, Look, Source};
use super::table::Table;
use crate::error::Error;

/// How often files are looked at: a stat each.
const GLANCE: Duration = Duration::from_secs(1);

/// One watch.
#[derive(Debug)]
pub(crate) struct Session {
    source: Source,
    reading: Reading,
    table: Table,
    control: Control,
    interval: Duration,
    /// How long nothing is said at most.
    silence: Duration,
    /// A tenth of the interval, in which polls of many daemons spread.
    jitter: Backoff,
    backoff: Backoff,
    /// What the documents say is not what is in the table yet. So it begins.
    dirty: bool,
    /// Everything was told once.
    listed: bool,
    /// The last listing lacked what could not be read: of what it does not name, nothing is gone by its word.
    partly: bool,
    /// The answer to a wish is outstanding, and how closely it wants to be looked at.
    wished: Option<Closely>,
    next_look: Instant,
    /// When something was last said of the whole.
    said: Instant,
    /// Why not all can be read, while that is so, and until when the server asked to be left alone.
    trouble: Option<Arc<RegistryError>>,
    rest_until: Option<Instant>,
}

impl Session {
    pub(crate) fn try_new(config: &HttpSdConfig, control: Control) -> Result<Self, Error> {
        let now = Instant::now();
        let spread = config.interval / 5;
        Ok(Self {
            source: Source::try_new(config)?,
            reading: Reading::new(config.clone(), control.ports().clone()),
            table: Table::default(),
            control,
            interval: config.interval,
            silence: config.interval + config.http.request_timeout,
            jitter: Backoff::new(spread, spread),
            backoff: Backoff::default(),
            dirty: true,
            listed: false,
            partly: false,
            wished: None,
            next_look: now,
            said: now,
            trouble: None,
            rest_until: None,
        })
    }

    /// What happened next.
    pub(crate) async fn next_batch(&mut self) -> Vec<Event> {
        loop {
            // A server may ask to be left alone for long. A watch that says nothing is taken for dead.
            let wake = self.next_look.min(self.said + self.silence);
            // A wish is taken only here, where nothing is under way: what is looked at from now on answers it.
            tokio::select! {
                wish = self.control.resync_requested() => {
                    let closely = if wish.strong { Closely::Anew } else { Closely::Read };
                    self.wished = self.wished.max(Some(closely));
                }
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            let rests = self.rest_until.is_some_and(|until| now < until);
            let batch = match &self.trouble {
                Some(error) if rests || (now < self.next_look && self.wished.is_none()) => {
                    vec![Event::degraded(Scope::Registry, error.clone())]
                }
                _ => self.look().await,
            };
            if !batch.is_empty() {
                self.said = Instant::now();
                return batch;
            }
        }
    }

    /// Looks, and says what came of it. Nothing where files did not change, and that was said not long ago.
    async fn look(&mut self) -> Vec<Event> {
        let closely = self.wished.unwrap_or(Closely::Glance);
        let meter = self.control.meter();
        let look = self.source.look(closely, &mut self.reading, meter).await;
        let now = Instant::now();
        self.dirty |= look.changed;
        self.plan(&look, now);
        let Some(error) = look.trouble else {
            let is_due = self.recovered() || self.source.is_remote() || now >= self.said + self.interval;
            return if self.wished.take().is_some() || self.dirty || self.partly {
                self.listing(None)
            } else if is_due {
                vec![Event::Confirmed(Scope::Registry)]
            } else {
                Vec::new()
            };
        };
        self.troubled(&error);
        if !self.source.is_remote() {
            // What could be read has been, and is read again when it changes.
            self.wished = self.wished.map(|_| Closely::Glance);
        }
        // What was never read may have said something before this watch began, of any service.
        if self.dirty && (look.complete || self.listed) {
            return self.listing(Some(error));
        }
        vec![Event::degraded(Scope::Registry, error)]
    }

    /// When to look again.
    fn plan(&mut self, look: &Look, now: Instant) {
        self.rest_until = None;
        if look.trouble.is_none() {
            self.backoff.reset();
        }
        self.next_look = now
            + match look.trouble {
                // Who mends a file waits for it to be seen.
                _ if !self.source.is_remote() => self.interval.min(GLANCE),
                Some(_) => self.backoff.next_delay(),
                None => self.interval * 9 / 10 + self.jitter.next_delay(),
            };
    }

    /// Everything that there is, but for what could not be read.
    fn listing(&mut self, unread: Option<Arc<RegistryError>>) -> Vec<Event> {
        if std::mem::take(&mut self.dirty) {
            self.table
                .replace(self.source.groups(), &mut self.reading.interner);
        }
        self.listed = true;
        self.partly = unread.is_some();
        let mut events = Event::listing(Scope::Registry, self.table.records());
        if let (Some(Event::InitDone { unread: scopes, .. }), Some(error)) = (events.last_mut(), unread) {
            scopes.push((Scope::Registry, error));
        }
        events
    }

    /// What there was stays, and ages.
    fn troubled(&mut self, error: &Arc<RegistryError>) {
        if let Some(rest) = error.retry_after() {
            let until = Instant::now() + rest;
            self.rest_until = Some(until);
            self.next_look = self.next_look.max(until);
        }
        let registry = self.control.registry();
        let (kind, report) = (error.kind().as_str(), error.report());
        let before = self.trouble.replace(error.clone());
        // Not all that a server in trouble says each time is worth a line.
        if before.is_none_or(|before| before.kind() != error.kind()) {
            tracing::warn!(%registry, kind, error = report, "not all can be read; what is known stays, attempts go on");
        } else {
            tracing::debug!(%registry, kind, error = report, "still not all can be read");
        }
    }

    /// True where not all could be read before.
    fn recovered(&mut self) -> bool {
        let recovered = self.trouble.take().is_some();
        if recovered {
            tracing::info!(registry = %self.control.registry(), "all can be read again");
        }
        recovered
    }
}
