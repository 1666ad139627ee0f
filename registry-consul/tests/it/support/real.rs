//! What the tests against real servers share: counting connections, other programs, comparing what did not change.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use registry_consul::ConsulConfig;
use registry_core::{Discovery, ErrorKind, Snapshot};
use registry_testkit::consul::{Consul, ConsulApi};
use registry_testkit::{sockets, wait};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{DEADLINE, config};

/// Consul's own limit of connections from one address is 200; this is what we take of it.
pub(crate) const BUDGET: usize = 80;

/// A configuration for the HTTPS port of a server.
pub(crate) fn https_config(consul: &Consul) -> ConsulConfig {
    let mut config = config(consul.https_url().unwrap());
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
#[derive(Debug)]
pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Neighbour {
    /// At most one connection at a time, from the same address as discovery.
    pub(crate) fn start(url: &str, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, url) = (stop.clone(), url.to_owned());
        let task = tokio::spawn(async move {
            let (mut registrations, mut failures) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let api = ConsulApi::new(&url, None).unwrap();
                let me = json!({ "ID": "neighbour", "Name": "neighbour", "Port": 1 });
                match api.register(&me).await {
                    Ok(()) => registrations += 1,
                    Err(error) => failures.push(format!("{error:?}")),
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
