//! A server that plays captured exchanges, with the timing of Consul's blocking queries.
//!
//! What a server answered once is the best test of how a backend reads it. [`ReplayServer`] takes captures of
//! real servers, also of versions that no test can start, and answers requests with them. A request with an
//! `index` is parked as the real server would park it, until the test changes the answer or `wait` has passed.
//!
//! ```
//! use registry_testkit::{Exchange, ReplayServer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = ReplayServer::start().await?;
//! let web = server.set(Exchange::get("/v1/health/service/web").with_index(7).with_body("[]"));
//!
//! // ... the backend under test has read server.url() and is parked at index 7 ...
//!
//! // Wakes it: the index rises by one, since the new answer has none of its own.
//! let index = server.update(&web, Exchange::get("/v1/health/service/web").with_body("[{}]"));
//! assert_eq!(index, Some(8));
//! # Ok(())
//! # }
//! ```
//!
//! A capture is a JSON object with `request` (`GET /path?query`), `status`, `response_headers` and either
//! `body` (JSON) or `body_text`; other members are ignored. See [`Exchange::parse`].

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::blocking::Blocking;
use crate::proxy::Logged;
use crate::proxy::activity::Activity;
use crate::proxy::client::{Client, End, Gate};
use crate::proxy::http1::{Answer, Request};

pub(crate) mod blocking;
mod exchange;
mod route;

pub use self::exchange::{CaptureError, Exchange};
pub use self::route::Route;

/// A server on a free port of 127.0.0.1; see the [module](self).
///
/// Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct ReplayServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// One answer of a script; see [`ReplayServer::script`].
#[derive(Debug, Clone)]
pub struct Step {
    exchange: Exchange,
    delay: Duration,
}

impl Step {
    /// Answers at once.
    pub fn answer(exchange: Exchange) -> Self {
        Self {
            exchange,
            delay: Duration::ZERO,
        }
    }

    /// Answers so much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

#[derive(Debug)]
struct Shared {
    ignored: Vec<String>,
    routes: Mutex<HashMap<Route, Live>>,
    /// Counts the changes of `routes`.
    changes: watch::Sender<u64>,
    activity: Arc<Activity>,
}

/// The state of a route.
#[derive(Debug, Default)]
struct Live {
    /// Absent only as long as there is a script.
    exchange: Option<Exchange>,
    script: VecDeque<Step>,
}

/// What a request gets, as the routes are now.
enum Reply {
    Now(Exchange),
    /// The next step of a script.
    Step(Step),
    /// The index has not risen: the same again, but only after the wait.
    Park(Exchange, Duration),
    /// A parameter is invalid.
    Invalid(&'static str),
    Unknown,
}

impl ReplayServer {
    /// Starts a server that ignores `index` and `wait` when it looks for the route of a request.
    pub async fn start() -> io::Result<Self> {
        Self::start_ignoring(["index", "wait"]).await
    }

    /// Starts a server that ignores these query parameters when it looks for the route of a request, such as
    /// `["index", "wait", "stale"]`. Parameters that are not ignored have to be equal.
    pub async fn start_ignoring(parameters: impl IntoIterator<Item = impl Into<String>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            ignored: parameters.into_iter().map(Into::into).collect(),
            routes: Mutex::default(),
            changes: watch::Sender::new(0),
            activity: Arc::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self {
            addr,
            shared,
            _stop: stop.drop_guard(),
        })
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Sets the answer of a route from a capture file.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Route, CaptureError> {
        Exchange::load(path).map(|exchange| self.set(exchange))
    }

    /// Sets the answer of the exchange's own route as it is, and ends the route's script.
    ///
    /// Parked requests are answered if its index is higher than theirs; with a lower one they stay parked, as
    /// they do when a real server comes back without its state.
    pub fn set(&self, exchange: Exchange) -> Route {
        let route = self.route(&exchange);
        self.shared.change(|routes| {
            routes.insert(
                route.clone(),
                Live {
                    exchange: Some(exchange),
                    script: VecDeque::new(),
                },
            );
        });
        route
    }

    /// Gives a route a new answer whose index is sure to rise: the exchange's own if it is higher than the
    /// present one, else the present one plus 1. Returns the index that it got.
    ///
    /// A route that has no index at all stays without one.
    pub fn update(&self, route: impl Into<Route>, exchange: Exchange) -> Option<u64> {
        let route = self.route(route);
        self.shared.change(|routes| {
            let live = routes.entry(route).or_default();
            let present = live.exchange.as_ref().and_then(Exchange::index);
            let exchange = match (present, exchange.index()) {
                (Some(present), own) if own.is_none_or(|own| own <= present) => {
                    exchange.with_index(present.saturating_add(1))
                }
                _ => exchange,
            };
            live.script.clear();
            live.exchange.insert(exchange).index()
        })
    }

    /// Sets the index of a route, upwards or downwards; the rest of the answer stays.
    ///
    /// # Panics
    ///
    /// If the route has no answer.
    pub fn update_index(&self, route: impl Into<Route>, index: u64) {
        let route = self.route(route);
        let set = self.shared.change(|routes| {
            let exchange = routes.get_mut(&route).and_then(|live| live.exchange.as_mut())?;
            *exchange = exchange.clone().with_index(index);
            Some(())
        });
        assert!(set.is_some(), "{route} has no answer");
    }

    /// Gives a route a script: each request consumes a step and gets its answer after the step's delay,
    /// whatever index it asks for. The last step stays as the answer of the route, with blocking as usual.
    pub fn script(&self, route: impl Into<Route>, steps: impl IntoIterator<Item = Step>) {
        let route = self.route(route);
        self.shared.change(|routes| {
            routes.entry(route).or_default().script = steps.into_iter().collect();
        });
    }

    /// Forgets a route: requests get 404, also those that are parked.
    pub fn remove(&self, route: impl Into<Route>) {
        let route = self.route(route);
        self.shared.change(|routes| routes.remove(&route));
    }

    fn route(&self, route: impl Into<Route>) -> Route {
        route.into().without(&self.shared.ignored)
    }

    /// The last 100 000 requests, in the order in which they were read.
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.activity.requests()
    }

    /// How many requests were read since the start.
    pub fn requests_total(&self) -> u64 {
        self.shared.activity.seen().requests
    }

    /// How many connections are open.
    pub fn connections_open(&self) -> usize {
        self.shared.activity.seen().open
    }

    /// How many connections were accepted since the start.
    pub fn connections_total(&self) -> u64 {
        self.shared.activity.seen().total
    }

    /// The most connections that were open at the same time.
    pub fn connections_max(&self) -> usize {
        self.shared.activity.seen().max
    }

    /// Waits until exactly so many connections are open. Put a deadline around it.
    pub async fn wait_for_open(&self, connections: usize) {
        self.shared.activity.until(|seen| seen.open == connections).await;
    }

    /// Waits until so many requests were read since the start. Put a deadline around it.
    pub async fn wait_for_requests(&self, total: u64) {
        self.shared.activity.until(|seen| seen.requests >= total).await;
    }
}

impl Shared {
    fn routes(&self) -> MutexGuard<'_, HashMap<Route, Live>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<Route, Live>) -> T) -> T {
        let changed = change(&mut self.routes());
        self.changes.send_modify(|changes| *changes += 1);
        changed
    }

    /// What a request gets, as the routes are now.
    fn reply(&self, route: &Route, blocking: Result<Blocking, &'static str>) -> Reply {
        let mut routes = self.routes();
        let Some(live) = routes.get_mut(route) else {
            return Reply::Unknown;
        };
        if let Some(step) = live.script.pop_front() {
            if live.script.is_empty() {
                live.exchange = Some(step.exchange.clone());
            }
            return Reply::Step(step);
        }
        let Some(exchange) = &live.exchange else {
            return Reply::Unknown;
        };
        // Errors and answers without an index never block, so their parameters are not looked at.
        let present = exchange.index().filter(|_| (200..300).contains(&exchange.status));
        match (present, blocking) {
            (Some(_), Err(text)) => Reply::Invalid(text),
            (Some(present), Ok(Blocking { index, wait })) if index > 0 && present <= index => {
                Reply::Park(exchange.clone(), wait)
            }
            _ => Reply::Now(exchange.clone()),
        }
    }

    async fn answer(&self, request: &Request) -> Answer {
        let route = Route::new(&request.method, &request.target).without(&self.ignored);
        let blocking = Blocking::of(&request.target);
        // Before the first look, so that no change after it is missed.
        let mut changes = self.changes.subscribe();
        let mut deadline = None;
        loop {
            match self.reply(&route, blocking) {
                Reply::Now(exchange) => return encode(exchange),
                Reply::Step(step) => {
                    sleep(step.delay).await;
                    return encode(step.exchange);
                }
                Reply::Park(exchange, wait) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + wait);
                    if timeout_at(deadline, changes.changed()).await.is_err() {
                        return encode(exchange);
                    }
                }
                Reply::Invalid(text) => return Answer::text(400, text),
                Reply::Unknown => return Answer::text(404, format!("no exchange for {route}\n")),
            }
        }
    }
}

fn encode(exchange: Exchange) -> Answer {
    let headers = exchange
        .headers
        .into_iter()
        .map(|(name, value)| (name, Bytes::from(value)))
        .collect();
    Answer::new(exchange.status, headers, exchange.body)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: they come back when connections close.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (number, open) = (shared.activity.accepted(), shared.activity.opened());
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            // It fails only on a connection that is dead already.
            let _ = stream.set_nodelay(true);
            let _ = stop.run_until_cancelled(serve(&shared, number, &stream)).await;
            drop(stream);
            drop(open);
        });
    }
}

async fn serve(shared: &Shared, connection: u64, stream: &TcpStream) -> Result<(), End> {
    let mut client = Client::new(stream, Gate::always_open());
    loop {
        let request = client.request().await?;
        let number = shared
            .activity
            .requested(connection, &request.method, &request.target);
        let answer = client.while_open(shared.answer(&request)).await?;
        shared.activity.answering(number, answer.status);
        client.write(&answer.encode_head(0)).await?;
        if request.method != "HEAD" {
            client.write(&answer.body).await?;
        }
        if !request.keep_alive {
            return Ok(());
        }
    }
}
