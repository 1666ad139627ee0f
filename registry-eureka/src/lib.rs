//! Eureka as a registry of `registry-core`: every application of a Netflix or Spring Cloud Eureka server, or of whatever
//! else speaks the protocol, with all of its instances.
//!
//! ```text
//!  schedule ─── grid: when does the server's own cache change? ──┐
//!     │ due                                                      │ learns from what changed between two polls
//!     ▼                                                          │
//!  transport ──▶ /apps        ──▶ wire ──▶ map ──▶ table ──▶ Init … InitDone
//!            └─▶ /apps/delta  ──▶ wire ──▶ map ──▶ table ──▶ Apply / Delete / Confirmed
//!                                                    │
//!                        counts by status ≠ hash ────┘ one full fetch, then a backoff
//! ```
//!
//! - **An equal hash proves nothing**: it only counts instances by status. After any gap longer than half of the server's
//!   retention of changes, after every change of the server, and every few minutes anyway, the whole registry is fetched.
//! - **Only an announced removal is one**: a `DELETED` of a delta. What is merely absent from a full fetch goes to the
//!   removal guard, and so a server that was restarted empty wipes nobody.
//! - **A server that refuses has not answered**: 403 while it starts is no empty registry.
//!
//! See [`EurekaRegistry`] for what becomes of statuses, addresses, ports and metadata, and [`EurekaConfig`] for what can
//! be set. It needs a rustls provider to be installed at the start of `main`, for `http://` as well:
//! `rustls::crypto::ring::default_provider().install_default()`.
//!
//! ```no_run
//! use registry_core::Discovery;
//! use registry_eureka::{EurekaConfig, EurekaRegistry};
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let config = EurekaConfig { urls: vec!["http://127.0.0.1:8761/eureka".to_owned()], ..EurekaConfig::default() };
//! let discovery = Discovery::builder().registry("legacy", EurekaRegistry::try_new(config)?)?.start()?;
//! discovery.ready().await;
//! if let Some(orders) = discovery.snapshot().get("orders.eureka") {
//!     println!("{} endpoints", orders.routable_endpoints().count());
//! }
//! # Ok(()) }
//! ```

mod config;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod grid;
mod map;
mod registry;
mod session;
mod table;
mod transport;
mod wire;

pub use config::{AddressChoice, Alignment, EurekaConfig, MetadataKeys};
pub use error::Error;
pub use registry::EurekaRegistry;
