//! Requests to the servers: which one is asked, and what its answers mean before their bodies are read.

mod meaning;
#[cfg(test)]
pub(crate) mod pretended;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use registry_http::{HttpClient, RedactedUrl, Request};
use tokio::time::Instant;

use crate::config::EurekaConfig;
use crate::error::Error;
use crate::grid::Poll;
use crate::wire::{Application, Head, decode};

/// JSON is asked for; servers that know only XML would refuse to answer with anything else.
const ACCEPT: &str = "application/json, application/xml;q=0.5";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// All applications.
    Full,
    /// What changed of late.
    Delta,
}

/// The servers, and which one of them is in use.
#[derive(Debug)]
pub(crate) struct Transport {
    client: HttpClient,
    config: Arc<EurekaConfig>,
    ranks: Vec<u8>,
    #[cfg(test)]
    pretended: Option<Arc<dyn pretended::Pretend>>,
}

/// An answer that holds a document, as far as its head says.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Bytes,
    content_type: Option<String>,
    pub(crate) url: RedactedUrl,
    /// The server's clock, whole seconds.
    pub(crate) date: Option<SystemTime>,
    pub(crate) poll: Poll,
    /// A kept connection broke and the request was sent again: another server may have answered it.
    pub(crate) resent: bool,
}

// === impl Transport ===

impl Transport {
    pub(crate) fn new(config: Arc<EurekaConfig>) -> Result<Self, Error> {
        let servers = config.servers();
        let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
        let client = HttpClient::builder(&urls)
            .with_config(config.http.clone())
            .with_credential(config.credential()?)
            .build()?;
        let ranks = servers.iter().map(|server| server.rank).collect();
        Ok(Self {
            client,
            config,
            ranks,
            #[cfg(test)]
            pretended: None,
        })
    }

    /// How many servers there are.
    pub(crate) fn len(&self) -> usize {
        self.ranks.len()
    }

    /// The server in use.
    pub(crate) fn current(&self) -> usize {
        self.client.current_base()
    }

    /// Its answer was good: it is used from now on.
    pub(crate) fn settle_on(&self, base: usize) {
        self.client.settle_on(base);
    }

    /// It did not answer, or not well: it rests. Returns the one that is in use then.
    pub(crate) fn fail_over(&self, base: usize) -> usize {
        self.client.fail_over(base)
    }

    /// The URL of a server, safe to show.
    pub(crate) fn url(&self, base: usize) -> String {
        let bases = self.client.bases();
        bases
            .get(base)
            .map_or_else(String::new, |base| base.url.to_string())
    }

    /// Another server than the one in use that may be asked, of those that failed least the first.
    pub(crate) fn another(&self, may_be_asked: impl Fn(usize) -> bool) -> Option<usize> {
        self.best(|_, _| true, may_be_asked)
    }

    /// A server that is preferred to the one in use and may be asked, of those that failed least the first.
    pub(crate) fn better(&self, may_be_asked: impl Fn(usize) -> bool) -> Option<usize> {
        self.best(|ranked, current| ranked < current, may_be_asked)
    }

    fn best(&self, wanted: impl Fn(u8, u8) -> bool, may_be_asked: impl Fn(usize) -> bool) -> Option<usize> {
        let current = self.current();
        let rank = |base: usize| self.ranks.get(base).copied().unwrap_or(u8::MAX);
        let bases = self.client.bases();
        let others = bases.iter().enumerate().filter(|(base, status)| {
            let rests = status.rests_for.is_some() || !may_be_asked(*base);
            *base != current && !rests && wanted(rank(*base), rank(current))
        });
        let best = others.min_by_key(|(base, status)| (rank(*base), status.failures, *base));
        best.map(|(base, _)| base)
    }

    /// Asks that server.
    pub(crate) async fn fetch(&self, base: usize, what: Fetch) -> Result<Answer, Error> {
        #[cfg(test)]
        if let Some(servers) = &self.pretended {
            return pretended::fetch(self, &**servers, base, what).await;
        }
        let (path, deadline) = match what {
            Fetch::Full => ("/apps", Some(self.config.full_timeout)),
            Fetch::Delta => ("/apps/delta", None),
        };
        let mut request = Request::get(path).with_accept(ACCEPT);
        if let Some(deadline) = deadline {
            request = request.with_deadline(deadline);
        }
        if !self.config.remote_regions.is_empty() {
            request = request.with_query("regions", self.config.remote_regions.join(","));
        }
        let sent = Instant::now();
        let response = self.client.send_to(base, &request).await?;
        let poll = Poll {
            sent,
            answered: Instant::now(),
        };
        if response.status().as_u16() != 200 {
            return Err(meaning::error(&response, what));
        }
        let date = response.header_str("Date");
        Ok(Answer {
            date: date.and_then(|date| httpdate::parse_http_date(date).ok()),
            content_type: response.header_str("Content-Type").map(str::to_owned),
            url: response.url().clone(),
            poll,
            resent: response.is_resent(),
            body: response.into_body(),
        })
    }

    /// Asks for what is small, of one server after the other until one answers.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        let mut left = self.len();
        loop {
            let base = self.current();
            let outcome = match self.fetch(base, Fetch::Delta).await {
                // There may be no deltas. Whether there is a registry at all, the other document tells.
                Err(error) if error.is_refusal() => self.fetch(base, Fetch::Full).await,
                outcome => outcome,
            };
            let error = match outcome.and_then(|answer| answer.read(drop)) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            left -= 1;
            if left == 0 || error.is_our_own() || self.fail_over(base) == base {
                return Err(error);
            }
        }
    }

    /// Connections that carry requests now.
    pub(crate) fn connections(&self) -> usize {
        self.client.connections_in_use()
    }

    /// How long one round of attempts goes on at most, before its last one.
    pub(crate) fn patience(&self) -> Duration {
        self.config.full_timeout / 2
    }
}

// === impl Answer ===

impl Answer {
    /// Tells the same body from another one.
    pub(crate) fn digest(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&self.body)
    }

    /// Hands over application by application; what was handed over before an error is to be thrown away.
    pub(crate) fn read<'a>(&'a self, sink: impl FnMut(Application<'a>)) -> Result<Head, Error> {
        decode(&self.body, self.content_type.as_deref(), sink).map_err(|source| Error::Decode {
            url: self.url.clone(),
            source,
        })
    }
}
