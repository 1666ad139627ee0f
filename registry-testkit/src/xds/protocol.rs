//! The two protocols: what a request of each looks like.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc::Status;
use prost::Message;

use super::{CDS, LDS};

/// Which service a stream is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// All types on one stream.
    Aggregated,
    /// Clusters alone.
    Clusters,
    /// Endpoints alone.
    Endpoints,
    /// Listeners alone.
    Listeners,
    /// Routes alone.
    Routes,
}

/// A resource in a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its version; state-of-the-world has none for a single resource, there it is a hash of the content.
    pub version: String,
    /// The resource.
    pub body: Any,
}

/// What a client has to remember of a type to write its next request.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    /// Whether there was a request on this stream.
    pub(super) asked: bool,
    /// The names that were asked for last.
    pub(super) names: Vec<String>,
    /// Of the last response.
    pub(super) nonce: String,
    /// Of the last response that was acknowledged; state-of-the-world alone has one.
    pub(super) version: String,
}

/// One of the two protocols.
pub trait Protocol: fmt::Debug + Send + Sync + Sized + 'static {
    /// What a client sends.
    type Request: Message + Default + Clone + fmt::Debug + 'static;
    /// What a server sends.
    type Response: Message + Default + Clone + fmt::Debug + 'static;

    /// The prefix of the names of methods.
    const METHOD: &'static str;
    /// Whether a client has to ask for the endpoints of a cluster again when the cluster changes.
    const ASKS_AGAIN: bool;

    /// The type that a response is about.
    fn type_url(response: &Self::Response) -> &str;
    /// The response's nonce.
    fn nonce(response: &Self::Response) -> &str;
    /// The response's version of everything.
    fn version(response: &Self::Response) -> &str;
    /// What it lists.
    fn listed(response: &Self::Response) -> Vec<Listed>;
    /// What is gone, in so many words or because it is not in the full state. `held` are the names that the client has.
    fn removed<'a>(response: &Self::Response, held: impl Iterator<Item = &'a str>) -> Vec<String>;
    /// The answer to a response: that it is accepted, or why not.
    fn reply(response: &Self::Response, subscription: &Subscription, refusal: Option<&str>) -> Self::Request;
    /// A request for names. `added` are those of them that are asked for (again), `versions` what the client holds, which
    /// only the first request of a stream may say.
    fn subscribe(
        type_url: &str,
        subscription: &Subscription,
        added: &[String],
        dropped: &[String],
        versions: BTreeMap<String, String>,
    ) -> Self::Request;
    /// The type and, in state-of-the-world, the names of a request: what the next answer has to repeat.
    fn asked(request: &Self::Request) -> (&str, Option<&[String]>);
    /// The same request with the node.
    fn with_node(request: Self::Request, node: Node) -> Self::Request;
    /// Whether the request says who asks.
    fn has_node(request: &Self::Request) -> bool;
}

/// State of the world: every response about clusters and listeners is all of them.
#[derive(Debug, Clone, Copy)]
pub struct Sotw;

/// Incremental: a response says what changed.
#[derive(Debug, Clone, Copy)]
pub struct Delta;

/// The name of a resource is the first field of each of the four types.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

// === impl Service ===

impl Service {
    pub(super) fn path(self, prefix: &str) -> String {
        let (service, method) = match self {
            Self::Aggregated => ("discovery.v3.AggregatedDiscoveryService", "AggregatedResources"),
            Self::Clusters => ("cluster.v3.ClusterDiscoveryService", "Clusters"),
            Self::Endpoints => ("endpoint.v3.EndpointDiscoveryService", "Endpoints"),
            Self::Listeners => ("listener.v3.ListenerDiscoveryService", "Listeners"),
            Self::Routes => ("route.v3.RouteDiscoveryService", "Routes"),
        };
        format!("/envoy.service.{service}/{prefix}{method}")
    }
}

impl Protocol for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    const METHOD: &'static str = "Stream";
    const ASKS_AGAIN: bool = true;

    fn type_url(response: &Self::Response) -> &str {
        &response.type_url
    }

    fn nonce(response: &Self::Response) -> &str {
        &response.nonce
    }

    fn version(response: &Self::Response) -> &str {
        &response.version_info
    }

    fn listed(response: &Self::Response) -> Vec<Listed> {
        let listed = response.resources.iter().map(|body| {
            let mut hasher = DefaultHasher::new();
            body.value.hash(&mut hasher);
            Listed {
                name: Named::decode(body.value.as_slice()).unwrap_or_default().name,
                version: format!("{:016x}", hasher.finish()),
                body: body.clone(),
            }
        });
        listed.collect()
    }

    fn removed<'a>(response: &Self::Response, held: impl Iterator<Item = &'a str>) -> Vec<String> {
        if response.type_url != CDS && response.type_url != LDS {
            return Vec::new();
        }
        let listed: std::collections::BTreeSet<String> = Self::listed(response)
            .into_iter()
            .map(|listed| listed.name)
            .collect();
        held.filter(|name| !listed.contains(*name))
            .map(str::to_owned)
            .collect()
    }

    fn reply(response: &Self::Response, subscription: &Subscription, refusal: Option<&str>) -> Self::Request {
        let version = match refusal {
            Some(_) => &subscription.version,
            None => &response.version_info,
        };
        DiscoveryRequest {
            type_url: response.type_url.clone(),
            version_info: version.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: subscription.names.clone(),
            error_detail: refusal.map(status),
            ..DiscoveryRequest::default()
        }
    }

    fn subscribe(
        type_url: &str,
        subscription: &Subscription,
        _added: &[String],
        _dropped: &[String],
        _versions: BTreeMap<String, String>,
    ) -> Self::Request {
        DiscoveryRequest {
            type_url: type_url.to_owned(),
            version_info: subscription.version.clone(),
            response_nonce: subscription.nonce.clone(),
            resource_names: subscription.names.clone(),
            ..DiscoveryRequest::default()
        }
    }

    fn asked(request: &Self::Request) -> (&str, Option<&[String]>) {
        (&request.type_url, Some(&request.resource_names))
    }

    fn with_node(mut request: Self::Request, node: Node) -> Self::Request {
        request.node = Some(node);
        request
    }

    fn has_node(request: &Self::Request) -> bool {
        request.node.is_some()
    }
}

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    const METHOD: &'static str = "Delta";
    const ASKS_AGAIN: bool = false;

    fn type_url(response: &Self::Response) -> &str {
        &response.type_url
    }

    fn nonce(response: &Self::Response) -> &str {
        &response.nonce
    }

    fn version(response: &Self::Response) -> &str {
        &response.system_version_info
    }

    fn listed(response: &Self::Response) -> Vec<Listed> {
        let listed = response.resources.iter().map(|resource| Listed {
            name: resource.name.clone(),
            version: resource.version.clone(),
            body: resource.resource.clone().unwrap_or_default(),
        });
        listed.collect()
    }

    fn removed<'a>(response: &Self::Response, _held: impl Iterator<Item = &'a str>) -> Vec<String> {
        response.removed_resources.clone()
    }

    fn reply(
        response: &Self::Response,
        _subscription: &Subscription,
        refusal: Option<&str>,
    ) -> Self::Request {
        DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: refusal.map(status),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn subscribe(
        type_url: &str,
        _subscription: &Subscription,
        added: &[String],
        dropped: &[String],
        versions: BTreeMap<String, String>,
    ) -> Self::Request {
        DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: added.to_vec(),
            resource_names_unsubscribe: dropped.to_vec(),
            initial_resource_versions: versions.into_iter().collect(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn asked(request: &Self::Request) -> (&str, Option<&[String]>) {
        (&request.type_url, None)
    }

    fn with_node(mut request: Self::Request, node: Node) -> Self::Request {
        request.node = Some(node);
        request
    }

    fn has_node(request: &Self::Request) -> bool {
        request.node.is_some()
    }
}

fn status(message: &str) -> Status {
    Status {
        // INVALID_ARGUMENT
        code: 3,
        message: message.to_owned(),
        details: Vec::new(),
    }
}
