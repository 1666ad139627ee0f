//! Who is connected, what they have, and what they refused.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_core::{Timestamp, short};
use xxhash_rust::xxh3::xxh3_64;

use crate::node::{Kind, Node, View};
use crate::resource::ResourceType;
use crate::session::{Channel, Variant};

/// How much is kept of what a client says against a response.
const LONGEST_NACK: usize = 500;

/// How many complaints are remembered, so that each is logged once. Beyond it all are forgotten.
const REMEMBERED: usize = 10_000;

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
    /// Streams and connections that were refused for want of a permitted identity.
    pub refused: u64,
}

/// All streams of a server.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<BTreeMap<u64, Arc<Mutex<ClientStatus>>>>,
    opened: AtomicU64,
    responses: PerType,
    nacks: PerType,
    resources: PerType,
    bytes: AtomicU64,
    refused: AtomicU64,
    said: Mutex<HashSet<u64>>,
}

type PerType = [AtomicU64; ResourceType::ALL.len()];

/// A response that is on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) resources: usize,
    pub(super) bytes: usize,
    /// What the session knows of the type now.
    pub(super) channel: Option<Channel>,
    /// The revision of the set that it was made from.
    pub(super) revision: u64,
}

/// One stream's place among all of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    clients: Arc<Clients>,
    number: u64,
    status: Arc<Mutex<ClientStatus>>,
}

// === impl Clients ===

impl Clients {
    /// All open streams, the oldest first.
    pub fn list(&self) -> Vec<ClientStatus> {
        // Copied out first, so that no stream waits while another's status is.
        let open: Vec<_> = lock(&self.open).values().cloned().collect();
        open.iter().map(|status| lock(status).clone()).collect()
    }

    /// Totals since the start.
    pub fn metrics(&self) -> XdsMetrics {
        let mut metrics = XdsMetrics {
            responses: totals(&self.responses),
            nacks: totals(&self.nacks),
            resources: totals(&self.resources),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            ..XdsMetrics::default()
        };
        let open: Vec<_> = lock(&self.open).values().cloned().collect();
        for status in open {
            let status = lock(&status);
            *metrics.streams.entry((status.variant, status.kind)).or_default() += 1;
        }
        metrics
    }

    /// Enters a stream.
    pub(super) fn register(
        self: &Arc<Self>,
        peer: SocketAddr,
        identity: Option<String>,
        variant: Variant,
        only: Option<ResourceType>,
    ) -> Registration {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let status = Arc::new(Mutex::new(ClientStatus {
            stream: number,
            peer,
            identity,
            variant,
            only,
            node: None,
            kind: None,
            view: None,
            since: Timestamp::now(),
            types: BTreeMap::new(),
            revision: 0,
        }));
        lock(&self.open).insert(number, status.clone());
        Registration {
            clients: self.clone(),
            number,
            status,
        }
    }

    /// Counts somebody who may not have anything.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// True where that complaint is new. A fleet that comes back each second would fill the log.
    pub(super) fn is_news(&self, complaint: &str) -> bool {
        let mut said = lock(&self.said);
        if said.len() >= REMEMBERED {
            said.clear();
        }
        said.insert(xxh3_64(complaint.as_bytes()))
    }
}

// === impl Registration ===

impl Registration {
    /// The client has said who it is.
    pub(super) fn introduce(&self, node: &Node, view: &View) {
        let mut status = lock(&self.status);
        status.kind = Some(node.kind());
        status.node = Some(node.clone());
        status.view = Some(view.clone());
    }

    /// A request of that type was taken.
    pub(super) fn requested(&self, type_: ResourceType, channel: Channel) {
        let mut status = lock(&self.status);
        let known = status.types.entry(type_).or_insert_with(|| TypeStatus {
            channel: Channel::default(),
            last_sent: None,
            last_nack: None,
        });
        let nack = match &channel.nack {
            Some((message, version)) if channel.nacks > known.channel.nacks => Some(Nack {
                at: Timestamp::now(),
                version: short(version, LONGEST_NACK),
                message: short(message, LONGEST_NACK),
            }),
            _ => None,
        };
        known.take(channel);
        let Some(nack) = nack else {
            return;
        };
        known.last_nack = Some(nack.clone());
        let node = status
            .node
            .as_ref()
            .map_or_else(String::new, |node| short(&node.id, LONGEST_NACK));
        let peer = status.peer;
        drop(status);
        self.clients.nacks[type_.index()].fetch_add(1, Ordering::Relaxed);
        if self
            .clients
            .is_news(&format!("{node}\n{type_}\n{}", nack.message))
        {
            let Nack { version, message, .. } = nack;
            tracing::warn!(%node, %peer, r#type = %type_, %version, %message, "a client refused what it was sent");
        }
    }

    /// A response is on its way.
    pub(super) fn sent(&self, type_: ResourceType, sent: Sent) {
        let clients = &self.clients;
        clients.responses[type_.index()].fetch_add(1, Ordering::Relaxed);
        clients.resources[type_.index()].fetch_add(sent.resources as u64, Ordering::Relaxed);
        clients.bytes.fetch_add(sent.bytes as u64, Ordering::Relaxed);
        let mut status = lock(&self.status);
        status.revision = sent.revision;
        let Some(known) = status.types.get_mut(&type_) else {
            return;
        };
        known.last_sent = Some(Timestamp::now());
        if let Some(channel) = sent.channel {
            known.take(channel);
        }
    }
}

impl TypeStatus {
    fn take(&mut self, channel: Channel) {
        self.channel = channel;
        // In full it could be most of what a stream costs.
        if let Some((message, _)) = &mut self.channel.nack {
            *message = short(message, LONGEST_NACK);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.clients.open).remove(&self.number);
    }
}

fn totals(counts: &PerType) -> BTreeMap<ResourceType, u64> {
    ResourceType::ALL
        .into_iter()
        .zip(counts.iter().map(|count| count.load(Ordering::Relaxed)))
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_response_is_counted_once_and_shortened() {
        let clients = Arc::new(Clients::default());
        let peer = "10.0.0.9:4000".parse().unwrap();
        let stream = clients.register(peer, None, Variant::Delta, None);
        let mut channel = Channel {
            wildcard: true,
            nacks: 1,
            nack: Some(("bad\nlistener ".repeat(1000), "v1".to_owned())),
            ..Channel::default()
        };
        stream.requested(ResourceType::Listener, channel.clone());
        stream.requested(ResourceType::Listener, channel.clone());
        stream.requested(ResourceType::Cluster, Channel::default());

        let listed = clients.list();
        let listener = &listed[0].types[&ResourceType::Listener];
        let nack = listener.last_nack.as_ref().unwrap();
        assert_eq!(nack.version, "v1");
        assert_eq!(nack.message.chars().count(), LONGEST_NACK + 1);
        assert!(!nack.message.contains('\n'));
        assert_eq!(listed[0].types[&ResourceType::Cluster].last_nack, None);
        let metrics = clients.metrics();
        assert_eq!(metrics.nacks[&ResourceType::Listener], 1);
        assert_eq!(metrics.nacks[&ResourceType::Cluster], 0);
        assert_eq!(metrics.streams[&(Variant::Delta, None)], 1);

        channel.nacks = 2;
        stream.requested(ResourceType::Listener, channel);
        assert_eq!(clients.metrics().nacks[&ResourceType::Listener], 2);
    }

    #[test]
    fn streams_are_listed_in_the_order_they_came_until_they_end() {
        let clients = Arc::new(Clients::default());
        let peer = "10.0.0.9:4000".parse().unwrap();
        let first = clients.register(peer, None, Variant::Sotw, None);
        let second = clients.register(
            peer,
            Some("a".to_owned()),
            Variant::Sotw,
            Some(ResourceType::Route),
        );
        let numbers = || {
            clients
                .list()
                .iter()
                .map(|status| status.stream)
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(), [first.number, second.number]);
        drop(first);
        assert_eq!(numbers(), [second.number]);
        assert_eq!(clients.list()[0].only, Some(ResourceType::Route));
        drop(second);
        assert!(clients.metrics().streams.is_empty());
    }

    #[test]
    fn a_complaint_is_news_once() {
        let clients = Clients::default();
        assert!(clients.is_news("a") && clients.is_news("b"));
        assert!(!clients.is_news("a"));
    }
}
