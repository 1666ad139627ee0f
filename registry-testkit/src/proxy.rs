//! A fault-injecting proxy in front of a real server.
//!
//! A registry backend has to survive what a network and a sick server do to it: connections that die silently,
//! answers that are cut, stalled, stale or out of order, limits that show as resets. [`FaultProxy`] does all of
//! that on demand between the backend under test and a server that works.
//!
//! ```text
//!            connection faults        exchange faults        wire faults
//! client ──▶ accept ──▶ request ──▶ [upstream] ──▶ answer ──▶ bytes ──▶ client
//!                 black hole, reset_all, refuse: on all connections, at once
//! ```
//!
//! Each connection of a client has one connection to upstream of its own. When either side closes or resets,
//! so does the other: a killed server, an exceeded limit or an abandoned long poll look the same with the proxy
//! in between.
//!
//! ```
//! use registry_testkit::{Exchange, Fault, FaultProxy, Match, ReplayServer, Rule};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = ReplayServer::start().await?;
//! server.set(Exchange::get("/v1/status/leader").with_body(r#""127.0.0.1:8300""#));
//!
//! let proxy = FaultProxy::start(server.addr()).await?;
//! // The second read of the leader is cut in the middle of its body.
//! let cut = proxy.inject(Rule::new(Match::path("/v1/status/").nth(2), Fault::CutBody(5)));
//!
//! // ... the backend under test works with proxy.url() ...
//! # assert!(proxy.url().starts_with("http://127.0.0.1:"));
//! assert_eq!(proxy.hits(cut), 0);
//! assert_eq!(proxy.connections_total(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! In HTTP mode ([`FaultProxy::start`]) upstream is asked not to compress, unless that is wanted
//! ([`FaultProxy::start_compressed`]), and an answer is read whole before it is
//! passed on, unless it is a stream. What is no plain HTTP/1.1 goes through raw mode ([`FaultProxy::tcp`]), with the
//! faults that make sense on bytes.
//!
//! # Streams
//!
//! A chunked answer to a request with `watch=…` in its query (as Kubernetes has them), or one in `text/event-stream`,
//! may have no end in sight, nor may a close-delimited one of `/v1/event/stream` (as Nomad has it; the client gets it in
//! chunks). It is passed on as it comes: with its lines, but not with its chunks, and never with more
//! in memory than one block and, for [`Fault::MapLine`], one line. Its request is logged when it arrives like any other.
//! Rules may come and go while it is under way, see [`Fault`]. It is never replayed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::activity::{Activity, Open};
use self::client::{Control, End, Gate, write_gated};
use self::paths::Paths;
use self::rules::Rules;

pub(crate) mod activity;
pub(crate) mod client;
mod fault;
mod http;
pub(crate) mod http1;
mod lines;
mod paths;
mod plan;
mod raw;
mod rules;
mod stream;
mod upstream;

pub use self::activity::Logged;
pub use self::fault::{BodyMap, Fault, LineMap, Match, Rule, RuleId};

/// What current Consul writes when a client has too many connections.
pub(crate) const TOO_MANY_REQUESTS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Content-Type: text/plain\r\nConnection: close\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\n";

/// A proxy on a free port of 127.0.0.1; see the [module](self).
///
/// Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    _stop: DropGuard,
}

/// What the proxy's handle and its connections have in common.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    mode: Mode,
    control: watch::Sender<Control>,
    rules: Mutex<Rules>,
    /// How often rules have come or gone, for streams.
    rules_changed: watch::Sender<u64>,
    activity: Arc<Activity>,
    paths: Paths,
}

/// What the proxy reads of what it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Requests and answers, without compression.
    Http,
    /// Requests and answers, compressed as the two ends agree.
    Compressed,
    /// Nothing.
    Raw,
}

impl FaultProxy {
    /// Starts a proxy for plain HTTP/1.1. Upstream need not be there yet.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::bind(upstream, Mode::Http).await
    }

    /// As [`start`](Self::start), but client and upstream may agree on compression: faults are about the bytes of a
    /// compressed body then.
    ///
    /// Netflix' Eureka compresses in any case, and where it was not asked to, it does not keep to `Accept` either.
    pub async fn start_compressed(upstream: SocketAddr) -> io::Result<Self> {
        Self::bind(upstream, Mode::Compressed).await
    }

    /// Starts a proxy for any TCP, such as TLS.
    ///
    /// It logs no requests. Rules count connections, whatever their path, and only connection faults,
    /// [`Fault::Latency`], [`Fault::Drip`], [`Fault::StallAfter`], [`Fault::CutAnswer`] and
    /// [`Fault::BlackHole`] can be injected; they concern connections accepted from then on.
    pub async fn tcp(upstream: SocketAddr) -> io::Result<Self> {
        Self::bind(upstream, Mode::Raw).await
    }

    async fn bind(upstream: SocketAddr, mode: Mode) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            mode,
            control: watch::Sender::new(Control::default()),
            rules: Mutex::default(),
            rules_changed: watch::Sender::new(0),
            activity: Arc::default(),
            paths: Paths::default(),
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(accept(listener, Arc::clone(&shared), tasks.clone(), stop.clone()));
        Ok(Self {
            addr,
            shared,
            tasks,
            _stop: stop.drop_guard(),
        })
    }

    /// Stops the proxy and waits until its port and all connections are closed.
    pub async fn shutdown(self) {
        let Self {
            tasks, _stop: stop, ..
        } = self;
        drop(stop);
        tasks.close();
        tasks.wait().await;
    }

    /// Where the proxy listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Adds a rule, after those that are there.
    ///
    /// It also concerns requests that are waiting for their answer: such a request counts for the rule when
    /// the answer arrives. Of [streams](self#streams) under way see [`Fault`].
    ///
    /// # Panics
    ///
    /// In raw mode, if the fault needs HTTP.
    pub fn inject(&self, rule: Rule) -> RuleId {
        assert!(
            self.shared.mode != Mode::Raw || rule.fault.is_raw(),
            "{:?} is not possible in raw mode",
            rule.fault
        );
        self.shared.change_rules(|rules| rules.inject(rule))
    }

    /// Takes a rule back, also from requests that it struck already but that are not answered yet; false if it
    /// was not there.
    pub fn remove(&self, id: RuleId) -> bool {
        self.shared.change_rules(|rules| rules.remove(id))
    }

    /// Takes all rules back. Black hole and refusal stay as they are.
    pub fn clear(&self) {
        self.shared.change_rules(Rules::clear);
    }

    /// How many requests or connections a rule has struck; 0 if it was removed.
    pub fn hits(&self, id: RuleId) -> u64 {
        self.shared.rules().hits(id)
    }

    /// Stops (or resumes) all forwarding in both directions, on the connections that are open and on new ones.
    ///
    /// Nothing is closed, and what was on its way is delivered when the hole is lifted. Only a client that
    /// closes its own connection is let go.
    pub fn black_hole(&self, on: bool) {
        self.shared.control.send_modify(|control| control.black_hole = on);
    }

    /// Resets new connections as soon as they are accepted (or stops doing so). Those that are open stay.
    ///
    /// Refused connections count in [`FaultProxy::connections_total`] only.
    pub fn refuse(&self, on: bool) {
        self.shared.control.send_modify(|control| control.refuse = on);
    }

    /// Resets (RST) all connections that are open, also within a black hole.
    ///
    /// A connection that the proxy has not accepted yet is spared; where that matters, wait with
    /// [`FaultProxy::wait_for_open`] first.
    pub fn reset_all(&self) {
        self.shared.control.send_modify(|control| control.resets += 1);
    }

    /// The last 100 000 requests, in the order in which they were read.
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.activity.requests()
    }

    /// How many requests were read since the start.
    pub fn requests_total(&self) -> u64 {
        self.shared.activity.seen().requests
    }

    /// How many connections of clients are open.
    pub fn connections_open(&self) -> usize {
        self.shared.activity.seen().open
    }

    /// How many connections were accepted since the start, including those that were refused or struck by a
    /// connection fault.
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

    /// Waits until so many connections were accepted since the start. Put a deadline around it.
    pub async fn wait_for_connections(&self, total: u64) {
        self.shared.activity.until(|seen| seen.total >= total).await;
    }

    /// Waits until so many requests were read since the start. Put a deadline around it.
    pub async fn wait_for_requests(&self, total: u64) {
        self.shared.activity.until(|seen| seen.requests >= total).await;
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_rules<T>(&self, change: impl FnOnce(&mut Rules) -> T) -> T {
        let result = change(&mut self.rules());
        self.rules_changed.send_modify(|changes| *changes += 1);
        result
    }

    fn gate(&self) -> Gate {
        Gate::new(self.control.subscribe())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: they come back when connections close.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Each byte of a drip has to leave on its own. It fails only on a connection that is dead already.
        let _ = stream.set_nodelay(true);
        let (number, control) = (shared.activity.accepted(), *shared.control.borrow());
        let fault = if control.refuse {
            Some(Fault::ConnectReset)
        } else {
            shared.rules().on_connection()
        };
        if let Some(fault) = fault {
            let work = turn_away(stream, shared.gate(), fault);
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(work).await });
        } else {
            let open = shared.activity.opened();
            let connection = Connection {
                number,
                resets: control.resets,
                stream,
                open,
            };
            tasks.spawn(connection.serve(Arc::clone(&shared), stop.clone()));
        }
    }
}

async fn turn_away(stream: TcpStream, mut gate: Gate, fault: Fault) {
    gate.open().await;
    // Errors mean that the client was faster in going away.
    let _ = match fault {
        Fault::TooManyRequests => write_gated(&stream, gate, TOO_MANY_REQUESTS).await,
        Fault::ConnectReset => stream.set_zero_linger(),
        _ => Ok(()),
    };
}

struct Connection {
    number: u64,
    /// How many resets it was too late for.
    resets: u64,
    stream: TcpStream,
    open: Open,
}

impl Connection {
    async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        let Self {
            number,
            resets,
            stream,
            open,
        } = self;
        let mut gate = shared.gate();
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => End::Close,
            () = gate.reset_after(resets) => End::Reset,
            end = async {
                match shared.mode {
                    Mode::Raw => raw::serve(&shared, &stream).await,
                    Mode::Http | Mode::Compressed => http::serve(&shared, number, &stream).await,
                }
            } => end,
        };
        if end == End::Reset {
            // It fails only on a connection that is dead already.
            let _ = stream.set_zero_linger();
        }
        drop(stream);
        // Not before the socket is closed, or the counter would run ahead of what the client sees.
        drop(open);
    }
}
