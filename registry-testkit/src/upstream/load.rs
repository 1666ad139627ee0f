//! Load with finer control than a tool gives: every answer that is not 200 and every broken connection, with its time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many troubles of one connection are kept; all are counted.
const KEPT: usize = 1000;

/// What load it is.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where connections go.
    pub address: SocketAddr,
    /// The `Host` of the requests.
    pub host: String,
    /// Their path.
    pub path: String,
    /// How many connections there are, each with one request at a time.
    pub connections: usize,
    /// The pause after each answer.
    pub pause: Duration,
    /// When a request counts as not answered.
    pub timeout: Duration,
}

/// Requests over keep-alive connections, until it is told to stop.
///
/// A connection that the server closed between two requests is opened anew: nobody's request is lost then. One that
/// ends while a request is under way is a [`Trouble`].
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    connections: JoinSet<LoadReport>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// Requests that were begun.
    pub requests: u64,
    /// How often each status came.
    pub by_status: BTreeMap<u16, u64>,
    /// How often each body came with 200, which is who answered.
    pub by_server: BTreeMap<String, u64>,
    /// Requests that got no answer: refused, reset, timed out.
    pub errors: u64,
    /// What was not a 200, in the order of time.
    pub troubles: Vec<Trouble>,
}

/// A request that was not answered with 200.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// When.
    pub at: Instant,
    /// The status and body, or why there is none.
    pub what: String,
}

impl LoadOptions {
    /// Four connections that pause for 1 ms after each answer and wait 10 s for it.
    pub fn new(address: SocketAddr, host: impl Into<String>) -> Self {
        Self {
            address,
            host: host.into(),
            path: "/".to_owned(),
            connections: 4,
            pause: Duration::from_millis(1),
            timeout: Duration::from_secs(10),
        }
    }
}

// === impl Load ===

impl Load {
    /// Begins.
    #[must_use]
    pub fn start(options: &LoadOptions) -> Self {
        let stop = CancellationToken::new();
        let mut connections = JoinSet::new();
        for _ in 0..options.connections {
            connections.spawn(run(options.clone(), stop.clone()));
        }
        Self { stop, connections }
    }

    /// Stops after the requests that are under way, and tells what happened.
    pub async fn stop(mut self) -> LoadReport {
        self.stop.cancel();
        let mut sum = LoadReport::default();
        while let Some(part) = self.connections.join_next().await {
            match part {
                Ok(part) => sum.add(part),
                Err(error) => sum.trouble(format!("a connection's task ended: {error}"), true),
            }
        }
        sum.troubles.sort_by_key(|trouble| trouble.at);
        sum
    }
}

// === impl LoadReport ===

impl LoadReport {
    /// Requests that were not answered with 200.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let others = self.by_status.iter().filter(|(status, _)| **status != 200);
        others.map(|(_, count)| count).sum::<u64>() + self.errors
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (server, count) in other.by_server {
            *self.by_server.entry(server).or_default() += count;
        }
        self.troubles.extend(other.troubles);
    }

    fn answered(&mut self, status: u16, body: String) {
        *self.by_status.entry(status).or_default() += 1;
        if status == 200 {
            *self.by_server.entry(body).or_default() += 1;
        } else {
            self.trouble(format!("{status} {body}"), false);
        }
    }

    fn trouble(&mut self, what: String, is_error: bool) {
        self.errors += u64::from(is_error);
        if self.troubles.len() < KEPT {
            self.troubles.push(Trouble {
                at: Instant::now(),
                what,
            });
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn run(options: LoadOptions, stop: CancellationToken) -> LoadReport {
    let mut report = LoadReport::default();
    let mut connection = None;
    while !stop.is_cancelled() {
        report.requests += 1;
        let exchange = exchange(&options, &mut connection);
        match timeout(options.timeout, exchange).await {
            Ok(Ok((status, body))) => report.answered(status, body),
            Ok(Err(failure)) => {
                connection = None;
                report.trouble(describe(&*failure), true);
            }
            Err(_) => {
                connection = None;
                report.trouble("no answer in time".to_owned(), true);
            }
        }
        sleep(options.pause).await;
    }
    report
}

async fn exchange(
    options: &LoadOptions,
    connection: &mut Option<SendRequest<Empty<Bytes>>>,
) -> Result<(u16, String), Failure> {
    let request = Request::get(&options.path)
        .header(HOST, &options.host)
        .body(Empty::<Bytes>::new())?;
    // One that was closed since its last answer was closed between requests.
    let mut kept = connection.take();
    if let Some(sender) = &mut kept
        && sender.ready().await.is_err()
    {
        kept = None;
    }
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(options.address).await?,
    };
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    *connection = Some(sender);
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Empty<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its end shows at the sender.
        let _ = connection.await;
    });
    sender.ready().await?;
    Ok(sender)
}

fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
