//! The entries of a body: private mirrors of the model, in the order in which they are written.
//!
//! Values that repeat (texts, sets of ports, attributes, places) are entries of their own, written once before their
//! first use; each kind is numbered from 0 on, and what follows refers to them by number. Text 0 is the empty one and
//! is not written. A service is followed by its endpoints.
//!
//! Every change here, the order of fields and variants included, is another version of the format.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::model::{Health, Resolution, SessionAffinity, Transport};

/// The number of a text, set of ports, attributes or place.
pub(super) type Number = usize;

/// Labels: keys and values.
pub(super) type Pairs = Vec<(Number, Number)>;

/// One entry of a body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Item<'a> {
    Text(&'a str),
    Ports(Vec<(Number, u16)>),
    Attributes {
        labels: Pairs,
        hints: Vec<Number>,
        identity: Number,
    },
    Place {
        region: Number,
        zone: Number,
        sub_zone: Number,
        network: Number,
        cluster: Number,
        node: Number,
    },
    Service(Box<ServiceEntry>),
    #[serde(borrow)]
    Endpoint(EndpointEntry<'a>),
    // Since version 3. They follow what they belong to, so that nothing is written where there is none, and a file of
    // version 2 is one of version 3.
    /// The ways to the registries behind the last service.
    ServiceOrigins(Vec<Number>),
    /// Who said so to the registry, for one claim of the last endpoint, counted from 0.
    Origins {
        claim: usize,
        origins: Vec<OriginEntry<'a>>,
    },
}

/// A service.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ServiceEntry {
    pub(super) group: Number,
    pub(super) namespace: Number,
    pub(super) name: Number,
    pub(super) aliases: Vec<Number>,
    pub(super) ports: Vec<PortEntry>,
    pub(super) addresses: Vec<VipEntry>,
    pub(super) labels: Pairs,
    pub(super) metadata: Pairs,
    pub(super) variables: Pairs,
    #[serde(with = "SessionAffinityCode")]
    pub(super) session_affinity: SessionAffinity,
    pub(super) distribution: Number,
    pub(super) internal_local: bool,
    pub(super) created: Option<u64>,
    #[serde(with = "ResolutionCode")]
    pub(super) resolution: Resolution,
}

/// A port of a service.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PortEntry {
    pub(super) name: Number,
    pub(super) number: Option<u16>,
    #[serde(with = "TransportCode")]
    pub(super) transport: Transport,
    pub(super) app_protocol: Number,
    pub(super) implicit: bool,
}

/// The virtual addresses of a service in one cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VipEntry {
    pub(super) cluster: Number,
    pub(super) addresses: Vec<AddressEntry>,
}

/// An address.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum AddressEntry {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Host(Number),
    Unix(Number),
}

/// An endpoint of the last service. Its id is in nobody else's hands and stands here itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndpointEntry<'a> {
    pub(super) address: AddressEntry,
    pub(super) others: Vec<AddressEntry>,
    pub(super) ports: Number,
    pub(super) attributes: Number,
    pub(super) place: Number,
    pub(super) id: &'a str,
    pub(super) status: Number,
    pub(super) first_seen: u64,
    pub(super) last_changed: u64,
    pub(super) hostname: Number,
    pub(super) node_hints: Vec<Number>,
    pub(super) claims: Vec<ClaimEntry<'a>>,
    pub(super) weight: u32,
    pub(super) source: u8,
    pub(super) priority: u8,
    #[serde(with = "HealthCode")]
    pub(super) health: Health,
    pub(super) administrative: bool,
}

/// A further claim to an endpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClaimEntry<'a> {
    pub(super) id: &'a str,
    pub(super) status: Number,
    pub(super) first_seen: u64,
    pub(super) last_changed: u64,
    pub(super) source: u8,
}

/// Who said so to the registry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OriginEntry<'a> {
    pub(super) registry: Number,
    pub(super) id: &'a str,
    pub(super) status: Number,
    pub(super) first_seen: u64,
    pub(super) last_changed: u64,
}

// The derived code names every variant of the model's enumeration: one that is missing here does not compile.

#[derive(Serialize, Deserialize)]
#[serde(remote = "Health")]
enum HealthCode {
    Healthy,
    Degraded,
    Draining,
    Unhealthy,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Transport")]
enum TransportCode {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Resolution")]
enum ResolutionCode {
    Static,
    Headless,
    Dns,
    // Since version 4.
    Nothing,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SessionAffinity")]
enum SessionAffinityCode {
    None,
    ClientIp,
}
