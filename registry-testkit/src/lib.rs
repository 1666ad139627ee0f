//! Real servers, fault-injecting proxy and replay server for tests of service registries.
//!
//! ```text
//!                    ┌──────── a test ────────┐
//!                    │                        │ drives: registers, kills, pauses, cuts, replays
//!                    ▼                        ▼
//!  code under test ──▶ proxy (faults) ──▶ consul: Consul, ConsulCluster   real servers, see `cargo xtask servers`
//!                  └─▶ replay (captured exchanges)
//!
//!  servers: where they are installed · ports: where they listen · wait: deadlines · sockets: connections
//! ```
//!
//! Nothing that a test starts outlives it, and nothing is waited for without a deadline. A server that is not
//! installed is an error that says so; no test is skipped for it.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
//! use std::time::Duration;
//!
//! use registry_testkit::{consul::Consul, wait};
//! use serde_json::json;
//!
//! let consul = Consul::builder().start().await?;
//! consul.api().register(&json!({ "Name": "web", "Port": 8080 })).await?;
//! wait::until("web in the catalogue", Duration::from_secs(10), async || {
//!     let services = consul.api().get("/v1/catalog/services").await.ok()?;
//!     services.get("web").cloned()
//! })
//! .await?;
//! # Ok(()) }
//! ```

pub mod consul;
mod error;
pub mod ports;
mod process;
pub mod proxy;
pub mod replay;
pub mod scripted;
pub mod servers;
pub mod sockets;
pub mod wait;

pub use error::Error;
pub use proxy::{Fault, FaultProxy, Logged, Match, Rule, RuleId};
pub use replay::{Exchange, ReplayServer, Route, Step};

/// Makes ring the process-wide cryptography of rustls; to be called before the first TLS client or server.
///
/// It may be called any number of times and from several threads: only the first call has an effect, and a
/// provider that the program installed itself is left alone.
pub fn init_tls() {
    // An error means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
