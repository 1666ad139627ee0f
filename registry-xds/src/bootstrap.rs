//! Bootstraps: all that a client needs to find this server.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::node::Kind;
use crate::session::Variant;

/// How a bootstrap is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootstrapFormat {
    /// YAML; of gRPC JSON, as it reads nothing else.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

/// What a bootstrap says.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    /// For whom.
    pub kind: Kind,
    /// The servers, `host:port`, the preferred one first.
    pub servers: Vec<String>,
    /// The protocol; gRPC always speaks state of the world.
    pub variant: Variant,
    /// The node's id.
    pub node_id: String,
    /// The node's group.
    pub node_cluster: String,
    /// Where it runs: region, zone, sub-zone.
    pub locality: registry_core::Locality,
    /// The network it is in, where that matters.
    pub network: Option<String>,
    /// Patterns of the hostnames that it wants; empty for all.
    pub services: Vec<String>,
    /// The administration listener of Envoy; none where `None`.
    pub admin: Option<SocketAddr>,
    /// TLS to the servers: the authorities' certificates.
    pub tls_ca: Option<PathBuf>,
    /// TLS to the servers: the name that their certificate has to have; that of the server unless set.
    pub tls_name: Option<String>,
    /// TLS to the servers: the client's own certificate and key.
    pub tls_client: Option<(PathBuf, PathBuf)>,
}

impl Bootstrap {
    /// Writes it.
    pub fn render(&self, _format: BootstrapFormat) -> String {
        unimplemented!("bootstrap")
    }
}
