//! One base URL: its budget, what it speaks, and the channels that carry its requests.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::redirect::Policy;

use crate::{
    base::BaseUrl,
    budget::{Budget, Limits},
    config::HttpConfig,
    error::Error,
    gate::Gate,
    request::Protocol,
    tls::Material,
};

/// How long an idle connection is kept; the probes below find one that was cut silently.
const IDLE: Duration = Duration::from_secs(90);

/// First probe of a quiet connection: a peer that vanished must not cost a whole long poll.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) struct Server {
    pub(crate) url: BaseUrl,
    pub(crate) budget: Arc<Budget>,
    config: Arc<HttpConfig>,
    channels: Mutex<Channels>,
}

#[derive(Default)]
struct Channels {
    generation: u64,
    all: Vec<Arc<Channel>>,
}

/// A client with a pool of its own.
///
/// Over HTTP/1.1 there is one for all connections. Over HTTP/2 a client keeps a single connection and queues what is
/// beyond the server's limit of streams, so each connection needs a channel.
struct Channel {
    client: reqwest::Client,
    in_use: AtomicUsize,
}

/// The use of a channel by one request.
pub(crate) struct Lease {
    channel: Arc<Channel>,
}

// === impl Server ===

impl Server {
    pub(crate) fn new(url: BaseUrl, config: Arc<HttpConfig>) -> Self {
        let limits = Limits {
            connections: config.max_connections,
            streams: config
                .max_http2_connections
                .saturating_mul(config.streams_per_connection),
            reserved: config.reserved_for_reads,
        };
        // HTTP/2 without TLS would need prior knowledge, and such servers are not among the registries.
        let protocol = if url.is_https() {
            None
        } else {
            Some(Protocol::Http1)
        };
        Self {
            url,
            budget: Budget::new(limits, protocol),
            config,
            channels: Mutex::default(),
        }
    }

    /// A channel with a stream to spare; the permit that the caller holds says that there is one.
    pub(crate) fn lease(&self, material: &Material) -> Result<Lease, Error> {
        let mut channels = self.channels();
        if channels.generation != material.generation {
            // Requests under way keep their channel alive until they are done.
            channels.all.clear();
            channels.generation = material.generation;
        }
        let free = match self.budget.protocol() {
            // First fit: what is beyond the need falls idle and is closed.
            Some(Protocol::Http2) => {
                let limit = self.config.streams_per_connection;
                channels.all.iter().find(|channel| channel.in_use() < limit)
            }
            _ => channels.all.first(),
        };
        let channel = match free {
            Some(channel) => channel.clone(),
            None if channels.all.len() >= self.config.max_http2_connections => {
                // Only where the protocol changed under requests in flight: share the emptiest.
                match channels.all.iter().min_by_key(|channel| channel.in_use()) {
                    Some(channel) => channel.clone(),
                    None => self.open(&mut channels, material)?,
                }
            }
            None => self.open(&mut channels, material)?,
        };
        channel.in_use.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { channel })
    }

    fn open(&self, channels: &mut Channels, material: &Material) -> Result<Arc<Channel>, Error> {
        let client = build(&self.config, material, Some(self.budget.clone()))?;
        let channel = Arc::new(Channel {
            client,
            in_use: AtomicUsize::new(0),
        });
        channels.all.push(channel.clone());
        Ok(channel)
    }

    /// TCP connections that carry requests now, as far as this side knows.
    pub(crate) fn connections_in_use(&self) -> usize {
        match self.budget.protocol() {
            Some(Protocol::Http2) => self
                .channels()
                .all
                .iter()
                .filter(|channel| channel.in_use() > 0)
                .count(),
            _ => self.budget.in_use(),
        }
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

// === impl Channel ===

impl Channel {
    fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

// === impl Lease ===

impl Lease {
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.channel.client
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.channel.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Builds a client; without a budget only to see that it can be built.
pub(crate) fn build(
    config: &HttpConfig,
    material: &Material,
    budget: Option<Arc<Budget>>,
) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(&config.user_agent)
        // A redirect could carry the credential to a host that nobody configured.
        .redirect(Policy::none())
        .referer(false)
        // A registry is infrastructure of the same network; the environment must not reroute it.
        .no_proxy()
        .gzip(true)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEP_ALIVE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(config.max_connections);
    if let Some(budget) = budget {
        builder = builder.connector_layer(Gate::new(budget, config.connect_timeout));
    }
    material.apply(builder).build().map_err(|e| Error::TlsSetup {
        field: "tls".to_owned(),
        source: e.without_url().into(),
    })
}
