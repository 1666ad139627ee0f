//! Who is connected, what they have, and what they refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use registry_core::Timestamp;

use crate::node::{Kind, Node, View};
use crate::resource::ResourceType;
use crate::session::{Channel, Variant};

/// A response that a client refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Nack {
    /// When.
    pub at: Timestamp,
    /// The version that it refused.
    pub version: String,
    /// What it said, shortened.
    pub message: String,
}

/// One type of resource on one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeStatus {
    /// What the session knows.
    pub channel: Channel,
    /// When a response was last sent.
    pub last_sent: Option<Timestamp>,
    /// What was last refused.
    pub last_nack: Option<Nack>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientStatus {
    /// A number of its own.
    pub stream: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The name in the client's certificate that let it in; `None` without mutual TLS.
    pub identity: Option<String>,
    /// The protocol.
    pub variant: Variant,
    /// `None` for ADS, else the only type of the stream.
    pub only: Option<ResourceType>,
    /// The node; `None` until the first request.
    pub node: Option<Node>,
    /// Its kind.
    pub kind: Option<Kind>,
    /// The view it has.
    pub view: Option<View>,
    /// Since when.
    pub since: Timestamp,
    /// The types that it asked for.
    pub types: BTreeMap<ResourceType, TypeStatus>,
    /// The revision of the set that it was last brought to.
    pub revision: u64,
}

/// Totals since the start, for metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct XdsMetrics {
    /// Open streams, by protocol and kind.
    pub streams: BTreeMap<(Variant, Option<Kind>), u64>,
    /// Responses, by type.
    pub responses: BTreeMap<ResourceType, u64>,
    /// Refused responses, by type.
    pub nacks: BTreeMap<ResourceType, u64>,
    /// Resources in responses, by type.
    pub resources: BTreeMap<ResourceType, u64>,
    /// Bytes in responses.
    pub bytes: u64,
    /// Streams that were refused for want of a permitted identity.
    pub refused: u64,
}

/// All streams of a server.
#[derive(Debug, Default)]
pub struct Clients {}

impl Clients {
    /// All open streams, the oldest first.
    pub fn list(&self) -> Vec<ClientStatus> {
        unimplemented!("server")
    }

    /// Totals since the start.
    pub fn metrics(&self) -> XdsMetrics {
        unimplemented!("server")
    }
}
