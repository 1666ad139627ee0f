//! One stream: what its client subscribed to, what it has, and what it gets next. No I/O and no clock of its own.
//!
//! A stream holds no list of what it sent: it holds the set that its client was brought to, which it shares with the view
//! and with every other stream, and the few resources that lie between the two while a change is under way.

mod delta;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod order;
mod sotw;
mod subscription;
#[cfg(test)]
mod tests;
mod tombstones;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node as ProtoNode;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use registry_core::Str;
use tokio::time::Instant;
use tonic::Status;

use subscription::{Open, Subscription};

use crate::names;
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

/// The name that stands for all names.
const WILDCARD: &str = "*";

/// The resources of one response have about this many bytes at most, where a response need not state all there is.
const RESPONSE_BYTES: usize = 512 << 10;

/// The state of one stream. Feed it requests and sets; take responses until there are none.
#[derive(Debug)]
pub struct Session {
    variant: Variant,
    only: Option<ResourceType>,
    node: Option<Node>,
    set: Option<Arc<ResourceSet>>,
    subscriptions: [Option<Box<Subscription>>; 4],
    /// When the first request came.
    opened: Option<Instant>,
    /// Since when the set could answer for what is not in it: since the first one, or since no absence is in doubt any more.
    answerable: Option<Instant>,
    /// The number of responses, whose hexadecimal digits are the nonces.
    responses: u64,
    /// Nothing is due until something happens, or that time comes.
    idle: bool,
    wake: Option<Instant>,
}

impl Session {
    /// A stream that speaks that protocol: of one type alone, or of all (ADS).
    pub fn new(variant: Variant, only: Option<ResourceType>) -> Self {
        Self {
            variant,
            only,
            node: None,
            set: None,
            subscriptions: Default::default(),
            opened: None,
            answerable: None,
            responses: 0,
            idle: true,
            wake: None,
        }
    }

    /// Who the client is, once it has said so.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// A request of the client. One for a type that is not served is taken and never answered: Envoy asks for secrets and
    /// the like on the same stream.
    ///
    /// # Errors
    ///
    /// The status that ends the stream, for what no client may send: `INVALID_ARGUMENT` for a missing type on ADS, or
    /// another type than that of the stream; `RESOURCE_EXHAUSTED` for more names than any client needs.
    pub fn request(&mut self, request: Incoming, now: Instant) -> Result<(), Status> {
        self.idle = false;
        match (self.variant, request) {
            (Variant::Sotw, Incoming::Sotw(request)) => self.sotw(&request, now),
            (Variant::Delta, Incoming::Delta(request)) => self.delta(&request, now),
            _ => Err(Status::invalid_argument("a request of the other protocol")),
        }
    }

    /// The newest set of the client's view.
    pub fn update(&mut self, set: Arc<ResourceSet>, now: Instant) {
        let begins = (self.set.as_ref()).is_none_or(|before| !before.is_complete() && set.is_complete());
        if begins {
            self.answerable = Some(now);
        }
        for subscription in self.subscriptions.iter_mut().flatten() {
            let type_ = subscription.type_;
            if subscription
                .claim
                .take()
                .is_some_and(|claim| claim == set.version(type_))
                && subscription.listing
            {
                continue;
            }
            let table = set.table(type_);
            match &self.set {
                Some(old) => {
                    table.diff(old.table(type_), &mut |before, now| {
                        subscription.changed(before, now);
                    });
                }
                None => subscription.begin(table),
            }
        }
        self.set = Some(set);
        self.idle = false;
    }

    /// The next response, if one is due. To be asked again until it is `None`, after each request and update and at
    /// [`deadline`](Self::deadline), and only when the client can take one: what changes until then is left out.
    pub fn next(&mut self, now: Instant) -> Option<Response> {
        let set = self.set.clone()?;
        if self.idle && self.wake.is_none_or(|at| now < at) {
            return None;
        }
        for type_ in ResourceType::ALL {
            let open = self.open(type_, &set, now);
            if open != Open::default()
                && let Some(response) = self.respond(type_, &set, open, now)
            {
                self.idle = false;
                return Some(response);
            }
        }
        self.idle = true;
        self.wake = self.next_wake(now);
        None
    }

    /// When [`next`](Self::next) should be asked again though nothing happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    /// What is known of a type, where the client asked for it.
    pub fn channel(&self, type_: ResourceType) -> Option<Channel> {
        let subscription = self.subscription(type_)?;
        let exchange = &subscription.exchange;
        Some(Channel {
            wildcard: subscription.wildcard,
            names: subscription.names.len(),
            sent: exchange.sent.clone(),
            acked: exchange.acked.clone(),
            pending: exchange.waiting.is_some(),
            responses: exchange.responses,
            nacks: exchange.nacks,
            nack: exchange.nack.clone(),
        })
    }

    fn subscription(&self, type_: ResourceType) -> Option<&Subscription> {
        self.subscriptions[type_.index()].as_deref()
    }

    /// The subscription to a type, a new one where there is none.
    fn subscribe_to(&mut self, type_: ResourceType, returning: bool) -> &mut Subscription {
        self.subscriptions[type_.index()].get_or_insert_with(|| Box::new(Subscription::new(type_, returning)))
    }

    /// What all requests have in common. Returns the type; `None` where it is not served.
    fn begin(
        &mut self,
        node: Option<&ProtoNode>,
        url: &str,
        now: Instant,
    ) -> Result<Option<ResourceType>, Status> {
        self.opened.get_or_insert(now);
        if self.node.is_none() {
            self.node = node.map(Node::from_proto);
        }
        match self.only {
            Some(only) if url.is_empty() || url == only.url() => Ok(Some(only)),
            Some(only) => Err(Status::invalid_argument(format!(
                "a stream of {} alone",
                only.url()
            ))),
            None if url.is_empty() => Err(Status::invalid_argument("a request without type_url")),
            None => Ok(ResourceType::from_url(url)),
        }
    }

    fn respond(
        &mut self,
        type_: ResourceType,
        set: &ResourceSet,
        open: Open,
        now: Instant,
    ) -> Option<Response> {
        let all = self.states_all(type_);
        if all && type_ == ResourceType::Cluster {
            self.keep_unknown(set);
        }
        let variant = self.variant;
        let subscription = self.subscriptions[type_.index()].as_deref_mut()?;
        let size = |resource: &Resource| match variant {
            Variant::Sotw => resource.any().len(),
            Variant::Delta => resource.delta().len(),
        };
        let (resources, batch) = if all {
            let state = subscription.state_all(set, open)?;
            (Some(state.all), state.batch)
        } else {
            (None, subscription.collect(set, open, RESPONSE_BYTES, size))
        };
        let listing = open.add && std::mem::take(&mut subscription.listing);
        if batch.added.is_empty() && batch.gone.is_empty() && !listing {
            return None;
        }

        self.responses += 1;
        let nonce = format!("{:x}", self.responses);
        let version = set.version(type_);
        subscription.exchange.send(&nonce, &version, now);
        let named = batch
            .gone
            .iter()
            .filter(|name| subscription.names.contains(&***name));
        let errors = named.map(|name| (name.clone(), absence(type_, name))).collect();
        if type_ == ResourceType::Cluster
            && let Some(endpoints) = &mut self.subscriptions[ResourceType::Endpoints.index()]
            && endpoints.is_active()
        {
            // Envoy warms a cluster that changed, and waits for its endpoints though they did not; in delta it does not
            // even ask for them.
            let table = set.table(ResourceType::Endpoints);
            for cluster in &batch.added {
                if endpoints.wants(cluster.name()) {
                    endpoints.owe(cluster.name(), table);
                }
            }
        }
        Some(Response {
            variant,
            type_,
            version,
            nonce,
            resources: resources.unwrap_or(batch.added),
            removed: match variant {
                Variant::Sotw => Vec::new(),
                Variant::Delta => batch.gone,
            },
            errors,
        })
    }
}

/// Why a name that a client asked for is not there.
fn absence(type_: ResourceType, name: &str) -> String {
    match names::hostname(type_, name) {
        Some(hostname) if hostname == name => {
            format!("no service {hostname}: no registry has it for this client, or no port of it speaks gRPC")
        }
        Some(hostname) => {
            format!("no service {hostname}: no registry has it for this client, or not with {name}")
        }
        None => format!("no resource {name}"),
    }
}
