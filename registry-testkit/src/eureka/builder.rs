//! The options of a server, and its start.

use std::time::Duration;

use super::{Eureka, EurekaApi, Flavor, StartLock};
use crate::daemon::{Daemon, is_collision};
use crate::{Error, files, ports};

/// How often another port is tried when another process was quicker.
const ATTEMPTS: usize = 5;

/// How an [`Eureka`] is to run.
///
/// Whole seconds and milliseconds are what the servers know; anything finer is cut off.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use std::time::Duration;
///
/// use registry_testkit::eureka::Eureka;
///
/// // A registry as slow as in production, only six times faster.
/// let slow = Eureka::war()
///     .read_only_cache(true)
///     .cache_update_interval(Duration::from_secs(5))
///     .start()
///     .await?;
/// // One that forgets changes after three seconds.
/// let forgetful = Eureka::spring()
///     .delta_retention(Duration::from_secs(3))
///     .delta_retention_timer(Duration::from_millis(500))
///     .start()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct EurekaBuilder {
    pub(super) flavor: Flavor,
    pub(super) read_only_cache: bool,
    pub(super) cache_update_interval: Duration,
    pub(super) cache_expiration: Duration,
    pub(super) eviction_interval: Duration,
    pub(super) self_preservation: bool,
    pub(super) delta_retention: Option<Duration>,
    pub(super) delta_retention_timer: Option<Duration>,
    pub(super) disable_delta: bool,
    pub(super) wait_when_sync_empty: Duration,
    pub(super) peers: Vec<String>,
    pub(super) startup_sync: bool,
    pub(super) context_path: String,
    pub(super) heap_megabytes: u32,
    pub(super) properties: Vec<(String, String)>,
}

// === impl EurekaBuilder ===

impl EurekaBuilder {
    pub(super) fn new(flavor: Flavor) -> Self {
        Self {
            flavor,
            read_only_cache: false,
            cache_update_interval: Duration::from_millis(500),
            cache_expiration: Duration::from_secs(2),
            eviction_interval: Duration::from_millis(500),
            self_preservation: false,
            delta_retention: None,
            delta_retention_timer: None,
            disable_delta: false,
            wait_when_sync_empty: Duration::ZERO,
            peers: Vec::new(),
            startup_sync: false,
            context_path: String::new(),
            heap_megabytes: 256,
            properties: Vec::new(),
        }
    }

    /// Answers lists from a copy that is renewed every [`cache_update_interval`](Self::cache_update_interval), on a
    /// grid of the wall clock. In production it does; here, without this, the next answer has every change.
    #[must_use]
    pub fn read_only_cache(mut self, on: bool) -> Self {
        self.read_only_cache = on;
        self
    }

    /// How often that copy is renewed: 500 ms, and 30 s in production.
    #[must_use]
    pub fn cache_update_interval(mut self, interval: Duration) -> Self {
        self.cache_update_interval = interval;
        self
    }

    /// After what time an answer is made anew although nothing has changed: 2 s, and 180 s in production. Lists of
    /// many thousand instances cost a second each time.
    #[must_use]
    pub fn cache_expiration(mut self, after: Duration) -> Self {
        self.cache_expiration = after;
        self
    }

    /// How often leases that ran out are swept: 500 ms, and 60 s in production. Not more than 15 % go at once.
    #[must_use]
    pub fn eviction_interval(mut self, interval: Duration) -> Self {
        self.eviction_interval = interval;
        self
    }

    /// Expires nothing while fewer leases are renewed than expected. In production it does; not here.
    #[must_use]
    pub fn self_preservation(mut self, on: bool) -> Self {
        self.self_preservation = on;
        self
    }

    /// How long a change is told in deltas; the servers' own default is 180 s.
    #[must_use]
    pub fn delta_retention(mut self, retention: Duration) -> Self {
        self.delta_retention = Some(retention);
        self
    }

    /// How often changes that are older are dropped; the servers' own default is 30 s.
    #[must_use]
    pub fn delta_retention_timer(mut self, interval: Duration) -> Self {
        self.delta_retention_timer = Some(interval);
        self
    }

    /// Answers deltas with 403.
    #[must_use]
    pub fn disable_delta(mut self, disabled: bool) -> Self {
        self.disable_delta = disabled;
        self
    }

    /// Answers reads with 403 for so long after a start that found no peer with instances; then it is
    /// [started](Self::start) as soon as it answers that. Netflix' default is 5 minutes, Spring's never to do it.
    #[must_use]
    pub fn wait_when_sync_empty(mut self, wait: Duration) -> Self {
        self.wait_when_sync_empty = wait;
        self
    }

    /// The base URLs of the other servers that changes are told to; see [`start_pair`](Self::start_pair).
    #[must_use]
    pub fn peers(mut self, base_urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.peers = base_urls.into_iter().map(Into::into).collect();
        self
    }

    /// Asks a peer for all instances before it serves. Without it a server starts empty, and hears of each instance
    /// at its next heartbeat.
    #[must_use]
    pub fn startup_sync(mut self, on: bool) -> Self {
        self.startup_sync = on;
        self
    }

    /// A path before the usual one, such as `/ctx` for `/ctx/eureka`.
    #[must_use]
    pub fn context_path(mut self, path: &str) -> Self {
        self.context_path = path.trim_end_matches('/').to_owned();
        self
    }

    /// How much memory objects may take: 256 MB. 50 000 instances need 1024.
    #[must_use]
    pub fn heap_megabytes(mut self, megabytes: u32) -> Self {
        self.heap_megabytes = megabytes;
        self
    }

    /// Sets any other property, under the server's own name for it, which differs between the two. What is said here
    /// wins.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when it or Java is not installed, [`Error::Ended`] or [`Error::NotReady`] with the end
    /// of its log when it does not come up within 120 s.
    pub async fn start(self) -> Result<Eureka, Error> {
        let lock = StartLock::acquire().await?;
        let mut attempt = 1;
        loop {
            match self.try_start(&lock, free_port()?).await {
                Err(error) if attempt < ATTEMPTS && is_collision(&error) => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    /// Starts two servers that tell each other what they hear, one after the other, each as configured.
    ///
    /// What is registered with one is known to the other after half a second, the first time after a few seconds.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn start_pair(self) -> Result<[Eureka; 2], Error> {
        let lock = StartLock::acquire().await?;
        let mut attempt = 1;
        loop {
            match self.try_start_pair(&lock).await {
                Err(error) if attempt < ATTEMPTS && is_collision(&error) => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_start_pair(&self, lock: &StartLock) -> Result<[Eureka; 2], Error> {
        let ports = [free_port()?, free_port()?];
        let with_peer = |peer: u16| {
            let mut options = self.clone();
            options.peers.push(self.base_url(peer));
            options
        };
        // The first has nobody to ask yet, and would wait for that in vain.
        let first = with_peer(ports[1]).startup_sync(false);
        let mut first = first.try_start(lock, ports[0]).await?;
        first.options.startup_sync = self.startup_sync;
        let second = with_peer(ports[0]).try_start(lock, ports[1]).await?;
        Ok([first, second])
    }

    async fn try_start(&self, lock: &StartLock, port: u16) -> Result<Eureka, Error> {
        let mut eureka = self.prepare(port)?;
        eureka.launch()?;
        eureka.ready(lock).await?;
        Ok(eureka)
    }

    /// A server that is not started yet.
    fn prepare(&self, port: u16) -> Result<Eureka, Error> {
        let folder = files::temporary("eureka-")?;
        let base_url = self.base_url(port);
        let name = match self.flavor {
            Flavor::War => "eureka-war",
            Flavor::Spring => "eureka-spring",
        };
        Ok(Eureka {
            daemon: Daemon::stopped(name, folder.path().join("eureka.log")),
            api: EurekaApi::administrator(&base_url)?,
            options: self.clone(),
            port,
            base_url,
            folder,
        })
    }
}

fn free_port() -> Result<u16, Error> {
    Ok(ports::free(1)?.first().copied().unwrap_or_default())
}
