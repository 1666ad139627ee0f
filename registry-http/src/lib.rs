//! The HTTP client of registries that speak JSON: Consul, Nomad, Eureka, HTTP service discovery.
//!
//! Backends differ in what they ask and how they read it; what they share is everything between a path and a complete
//! body, and that is here:
//!
//! ```text
//!  Request ──► budget ────────► credential ──► channel ─────────► exchange ────► Response
//!  (lane,      watches never    re-read on     HTTP/1.1: one      hard deadline  (status, headers,
//!  deadline)   take the last    change and     pool for all;      bounded body    bounded body)
//!              permits          on 401, 403    HTTP/2: one per    no redirects
//!                 ▲                  │         connection             │
//!                 │                  │         dial gate              │
//!                 └──── next base URL ◄── failed connect; 5xx, timeout or close if the request says so
//! ```
//!
//! - **Several base URLs** are replicas of one registry. The client stays with one until it fails; the failed one rests
//!   for 1 s, twice as long after each further failure, 60 s at most. Who has to know which server is asked asks it by
//!   its number ([`HttpClient::send_to`]), and judges its answers itself.
//! - **Connections are a budget.** Servers count them per client, and a budget overdrawn hurts other programs on the
//!   host. Over HTTP/1.1 each request in flight holds a permit, and idle connections are reused before one is dialled,
//!   so that there are never more than `max_connections`. Over HTTP/2 (TLS only, found out by the first connection)
//!   requests share connections, 200 on each, which are dialled one at a time.
//! - **Answers without an end** ([`HttpClient::open`]) go the same way up to their head, and are read line by line.
//! - **Long polls** ([`Request::with_wait`]) and short reads are two lanes: a client full of parked polls still reads.
//! - **Secrets** come from files or the environment, are read again when they change, and appear in no error, log or
//!   `Debug` text. Proxies of the environment are not used and redirects are not followed.
//!
//! The binary installs a rustls provider at the start of `main`; without one, building a client is an error.
//!
//! ```no_run
//! use std::time::Duration;
//! use registry_http::{Credential, HttpClient, HttpConfig, Placement, Request};
//!
//! # async fn watch() -> Result<(), registry_http::Error> {
//! let token = Placement::Header(http::HeaderName::from_static("x-consul-token"));
//! let client = HttpClient::try_new(
//!     &["http://127.0.0.1:8500"],
//!     HttpConfig::default(),
//!     Credential::from_file("/etc/registryd/consul.token", token),
//! )?;
//!
//! let mut index = 0;
//! loop {
//!     let poll = Request::get("/v1/health/service/web")
//!         .with_query("index", index.to_string())
//!         .with_query("wait", "30s")
//!         .with_wait(Duration::from_secs(30));
//!     let answer = client.send(&poll).await?;
//!     if !answer.is_success() {
//!         eprintln!("{} {}: {}", answer.url(), answer.status(), answer.error_text());
//!     }
//!     index = answer.header_u64("X-Consul-Index").unwrap_or(0);
//! }
//! # }
//! ```

mod base;
mod budget;
mod client;
mod config;
mod credential;
mod error;
mod fail_over;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod lines;
mod rate;
mod request;
mod response;
mod server;
mod stamp;
mod tls;

pub use crate::{
    base::{RedactedUrl, bare_url, bare_urls, encode_segment, is_secret_key},
    client::{BaseStatus, HttpClient, HttpClientBuilder, Observation, Observer},
    config::{HttpConfig, TlsConfig},
    credential::{BasicConfig, Credential, CredentialConfig, Placement},
    error::{Error, Source},
    lines::{Lines, Opened},
    request::{FailOver, Lane, Protocol, Request},
    response::Response,
};
