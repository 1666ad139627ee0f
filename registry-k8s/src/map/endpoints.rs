//! The endpoints of a slice.

use registry_core::{Address, Addresses, Endpoint, EndpointBuilder, Interner, Locality, Str, short};

use super::ports::SlicePort;
use super::{health, status, text};
use crate::index::{Join, Mapping};
use crate::wire::{self, AddressType};

/// Where a Node says that it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodePlace {
    pub(crate) region: Str,
    pub(crate) zone: Str,
}

/// Where a slice says that an endpoint is. The region is only in objects from before 1.21.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SaidPlace {
    pub(crate) region: Str,
    pub(crate) zone: Str,
}

/// An endpoint, and where its slice says that it is.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) endpoint: Endpoint,
    pub(crate) said: SaidPlace,
}

/// What endpoints are mapped with.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) mapping: &'a Mapping,
    /// The cluster that they are in.
    pub(crate) cluster: &'a Str,
    /// Every endpoint of the service has a name of its own.
    pub(crate) named_all: bool,
    /// Nodes by name.
    pub(crate) nodes: &'a dyn Fn(&str) -> Option<&'a NodePlace>,
}

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const OLD_REGION: &str = "failure-domain.beta.kubernetes.io/region";
const OLD_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";

/// Where a Node is, by its labels.
pub(crate) fn node_place(labels: &wire::Pairs<'_>, interner: &mut Interner) -> NodePlace {
    NodePlace {
        region: interner.text(or(labels.get(REGION), labels.get(OLD_REGION))),
        zone: interner.text(or(labels.get(ZONE), labels.get(OLD_ZONE))),
    }
}

fn or<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

/// Where an endpoint is: the zone its slice says, or else its Node; the region the other way round, since slices only
/// ever had old copies of it.
pub(crate) fn locality(said: &SaidPlace, node: Option<&NodePlace>) -> Locality {
    let prefer = |a: Option<&Str>, b: Option<&Str>| {
        let known = a.filter(|text| !text.is_empty()).or(b);
        known.cloned().unwrap_or_default()
    };
    Locality {
        region: prefer(node.map(|node| &node.region), Some(&said.region)),
        zone: prefer(Some(&said.zone), node.map(|node| &node.zone)),
        sub_zone: Str::default(),
    }
}

/// Maps the endpoints of a slice, in their order; those without any address are left out.
///
/// # Errors
///
/// Where something is no address of the type of the slice.
pub(crate) fn endpoints(
    slice: &wire::Slice<'_>,
    ports: &[SlicePort],
    surroundings: Surroundings<'_>,
    interner: &mut Interner,
) -> Result<Vec<Mapped>, String> {
    let mut mapped = Vec::with_capacity(slice.endpoints.len());
    if slice.address_type == AddressType::Fqdn && !surroundings.mapping.fqdn {
        return Ok(mapped);
    }
    for (at, endpoint) in slice.endpoints.iter().enumerate() {
        let raw = &*endpoint.address.0;
        if raw.is_empty() {
            continue;
        }
        let Some(address) = address(raw, slice.address_type) else {
            let expected = match slice.address_type {
                AddressType::IPv4 => "an IPv4 address",
                AddressType::IPv6 => "an IPv6 address",
                AddressType::Fqdn => "a host name",
            };
            let found = short(raw, 100);
            return Err(format!(
                "endpoints[{at}].addresses[0]: found {found:?}, expected {expected}"
            ));
        };
        mapped.push(one(endpoint, &address, ports, surroundings, interner));
    }
    Ok(mapped)
}

fn address(raw: &str, kind: AddressType) -> Option<Address> {
    match kind {
        AddressType::IPv4 => text::ipv4(raw).map(Address::V4),
        AddressType::IPv6 => text::ipv6(raw).map(Address::V6),
        AddressType::Fqdn => raw
            .parse()
            .ok()
            .filter(|address| matches!(address, Address::Host(_))),
    }
}

fn one(
    endpoint: &wire::Endpoint<'_>,
    address: &Address,
    ports: &[SlicePort],
    surroundings: Surroundings<'_>,
    interner: &mut Interner,
) -> Mapped {
    let Surroundings {
        mapping,
        cluster,
        named_all,
        nodes,
    } = surroundings;
    let topology = &endpoint.deprecated_topology;
    let said = SaidPlace {
        region: interner.text(or(topology.get(REGION), topology.get(OLD_REGION))),
        zone: interner.text(or(&endpoint.zone, or(topology.get(ZONE), topology.get(OLD_ZONE)))),
    };
    let node = or(&endpoint.node_name, topology.get("kubernetes.io/hostname"));
    let hostname = if endpoint.hostname.is_empty() {
        assigned(address, named_all)
    } else {
        Str::from(&*endpoint.hostname)
    };
    let hostname = qualified(hostname, cluster, mapping.join);
    let mut names = |list: &[wire::Named<'_>]| -> Vec<Str> {
        list.iter().map(|named| interner.text(&named.name)).collect()
    };
    let (zones, hinted) = (names(&endpoint.hints.for_zones), names(&endpoint.hints.for_nodes));
    let mut builder = Endpoint::builder(address.clone())
        .id(id(&endpoint.target_ref, address))
        .health(health(endpoint.conditions))
        .status(interner.text(status(endpoint.conditions)))
        .locality(locality(&said, nodes(node)))
        .node(interner.text(node))
        .cluster(cluster.clone())
        .network(mapping.network.clone())
        .hostname(hostname)
        .hints(zones)
        .node_hints(hinted);
    for port in ports {
        builder = builder.port(port.name.clone(), port.number);
    }
    Mapped {
        endpoint: builder.build_in(interner),
        said,
    }
}

/// What Kubernetes calls an endpoint: the name and the uid of what is behind it, or less where less is known.
fn id(target: &wire::TargetRef<'_>, address: &Address) -> String {
    match (&*target.name, &*target.uid) {
        ("", "") => address.to_string(),
        (name, "") => name.to_owned(),
        (name, uid) => format!("{name}/{uid}"),
    }
}

/// True where the id of an endpoint tells it from all others: it has a uid.
pub(crate) fn is_unique(id: &str) -> bool {
    id.contains('/')
}

/// The name of the pod that an id with a uid speaks of; whoever has it next has another uid.
pub(crate) fn pod_of(id: &str) -> Option<&str> {
    id.split_once('/')
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty())
}

/// The name of an endpoint that has none: that of its address, where each is to have one.
fn assigned(address: &Address, named_all: bool) -> Str {
    match address.ip() {
        Some(ip) if named_all => text::dashed(ip).into(),
        _ => Str::default(),
    }
}

/// A name as it is below that of the service. In a clusterset several endpoints may have the same name, and it goes with
/// that of their cluster; without one there is none that could be resolved.
fn qualified(name: Str, cluster: &Str, join: Join) -> Str {
    if join == Join::Services || name.is_empty() {
        name
    } else if cluster.is_empty() {
        Str::default()
    } else {
        format!("{name}.{cluster}").into()
    }
}

/// The name that an endpoint has in a service where each has one, or only those do that were given one.
pub(crate) fn hostname_in(endpoint: &Endpoint, named_all: bool, join: Join) -> Str {
    let held = endpoint.hostname();
    let assigned = |named_all| qualified(assigned(endpoint.address(), named_all), endpoint.cluster(), join);
    if held.is_empty() || *assigned(true) == *held {
        assigned(named_all)
    } else {
        held.into()
    }
}

/// A builder of the same endpoint, for what is to be different.
pub(crate) fn rebuilt(endpoint: &Endpoint) -> EndpointBuilder {
    rebuilt_at(endpoint, endpoint.addresses()[1..].iter().cloned())
}

/// As [`rebuilt`], with other addresses beside the first one.
pub(crate) fn rebuilt_at(endpoint: &Endpoint, others: impl IntoIterator<Item = Address>) -> EndpointBuilder {
    let addresses = Addresses::new(endpoint.address().clone(), others);
    let status = endpoint
        .claims()
        .next()
        .map(|claim| claim.status)
        .unwrap_or_default();
    let mut builder = Endpoint::builder(addresses)
        .id(endpoint.id())
        .health(endpoint.health())
        .weight(endpoint.weight())
        .status(status)
        .locality(endpoint.locality().clone())
        .node(endpoint.node().clone())
        .cluster(endpoint.cluster().clone())
        .network(endpoint.network().clone())
        .hostname(endpoint.hostname())
        .hints(endpoint.hints().iter().cloned())
        .node_hints(endpoint.node_hints().iter().cloned());
    for port in endpoint.ports() {
        builder = builder.port(port.name.clone(), port.number);
    }
    builder
}
