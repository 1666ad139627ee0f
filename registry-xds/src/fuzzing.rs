//! For fuzz targets, and for tests that replay what they found: what clients say. No part of the API.

use envoy_types::pb::envoy::config::core::v3::Node as ProtoNode;
use prost::Message;
use registry_core::fuzzing::{Target, check_message};

use crate::config::{LocalityMode, XdsConfig};
use crate::node::{Node, View};

pub use crate::session::fuzzing::requests;

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("xds_node", node), ("xds_requests", requests)];

/// A node, as a client describes itself and as somebody writes it, down to the view that it gets.
pub fn node(bytes: &[u8]) {
    if let Ok(said) = ProtoNode::decode(bytes) {
        check_node(&Node::from_proto(&said));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Node::parse(text) {
        Ok(node) => check_node(&node),
        Err(error) => check_message(&error.to_string()),
    }
}

fn check_node(node: &Node) {
    for text in [&node.id, &node.cluster] {
        assert!(text.len() <= 256, "{text:?}");
    }
    assert!(node.user_agent.len() <= 513 && node.features.len() <= 64);
    assert!(node.metadata.len() <= 128, "{} entries", node.metadata.len());
    for (key, value) in &node.metadata {
        assert!(key.len() <= 256 && value.len() <= 16 << 10, "{key:?}");
    }
    for locality in [LocalityMode::Weighted, LocalityMode::Nearest] {
        let config = XdsConfig {
            locality,
            ..XdsConfig::default()
        };
        let view = View::of(node, &config);
        assert!(view.services.len() <= 1_000 && view.services.is_sorted());
        assert!(view.outbound.is_none_or(|address| address.port() != 0));
        // Who says the same is served the same.
        assert_eq!(view, View::of(&node.clone(), &config));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), super::TARGETS);
    }
}
