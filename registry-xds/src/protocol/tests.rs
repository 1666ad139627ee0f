use registry_core::{Labels, Transport};

use super::*;
use crate::config::ProtocolRule;
use crate::translate::tests::{endpoint, meta, port, service};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn of(service: &Service, name: &str, config: &XdsConfig) -> Option<Protocol> {
    let port = service.ports().iter().find(|port| port.name == name).unwrap();
    protocol_of(service, port, &Said::of(service), config)
}

#[test]
fn words_are_known_in_any_case_and_with_the_prefix_of_kubernetes() {
    use Protocol::{Grpc, Http, Http2, Mongo, Redis, Tcp, Tls, Udp};
    for (words, expected) in [
        (
            &["http", "HTTP/1.1", "kubernetes.io/ws", "WebSocket", "grpc-web"][..],
            Http,
        ),
        (&["http2", "h2c", "kubernetes.io/h2c"][..], Http2),
        (&["grpc", "GRPC"][..], Grpc),
        (&["https", "tls", "kubernetes.io/wss"][..], Tls),
        (&["mongo", "MongoDB"][..], Mongo),
        (&["redis"][..], Redis),
        (&["tcp", "postgres"][..], Tcp),
        (&["udp"][..], Udp),
    ] {
        for word in words {
            assert_eq!(Protocol::of_word(word), Some(expected), "{word}");
        }
    }
    assert_eq!(Protocol::of_word("carrier-pigeon"), None);
}

#[test]
fn a_port_without_an_application_protocol_speaks_what_its_name_says() {
    use Protocol::{Grpc, Http, Mongo, Redis, Tcp, Tls};
    for (name, expected) in [
        ("http", Some(Http)),
        ("http-admin", Some(Http)),
        ("grpc-web", Some(Http)),
        ("GRPC-Web-api", Some(Http)),
        ("grpc-api", Some(Grpc)),
        ("https", Some(Tls)),
        ("tls-x", Some(Tls)),
        ("tcp-anything", Some(Tcp)),
        ("mongo", Some(Mongo)),
        ("redis-main", Some(Redis)),
        ("default", None),
        ("httpish", None),
        ("höchst", None),
    ] {
        let service = service(meta("web", [port(name)]), []);
        assert_eq!(of(&service, name, &XdsConfig::default()), expected, "{name}");
    }
}

#[test]
fn the_application_protocol_outweighs_the_name_also_where_it_is_unknown() {
    let service = service(
        meta(
            "web",
            [port("http:80/kubernetes.io/h2c"), port("grpc:90/carrier-pigeon")],
        ),
        [],
    );
    let config = XdsConfig::default();
    assert_eq!(of(&service, "http", &config), Some(Protocol::Http2));
    assert_eq!(of(&service, "grpc", &config), Some(Protocol::Tcp));
}

#[test]
fn the_configuration_outweighs_all_but_the_transport() {
    let udp = ServicePort {
        transport: Transport::Udp,
        ..port("dns:53/http")
    };
    let service = service(
        meta("web", [port("a:80/http"), port("b:81/http"), udp]).labels(labels(&[
            ("registryd.protocol.a", "redis"),
            ("registryd.protocol.b", "redis"),
        ])),
        [],
    );
    let rule = |hosts: &str, port: Option<&str>, protocol: &str| ProtocolRule {
        hosts: hosts.to_owned(),
        port: port.map(str::to_owned),
        protocol: protocol.to_owned(),
    };
    let config = XdsConfig {
        protocols: vec![
            rule("other.*", None, "tcp"),
            rule("web.*", Some("80"), "grpc"),
            rule("web.*", Some("b"), "mongo"),
            rule("*", None, "http2"),
        ],
        ..XdsConfig::default()
    };
    assert_eq!(of(&service, "a", &config), Some(Protocol::Grpc));
    assert_eq!(of(&service, "b", &config), Some(Protocol::Mongo));
    assert_eq!(of(&service, "dns", &config), Some(Protocol::Udp));
    assert_eq!(of(&service, "a", &XdsConfig::default()), Some(Protocol::Redis));
}

#[test]
fn a_registry_without_protocols_says_them_by_metadata_of_service_or_instances() {
    let config = XdsConfig::default();
    let by_metadata = service(
        meta("web", [port("default")]).metadata(labels(&[("protocol", "http")])),
        [],
    );
    assert_eq!(of(&by_metadata, "default", &config), Some(Protocol::Http));
    let instance =
        |address: &str, protocol: &str| endpoint(address, "default", 80).label("protocol", protocol);
    let by_most_instances = service(
        meta("web", [port("default")]),
        [
            instance("10.0.0.1", "grpc"),
            instance("10.0.0.2", "http"),
            instance("10.0.0.3", "grpc"),
        ],
    );
    assert_eq!(of(&by_most_instances, "default", &config), Some(Protocol::Grpc));
    let nobody = service(meta("web", [port("default")]), []);
    assert_eq!(of(&nobody, "default", &config), None);
}

#[test]
fn what_is_said_of_a_whole_service_outweighs_the_registry_where_it_has_one_port() {
    let config = XdsConfig::default();
    let said = || labels(&[("registryd.protocol", "grpc")]);
    let one = service(meta("web", [port("http/http")]).labels(said()), []);
    assert_eq!(of(&one, "http", &config), Some(Protocol::Grpc));
    let two = service(
        meta("web", [port("http/http"), port("default")]).labels(said()),
        [],
    );
    assert_eq!(of(&two, "http", &config), Some(Protocol::Http));
    assert_eq!(of(&two, "default", &config), Some(Protocol::Grpc));
}
