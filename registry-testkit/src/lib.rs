//! For tests of service registries: a conformance suite, a scripted registry, real servers, a fault-injecting proxy and
//! a replay server.
//!
//! ```text
//!                    ┌──────── a test ────────┐
//!                    │                        │ drives: registers, kills, pauses, cuts, replays
//!                    ▼                        ▼
//!  code under test ──▶ proxy (faults) ──▶ consul: Consul, ConsulCluster   real servers, see `cargo xtask servers`
//!                  │                  ├─▶ kubernetes: Kubernetes, Clusterset (several, with Multi-Cluster Services)
//!                  │                  └─▶ eureka: Eureka ◀── Registrant      real clients
//!                  └─▶ replay (captured exchanges)
//!
//!  load: wrk, upstream::Load ──▶ envoy: Envoy ──▶ upstream: HTTP, WebSocket, TCP, TLS, MongoDB · redis: Redis
//!  grpc: GrpcClient ──▶ GrpcServer      gRPC's own implementation, configured by xDS
//!  xds: Stream (a test's own requests), Model (behaves as Envoy) ──▶ xDS server under test
//!
//!  conformance: does a backend keep its contract? · scripted: a backend that does as it is told
//!  servers: where they are installed · ports: where they listen · wait: deadlines · sockets: connections
//!  witness: what was ever missing of what is published · log: what is logged
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
//!
//! # Does my registry keep its contract?
//!
//! [`conformance::check`] asks any [`ServiceRegistry`](registry_core::ServiceRegistry); its author says how to move the
//! world behind it. Here that is the registry whose services the program itself states:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use registry_core::{
//!     async_trait, Address, Endpoint, Health, ServiceId, ServiceMeta, ServiceRecord, ServiceRegistry, StaticRegistry,
//! };
//! use registry_testkit::conformance::{check, Instance, Options, Outcome, Rule, Subject, World, WorldError};
//!
//! struct Stated;
//!
//! struct StatedWorld {
//!     registry: Arc<StaticRegistry>,
//!     services: BTreeMap<String, ServiceRecord>,
//! }
//!
//! #[async_trait]
//! impl Subject for Stated {
//!     async fn start(&self) -> Result<Box<dyn World>, WorldError> {
//!         let registry = Arc::new(StaticRegistry::new([]));
//!         Ok(Box::new(StatedWorld { registry, services: BTreeMap::new() }))
//!     }
//! }
//!
//! #[async_trait]
//! impl World for StatedWorld {
//!     fn registry(&self) -> Arc<dyn ServiceRegistry> {
//!         self.registry.clone()
//!     }
//!
//!     async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
//!         let endpoints = instances.iter().map(|instance| {
//!             let health = if instance.healthy { Health::Healthy } else { Health::Unhealthy };
//!             let endpoint = Endpoint::builder(Address::V4(instance.address)).port("http", instance.port);
//!             endpoint.id(instance.id.as_str()).health(health).build()
//!         });
//!         let meta = ServiceMeta::builder(ServiceId::named(service)).build();
//!         let record = ServiceRecord::new(meta, endpoints.collect::<Vec<_>>());
//!         self.services.insert(service.to_owned(), record);
//!         self.registry.handle().set(self.services.values().cloned());
//!         Ok(())
//!     }
//!
//!     async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
//!         self.services.remove(service);
//!         self.registry.handle().set(self.services.values().cloned());
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let report = check(&Stated, &Options::default()).await;
//! assert!(report.failed().is_empty(), "{report}");
//! // Nothing can go wrong with it, so there is nothing that it would have to survive.
//! assert!(matches!(report.outcome(Rule::FailureIsNotEmpty), Some(Outcome::Skipped(_))));
//! # }
//! ```

pub mod conformance;
pub mod consul;
mod daemon;
pub mod envoy;
mod error;
pub mod eureka;
mod files;
pub mod grpc;
mod json;
pub mod kubernetes;
pub mod log;
pub mod nomad;
pub mod ports;
mod process;
pub mod proxy;
pub mod redis;
pub mod replay;
pub mod scripted;
pub mod servers;
pub mod sockets;
pub mod upstream;
pub mod wait;
pub mod witness;
pub mod wrk;
#[cfg(feature = "xds")]
pub mod xds;

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
