//! Records of every shape, each field of the model now empty, now one of a few values, now anything.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::model::{EndpointParts, Place};
use crate::{
    Address, Addresses, Attributes, Claim, Endpoint, EndpointPorts, Health, Labels, Locality, Origin,
    Origins, Resolution, ServiceId, ServiceMeta, ServicePort, ServiceRecord, SessionAffinity, Str, Timestamp,
    Traffic, Transport, Vip,
};

fn text() -> impl Strategy<Value = Str> {
    prop_oneof![
        2 => Just(String::new()),
        4 => prop::sample::select(vec!["http", "eu-1a", "passing", "é", "a\u{0}b"]).prop_map(str::to_owned),
        1 => "\\PC{0,40}",
    ]
    .prop_map(Str::from)
}

fn labels() -> impl Strategy<Value = Labels> {
    vec((text(), text()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        4 => (0_u32..50).prop_map(|n| Address::V4(Ipv4Addr::from_bits(0x0A00_0000 + n))),
        1 => any::<u128>().prop_map(|bits| Address::V6(Ipv6Addr::from_bits(bits))),
        1 => text().prop_map(Address::Host),
        1 => text().prop_map(Address::Unix),
    ]
}

fn attributes() -> impl Strategy<Value = Arc<Attributes>> {
    (labels(), vec(text(), 0..3), text())
        .prop_map(|(labels, hints, identity)| Arc::new(Attributes::new(labels, hints.into(), identity)))
}

fn locality() -> impl Strategy<Value = Locality> {
    (text(), text(), text()).prop_map(|(region, zone, sub_zone)| Locality {
        region,
        zone,
        sub_zone,
    })
}

fn place() -> impl Strategy<Value = Arc<Place>> {
    (locality(), text(), text(), text())
        .prop_map(|(locality, network, cluster, node)| Arc::new(Place::new(locality, network, cluster, node)))
}

fn claim() -> impl Strategy<Value = Claim> {
    (text(), text(), time(), time(), any::<u8>(), origins()).prop_map(
        |(id, status, first_seen, last_changed, source, origins)| Claim {
            id,
            status,
            first_seen,
            last_changed,
            source,
            origins,
        },
    )
}

fn origins() -> impl Strategy<Value = Origins> {
    let origin = (text(), text(), text(), time(), time()).prop_map(
        |(registry, id, status, first_seen, last_changed)| Origin {
            registry,
            id,
            status,
            first_seen,
            last_changed,
        },
    );
    vec(origin, 0..3).prop_map(Origins::from_iter)
}

fn health() -> impl Strategy<Value = Health> {
    prop::sample::select(vec![
        Health::Healthy,
        Health::Degraded,
        Health::Draining,
        Health::Unhealthy,
        Health::Unknown,
    ])
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let ports = vec((text(), any::<u16>()), 0..3).prop_map(|ports| Arc::new(ports.into_iter().collect()));
    let shared = (ports, attributes(), place());
    let own = (
        address(),
        vec(address(), 0..3),
        text(),
        text(),
        text(),
        vec(text(), 0..3),
        origins(),
        vec(claim(), 0..2),
    );
    let plain = (
        time(),
        time(),
        any::<u32>(),
        any::<u8>(),
        any::<u8>(),
        health(),
        any::<bool>(),
    );
    (shared, own, plain).prop_map(|(shared, own, plain)| {
        let (ports, attributes, place): (Arc<EndpointPorts>, _, _) = shared;
        let (address, others, id, status, hostname, node_hints, origins, claims) = own;
        let (first_seen, last_changed, weight, source, priority, health, administrative) = plain;
        Endpoint::from_parts(&EndpointParts {
            addresses: &Addresses::new(address, others),
            ports: &ports,
            attributes: &attributes,
            place: &place,
            id: &id,
            status: &status,
            first_seen,
            last_changed,
            hostname: Some(&hostname).filter(|hostname| !hostname.is_empty()),
            node_hints: &node_hints,
            origins: &origins,
            claims: &claims,
            weight,
            source,
            priority,
            health,
            administrative,
        })
    })
}

fn port() -> impl Strategy<Value = ServicePort> {
    let transport = prop::sample::select(vec![Transport::Tcp, Transport::Udp, Transport::Sctp]);
    (text(), option::of(any::<u16>()), transport, text(), any::<bool>()).prop_map(
        |(name, number, transport, app_protocol, implicit)| ServicePort {
            name,
            number,
            transport,
            app_protocol,
            implicit,
        },
    )
}

fn traffic() -> impl Strategy<Value = Traffic> {
    let affinity = prop::sample::select(vec![SessionAffinity::None, SessionAffinity::ClientIp]);
    (affinity, text(), any::<bool>()).prop_map(|(session_affinity, distribution, internal_local)| Traffic {
        session_affinity,
        distribution,
        internal_local,
    })
}

fn meta() -> impl Strategy<Value = Arc<ServiceMeta>> {
    let id =
        (text(), text(), text()).prop_map(|(group, namespace, name)| ServiceId::new(group, namespace, name));
    let vip = (text(), vec(address(), 0..3)).prop_map(|(cluster, addresses)| Vip { cluster, addresses });
    let resolution = prop::sample::select(vec![
        Resolution::Static,
        Resolution::Headless,
        Resolution::Dns,
        Resolution::Nothing,
    ]);
    let lists = (
        vec(text(), 0..3),
        vec(port(), 0..3),
        vec(vip, 0..3),
        vec(text(), 0..3),
    );
    let pairs = (labels(), labels(), labels());
    (id, lists, pairs, traffic(), option::of(time()), resolution).prop_map(
        |(
            id,
            (aliases, ports, addresses, origins),
            (labels, metadata, variables),
            traffic,
            created,
            resolution,
        )| {
            ServiceMeta::builder(id)
                .aliases(aliases)
                .ports(ports)
                .addresses(addresses)
                .labels(labels)
                .metadata(metadata)
                .variables(variables)
                .origins(origins)
                .traffic(traffic)
                .created(created)
                .resolution(resolution)
                .build()
        },
    )
}

/// What a registry may have said. Some services have more than one bucket of endpoints.
pub(super) fn records() -> impl Strategy<Value = Vec<ServiceRecord>> {
    let endpoints = prop_oneof![9 => vec(endpoint(), 0..4), 1 => vec(endpoint(), 60..80)];
    let record = (meta(), endpoints).prop_map(|(meta, endpoints)| ServiceRecord::new(meta, endpoints));
    vec(record, 0..5)
}
