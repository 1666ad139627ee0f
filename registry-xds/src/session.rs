//! One stream: what its client subscribed to, what it has, and what it gets next. No I/O and no clock of its own.
//!
//! A stream holds no list of what it sent: it holds the set that its client was brought to, which it shares with the view
//! and with every other stream, and the few resources that lie between the two while a change is under way.

mod channel;
mod delta;
mod order;
mod sotw;

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use registry_core::Str;
use tokio::time::Instant;
use tonic::Status;

use crate::node::Node;
use crate::resource::{Resource, ResourceSet, ResourceType};

/// Which of the two protocols a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// State of the world.
    Sotw,
    /// Delta, also called incremental.
    Delta,
}

/// A request of either protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// State of the world.
    Sotw(Box<DiscoveryRequest>),
    /// Delta.
    Delta(Box<DeltaDiscoveryRequest>),
}

/// What goes to the client. Its resources are encoded already.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The protocol.
    pub variant: Variant,
    /// The type.
    pub type_: ResourceType,
    /// The version of all resources of the type (`version_info`, `system_version_info`).
    pub version: String,
    /// Tells this response from all others of the stream.
    pub nonce: String,
    /// The resources.
    pub resources: Vec<Arc<Resource>>,
    /// Delta: names that do not exist, or no longer.
    pub removed: Vec<Str>,
    /// State of the world: names that do not exist, and why (`resource_errors`, gRFC A88). Delta: likewise, beside
    /// `removed`.
    pub errors: Vec<(Str, String)>,
}

/// What is known of one type on one stream, for those who look.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Channel {
    /// True where the client subscribed to everything.
    pub wildcard: bool,
    /// How many names it subscribed to.
    pub names: usize,
    /// The version of the last response.
    pub sent: Option<String>,
    /// The version that the client last said it uses.
    pub acked: Option<String>,
    /// True while a response is unanswered.
    pub pending: bool,
    /// How many responses were sent.
    pub responses: u64,
    /// How many were refused.
    pub nacks: u64,
    /// What the client last said against a response, and to which version.
    pub nack: Option<(String, String)>,
}

/// The state of one stream. Feed it requests and sets; take responses until there are none.
#[derive(Debug)]
pub struct Session {
    _variant: Variant,
}

impl Session {
    /// A stream that speaks that protocol: of one type alone, or of all (ADS).
    pub fn new(_variant: Variant, _only: Option<ResourceType>) -> Self {
        unimplemented!("session")
    }

    /// Who the client is, once it has said so.
    pub fn node(&self) -> Option<&Node> {
        unimplemented!("session")
    }

    /// A request of the client.
    ///
    /// # Errors
    ///
    /// The status that ends the stream, for what no client may send.
    pub fn request(&mut self, _request: Incoming, _now: Instant) -> Result<(), Status> {
        unimplemented!("session")
    }

    /// The newest set of the client's view.
    pub fn update(&mut self, _set: Arc<ResourceSet>, _now: Instant) {
        unimplemented!("session")
    }

    /// The next response, if one is due. To be asked again until it is `None`, after each request and update and at
    /// [`deadline`](Self::deadline), and only when the client can take one: what changes until then is left out.
    pub fn next(&mut self, _now: Instant) -> Option<Response> {
        unimplemented!("session")
    }

    /// When [`next`](Self::next) should be asked again though nothing happened.
    pub fn deadline(&self) -> Option<Instant> {
        unimplemented!("session")
    }

    /// What is known of a type, where the client asked for it.
    pub fn channel(&self, _type: ResourceType) -> Option<Channel> {
        unimplemented!("session")
    }
}
