//! Clients of an xDS server: one that does as a test says, and one that behaves as Envoy does.
//!
//! ```text
//!  Sotw, Delta (protocol)    what requests and responses look like
//!     ▼
//!  Stream                    send, receive, acknowledge, refuse: each request is the test's own
//!     ▼
//!  Model                     subscribes as Envoy, warms clusters, acknowledges; remembers what it saw and what would
//!                            have been an error for those whose requests it carries
//! ```
//!
//! [`secrets`] is a server: of certificates, for Envoys that are told to ask for them.
//!
//! It needs the feature `xds`.

mod content;
mod model;
mod protocol;
pub mod secrets;
mod state;
mod stream;

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::config::core::v3::{BuildVersion, Locality, Node};
use envoy_types::pb::envoy::r#type::v3::SemanticVersion;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

pub use self::content::decode;
pub use self::model::Model;
pub use self::protocol::{Delta, Listed, Protocol, Service, Sotw};
pub use self::state::{Seen, State};
pub use self::stream::Stream;
use crate::{Error, init_tls};

/// The type URL of clusters.
pub const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// The type URL of endpoints.
pub const EDS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// The type URL of listeners.
pub const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// The type URL of route configurations.
pub const RDS: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// A connection to the server, made when it is first needed and again when it was lost.
///
/// # Errors
///
/// [`Error::Io`] for an address that is none.
pub fn channel(address: SocketAddr) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(failed(address))?;
    Ok(endpoint.connect_lazy())
}

/// As [`channel`], by TLS: `authority` is the certificate (PEM) that the client trusts, `name` what the server's has to
/// be for, `identity` the client's own certificate and key (PEM).
///
/// # Errors
///
/// [`Error::Io`] for texts that are of no use.
pub fn tls_channel(
    address: SocketAddr,
    authority: &str,
    name: &str,
    identity: Option<(&str, &str)>,
) -> Result<Channel, Error> {
    init_tls();
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name(name);
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(failed(address))?;
    Ok(endpoint.tls_config(tls).map_err(failed(address))?.connect_lazy())
}

/// What an Envoy says of itself; `zone` may be empty.
#[must_use]
pub fn envoy_node(id: &str, zone: &str) -> Node {
    let version = SemanticVersion {
        major_number: 1,
        minor_number: 40,
        patch: 0,
    };
    Node {
        id: id.to_owned(),
        cluster: "vm".to_owned(),
        locality: locality(zone),
        user_agent_name: "envoy".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion {
            version: Some(version),
            metadata: None,
        })),
        ..Node::default()
    }
}

/// What a gRPC client says of itself; `zone` may be empty.
#[must_use]
pub fn grpc_node(id: &str, zone: &str) -> Node {
    let features = [
        "envoy.lb.does_not_support_overprovisioning",
        "xds.config.resource-in-sotw",
    ];
    Node {
        id: id.to_owned(),
        cluster: "vm".to_owned(),
        locality: locality(zone),
        user_agent_name: "gRPC C-core linux Python".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion("1.85.1".to_owned())),
        client_features: features.map(str::to_owned).into(),
        ..Node::default()
    }
}

fn locality(zone: &str) -> Option<Locality> {
    (!zone.is_empty()).then(|| Locality {
        zone: zone.to_owned(),
        ..Locality::default()
    })
}

fn failed(address: SocketAddr) -> impl FnOnce(tonic::transport::Error) -> Error {
    move |error| Error::Io {
        what: format!("no connection can be made to {address}"),
        source: std::io::Error::other(error),
    }
}
