//! Conditions, names of protocols, addresses and times, one by one; what Services become, by what was captured.

use registry_core::{Address, Interner, PortDefaults, Resolution, SessionAffinity};

use super::text::{dashed, ip, nanos};
use super::{conditions, health, ports, service, status};
use crate::index::Mapping;
use crate::wire::{self, Conditions};

#[test]
fn acceptance_4_all_27_conditions_come_to_the_health_of_the_table() {
    let all = [None, Some(false), Some(true)];
    let mut seen = std::collections::BTreeSet::new();
    for ready in all {
        for serving in all {
            for terminating in all {
                let given = Conditions {
                    ready,
                    serving,
                    terminating,
                };
                // Unset is ready, serving, and not terminating.
                let (r, s, t) = (
                    ready != Some(false),
                    serving != Some(false),
                    terminating == Some(true),
                );
                let expected = match (r, s, t) {
                    (true, true, false) => "healthy",
                    (true, false, false) => "degraded",
                    (false, true | false, false) => "unhealthy",
                    (true | false, true, true) | (true, false, true) => "draining",
                    (false, false, true) => "unhealthy",
                };
                assert_eq!(health(given).as_str(), expected, "{given:?}");
                let word = |set: Option<bool>| set.map_or("unset".to_owned(), |set| set.to_string());
                let raw = format!(
                    "ready={} serving={} terminating={}",
                    word(ready),
                    word(serving),
                    word(terminating)
                );
                assert_eq!(status(given), raw);
                assert_eq!(conditions(&raw), given);
                seen.insert(raw);
            }
        }
    }
    assert_eq!(seen.len(), 27);
}

#[test]
fn protocols_are_said_in_words_of_the_model_and_by_names_of_ports() {
    for (raw, word) in [
        ("kubernetes.io/h2c", "http2"),
        ("kubernetes.io/ws", "http"),
        ("kubernetes.io/wss", "https"),
        ("HTTP", "http"),
        ("example.com/Custom", "example.com/Custom"),
        ("Weird", "Weird"),
        ("", ""),
    ] {
        assert_eq!(ports::app_protocol(raw), word, "{raw}");
    }
    for (name, protocol) in [
        ("http", "http"),
        ("http-metrics", "http"),
        ("http2", "http2"),
        ("grpc-web", "grpc-web"),
        ("grpc-web-ui", "grpc-web"),
        ("grpc-api", "grpc"),
        ("tls-x", "tls"),
        ("httpx", ""),
        ("metrics-http", ""),
        ("", ""),
    ] {
        assert_eq!(ports::by_name(name), protocol, "{name}");
    }
}

#[test]
fn addresses_and_times_are_read_as_sloppily_as_they_are_written() {
    for (text, read) in [
        ("010.0.0.1", Some("10.0.0.1")),
        ("10.0.0.008", Some("10.0.0.8")),
        ("FD00::1", Some("fd00::1")),
        ("10.0.0.256", None),
        ("10.0.0", None),
        ("10.0.0.1.2", None),
        ("+1.0.0.1", None),
        ("None", None),
        ("", None),
    ] {
        assert_eq!(ip(text).map(|ip| ip.to_string()).as_deref(), read, "{text}");
    }
    assert_eq!(dashed("10.0.0.1".parse().unwrap()), "10-0-0-1");
    assert_eq!(dashed("fd00::1".parse().unwrap()), "fd00--1");
    for (text, read) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2000-02-29T00:00:00Z", Some(951_782_400_000_000_000)),
        ("2024-02-29T23:59:59.999Z", Some(1_709_251_199_999_000_000)),
        ("2026-11-21T00:00:00.123456789Z", Some(1_795_219_200_123_456_789)),
        ("2026-11-21T02:00:00+02:00", Some(1_795_219_200_000_000_000)),
        ("2026-11-20T23:30:00-00:30", Some(1_795_219_200_000_000_000)),
        ("1969-12-31T23:59:59Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-11-21T00:00:00", None),
        ("2026-11-21T00:00:00.Z", None),
        ("2026-11-21T00:00:00é", None),
        ("é026-11-21T00:00:00Z", None),
        ("", None),
    ] {
        assert_eq!(nanos(text), read, "{text}");
    }
}

fn mapped(name: &str, ports: PortDefaults) -> service::Mapped {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let text = std::fs::read(path).unwrap();
    let read: wire::Service<'_> = serde_json::from_slice(&text).unwrap();
    let mapping = Mapping {
        join: crate::index::Join::Services,
        cluster: "east".into(),
        network: "pods".into(),
        fqdn: true,
        removal_delay: std::time::Duration::ZERO,
        ports,
    };
    service::service(&read, &mapping, &mut Interner::default())
}

#[test]
fn a_service_keeps_what_is_set_and_nothing_else() {
    let web = mapped("service-web.json", PortDefaults::default());
    let meta = &web.meta;
    assert_eq!(meta.id().to_string(), "demo/demo/web");
    assert_eq!(meta.labels().get("team").unwrap(), &"blue");
    assert_eq!(meta.variables().get("cluster").unwrap(), &"east");
    assert_eq!(meta.traffic().distribution, "PreferSameZone");
    assert!(!meta.traffic().internal_local);
    assert_eq!(meta.resolution(), Resolution::Static);
    assert_eq!(meta.created().unwrap().to_string(), "2026-11-20T23:23:42.000Z");
    let raw: Vec<(&str, &str)> = meta
        .metadata()
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        raw,
        [
            ("clusterIPs", "10.96.243.195,fd00:10:96::1a32"),
            ("internalTrafficPolicy", "Cluster"),
            ("ipFamilies", "IPv4,IPv6"),
            ("ipFamilyPolicy", "PreferDualStack"),
            ("type", "ClusterIP"),
            ("uid", "4ec4bb60-b47d-4d3b-93d5-b8177a29d8be"),
        ]
    );
    let protocols: Vec<(&str, Option<u16>, &str, &str)> = web
        .ports
        .iter()
        .map(|port| {
            (
                &*port.name,
                port.number,
                port.transport.as_str(),
                &*port.app_protocol,
            )
        })
        .collect();
    assert_eq!(
        protocols,
        [
            ("http", Some(80), "tcp", "http2"),
            ("dns", Some(53), "udp", ""),
            ("dns-tcp", Some(53), "tcp", ""),
        ]
    );
}

#[test]
fn a_load_balancer_has_addresses_within_and_without() {
    let lb = mapped("service-lb.json", PortDefaults::default());
    let vips: Vec<(&str, Vec<String>)> = lb
        .meta
        .addresses()
        .iter()
        .map(|vip| {
            (
                &*vip.cluster,
                vip.addresses.iter().map(Address::to_string).collect(),
            )
        })
        .collect();
    let outside = ["198.51.100.7", "lb-1.elb.example.com", "203.0.113.5"].map(str::to_owned);
    assert_eq!(
        vips,
        [("east", vec!["10.96.35.125".to_owned()]), ("", outside.to_vec())]
    );
    assert_eq!(lb.meta.traffic().session_affinity, SessionAffinity::ClientIp);
    let raw = |key: &str| lb.meta.metadata().get(key).map(|value| value.to_string());
    assert_eq!(raw("sessionAffinityTimeoutSeconds").as_deref(), Some("10800"));
    assert_eq!(
        raw("loadBalancer").as_deref(),
        Some("lb-1.elb.example.com,203.0.113.5 (VIP)")
    );
    assert_eq!(raw("externalIPs").as_deref(), Some("198.51.100.7"));
}

#[test]
fn a_port_without_a_name_is_called_as_in_other_registries() {
    let port = |defaults| mapped("service-lb.json", defaults).ports[0].clone();
    let unnamed = port(PortDefaults::default());
    assert_eq!(
        (&*unnamed.name, unnamed.number, unnamed.implicit),
        ("default", Some(443), true)
    );
    let named = port(PortDefaults {
        name: Some("web".into()),
        ..PortDefaults::default()
    });
    assert_eq!(
        (&*named.name, named.number, named.implicit),
        ("web", Some(443), false)
    );
}
