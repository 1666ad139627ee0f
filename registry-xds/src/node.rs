//! Who asks: a node, as it describes itself, and the view that nodes like it share.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::Node as ProtoNode;
use registry_core::{Locality, Str};

use crate::config::XdsConfig;
use crate::error::Error;

/// What kind of client a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Envoy: asks for everything, and listens.
    Envoy,
    /// gRPC: asks by name, and calls.
    Grpc,
}

/// A node, as its first request describes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// The group it belongs to.
    pub cluster: String,
    /// Program and version, such as `envoy 1.40.0`.
    pub user_agent: String,
    /// Where it runs.
    pub locality: Locality,
    /// The texts, numbers and lists of its metadata, flattened: `registryd.services` and the like; items of lists joined
    /// with commas.
    pub metadata: BTreeMap<String, String>,
    /// Features of the protocol that it says it has.
    pub features: Vec<String>,
}

impl Node {
    /// Its kind: gRPC where its user agent says so, Envoy otherwise.
    pub fn kind(&self) -> Kind {
        unimplemented!("views")
    }

    /// Reads what a request says.
    pub fn from_proto(_node: &ProtoNode) -> Self {
        unimplemented!("views")
    }

    /// Reads a description in JSON, of the shape that bootstraps of Envoy and gRPC have below `node`; a text that is no
    /// JSON object is the id of an Envoy.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(_text: &str) -> Result<Self, Error> {
        unimplemented!("views")
    }
}

/// What nodes have in common that get the same resources. Holds only what makes a difference under the configuration, so
/// that as many nodes as possible share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    /// The kind of client.
    pub kind: Kind,
    /// Where it runs; empty where priorities do not depend on it.
    pub locality: Locality,
    /// The network it is in; empty where no network has a gateway.
    pub network: Str,
    /// Patterns of the hostnames that it wants; empty for all that are exported.
    pub services: Vec<Str>,
    /// Where its shared listener is, where it asked for another place than the configured one.
    pub outbound: Option<SocketAddr>,
}

impl View {
    /// The view of a node.
    pub fn of(_node: &Node, _config: &XdsConfig) -> Self {
        unimplemented!("views")
    }
}
