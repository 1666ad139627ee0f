//! Ports of services and slices: their names, and what is spoken on them.

use registry_core::{Interner, PortDefaults, ServicePort, Str, Transport};

use crate::wire;

/// What a slice says of a port, beside its number on the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlicePort {
    pub(crate) name: Str,
    pub(crate) number: u16,
    pub(crate) transport: Transport,
    pub(crate) app_protocol: Str,
    /// Nobody gave it a name.
    pub(crate) implicit: bool,
}

/// Words for protocols that have a word of their own in the model.
const WORDS: &[(&str, &str)] = &[
    // Defined by Kubernetes: HTTP/2 without TLS, and WebSocket with and without.
    ("kubernetes.io/h2c", "http2"),
    ("kubernetes.io/ws", "http"),
    ("kubernetes.io/wss", "https"),
    // In use since Istio and Linkerd had them.
    ("h2c", "http2"),
    ("h2", "http2"),
    ("http/2", "http2"),
];

/// Protocols that the name of a port may stand for, as the whole of it or before a `-`.
const CONVENTION: &[&str] = &[
    "grpc-web", "http2", "https", "http", "grpc", "mongo", "mysql", "redis", "tcp", "tls", "udp",
];

/// A protocol in the words of the model. Words that it does not know stay as they are.
pub(crate) fn app_protocol(raw: &str) -> &str {
    let words = WORDS.iter().copied();
    let known = words.chain(CONVENTION.iter().map(|word| (*word, *word)));
    known
        .into_iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(raw))
        .map_or(raw, |(_, word)| word)
}

/// The protocol that the name of a port stands for; empty where it does for none.
pub(crate) fn by_name(name: &str) -> &'static str {
    let stands_for = |protocol: &&&str| {
        let rest = name.strip_prefix(**protocol);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    CONVENTION.iter().find(stands_for).copied().unwrap_or_default()
}

fn transport(protocol: wire::Protocol) -> Transport {
    match protocol {
        wire::Protocol::Tcp => Transport::Tcp,
        wire::Protocol::Udp => Transport::Udp,
        wire::Protocol::Sctp => Transport::Sctp,
    }
}

/// The name of a port in the model. The one port that Kubernetes allows to have no name is called what such ports are
/// called in other registries, so that the same service in two registries has the same port.
fn name(raw: &str, defaults: &PortDefaults, interner: &mut Interner) -> Str {
    if raw.is_empty() {
        defaults.port().name
    } else {
        interner.text(raw)
    }
}

/// The ports that a Service declares. What slices know better is left open; see [`complete`].
pub(crate) fn of_service(
    ports: &[wire::ServicePort<'_>],
    defaults: &PortDefaults,
    interner: &mut Interner,
) -> Vec<ServicePort> {
    let mut mapped = Vec::with_capacity(ports.len());
    for port in ports {
        mapped.push(ServicePort {
            name: name(&port.name, defaults, interner),
            number: Some(port.port).filter(|number| *number != 0),
            transport: transport(port.protocol),
            app_protocol: interner.text(app_protocol(&port.app_protocol)),
            implicit: port.name.is_empty() && defaults.name.is_none(),
        });
    }
    mapped
}

/// What a Service declares to be spoken on its ports, in its own words, by the names of the ports in the model.
pub(crate) fn declared<'a>(
    ports: &'a [wire::ServicePort<'_>],
    defaults: &PortDefaults,
    interner: &mut Interner,
) -> Vec<(Str, &'a str)> {
    let declaring = ports.iter().filter(|port| !port.app_protocol.is_empty());
    declaring
        .map(|port| (name(&port.name, defaults, interner), &*port.app_protocol))
        .collect()
}

/// The ports of a slice that have a number.
pub(crate) fn of_slice(
    ports: &[wire::SlicePort<'_>],
    defaults: &PortDefaults,
    interner: &mut Interner,
) -> Box<[SlicePort]> {
    let numbered = ports.iter().filter(|port| port.port != 0);
    numbered
        .map(|port| SlicePort {
            name: name(&port.name, defaults, interner),
            number: port.port,
            transport: transport(port.protocol),
            app_protocol: interner.text(app_protocol(&port.app_protocol)),
            implicit: port.name.is_empty() && defaults.name.is_none(),
        })
        .collect()
}

/// The ports of a service: those declared, and those that only its slices name, which have no number of their own. What
/// is spoken is said by the Service, else by a slice, else by the name of the port, else by the configuration.
pub(crate) fn complete<'a>(
    declared: &[ServicePort],
    slices: impl Iterator<Item = &'a SlicePort>,
    defaults: &PortDefaults,
) -> Vec<ServicePort> {
    let unnamed = defaults.port();
    let mut ports: Vec<ServicePort> = declared.to_vec();
    for said in slices {
        match ports.iter_mut().find(|port| port.name == said.name) {
            Some(port) if port.app_protocol.is_empty() => port.app_protocol = said.app_protocol.clone(),
            Some(_) => {}
            None => ports.push(ServicePort {
                name: said.name.clone(),
                number: None,
                transport: said.transport,
                app_protocol: said.app_protocol.clone(),
                implicit: said.implicit,
            }),
        }
    }
    for port in &mut ports {
        if port.app_protocol.is_empty() {
            port.app_protocol = by_name(&port.name).into();
        }
        if port.app_protocol.is_empty() {
            port.app_protocol = unnamed.app_protocol.clone();
        }
        if port.name == unnamed.name && port.number.is_none() {
            port.number = unnamed.number;
        }
    }
    // As the finished service has them, so that the two can be compared.
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    ports.dedup_by(|a, b| a.name == b.name);
    ports
}
