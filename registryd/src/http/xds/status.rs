//! The JSON of streams and views.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use registry_core::Timestamp;
use registry_xds::{ClientStatus, Kind, Nack, Node, ResourceType, TypeStatus, Variant, View};
use serde::Serialize;

use crate::http::json::{LocalityView, Text};

#[derive(Serialize)]
pub(super) struct ClientView<'a> {
    stream: u64,
    peer: SocketAddr,
    identity: Option<&'a str>,
    variant: &'static str,
    /// The only type of the stream; `null` for all (ADS).
    only: Option<Text<ResourceType>>,
    since: Text<Timestamp>,
    kind: Option<&'static str>,
    node: Option<Described<'a>>,
    view: Option<NodeView<'a>>,
    revision: u64,
    types: BTreeMap<&'static str, TypeView<'a>>,
}

/// A node without its metadata, in which there may be anything.
#[derive(Serialize)]
struct Described<'a> {
    id: &'a str,
    cluster: &'a str,
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<LocalityView<'a>>,
}

/// What makes nodes get the same resources.
#[derive(Serialize)]
pub(super) struct NodeView<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<LocalityView<'a>>,
    network: &'a str,
    services: Vec<&'a str>,
    outbound: Option<SocketAddr>,
}

#[derive(Serialize)]
struct TypeView<'a> {
    wildcard: bool,
    names: usize,
    sent: Option<&'a str>,
    acked: Option<&'a str>,
    pending: bool,
    responses: u64,
    nacks: u64,
    last_sent: Option<Text<Timestamp>>,
    last_nack: Option<NackView<'a>>,
}

#[derive(Serialize)]
struct NackView<'a> {
    at: Text<Timestamp>,
    version: &'a str,
    message: &'a str,
}

impl<'a> ClientView<'a> {
    pub(super) fn of(client: &'a ClientStatus) -> Self {
        let types = client.types.iter();
        Self {
            stream: client.stream,
            peer: client.peer,
            identity: client.identity.as_deref(),
            variant: variant(client.variant),
            only: client.only.map(Text),
            since: Text(client.since),
            kind: client.kind.map(kind),
            node: client.node.as_ref().map(Described::of),
            view: client.view.as_ref().map(NodeView::of),
            revision: client.revision,
            types: types
                .map(|(type_, status)| (type_.as_str(), TypeView::of(status)))
                .collect(),
        }
    }
}

impl<'a> Described<'a> {
    fn of(node: &'a Node) -> Self {
        Self {
            id: &node.id,
            cluster: &node.cluster,
            user_agent: &node.user_agent,
            locality: LocalityView::of(&node.locality),
        }
    }
}

impl<'a> NodeView<'a> {
    pub(super) fn of(view: &'a View) -> Self {
        Self {
            kind: kind(view.kind),
            locality: LocalityView::of(&view.locality),
            network: &view.network,
            services: view.services.iter().map(|pattern| pattern.as_str()).collect(),
            outbound: view.outbound,
        }
    }
}

impl<'a> TypeView<'a> {
    fn of(status: &'a TypeStatus) -> Self {
        let channel = &status.channel;
        Self {
            wildcard: channel.wildcard,
            names: channel.names,
            sent: channel.sent.as_deref(),
            acked: channel.acked.as_deref(),
            pending: channel.pending,
            responses: channel.responses,
            nacks: channel.nacks,
            last_sent: status.last_sent.map(Text),
            last_nack: status.last_nack.as_ref().map(NackView::of),
        }
    }
}

impl<'a> NackView<'a> {
    fn of(nack: &'a Nack) -> Self {
        Self {
            at: Text(nack.at),
            version: &nack.version,
            message: &nack.message,
        }
    }
}

/// The word for a kind of client.
pub(in crate::http) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Envoy => "envoy",
        Kind::Grpc => "grpc",
    }
}

/// The word for a protocol.
pub(in crate::http) fn variant(variant: Variant) -> &'static str {
    match variant {
        Variant::Sotw => "sotw",
        Variant::Delta => "delta",
    }
}
