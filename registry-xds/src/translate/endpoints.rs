//! The endpoints of a cluster.
//!
//! # Health
//!
//! | health in the registry | Envoy | gRPC | Envoy, `unhealthy: send` |
//! |---|---|---|---|
//! | healthy | `HEALTHY` | `HEALTHY` | `HEALTHY` |
//! | degraded | `DEGRADED`: after the healthy ones | `HEALTHY`: it knows no other | `DEGRADED` |
//! | unknown | `UNKNOWN`, which is used as healthy | `UNKNOWN` | `UNKNOWN` |
//! | draining, others are routable | left out | left out | `DRAINING` |
//! | draining, no other is routable | `DEGRADED` | `HEALTHY` | `DEGRADED` |
//! | unhealthy | left out | left out | `UNHEALTHY` |
//!
//! gRPC drops what is neither healthy nor unknown, so that leaving it out gives what Envoy gives without panic mode: a
//! service of which nothing is usable answers 503 there, and `UNAVAILABLE` here.
//!
//! # Weight, priority, locality
//!
//! An endpoint of weight 0 takes no traffic and is left out, unless all that are usable have it. Localities weigh what
//! their endpoints weigh together. The registries' priorities come first, nearness to the client (where asked for) within
//! them; they are then numbered without gaps. No address is there twice: it stays where it is used first.
//!
//! # Networks
//!
//! Endpoints in another network than the client's, where that has gateways, are replaced by the gateways, among which
//! their weights are divided. Without gateways they stay as they are.
//!
//! # Addresses
//!
//! An endpoint is at its first IP address, where it has one; the further ones are for Envoy alone. Where an endpoint is
//! at a host name the cluster asks DNS: for Envoy all of it, for which IP addresses are names of themselves; gRPC takes
//! one single host name from DNS, so there it is the IP addresses alone, or else the first name. Unix sockets are for
//! Envoy, and not beside host names.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality as ProtoLocality};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as ProtoEndpoint, LbEndpoint, LocalityLbEndpoints, endpoint, lb_endpoint,
};
use registry_core::{Address, Endpoint, Health, Locality, Service, Str};

use super::{check, proto};
use crate::config::{LocalityMode, SubsetConfig, UnhealthyMode, XdsConfig};
use crate::node::{Kind, View};

/// Envoy's highest priority.
const LAST_PRIORITY: u32 = 128;

/// Which endpoints of a service belong to a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subset<'a> {
    /// All of them.
    All,
    /// Those with these labels.
    Labels(&'a SubsetConfig),
    /// Those with this name of their own.
    Named(&'a str),
}

impl Subset<'_> {
    /// Its name; empty for all.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::All => "",
            Self::Labels(config) => &config.name,
            Self::Named(name) => name,
        }
    }

    fn has(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::All => true,
            Self::Labels(config) => config.labels.iter().all(|(key, value)| {
                endpoint
                    .labels()
                    .get(key)
                    .is_some_and(|held| held == value.as_str())
            }),
            Self::Named(name) => endpoint.hostname() == *name,
        }
    }
}

/// How a cluster learns its endpoints, and what they are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Endpoints {
    /// By EDS: the resource.
    Eds(ClusterLoadAssignment),
    /// By DNS: a part of the cluster.
    Dns(ClusterLoadAssignment),
}

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Target {
    Ip(SocketAddr),
    Host(Str, u16),
    Unix(Str),
}

/// One place in a cluster that connections may go to.
struct Member<'a> {
    /// The registry's priority, then how far it is; the lowest first.
    rank: (u8, u8),
    locality: &'a Locality,
    target: Target,
    /// Further addresses of the same endpoint.
    others: Vec<SocketAddr>,
    health: Health,
    weight: u64,
    /// One of so many gateways, which share the weight.
    gateways: Option<usize>,
}

/// The endpoints of the cluster of that name: those of the service's port, as a view sees them.
pub(crate) fn endpoints(
    cluster: &str,
    (service, port, subset): (&Service, &str, Subset<'_>),
    view: &View,
    config: &XdsConfig,
    warnings: &mut Vec<String>,
) -> Endpoints {
    let nowhere = Locality::default();
    let mut members = Vec::new();
    let chosen = service.endpoints().iter().filter(|endpoint| subset.has(endpoint));
    for endpoint in chosen {
        let Some(port) = endpoint.ports().get(port).filter(|port| *port != 0) else {
            continue;
        };
        members_of(endpoint, port, view, config, &nowhere, &mut members);
    }
    let by_dns = drop_unreachable(&mut members, view.kind, warnings);
    let members = usable(members, view.kind, config.unhealthy);
    let mut members = unique(members);
    if by_dns && view.kind == Kind::Grpc {
        // Names of the same rank are one as good as the other; the order in which they are sorted stays.
        if members.len() > 1 {
            warnings.push(format!(
                "{} host names: gRPC resolves one of a service, the first",
                members.len()
            ));
            members.truncate(1);
        }
        if members.is_empty() {
            // No name at all is one that gRPC would refuse.
            return Endpoints::Eds(assignment(cluster, Vec::new()));
        }
    }
    let others = !by_dns && view.kind == Kind::Envoy;
    if !others {
        members.iter_mut().for_each(|(member, _)| member.others.clear());
    }
    let assignment = assignment(cluster, members);
    if by_dns {
        Endpoints::Dns(assignment)
    } else {
        Endpoints::Eds(assignment)
    }
}

/// Where an endpoint is, from where the view looks at it.
fn members_of<'a>(
    endpoint: &'a Endpoint,
    port: u16,
    view: &View,
    config: &XdsConfig,
    nowhere: &'a Locality,
    members: &mut Vec<Member<'a>>,
) {
    let Locality {
        region,
        zone,
        sub_zone,
    } = endpoint.locality();
    let is_place = [region, zone, sub_zone]
        .into_iter()
        .all(|part| check::place(part));
    let locality = if is_place { endpoint.locality() } else { nowhere };
    let distance = match config.locality {
        LocalityMode::Weighted => 0,
        LocalityMode::Nearest => distance(&view.locality, locality),
    };
    let member = |target: Target, others: Vec<SocketAddr>, gateways: Option<usize>| Member {
        rank: (endpoint.priority(), distance),
        locality,
        target,
        others,
        health: endpoint.health(),
        weight: u64::from(endpoint.weight()),
        gateways,
    };
    if endpoint.network() != &view.network
        && let Some(network) = config.networks.get(endpoint.network().as_str())
        && !network.gateways.is_empty()
    {
        let count = network.gateways.len();
        let gateways = network.gateways.iter();
        members.extend(gateways.map(|gateway| member(Target::Ip(*gateway), Vec::new(), Some(count))));
        return;
    }
    let mut ips = endpoint
        .addresses()
        .iter()
        .filter_map(Address::ip)
        .map(|ip| SocketAddr::new(ip, port));
    let first = ips.next();
    let target = match (first, endpoint.address()) {
        (Some(ip), _) => Target::Ip(ip),
        (None, Address::Unix(path)) => Target::Unix(path.clone()),
        (None, Address::Host(name)) => Target::Host(name.clone(), port),
        (None, Address::V4(_) | Address::V6(_)) => return,
    };
    let mut others: Vec<SocketAddr> = ips.filter(|ip| Some(*ip) != first).collect();
    others.sort_unstable();
    others.dedup();
    members.push(member(target, others, None));
}

/// How far a place is from a client: its zone, its region, anywhere else.
fn distance(from: &Locality, to: &Locality) -> u8 {
    let same = |a: &Str, b: &Str| !a.is_empty() && a == b;
    let differ = |a: &Str, b: &Str| !a.is_empty() && !b.is_empty() && a != b;
    if differ(&from.region, &to.region) {
        2
    } else if same(&from.zone, &to.zone) {
        0
    } else if same(&from.region, &to.region) {
        1
    } else {
        2
    }
}

/// Leaves out what this kind of client cannot reach, says so, and says whether the rest has to be asked of DNS. Health is
/// not looked at: a cluster that changes its type with it would be a new one each time.
fn drop_unreachable(members: &mut Vec<Member<'_>>, kind: Kind, warnings: &mut Vec<String>) -> bool {
    let is_host = |member: &Member<'_>| matches!(member.target, Target::Host(..));
    let is_ip = |member: &Member<'_>| matches!(member.target, Target::Ip(_));
    let mut drop = |members: &mut Vec<Member<'_>>, why: &str, goes: &dyn Fn(&Member<'_>) -> bool| {
        let before = members.len();
        members.retain(|member| !goes(member));
        let count = before - members.len();
        if count > 0 {
            warnings.push(format!("{count} {why}"));
        }
    };
    drop(
        members,
        "endpoints without an address that anything could be sent to are left out",
        &|member| match &member.target {
            Target::Ip(ip) => ip.ip().is_unspecified() || ip.ip().is_multicast() || ip.port() == 0,
            Target::Host(name, _) => check::host(name).is_err(),
            Target::Unix(path) => !check::path(path),
        },
    );
    let hosts = members.iter().any(is_host);
    let by_dns = match kind {
        Kind::Envoy => hosts,
        Kind::Grpc => hosts && !members.iter().any(is_ip),
    };
    if kind == Kind::Grpc || by_dns {
        let why = match kind {
            Kind::Grpc => "endpoints at Unix sockets are left out: gRPC takes addresses alone",
            Kind::Envoy => {
                "endpoints at Unix sockets are left out: others are at host names, and DNS knows no sockets"
            }
        };
        drop(members, why, &|member| matches!(member.target, Target::Unix(_)));
    }
    if kind == Kind::Grpc && !by_dns {
        drop(
            members,
            "endpoints at host names are left out: gRPC takes IP addresses, or one single name",
            &is_host,
        );
    }
    by_dns
}

/// Those that are sent, with their status and weight.
fn usable<'a>(
    members: Vec<Member<'a>>,
    kind: Kind,
    unhealthy: UnhealthyMode,
) -> Vec<(Member<'a>, HealthStatus)> {
    let any_routable = members.iter().any(|member| member.health.routable());
    let send = unhealthy == UnhealthyMode::Send && kind == Kind::Envoy;
    let worse = match kind {
        Kind::Envoy => HealthStatus::Degraded,
        Kind::Grpc => HealthStatus::Healthy,
    };
    let status = |health: Health| match health {
        Health::Healthy => Some(HealthStatus::Healthy),
        Health::Degraded => Some(worse),
        Health::Unknown => Some(HealthStatus::Unknown),
        Health::Draining if !any_routable => Some(worse),
        Health::Draining => send.then_some(HealthStatus::Draining),
        Health::Unhealthy => send.then_some(HealthStatus::Unhealthy),
    };
    let mut usable: Vec<(Member<'_>, HealthStatus)> = members
        .into_iter()
        .filter_map(|member| status(member.health).map(|status| (member, status)))
        .collect();
    let takes_traffic =
        |status: &HealthStatus| !matches!(status, HealthStatus::Draining | HealthStatus::Unhealthy);
    if usable
        .iter()
        .any(|(member, status)| takes_traffic(status) && member.weight > 0)
    {
        usable.retain(|(member, _)| member.weight > 0);
    }
    for (member, _) in &mut usable {
        member.weight = member.weight.max(1);
        if let Some(gateways) = member.gateways {
            member.weight = member.weight.div_ceil(gateways as u64);
        }
    }
    usable
}

/// Each target once, in an order that content alone decides: that of use. What comes to one gateway is put together.
fn unique<'a>(mut members: Vec<(Member<'a>, HealthStatus)>) -> Vec<(Member<'a>, HealthStatus)> {
    let preference = |status: &HealthStatus| match status {
        HealthStatus::Healthy => 0,
        HealthStatus::Unknown => 1,
        HealthStatus::Degraded => 2,
        _ => 3,
    };
    let key = |(member, status): &(Member<'a>, HealthStatus)| {
        let Member {
            rank,
            locality,
            target,
            weight,
            ..
        } = member;
        (*rank, *locality, target.clone(), preference(status), *weight)
    };
    members.sort_by_cached_key(key);
    let mut seen: HashMap<Target, usize> = HashMap::with_capacity(members.len());
    let mut unique: Vec<(Member<'a>, HealthStatus)> = Vec::with_capacity(members.len());
    for (member, status) in members {
        match seen.get(&member.target) {
            None => {
                seen.insert(member.target.clone(), unique.len());
                unique.push((member, status));
            }
            Some(at) => {
                let (held, held_status) = &mut unique[*at];
                if held.gateways.is_some() && held.rank == member.rank {
                    held.weight += member.weight;
                    if preference(&status) < preference(held_status) {
                        *held_status = status;
                    }
                }
            }
        }
    }
    unique
}

/// The message, of members in order.
fn assignment(cluster: &str, members: Vec<(Member<'_>, HealthStatus)>) -> ClusterLoadAssignment {
    let total: u64 = members.iter().map(|(member, _)| member.weight).sum();
    let weights = Weights::new(total, members.len());
    let mut groups: BTreeMap<(u32, &Locality), Vec<LbEndpoint>> = BTreeMap::new();
    let mut priority = 0;
    let mut rank = members.first().map(|(member, _)| member.rank);
    for (member, status) in members {
        if rank.replace(member.rank) != Some(member.rank) && priority < LAST_PRIORITY {
            priority += 1;
        }
        let endpoint = lb_endpoint(&member, status, weights.of(member.weight));
        groups
            .entry((priority, member.locality))
            .or_default()
            .push(endpoint);
    }
    let endpoints = groups.into_iter().map(|((priority, locality), lb_endpoints)| {
        let weight = lb_endpoints
            .iter()
            .filter_map(|endpoint| endpoint.load_balancing_weight.as_ref())
            .map(|weight| weight.value)
            .sum();
        LocalityLbEndpoints {
            // gRPC wants one, be it empty.
            locality: Some(ProtoLocality {
                region: locality.region.to_string(),
                zone: locality.zone.to_string(),
                sub_zone: locality.sub_zone.to_string(),
            }),
            lb_endpoints,
            // And leaves out a locality without.
            load_balancing_weight: proto::number(weight),
            priority,
            ..LocalityLbEndpoints::default()
        }
    });

    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: endpoints.collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn lb_endpoint(member: &Member<'_>, status: HealthStatus, weight: u32) -> LbEndpoint {
    let address = match &member.target {
        Target::Ip(address) => proto::socket_of(*address),
        Target::Host(name, port) => proto::socket(name.to_string(), *port),
        Target::Unix(path) => proto::pipe(path),
    };
    let additional_addresses = member.others.iter().map(|other| endpoint::AdditionalAddress {
        address: Some(proto::socket_of(*other)),
    });
    LbEndpoint {
        health_status: status.into(),
        load_balancing_weight: proto::number(weight),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(ProtoEndpoint {
            address: Some(address),
            additional_addresses: additional_addresses.collect(),
            ..ProtoEndpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

/// Makes weights small enough that all of them together are still a number for Envoy and gRPC.
pub(crate) struct Weights {
    divisor: u64,
}

impl Weights {
    /// For so many weights with that sum.
    pub(crate) fn new(total: u64, count: usize) -> Self {
        // None becomes 0, so each may add 1.
        let room = u64::from(u32::MAX).saturating_sub(count as u64).max(1);
        Self {
            divisor: total.div_ceil(room).max(1),
        }
    }

    /// A weight, at least 1.
    pub(crate) fn of(&self, weight: u64) -> u32 {
        u32::try_from((weight / self.divisor).max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
