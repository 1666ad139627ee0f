//! Servers that only pretend, for tests in which time is moved by hand: no connection, and the answers that one would have
//! brought.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use registry_core::LONGEST_REST;
use registry_http::RedactedUrl;
use tokio::time::{Instant, sleep};

use super::{Answer, Fetch, Transport};
use crate::error::Error;
use crate::grid::Poll;

/// What servers answer.
pub(crate) trait Pretend: fmt::Debug + Send + Sync {
    /// The answer of the server of that number, made in the midst of a request that takes so long, and whether it is
    /// another server's than the one that had the connection.
    fn answer(&self, base: usize, what: Fetch) -> Said;

    /// How long the next request takes.
    fn flight(&self) -> Duration;
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Document {
        body: String,
        content_type: &'static str,
        date: Option<SystemTime>,
        resent: bool,
    },
    Status(u16, Option<Duration>),
    Refused,
    Hangs,
    BreaksOff,
}

impl Transport {
    /// The same with nobody behind its URLs but these.
    pub(crate) fn pretending(mut self, servers: Arc<dyn Pretend>) -> Self {
        self.pretended = Some(servers);
        self
    }
}

/// As a request to a real server.
pub(super) async fn fetch(
    transport: &Transport,
    servers: &dyn Pretend,
    base: usize,
    what: Fetch,
) -> Result<Answer, Error> {
    let sent = Instant::now();
    let flight = servers.flight();
    sleep(flight / 2).await;
    let said = servers.answer(base, what);
    sleep(flight / 2).await;
    let url = RedactedUrl::of_base(&transport.url(base))?;
    let source = || Box::new(std::io::Error::other("pretended"));
    match said {
        Said::Document {
            body,
            content_type,
            date,
            resent,
        } => Ok(Answer {
            body: Bytes::from(body),
            content_type: Some(content_type.to_owned()),
            url,
            date,
            poll: Poll {
                sent,
                answered: Instant::now(),
            },
            resent,
        }),
        Said::Status(status, rest) => Err(Error::Status {
            url,
            status,
            text: "pretended".into(),
            retry_after: rest.map(|rest| rest.min(LONGEST_REST)),
        }),
        Said::Refused => Err(registry_http::Error::Connect {
            url,
            source: source(),
        }
        .into()),
        Said::BreaksOff => Err(registry_http::Error::Body {
            url,
            source: source(),
        }
        .into()),
        Said::Hangs => {
            let after = match what {
                Fetch::Full => transport.config.full_timeout,
                Fetch::Delta => transport.config.http.request_timeout,
            };
            tokio::time::sleep_until(sent + after).await;
            Err(registry_http::Error::Timeout {
                url,
                after,
                phase: "before its head",
            }
            .into())
        }
    }
}
