//! Serves merged services to fleets of Envoy and to gRPC clients, over xDS: clusters, endpoints, listeners and routes,
//! made from the snapshots of `registry-core`.
//!
//! ```text
//!  Discovery::changes()
//!    ▼
//!  translate      pure: one service, as one view sees it -> clusters, endpoints, virtual hosts, parts of listeners
//!    ▼
//!  views          one per kind of node: what all services give together, as one immutable ResourceSet; conflicts settled
//!    ▼  one slot per stream: the newest set
//!  session        pure: one stream's subscriptions, what its client has, what it gets next and in which order
//!    ▼
//!  server         gRPC: one table of methods, a codec that copies what was encoded once; TLS, keepalive, who is connected
//! ```
//!
//! Each resource is encoded once for as long as its content stays, and shared by all streams of both protocols
//! (state-of-the-world and delta). What a stream has been sent is a pointer to the set it was taken from.
//!
//! A control plane that embeds it follows any registries and serves what they say together; here one states its services
//! itself:
//!
//! ```
//! use registry_core::{
//!     Address, Discovery, Endpoint, ServiceId, ServiceMeta, ServicePort, ServiceRecord, StaticRegistry,
//! };
//! use registry_xds::{Node, ResourceType, Xds, XdsConfig};
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let http = ServicePort { number: Some(80), ..ServicePort::new("http") };
//!     let web = ServiceRecord::new(
//!         ServiceMeta::builder(ServiceId::named("web")).ports([http]).build(),
//!         [Endpoint::builder("10.0.0.7".parse::<Address>()?).port("http", 8080).build()],
//!     );
//!     let discovery = Discovery::builder().registry("vms", StaticRegistry::new([web]))?.start()?;
//!
//!     let stop = CancellationToken::new();
//!     let xds = Xds::start(discovery.clone(), XdsConfig::default(), stop.clone())?;
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     println!("proxies find it at {}", listener.local_addr()?);
//!     let serving = {
//!         let (xds, stop) = (xds.clone(), stop.clone());
//!         tokio::spawn(async move { xds.serve(listener, stop).await })
//!     };
//!
//!     // What an Envoy that connects now would get.
//!     discovery.ready().await;
//!     let (set, warnings) = xds.views().look(&Node::default()).await.ok_or("not ready")?;
//!     for cluster in set.iter(ResourceType::Cluster) {
//!         println!("{}", cluster.name());
//!     }
//!     assert_eq!(set.len(ResourceType::Cluster), 1);
//!     assert!(warnings.is_empty());
//!
//!     stop.cancel();
//!     serving.await??;
//!     discovery.shutdown().await;
//!     Ok(())
//! }
//! ```

mod bootstrap;
mod config;
mod dump;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod names;
mod node;
mod protocol;
mod resource;
mod server;
mod session;
mod translate;
mod views;

pub use bootstrap::{Bootstrap, BootstrapFormat, CertificateProvider, SdsAgent};
pub use config::{
    CircuitBreakers, Destination, Fault, FaultStep, GatewayConfig, Layout, LocalPort, LocalityMode,
    OutboundConfig, OutlierDetection, PathMatch, ProtocolRule, RouteConfig, RouteRule, SubsetConfig,
    SubsetRule, TlsConfig, UnhealthyMode, UpstreamTls, UpstreamTlsSource, XdsConfig,
};
pub use error::Error;
pub use node::{Kind, Node, View};
pub use protocol::Protocol;
pub use resource::{Resource, ResourceSet, ResourceType};
pub use server::{ClientStatus, Clients, GRACE, Nack, TypeStatus, Xds, XdsMetrics};
pub use session::{Channel, Incoming, Response, Session, Variant};
pub use views::{Views, Warning};
