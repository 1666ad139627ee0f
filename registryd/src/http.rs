//! The HTTP output: what is known, as JSON, as a stream of changes, and as metrics.
//!
//! ```text
//!  Discovery ─▶ snapshot() ──▶ services, registries, exports, metrics    one answer each, written in pieces
//!            └▶ changes() ──▶ ring of removals ──┐
//!            └▶ changes() ──▶ watch ◀────────────┘ resume                one delta at a time, when the client takes it
//!  Xds       ─▶ clients, warnings, resources                             what the other output serves, and to whom
//!  orders ─▶ Discovery: lets go of what is held, asks a registry for everything
//!  guard     counts every request, checks names of hosts and the token, before any of them
//! ```
//!
//! Everything but `orders` only reads. Errors are `application/problem+json`; a parameter that is not known is an error, and so
//! is a name of which nobody can say yet whether it exists.

mod document;
mod etag;
#[cfg(feature = "mcs")]
mod exports;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod guard;
mod health;
mod json;
mod metrics;
mod nearest;
mod orders;
mod problem;
mod query;
mod registries;
mod ring;
mod serve;
mod services;
mod watch;
#[cfg(feature = "xds")]
mod xds;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use registry_core::Discovery;
use secrecy::SecretString;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use serve::serve;

/// The largest body of a request. None needs one.
const BODY: usize = 64 * 1024;

/// Settings of the HTTP output. What is left out has the default of [`Default`].
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The token that every request but those for health and readiness has to bear; none unless set.
    pub token: Option<SecretString>,
    /// Further names by which a listener on a loopback address may be called. It answers to `localhost` and to IP
    /// addresses alone, so that no page in a browser can reach it by a name of its own.
    pub allowed_hosts: Vec<String>,
    /// How many watches may be open at the same time; 1 000 unless set.
    pub watches: usize,
    /// How many removals are remembered for watches that resume; 10 000 unless set.
    pub tombstones: usize,
    /// After how much silence a watch gets a comment; 15 seconds unless set.
    pub keepalive: Duration,
    /// How long answers under way may take once it is told to stop; 3 seconds unless set.
    pub grace: Duration,
    /// The xDS server, of which clients and resources are shown; none unless set.
    #[cfg(feature = "xds")]
    pub xds: Option<registry_xds::Xds>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            token: None,
            allowed_hosts: Vec::new(),
            watches: 1_000,
            tombstones: 10_000,
            keepalive: Duration::from_secs(15),
            grace: Duration::from_secs(3),
            #[cfg(feature = "xds")]
            xds: None,
        }
    }
}

/// What all handlers share.
#[derive(Debug)]
struct Api {
    discovery: Discovery,
    options: HttpOptions,
    /// True where only this machine can reach the listener.
    loopback: bool,
    /// Told to stop, by the daemon.
    stop: CancellationToken,
    /// Watches end: told to stop, or discovery ended by itself.
    closing: CancellationToken,
    ring: Arc<Mutex<ring::Ring>>,
    watches: Arc<AtomicUsize>,
    /// Requests by route and status; both come from small sets, whatever clients send.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    _follower: DropGuard,
}

/// The routes of the HTTP output, for a listener at `local`. To be called within a Tokio runtime: what watches need in
/// order to resume is followed in a task that ends with `stop`, or with the router.
pub fn router(
    discovery: Discovery,
    options: HttpOptions,
    local: SocketAddr,
    stop: CancellationToken,
) -> Router {
    let closing = stop.child_token();
    let ring = ring::follow(&discovery, options.tombstones, closing.clone());
    let api = Arc::new(Api {
        discovery,
        options,
        loopback: local.ip().to_canonical().is_loopback(),
        stop,
        ring,
        watches: Arc::default(),
        requests: Mutex::default(),
        _follower: closing.clone().drop_guard(),
        closing,
    });
    let routes = Router::new();
    #[cfg(feature = "mcs")]
    let routes = routes.route("/v1/exports", get(exports::list));
    #[cfg(feature = "xds")]
    let routes = routes
        .route("/v1/xds/clients", get(xds::clients))
        .route("/v1/xds/warnings", get(xds::warnings))
        .route("/v1/xds/resources", get(xds::resources));
    routes
        .route("/v1/services", get(services::list))
        .route("/v1/services/{hostname}", get(services::one))
        .route("/v1/registries", get(registries::list))
        .route("/v1/registries/{id}", get(registries::one))
        .route("/v1/registries/{id}/ack", post(orders::acknowledge))
        .route("/v1/registries/{id}/resync", post(orders::resync))
        .route("/v1/watch", get(watch::watch))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(api.clone(), guard::guard))
        .with_state(api)
}

/// A lock whose holder panicked is taken all the same: what it guards is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
