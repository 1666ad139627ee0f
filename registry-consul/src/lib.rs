//! Consul and Nomad as registries of `registry-core`: every service of a data centre, or of a region, with all of its
//! instances, kept up to date by blocking queries.
//!
//! # Consul
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
//! With ACLs the token needs `service:read` and `node:read`.
//!
//! # Nomad
//!
//! ```text
//!  services?namespace=NS ──blocking──▶ which names there are, and that something changed (asked of the leader)
//!        │ new name     │ gone name: read once more     │ a change that no event tells of
//!        ▼              ▼                               ▼
//!  service/NAME ──read──▶ check the index ──▶ map ──▶ Apply / Delete      all services, in turns
//!        ▲
//!        └── event/stream ──▶ which service changed, and what was removed in so many words
//! ```
//!
//! - **Every index is that of the whole table** of registrations. So an answer at some index holds everything up to it, and
//!   a service is due while it was read at a lower one than something happened to it.
//! - **The event stream is a trigger** and no more: it has gaps, and is silent where it is refused. Each change that the
//!   list tells of has to be accounted for by an event; else everything is read again, at a bounded rate.
//! - **Three or four connections are enough** for thousands of services; a server that is behind is told by its index, and
//!   the leader is asked in its place.
//! - **Nomad's catalogue has no health**, and keeps registrations whose allocations are gone: checks and states of
//!   allocations can be asked for, see [`NomadRegistry`] for the table.
//!
//! The token needs the capability `read-job` in the namespaces that are watched: [`NomadConfig::acl_policy`].
//!
//! # Both
//!
//! They need a rustls provider to be installed at the start of `main`, for `http://` as well:
//! `rustls::crypto::ring::default_provider().install_default()`.
//!
//! ```no_run
//! use registry_consul::{ConsulConfig, ConsulRegistry, NomadConfig, NomadRegistry};
//! use registry_core::Discovery;
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ConsulConfig { address: Some("http://127.0.0.1:8500".to_owned()), ..ConsulConfig::default() };
//! let discovery = Discovery::builder()
//!     .registry("consul-dc1", ConsulRegistry::try_new(config)?)?
//!     .registry("nomad", NomadRegistry::try_new(NomadConfig::default())?)?
//!     .start()?;
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
pub mod fuzzing;

pub use consul::{Consistency, ConsulConfig, ConsulRegistry};
pub use error::Error;
pub use nomad::{ChecksConfig, Ghosts, NomadConfig, NomadRegistry};
