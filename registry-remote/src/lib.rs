//! What others publish, as registries of `registry-core`: documents of HTTP service discovery, and another `registryd`.
//!
//! - [`HttpSdRegistry`] polls a document in the shape of Prometheus' HTTP SD and file SD: whatever has no backend of its
//!   own is bridged by a script that writes one.
//! - [`DaemonRegistry`] follows `/v1/watch` of another daemon, with phases, ages and provenance: tiers, in which registries
//!   see a constant load however many machines ask.
//!
//! Both need a rustls provider to be installed at the start of `main`, for `http://` as well:
//! `rustls::crypto::ring::default_provider().install_default()`.
//!
//! ```no_run
//! use registry_core::Discovery;
//! use registry_remote::{HttpSdConfig, HttpSdRegistry};
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let config = HttpSdConfig { url: "http://127.0.0.1:9000/targets.json".to_owned(), ..HttpSdConfig::default() };
//! let discovery = Discovery::builder().registry("inventory", HttpSdRegistry::try_new(config)?)?.start()?;
//! discovery.ready().await;
//! for service in discovery.snapshot().services() {
//!     println!("{} {} endpoints", service.hostname(), service.endpoints().len());
//! }
//! # Ok(()) }
//! ```

mod daemon;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod http_sd;

pub use daemon::{DaemonConfig, DaemonRegistry};
pub use error::Error;
pub use http_sd::{HttpSdConfig, HttpSdRegistry, LabelNames};
