//! Building endpoints.

use std::sync::Arc;

use super::super::{
    Addresses, Attributes, EndpointPorts, Health, Locality, Origin, Origins, Place, Timestamp,
};
use super::{Endpoint, Extra, Marks};
use crate::text::{Interner, Str};

/// Builds an [`Endpoint`]. What is not said has its default: weight 1, health unknown, everything else empty.
#[derive(Debug)]
pub struct EndpointBuilder {
    addresses: Addresses,
    ports: Vec<(Str, u16)>,
    labels: Vec<(Str, Str)>,
    attributes: Attributes,
    place: Place,
    hostname: Str,
    node_hints: Box<[Str]>,
    origins: Origins,
    id: Box<str>,
    status: Str,
    weight: u32,
    priority: u8,
    health: Health,
    marks: Marks,
}

impl EndpointBuilder {
    pub(super) fn new(addresses: Addresses) -> Self {
        Self {
            addresses,
            ports: Vec::new(),
            labels: Vec::new(),
            attributes: Attributes::default(),
            place: Place::default(),
            hostname: Str::default(),
            node_hints: Box::default(),
            origins: Origins::default(),
            id: Box::default(),
            status: Str::default(),
            weight: 1,
            priority: 0,
            health: Health::Unknown,
            marks: Marks::default(),
        }
    }

    /// The number under which it serves the service port of that name; may be called for each port.
    #[must_use]
    pub fn port(mut self, name: impl Into<Str>, number: u16) -> Self {
        self.ports.push((name.into(), number));
        self
    }

    /// Its health.
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Marks its health as set by an operator's hand: it counts also while the registry is stale.
    #[must_use]
    pub fn administrative(mut self, administrative: bool) -> Self {
        self.marks = self.marks.with(Marks::ADMINISTRATIVE, administrative);
        self
    }

    /// Marks it as one that a registry behind this one no longer lists, and that is held back there: it is heard in the
    /// merge where nobody has it listed, and is no content.
    #[must_use]
    pub fn held(mut self, held: bool) -> Self {
        self.marks = self.marks.with(Marks::HELD, held);
        self
    }

    /// Its share of the traffic.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Its priority within its own registry.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn locality(mut self, locality: Locality) -> Self {
        self.place.locality = locality;
        self
    }

    /// The network in which its addresses are valid.
    #[must_use]
    pub fn network(mut self, network: impl Into<Str>) -> Self {
        self.place.network = network.into();
        self
    }

    /// The cluster or data centre it belongs to.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Into<Str>) -> Self {
        self.place.cluster = cluster.into();
        self
    }

    /// The machine it runs on.
    #[must_use]
    pub fn node(mut self, node: impl Into<Str>) -> Self {
        self.place.node = node.into();
        self
    }

    /// The name of its own DNS record in a headless service.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<Str>) -> Self {
        self.hostname = hostname.into();
        self
    }

    /// Zones for which the registry hints that it should serve.
    #[must_use]
    pub fn hints(mut self, hints: impl IntoIterator<Item = Str>) -> Self {
        self.attributes.hints = hints.into_iter().collect();
        self
    }

    /// Machines for whose clients the registry hints that it should serve.
    #[must_use]
    pub fn node_hints(mut self, hints: impl IntoIterator<Item = Str>) -> Self {
        self.node_hints = hints.into_iter().collect();
        self
    }

    /// One label; may be called for each.
    #[must_use]
    pub fn label(mut self, key: impl Into<Str>, value: impl Into<Str>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// The identity that it proves in mutual TLS.
    #[must_use]
    pub fn identity(mut self, identity: impl Into<Str>) -> Self {
        self.attributes.identity = identity.into();
        self
    }

    /// What the registry calls it; unique among the endpoints of one service at one address.
    #[must_use]
    pub fn id(mut self, id: impl AsRef<str>) -> Self {
        self.id = Box::from(id.as_ref());
        self
    }

    /// The registry's own word for its health.
    #[must_use]
    pub fn status(mut self, status: impl Into<Str>) -> Self {
        self.status = status.into();
        self
    }

    /// Who said so to the registry, where it only passes it on.
    #[must_use]
    pub fn origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.origins = origins.into_iter().collect();
        self
    }

    /// The endpoint, first seen now.
    pub fn build(self) -> Endpoint {
        self.finish(Arc::new, Arc::new, Arc::new)
    }

    /// The endpoint, first seen now, sharing what it has in common with others of the same interner.
    pub fn build_in(self, interner: &mut Interner) -> Endpoint {
        let interner = std::cell::RefCell::new(interner);
        self.finish(
            |ports| interner.borrow_mut().ports(ports),
            |attributes| interner.borrow_mut().attributes(attributes),
            |place| interner.borrow_mut().place(place),
        )
    }

    fn finish(
        self,
        ports: impl FnOnce(EndpointPorts) -> Arc<EndpointPorts>,
        attributes: impl FnOnce(Attributes) -> Arc<Attributes>,
        place: impl FnOnce(Place) -> Arc<Place>,
    ) -> Endpoint {
        let own = Attributes {
            labels: self.labels.into_iter().collect(),
            ..self.attributes
        };
        let extra = Extra {
            hostname: self.hostname,
            node_hints: self.node_hints,
            origins: self.origins,
            claims: Vec::new(),
        };
        let now = Timestamp::now();
        Endpoint {
            addresses: self.addresses,
            ports: ports(self.ports.into_iter().collect()),
            attributes: attributes(own.sealed()),
            place: place(self.place.sealed()),
            id: self.id,
            status: self.status,
            first_seen: now,
            last_changed: now,
            extra: extra.boxed(),
            weight: self.weight,
            source: 0,
            priority: self.priority,
            health: self.health,
            marks: self.marks,
        }
    }
}
