//! What the tests against real servers share: counting connections, other programs, comparing what did not change.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use registry_consul::ConsulConfig;
use registry_core::{Discovery, ErrorKind, Snapshot};
use registry_testkit::consul::Consul;
use registry_testkit::{sockets, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{DEADLINE, config};

/// Consul's own limit of connections from one address is 200; this is what we take of it.
pub(crate) const BUDGET: usize = 80;

/// Connections beyond the budget that a machine can cause which stops threads at the wrong moment: one that is on its
/// way back into the pool is not found there, and another one is dialled. 17 were seen with ten busy programs on two
/// cores. Without a budget there would be hundreds, and others on the host would be refused.
pub(crate) const LOST_DIALS: usize = BUDGET / 2;

/// With limits of time that a slow machine does not reach, for tests in which no request may fail.
pub(crate) fn patient(mut config: ConsulConfig) -> ConsulConfig {
    config.http.connect_timeout = DEADLINE;
    config.http.request_timeout = DEADLINE;
    config
}

/// A patient configuration for the HTTPS port of a server.
pub(crate) fn https_config(consul: &Consul) -> ConsulConfig {
    let mut config = patient(config(consul.https_url().unwrap()));
    config.http.tls.ca_file = consul.ca_file().map(Into::into);
    config
}

/// Counts connections to a server for as long as it lives.
#[derive(Debug)]
pub(crate) struct Sampler {
    most: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Sampler {
    /// Counts connections from 127.0.0.1, where discovery and other programs are; the tests' own calls come from
    /// another address.
    pub(crate) fn start(server: SocketAddrV4) -> Self {
        let most = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn({
            let most = most.clone();
            async move {
                loop {
                    most.fetch_max(established(server), Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        Self { most, task }
    }

    /// The most that there were at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections from 127.0.0.1 to a server.
pub(crate) fn established(server: SocketAddrV4) -> usize {
    sockets::established(Ipv4Addr::LOCALHOST, server).unwrap()
}

/// Another program on the host, which registers itself again and again, each time over a new connection.
///
/// It has [`Neighbour::CONNECTIONS`] at most, from the same address as discovery. To be exact about that it speaks
/// through a socket of its own: a client with a pool closes the last connection in a task of its own, some time after
/// the next one was opened.
#[derive(Debug)]
pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Neighbour {
    /// Connections that it has at once: the last one is closed before the next is opened.
    pub(crate) const CONNECTIONS: usize = 1;

    pub(crate) fn start(server: SocketAddrV4, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut registrations, mut failures) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let answer = tokio::time::timeout(DEADLINE, register(server)).await;
                match answer {
                    Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200 ") => registrations += 1,
                    other => failures.push(format!("{other:?}")),
                }
                tokio::time::sleep(pause).await;
            }
            (registrations, failures)
        });
        Self { stop, task }
    }

    /// How often it registered itself; panics where it could not.
    pub(crate) async fn never_failed(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (registrations, failures) = self.task.await.unwrap();
        assert!(
            failures.is_empty(),
            "{} of {} registrations failed: {:?}",
            failures.len(),
            registrations + failures.len(),
            failures.first(),
        );
        registrations
    }
}

/// Registers the neighbour over a connection that is gone when this returns.
async fn register(server: SocketAddrV4) -> std::io::Result<String> {
    let me = r#"{"ID":"neighbour","Name":"neighbour","Port":1}"#;
    let request = format!(
        "PUT /v1/agent/service/register HTTP/1.1\r\nHost: consul\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{me}",
        me.len()
    );
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The services by hostname, each with the revision in which it last changed.
pub(crate) fn revisions(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let revision =
        |service: &Arc<registry_core::Service>| (service.hostname().to_string(), service.revision());
    snapshot.services().map(revision).collect()
}

/// Waits until the last error of the one registry is of that kind and mentions the text; returns its message.
pub(crate) async fn until_error(discovery: &Discovery, kind: ErrorKind, text: &str) -> String {
    let found = wait::until(format!("an error {kind:?} with {text:?}"), DEADLINE, async || {
        // Before the first publication there is no status.
        let error = discovery.status().into_iter().next()?.last_error?;
        (error.kind == kind && error.message.contains(text)).then_some(error.message)
    });
    match found.await {
        Ok(message) => message,
        Err(error) => panic!("{error}; {:?}", discovery.status()),
    }
}

/// Waits for something else than what is published.
pub(crate) async fn until_true(what: &str, discovery: &Discovery, mut look: impl FnMut() -> bool) {
    let found = wait::until(what, DEADLINE, async || look().then_some(())).await;
    if let Err(error) = found {
        panic!("{error}; {:?}; {:?}", discovery.snapshot(), discovery.status());
    }
}

/// The middle one, the one that 99 of 100 do not exceed, and the longest, in milliseconds.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    format!(
        "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(50),
        at(99),
        at(100)
    )
}
