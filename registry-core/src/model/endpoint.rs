//! One endpoint of a service, and who says so.

mod builder;
mod parts;

use std::fmt;
use std::sync::Arc;

pub use builder::EndpointBuilder;
pub(crate) use parts::EndpointParts;

use super::{
    Address, Addresses, Attributes, EndpointPorts, Health, Labels, Locality, Origins, Place, Timestamp,
};
use crate::hash::{ContentHash, Hasher};
use crate::text::Str;

/// One registry's word that an endpoint exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What the registry calls the endpoint.
    pub id: Str,
    /// The registry's own word for its health.
    pub status: Str,
    /// When the registry was first seen to list it.
    pub first_seen: Timestamp,
    /// When what the registry says of it last changed.
    pub last_changed: Timestamp,
    /// Which of the service's [`sources`](super::Service::sources) says so.
    pub source: u8,
    /// Who said so to the registry, where it only passes it on.
    pub origins: Origins,
}

/// One endpoint: an address, its ports, its health, and which registries say so.
///
/// Immutable; two endpoints are equal where everything but the times of their claims is. An endpoint built by a
/// backend carries that backend's claim alone; in a merged service it carries all of them.
///
/// ```
/// use registry_core::{Endpoint, Health};
///
/// let endpoint = Endpoint::builder("10.0.0.7".parse::<registry_core::Address>()?)
///     .port("http", 8080)
///     .health(Health::Healthy)
///     .label("version", "v2")
///     .id("payments-1")
///     .build();
/// assert_eq!(endpoint.ports().get("http"), Some(8080));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    addresses: Addresses,
    ports: Arc<EndpointPorts>,
    attributes: Arc<Attributes>,
    place: Arc<Place>,
    // The first claim is spread out here: nearly every endpoint has exactly one, and a list would cost an allocation.
    // Its id is in nobody else's hands, and does without the counters of shared text.
    id: Box<str>,
    status: Str,
    first_seen: Timestamp,
    last_changed: Timestamp,
    extra: Option<Box<Extra>>,
    weight: u32,
    source: u8,
    priority: u8,
    health: Health,
    marks: Marks,
}

/// What is true or false of an endpoint, in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marks(u8);

impl Marks {
    const ADMINISTRATIVE: u8 = 1;
    const HELD: u8 = 2;

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn with(self, mark: u8, set: bool) -> Self {
        Self(if set { self.0 | mark } else { self.0 & !mark })
    }
}

/// What few endpoints have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Extra {
    hostname: Str,
    /// Not beside the hints of zones: they differ from one endpoint to the next, and would end the sharing there.
    node_hints: Box<[Str]>,
    /// Those of the first claim, which is spread out in the endpoint.
    origins: Origins,
    claims: Vec<Claim>,
}

impl Extra {
    /// Where there is anything to keep.
    fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl Endpoint {
    /// Starts an endpoint at an address.
    pub fn builder(addresses: impl Into<Addresses>) -> EndpointBuilder {
        EndpointBuilder::new(addresses.into())
    }

    /// The address that identifies it within its network.
    pub fn address(&self) -> &Address {
        self.addresses.first()
    }

    /// All addresses; several where it is dual-stack.
    pub fn addresses(&self) -> &[Address] {
        self.addresses.as_slice()
    }

    /// Its ports, by the names of the service's ports.
    pub fn ports(&self) -> &EndpointPorts {
        &self.ports
    }

    /// Its health in the common vocabulary.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Its share of the traffic relative to the others; 0 takes none.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Used where no endpoint of a lower number can be; 0 first.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Where it runs.
    pub fn locality(&self) -> &Locality {
        &self.place.locality
    }

    /// The network in which its addresses are valid; empty for the default one.
    pub fn network(&self) -> &Str {
        &self.place.network
    }

    /// The cluster or data centre it belongs to; empty where there is none.
    pub fn cluster(&self) -> &Str {
        &self.place.cluster
    }

    /// The machine that it runs on, as the registry calls it; empty where unknown.
    pub fn node(&self) -> &Str {
        &self.place.node
    }

    /// The name of its own DNS record in a headless service, below that of the service (see
    /// [`Service::endpoint_dns_name`](super::Service::endpoint_dns_name)); empty where it has none.
    pub fn hostname(&self) -> &str {
        self.extra.as_ref().map_or("", |extra| &extra.hostname)
    }

    /// Zones for which the registry hints that it should serve.
    pub fn hints(&self) -> &[Str] {
        &self.attributes.hints
    }

    /// Machines, as the registry calls them, for whose clients it hints that the endpoint should serve: what
    /// [`hints`](Self::hints) says of zones, said of [nodes](Self::node).
    ///
    /// A client on one of these prefers the endpoint where all that it could use have such hints. Content, unlike the
    /// node that the endpoint itself runs on; a merged endpoint has those of the first source that says any.
    pub fn node_hints(&self) -> &[Str] {
        self.extra.as_ref().map_or(&[], |extra| &extra.node_hints)
    }

    /// Its labels.
    pub fn labels(&self) -> &Labels {
        &self.attributes.labels
    }

    /// The identity that it proves in mutual TLS, for instance a SPIFFE ID; empty where unknown.
    pub fn identity(&self) -> &Str {
        &self.attributes.identity
    }

    /// True where an operator set its health by hand, which counts also while the registry is stale.
    pub fn administrative(&self) -> bool {
        self.marks.has(Marks::ADMINISTRATIVE)
    }

    /// True where no registry lists it any more, and it stays because so much went at once that the loss is not
    /// believed yet. No content: hashes do not change with it.
    pub fn held(&self) -> bool {
        self.marks.has(Marks::HELD)
    }

    /// This endpoint as one that its registry no longer lists.
    pub(crate) fn held_back(&self) -> Self {
        let mut held = self.clone();
        held.marks = held.marks.with(Marks::HELD, true);
        held
    }

    /// Which registries say so, at least one, in the order of the service's sources.
    pub fn claims(&self) -> impl Iterator<Item = Claim> + '_ {
        let first = Claim {
            id: Str::from(&*self.id),
            status: self.status.clone(),
            first_seen: self.first_seen,
            last_changed: self.last_changed,
            source: self.source,
            origins: self.origins().clone(),
        };
        std::iter::once(first).chain(self.extra.iter().flat_map(|extra| extra.claims.iter().cloned()))
    }

    /// Who said so to the registry that is first in precedence, where that one only passes it on.
    pub fn origins(&self) -> &Origins {
        const NONE: &Origins = &Origins::NONE;
        self.extra.as_ref().map_or(NONE, |extra| &extra.origins)
    }

    /// What the registry that said it first in precedence calls it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The hash of its content: all but node, raw status, times, origins and marks.
    pub fn content_hash(&self) -> ContentHash {
        let mut hasher = Hasher::new("endpoint");
        hasher.number(self.addresses().len() as u64);
        for address in self.addresses() {
            address.feed(&mut hasher);
        }
        hasher.number(self.ports.iter().len() as u64);
        for port in self.ports.iter() {
            hasher.text(&port.name);
            hasher.number(port.number.into());
        }
        hasher.hash(self.attributes.digest);
        hasher.hash(self.place.digest);
        hasher.number(u64::from(self.weight));
        hasher.byte(self.priority);
        hasher.byte(self.health as u8);
        hasher.text(self.hostname());
        hasher.number(self.node_hints().len() as u64);
        for hint in self.node_hints() {
            hasher.text(hint);
        }
        hasher.byte(self.source);
        hasher.text(&self.id);
        for claim in self.extra.iter().flat_map(|extra| &extra.claims) {
            hasher.byte(claim.source);
            hasher.text(&claim.id);
        }
        hasher.finish()
    }

    /// The length of the longest text that it carries.
    pub(crate) fn longest_text(&self) -> usize {
        let Locality {
            region,
            zone,
            sub_zone,
        } = &self.place.locality;
        let texts = [
            region,
            zone,
            sub_zone,
            &self.place.network,
            &self.place.cluster,
            &self.place.node,
        ];
        texts
            .map(|text| text.len())
            .into_iter()
            .chain([self.attributes.longest, self.attributes.identity.len()])
            .chain([self.id.len(), self.status.len(), self.hostname().len()])
            .chain(self.node_hints().iter().map(|hint| hint.len()))
            .chain(self.origins().iter().map(super::Origin::longest))
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn first_seen(&self) -> Timestamp {
        self.first_seen
    }

    pub(crate) fn set_first_seen(&mut self, first_seen: Timestamp) {
        self.first_seen = first_seen;
    }

    pub(crate) fn shared_ports(&self) -> &Arc<EndpointPorts> {
        &self.ports
    }

    /// The order of endpoints in a set. Two that are equal in it are the same thing said by the same registry.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let (a, b) = (self, other);
        (a.address(), a.network(), &a.id, a.source).cmp(&(b.address(), b.network(), &b.id, b.source))
    }

    /// True where both are at one address of one network.
    pub(crate) fn same_address(&self, other: &Self) -> bool {
        self.address() == other.address() && self.network() == other.network()
    }

    /// True where both occupy the same place: at one address of one network, with a port in common.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        self.same_address(other) && self.ports.overlaps(&other.ports)
    }

    /// This endpoint as part of a merged service.
    pub(crate) fn merged(&self, with: Merged) -> Self {
        let mut merged = self.clone();
        let mut claims = with.claims.into_iter();
        let mut origins = Origins::default();
        if let Some(first) = claims.next() {
            origins = first.origins;
            merged.id = Box::from(&*first.id);
            merged.status = first.status;
            merged.first_seen = first.first_seen;
            merged.last_changed = first.last_changed;
            merged.source = first.source;
        }
        let claims: Vec<Claim> = claims.collect();
        merged.extra = Extra {
            hostname: with.hostname,
            node_hints: with.node_hints,
            origins,
            claims,
        }
        .boxed();
        merged.ports = with.ports;
        merged.priority = with.priority;
        merged.health = with.health;
        merged.marks = Marks::default()
            .with(Marks::ADMINISTRATIVE, with.administrative)
            .with(Marks::HELD, with.held);
        let own = &self.attributes;
        if with.labels != own.labels || with.identity != own.identity {
            let attributes = Attributes {
                labels: with.labels,
                identity: with.identity,
                ..Attributes::clone(own)
            };
            merged.attributes = Arc::new(attributes.sealed());
        }
        let own = &self.place;
        if with.locality != own.locality || with.node != own.node {
            let place = Place {
                locality: with.locality,
                node: with.node,
                ..Place::clone(own)
            };
            merged.place = Arc::new(place.sealed());
        }
        merged
    }
}

/// What merging decided about one endpoint.
pub(crate) struct Merged {
    pub(crate) ports: Arc<EndpointPorts>,
    pub(crate) health: Health,
    pub(crate) administrative: bool,
    pub(crate) held: bool,
    pub(crate) priority: u8,
    pub(crate) labels: Labels,
    pub(crate) locality: Locality,
    pub(crate) identity: Str,
    pub(crate) hostname: Str,
    pub(crate) node_hints: Box<[Str]>,
    pub(crate) node: Str,
    pub(crate) claims: Vec<Claim>,
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        let claims = |endpoint: &Self| endpoint.extra.as_ref().map_or(0, |extra| extra.claims.len());
        // What changes most often is asked first.
        self.health == other.health
            && self.weight == other.weight
            && self.addresses == other.addresses
            && self.ports == other.ports
            && self.attributes == other.attributes
            && self.place == other.place
            && self.id == other.id
            && self.status == other.status
            && self.hostname() == other.hostname()
            && self.node_hints() == other.node_hints()
            && self.source == other.source
            && self.priority == other.priority
            && self.marks == other.marks
            && self.origins() == other.origins()
            && claims(self) == claims(other)
            && self
                .claims()
                .zip(other.claims())
                .skip(1)
                .all(|(a, b)| (a.id, a.status, a.source, a.origins) == (b.id, b.status, b.source, b.origins))
    }
}

impl Eq for Endpoint {}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("addresses", &self.addresses)
            .field("ports", &self.ports)
            .field("health", &self.health)
            .field("weight", &self.weight)
            .field("priority", &self.priority)
            .field("attributes", &self.attributes)
            .field("place", &self.place)
            .field("claims", &self.claims().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_stays_small() {
        assert!(size_of::<Endpoint>() <= 112, "{} bytes", size_of::<Endpoint>());
    }

    #[test]
    fn of_equal_keys_the_last_label_counts() {
        let labels: Labels = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(labels.get("b").unwrap().as_str(), "3");
        assert_eq!(labels.iter().len(), 2);
    }

    #[test]
    fn times_and_raw_words_are_no_content() {
        let address = || "10.0.0.1".parse::<Address>().unwrap();
        let one = Endpoint::builder(address())
            .id("a")
            .status("passing")
            .node("n1")
            .build();
        let two = Endpoint::builder(address())
            .id("a")
            .status("ok")
            .node("n2")
            .build();
        assert_eq!(one.content_hash(), two.content_hash());
        assert_ne!(one, two);
        let third = Endpoint::builder(address()).id("a").weight(2).build();
        assert_ne!(one.content_hash(), third.content_hash());
    }

    #[test]
    fn hints_of_nodes_are_content_and_end_no_sharing() {
        let hinted = |nodes: &[&str]| {
            Endpoint::builder("10.0.0.1".parse::<Address>().unwrap())
                .id("a")
                .node_hints(nodes.iter().map(|node| Str::from(*node)))
                .build()
        };
        let (none, a, ab) = (hinted(&[]), hinted(&["a"]), hinted(&["a", "b"]));
        assert!(none.node_hints().is_empty() && none.extra.is_none());
        assert_eq!(ab.node_hints(), ["a", "b"].map(Str::from));
        assert_eq!(none.attributes, ab.attributes);
        for (one, other) in [(&none, &a), (&a, &ab), (&none, &ab), (&ab, &hinted(&["b", "a"]))] {
            assert_ne!(one, other);
            assert_ne!(one.content_hash(), other.content_hash());
        }
        assert_eq!(ab, hinted(&["a", "b"]));
        assert_eq!(ab.content_hash(), hinted(&["a", "b"]).content_hash());
    }
}
