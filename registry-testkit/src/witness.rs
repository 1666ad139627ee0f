//! Looking at every revision that is published.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_core::{Discovery, Endpoint, Snapshot, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// `hostname address:port` of every endpoint, several ports with `/` in between.
#[must_use]
pub fn endpoints(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for service in snapshot.services() {
        let hostname = service.hostname();
        let line =
            |endpoint: &Arc<Endpoint>| format!("{hostname} {}:{}", endpoint.address(), ports(endpoint));
        lines.extend(service.endpoints().iter().map(line));
    }
    lines
}

/// The numbers of an endpoint's ports, such as `8080` or `8080/8443`.
#[must_use]
pub fn ports(endpoint: &Endpoint) -> String {
    let numbers: Vec<String> = endpoint
        .ports()
        .iter()
        .map(|port| port.number.to_string())
        .collect();
    numbers.join("/")
}

/// The first revision that lacked something.
#[derive(Debug, Clone)]
pub struct Missing {
    /// What it lacked, in the words of [`endpoints`].
    pub what: Vec<String>,
    /// When it was published.
    pub published: Timestamp,
    /// When it was seen, not before that.
    pub seen: Instant,
}

/// What was there when it was called, and when something of it was missing first.
///
/// ```no_run
/// # async fn example(discovery: registry_core::Discovery) {
/// use registry_testkit::witness::Witness;
///
/// let witness = Witness::call(&discovery);
/// // ... what must not be seen goes on ...
/// witness.saw_everything("while the server restarted", &discovery);
/// # }
/// ```
#[derive(Debug)]
pub struct Witness {
    missing: Arc<Mutex<Option<Missing>>>,
    task: JoinHandle<()>,
}

// === impl Witness ===

impl Witness {
    /// Looks from now on, until it is dropped.
    ///
    /// # Panics
    ///
    /// Where there are no endpoints at all: nothing could be missed.
    #[must_use]
    pub fn call(discovery: &Discovery) -> Self {
        let missing = Arc::new(Mutex::new(None));
        let mut changes = discovery.changes();
        let known = endpoints(changes.snapshot());
        assert!(!known.is_empty(), "there are no endpoints");
        let (noted, discovery) = (missing.clone(), discovery.clone());
        let task = tokio::spawn(async move {
            while changes.next().await.is_some() {
                // The one that woke us, and one that followed at once.
                for snapshot in [changes.snapshot(), &discovery.snapshot()] {
                    let there = endpoints(snapshot);
                    let what: Vec<String> = known.difference(&there).cloned().collect();
                    let mut noted = lock(&noted);
                    if !what.is_empty() && noted.is_none() {
                        *noted = Some(Missing {
                            what,
                            published: snapshot.published(),
                            seen: Instant::now(),
                        });
                    }
                }
            }
        });
        Self { missing, task }
    }

    /// What was missing first, if anything was.
    #[must_use]
    pub fn missing(&self) -> Option<Missing> {
        lock(&self.missing).clone()
    }

    /// Asserts that nothing was missing so far.
    ///
    /// # Panics
    ///
    /// Where anything was; the message says when, what, and in which state the registries are.
    pub fn saw_everything(&self, when: &str, discovery: &Discovery) {
        let what = self.missing().map(|missing| missing.what).unwrap_or_default();
        assert!(
            what.is_empty(),
            "{when}: {} endpoints are missing, such as {:?}; {:?}",
            what.len(),
            what.first(),
            discovery.status()
        );
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
