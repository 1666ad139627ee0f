//! Consul as a registry of `registry-core`: every service of a data centre with all of its instances and their
//! health, kept up to date by blocking queries.
//!
//! ```text
//!  catalog/services ──blocking──▶ which names there are (consistent read: notices a lost leader at once)
//!        │ new name                      │ gone name: read once more before it counts as gone
//!        ▼                               ▼
//!  health/service/NAME ──read──▶ judge ──▶ map ──▶ Apply / Delete / Degraded
//!        ▲                        │
//!        └─────blocking─◀─────────┘   within the budget of connections; beyond it: sweep, and a change detector
//! ```
//!
//! - **One budget of connections**, 80 unless set, of the 200 that Consul grants a host: other programs on it, and the
//!   polls that a killed predecessor left parked, keep their share. Over HTTPS polls share HTTP/2 connections.
//! - **An index proves nothing by moving**, only content does; one that goes back means a full read at once. One that
//!   stands still while instances vanish means that the answer was filtered: degraded, and nothing is removed. Nor is a
//!   service gone that the catalogue lists, nor any once the catalogue does not even list the servers themselves.
//! - **A loss that may be another server's is no loss yet**: after a connection broke or an index went back, it is told
//!   in a complete listing by consistent reads, all at once, and never service by service.
//! - **Health** is aggregated here from node and service checks; see [`ConsulRegistry`] for the table.
//!
//! It needs a rustls provider to be installed at the start of `main`, for `http://` as well:
//! `rustls::crypto::ring::default_provider().install_default()`. With ACLs the token needs `service:read` and
//! `node:read`.
//!
//! ```no_run
//! use registry_consul::{ConsulConfig, ConsulRegistry};
//! use registry_core::Discovery;
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ConsulConfig { address: Some("http://127.0.0.1:8500".to_owned()), ..ConsulConfig::default() };
//! let discovery = Discovery::builder().registry("consul-dc1", ConsulRegistry::try_new(config)?)?.start()?;
//! discovery.ready().await;
//! if let Some(web) = discovery.snapshot().get("web.service.consul") {
//!     println!("{} endpoints", web.routable_endpoints().count());
//! }
//! # Ok(()) }
//! ```

mod budget;
mod consul;
mod error;
mod json;
mod nomad;
mod policy;
mod settings;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use consul::fuzzing;
pub use consul::{Consistency, ConsulConfig, ConsulRegistry};
pub use error::Error;
pub use nomad::{ChecksConfig, Ghosts, NomadConfig, NomadRegistry};
