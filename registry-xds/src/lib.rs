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

mod bootstrap;
mod config;
mod dump;
mod error;
mod names;
mod node;
mod protocol;
mod resource;
mod server;
mod session;
mod translate;
mod views;

pub use bootstrap::{Bootstrap, BootstrapFormat};
pub use config::{
    CircuitBreakers, Destination, Fault, FaultStep, GatewayConfig, Layout, LocalPort, LocalityMode,
    OutboundConfig, OutlierDetection, PathMatch, ProtocolRule, RouteConfig, RouteRule, SubsetConfig,
    SubsetRule, TlsConfig, UnhealthyMode, UpstreamTls, UpstreamTlsSource, XdsConfig,
};
pub use error::Error;
pub use node::{Kind, Node, View};
pub use protocol::Protocol;
pub use resource::{Resource, ResourceSet, ResourceType};
pub use server::{ClientStatus, Clients, Nack, TypeStatus, Xds, XdsMetrics};
pub use session::{Channel, Incoming, Response, Session, Variant};
pub use views::{Views, Warning};
