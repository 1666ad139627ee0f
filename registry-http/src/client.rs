//! The client: one request through budget, credential, channel and fail-over.

mod builder;

pub use self::builder::HttpClientBuilder;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::{
    base::RedactedUrl,
    budget::Permit,
    config::HttpConfig,
    credential::Credential,
    error::{Connection, Error, classify},
    fail_over::Choice,
    gate::Dial,
    lines::{Lines, Opened},
    rate::RateLimit,
    request::{Lane, Protocol, Request},
    response::{Response, read_body},
    server::{Server, build},
    tls::Files,
};

/// A kept connection that the server had closed fails within a round trip, not later.
const STALE: Duration = Duration::from_secs(1);

/// How often a request that met such a connection is sent again.
const MAX_STALE: u32 = 2;

/// One attempt, told to the [observer](HttpClientBuilder::with_observer).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Observation {
    /// The answer's status, where there is an answer.
    pub status: Option<StatusCode>,
    /// [`Error::kind`], where there is none.
    pub error: Option<&'static str>,
    /// How long the attempt took, without waiting for the budget.
    pub elapsed: Duration,
    /// Index of the base URL.
    pub base: usize,
    /// The lane.
    pub lane: Lane,
}

/// Called after each attempt, on the request's task: it must be quick.
pub type Observer = Arc<dyn Fn(&Observation) + Send + Sync>;

/// A base URL and how it does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BaseStatus {
    /// The URL, safe to show.
    pub url: RedactedUrl,
    /// Whether requests go there now.
    pub current: bool,
    /// Failures since the last success.
    pub failures: u32,
    /// How long it is still left alone.
    pub rests_for: Option<Duration>,
    /// What it speaks, once known.
    pub protocol: Option<Protocol>,
}

/// A client of one registry, whose servers are replicas of each other. Cheap to clone; clones share all state.
///
/// See the [crate's front page](crate) for what it does with a request.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    servers: Vec<Server>,
    choice: Choice,
    config: Arc<HttpConfig>,
    tls: Arc<Files>,
    credential: Credential,
    rate: Option<RateLimit>,
    observer: Option<Observer>,
}

/// The header that an attempt carries, when it was sent, and whether a connection was dialled for it.
struct Sent {
    header: Option<(HeaderName, HeaderValue)>,
    at: Instant,
    dial: Dial,
}

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// To its end.
    Whole,
    /// Up to its head, and by lines from there on, where it is a success.
    Lines,
}

/// An answer, as far as it is read.
enum Answer {
    Whole(Box<Response>),
    Lines(Box<Lines>),
}

// === impl Answer ===

impl Answer {
    fn status(&self) -> StatusCode {
        match self {
            Self::Whole(response) => response.status(),
            Self::Lines(lines) => lines.status(),
        }
    }

    fn with_resent(self, resent: bool) -> Self {
        match self {
            Self::Whole(response) => Self::Whole(Box::new(response.with_resent(resent))),
            Self::Lines(lines) => Self::Lines(lines),
        }
    }
}

// === impl HttpClient ===

impl HttpClient {
    /// Checks URLs and configuration, and reads the TLS files. Nothing is dialled.
    pub fn try_new<U: AsRef<str>>(
        urls: &[U],
        config: HttpConfig,
        credential: Credential,
    ) -> Result<Self, Error> {
        Self::builder(urls)
            .with_config(config)
            .with_credential(credential)
            .build()
    }

    /// The same step by step.
    pub fn builder<U: AsRef<str>>(urls: &[U]) -> HttpClientBuilder {
        HttpClientBuilder::new(urls.iter().map(|url| url.as_ref().to_owned()).collect())
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// The request's deadline covers the exchange: dial, head and body, all attempts together. Waiting for a permit of
    /// the budget before that has the same length of time once more. An answer of any status is `Ok`.
    ///
    /// Dropping the future cancels the request and, over HTTP/1.1, closes its connection.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        self.whole(request, None).await
    }

    /// Sends a request for an answer without an end, and reads the answer's head.
    ///
    /// The request's deadline ends with the head; from then on [`Lines::next_line`] bounds each silence. Fail-over and
    /// credentials are as for [`send`](Self::send), and an answer of any other status than 2xx is read to its end.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use registry_http::{Error, HttpClient, Lane, Opened, Request};
    /// # async fn follow(client: &HttpClient) -> Result<(), Error> {
    /// let events = Request::get("/v1/event/stream").with_query("topic", "Service").with_lane(Lane::Watch);
    /// match client.open(&events).await? {
    ///     Opened::Lines(mut lines) => {
    ///         while let Some(line) = lines.next_line(Duration::from_secs(90)).await? {
    ///             println!("{} bytes", line.len());
    ///         }
    ///     }
    ///     Opened::Refused(answer) => eprintln!("{} {}", answer.status(), answer.error_text()),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn open(&self, request: &Request) -> Result<Opened, Error> {
        match Box::pin(self.run(request, None, Reading::Lines)).await? {
            (Answer::Whole(response), _) => Ok(Opened::Refused(response)),
            (Answer::Lines(mut lines), permit) => {
                lines.keep(permit);
                Ok(Opened::Lines(lines))
            }
        }
    }

    /// The same to that base URL and no other, for callers that have to know who is asked: whether the answer is good, and
    /// which server is in use then, is left to them ([`settle_on`](Self::settle_on), [`fail_over`](Self::fail_over)).
    ///
    /// `base` is an index of [`bases`](Self::bases); one that is none is an error.
    pub async fn send_to(&self, base: usize, request: &Request) -> Result<Response, Error> {
        if base >= self.inner.servers.len() {
            return Err(Error::Config {
                field: "url".to_owned(),
                reason: format!("there is no base URL of the number {base}"),
            });
        }
        self.whole(request, Some(base)).await
    }

    /// Ends the rest of a base URL whose answer was good, and uses it from now on.
    pub fn settle_on(&self, base: usize) {
        self.inner.choice.settle_on(base);
    }

    /// Index of the base URL that the next request goes to.
    pub fn current_base(&self) -> usize {
        self.inner.choice.current()
    }

    /// All base URLs, as configured.
    pub fn bases(&self) -> Vec<BaseStatus> {
        let current = self.current_base();
        let status = |(index, server): (usize, &Server)| {
            let (failures, rests_for) = self.inner.choice.member(index);
            BaseStatus {
                url: server.url.redacted(),
                current: index == current,
                failures,
                rests_for,
                protocol: server.budget.protocol(),
            }
        };
        self.inner.servers.iter().enumerate().map(status).collect()
    }

    /// Leaves a base URL whose answers are wrong in a way only the caller can see, and returns the one in use then.
    ///
    /// `base` is the [`Response::base`] at fault: where the client moved on meanwhile, it does not move again.
    pub fn fail_over(&self, base: usize) -> usize {
        self.moved(base)
    }

    /// What the current server speaks; `None` until its first connection over TLS.
    pub fn protocol(&self) -> Option<Protocol> {
        self.server().budget.protocol()
    }

    /// How many long polls the budget lets be parked at once at the current server.
    pub fn watch_capacity(&self) -> usize {
        self.server().budget.watch_capacity()
    }

    /// Connections that carry requests now, over all servers.
    pub fn connections_in_use(&self) -> usize {
        self.inner.servers.iter().map(Server::connections_in_use).sum()
    }

    /// Requests in flight, over all servers.
    pub fn requests_in_flight(&self) -> usize {
        self.inner
            .servers
            .iter()
            .map(|server| server.budget.in_use())
            .sum()
    }

    /// Another `max_connections` from now on, for a server that shows a smaller limit ([`Error::ClosedEarly`]).
    ///
    /// What is in use above it is not cut, but drains; kept connections that fall idle by it go after 90 s.
    pub fn set_max_connections(&self, connections: usize) {
        for server in &self.inner.servers {
            server.budget.set_connections(connections);
        }
    }

    fn server(&self) -> &Server {
        // `Choice` counts the same servers.
        &self.inner.servers[self.current_base()]
    }

    async fn whole(&self, request: &Request, pinned: Option<usize>) -> Result<Response, Error> {
        // Boxed once here: the state of all layers below is several kilobytes, and a registry parks thousands.
        match Box::pin(self.run(request, pinned, Reading::Whole)).await?.0 {
            Answer::Whole(response) => Ok(*response),
            // Nobody asked for lines.
            Answer::Lines(lines) => Err(Error::Request {
                path: lines.url().to_string(),
                reason: "the answer was not read to its end",
            }),
        }
    }

    /// Sends it to the base URL in use and moves on where that fails, or to the one that it is `pinned` to. With lines comes
    /// the permit that they hold.
    async fn run(
        &self,
        request: &Request,
        pinned: Option<usize>,
        reading: Reading,
    ) -> Result<(Answer, Option<Permit>), Error> {
        let inner = &*self.inner;
        let allowed = request.deadline().unwrap_or(inner.config.request_timeout);
        let mut base = pinned.unwrap_or_else(|| inner.choice.current());
        let mut permit = Some(inner.permit(base, request.lane(), allowed).await?);
        let deadline = Instant::now() + allowed;
        let (mut moves, mut stale, mut renewed) = (0, 0, false);
        loop {
            if permit.is_none() {
                let left = deadline.saturating_duration_since(Instant::now());
                permit = Some(inner.permit(base, request.lane(), left).await?);
            }
            inner.pace(request.lane(), deadline, allowed).await?;
            let mut sent = Sent {
                header: None,
                at: Instant::now(),
                dial: Dial::default(),
            };
            let outcome = inner
                .attempt(base, request, reading, &mut sent, deadline, allowed)
                .await
                .map(|answer| answer.with_resent(stale > 0));
            inner.observe(base, request, &outcome, sent.at);
            let may_move = moves + 1 < inner.servers.len() && Instant::now() < deadline;
            let fail_over = request.fail_over();
            let elsewhere = match &outcome {
                Ok(answer) => {
                    let refused = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                    if refused && !renewed {
                        renewed = true;
                        let value = sent.header.as_ref().map(|(_, value)| value);
                        if inner.credential.renewed(value, sent.at).await {
                            continue;
                        }
                    }
                    let failed = answer.status().is_server_error() && fail_over.on_server_error;
                    if !failed && pinned.is_none() {
                        inner.choice.succeeded(base);
                    }
                    failed
                }
                Err(Error::Connect { .. } | Error::Tls { .. }) => true,
                Err(Error::Timeout { .. }) => fail_over.on_timeout,
                // Unlike a refusal this says nothing of the server: it closed a kept connection as we wrote to it.
                Err(Error::Reset { .. })
                    if sent.dial.connected().is_none() && sent.at.elapsed() < STALE && stale < MAX_STALE =>
                {
                    stale += 1;
                    continue;
                }
                Err(Error::ClosedEarly { .. } | Error::Reset { .. }) => fail_over.on_close,
                Err(_) => false,
            };
            let next = if elsewhere && pinned.is_none() {
                self.moved(base)
            } else {
                base
            };
            // The next server has a budget of its own, and lines go on using this one's.
            let held = match (permit.take(), &outcome) {
                (Some(permit), Ok(Answer::Whole(_))) => {
                    permit.hand_back();
                    None
                }
                (permit, _) => permit,
            };
            if !elsewhere || !may_move || next == base {
                return outcome.map(|answer| (answer, held));
            }
            moves += 1;
            base = next;
        }
    }

    fn moved(&self, base: usize) -> usize {
        let inner = &*self.inner;
        let before = inner.choice.current();
        let now = inner.choice.failed(base);
        if before != now {
            let from = inner.servers[before].url.redacted();
            let to = inner.servers[now].url.redacted();
            if inner.choice.member(now).1.is_none() {
                tracing::warn!(%from, %to, "moving on to another base URL");
            } else {
                // All of them fail: going round is no news, and may last for a night.
                tracing::debug!(%from, %to, "moving on to another base URL, which failed a while ago");
            }
        }
        now
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("servers", &self.inner.servers)
            .field("credential", &self.inner.credential)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    async fn permit(&self, base: usize, lane: Lane, allowed: Duration) -> Result<Permit, Error> {
        let waited = timeout(allowed, self.servers[base].budget.acquire(lane)).await;
        waited.map_err(|_| Error::Busy {
            lane,
            budget: "max_connections",
            after: allowed,
        })
    }

    async fn pace(&self, lane: Lane, deadline: Instant, allowed: Duration) -> Result<(), Error> {
        let Some(rate) = &self.rate else { return Ok(()) };
        match rate.reserve(deadline) {
            Some(at) => {
                sleep_until(at).await;
                Ok(())
            }
            None => Err(Error::Busy {
                lane,
                budget: "max_requests_per_second",
                after: allowed,
            }),
        }
    }

    /// One exchange with one server.
    async fn attempt(
        &self,
        base: usize,
        request: &Request,
        reading: Reading,
        sent: &mut Sent,
        deadline: Instant,
        allowed: Duration,
    ) -> Result<Answer, Error> {
        let server = &self.servers[base];
        let url = server.url.join(request)?;
        let shown = RedactedUrl::new(url.clone());
        let mut phase = "while the credential was read";
        let exchange = async {
            sent.header = self.credential.header().await?;
            let config = self.config.clone();
            let material = self
                .tls
                .material(move |material| build(&config, material, None).map(drop))
                .await;
            let lease = server.lease(&material)?;
            let mut outgoing = lease.client().get(url).headers(request.headers().clone());
            if let Some(basic) = server.url.basic() {
                outgoing = outgoing.header(http::header::AUTHORIZATION, basic.clone());
            }
            if let Some((name, value)) = &sent.header {
                outgoing = outgoing.header(name.clone(), value.clone());
            }
            if reading == Reading::Lines {
                // What compresses holds back.
                outgoing = outgoing.header(http::header::ACCEPT_ENCODING, "identity");
            }
            sent.at = Instant::now();
            phase = "before its head";
            let dial = sent.dial.clone();
            let mut answer = dial.scope(outgoing.send()).await.map_err(|e| {
                let connection = dial
                    .connected()
                    .map_or(Connection::Reused, |at| Connection::Fresh(at.elapsed()));
                classify(e, shown.clone(), connection, self.config.connect_timeout)
            })?;
            let longest = self.config.max_body_bytes;
            if reading == Reading::Lines && answer.status().is_success() {
                let lines = Lines::new(answer, longest, shown.clone(), base, lease);
                return Ok(Answer::Lines(Box::new(lines)));
            }
            phase = "in the middle of its body";
            let body = read_body(&mut answer, longest, &shown).await?;
            let headers = std::mem::take(answer.headers_mut());
            let elapsed = sent.at.elapsed();
            let response = Response::new(answer.status(), headers, body, shown.clone(), base, elapsed);
            Ok(Answer::Whole(Box::new(response)))
        };
        match timeout_at(deadline, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout {
                url: shown,
                after: allowed,
                phase,
            }),
        }
    }

    fn observe(&self, base: usize, request: &Request, outcome: &Result<Answer, Error>, at: Instant) {
        if let Some(observer) = &self.observer {
            observer(&Observation {
                status: outcome.as_ref().ok().map(Answer::status),
                error: outcome.as_ref().err().map(Error::kind),
                elapsed: at.elapsed(),
                base,
                lane: request.lane(),
            });
        }
    }
}
