//! Who asks: a node, as it describes itself, and the view that nodes like it share.

mod describe;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3::Node as ProtoNode;
use registry_core::{Locality, Str};

use crate::config::{LocalityMode, XdsConfig};
use crate::error::Error;

/// What kind of client a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Envoy: asks for everything, and listens.
    Envoy,
    /// gRPC: asks by name, and calls.
    Grpc,
}

/// A node, as its first request describes it. It is a stranger's word: texts are shortened, and of endless metadata the
/// first 128 entries are kept, those of this server (`registryd.…`) before all others.
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

/// Patterns of hostnames that a node may ask for.
const PATTERNS: usize = 1_000;
/// The longest of them, in bytes: what is longer than a hostname can be matches none.
const PATTERN: usize = 255;

impl Node {
    /// Its kind: gRPC where its user agent says so, Envoy otherwise.
    pub fn kind(&self) -> Kind {
        let is_grpc = self
            .user_agent
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("grpc"));
        if is_grpc { Kind::Grpc } else { Kind::Envoy }
    }

    /// Reads what a request says.
    pub fn from_proto(node: &ProtoNode) -> Self {
        describe::from_proto(node)
    }

    /// Reads a description in JSON, of the shape that bootstraps of Envoy and gRPC have below `node`; a text that is no
    /// JSON object is the id of an Envoy. A bootstrap of gRPC has no `user_agent_name`, which the library adds by itself:
    /// here it has to be written.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        describe::parse(text)
    }
}

/// What nodes have in common that get the same resources. Holds only what makes a difference under the configuration, so
/// that as many nodes as possible share one.
///
/// | field | from the node's | matters |
/// |---|---|---|
/// | `kind` | user agent | always |
/// | `locality` | locality, region and zone | with `locality: nearest` |
/// | `network` | metadata `registryd.network` | where that network has a gateway |
/// | `services` | metadata `registryd.services`, a list or a text with commas | where it does not have `*` |
/// | `outbound` | metadata `registryd.outbound`, an address or a port of 127.0.0.1 | for Envoy, where it is not the configured one |
///
/// Metadata that cannot be meant counts as not there.
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
    pub fn of(node: &Node, config: &XdsConfig) -> Self {
        let kind = node.kind();
        let said = |key: &str| node.metadata.get(key).map_or("", |value| value.trim());
        let locality = match config.locality {
            LocalityMode::Weighted => Locality::default(),
            // Nearness ends at the zone.
            LocalityMode::Nearest => Locality {
                sub_zone: Str::default(),
                ..node.locality.clone()
            },
        };
        let network = Some(said("registryd.network")).filter(|name| config.networks.contains_key(*name));
        let outbound = (kind == Kind::Envoy)
            .then(|| listener(said("registryd.outbound")))
            .flatten()
            .filter(|address| *address != config.outbound.listen);
        Self {
            kind,
            locality,
            network: network.map(Str::from).unwrap_or_default(),
            services: patterns(said("registryd.services")),
            outbound,
        }
    }
}

fn listener(text: &str) -> Option<SocketAddr> {
    let port = text
        .parse()
        .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let address = port.or_else(|_| text.parse::<SocketAddr>()).ok()?;
    (address.port() != 0).then_some(address)
}

/// Sorted, so that nodes which list the same share a view. None where everything matches.
fn patterns(text: &str) -> Vec<Str> {
    let pattern = |text: &str| {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        ((1..=PATTERN).contains(&text.len())).then(|| Str::from(text))
    };
    let mut patterns: Vec<Str> = text.split(',').filter_map(pattern).collect();
    patterns.sort();
    patterns.dedup();
    patterns.truncate(PATTERNS);
    if patterns.iter().any(|pattern| *pattern == "*") {
        patterns.clear();
    }
    patterns
}
