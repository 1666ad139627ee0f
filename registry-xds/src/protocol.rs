//! What is spoken on a port.
//!
//! The first of these that says something counts:
//!
//! 1. a transport other than TCP: nothing else fits it;
//! 2. the configuration (`xds.protocols`);
//! 3. the label or metadata `registryd.protocol.<port name>`, and `registryd.protocol` where it is the service's only
//!    port: nobody writes them by accident, while a registry may call everything `http`;
//! 4. the port's application protocol; a word that is not in the table below is some protocol on TCP;
//! 5. the label or metadata `registryd.protocol`, then `protocol`;
//! 6. the port's name, or its part before the first `-`: `http`, `grpc-api`, `redis-main`;
//! 7. nobody: TCP, except that gRPC clients may ask for it by name, as they know better.
//!
//! | word, in any case | protocol |
//! |---|---|
//! | `http`, `http1`, `http/1.0`, `http/1.1`, `ws`, `websocket`, `grpc-web` | HTTP/1.1 |
//! | `http2`, `http/2`, `h2c` | HTTP/2 without TLS |
//! | `grpc` | gRPC |
//! | `https`, `tls`, `ssl`, `wss` | TLS up to the endpoint |
//! | `mongo`, `mongodb` | MongoDB |
//! | `redis` | Redis |
//! | `tcp`, `mysql`, `postgres`, `postgresql`, `kafka`, `amqp` | TCP |
//! | `udp` | UDP |
//!
//! `kubernetes.io/` before a word is left out.

use registry_core::{Pattern, Service, ServicePort, Transport};

use crate::config::XdsConfig;
use crate::names;
use crate::translate::said::{self, Said};

/// A protocol, as far as proxies handle it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1, upgrades to WebSocket included.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
    /// Anything on TCP: what is not known.
    Tcp,
    /// TLS that ends at the endpoint; told apart by its server name.
    Tls,
    /// MongoDB.
    Mongo,
    /// Redis.
    Redis,
    /// Datagrams: nothing is made of them.
    Udp,
}

impl Protocol {
    /// True where requests are told apart by the host that they name.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc)
    }

    /// The protocol that a word of the table stands for.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        let word = word.strip_prefix("kubernetes.io/").unwrap_or(&word);
        Some(match word {
            "http" | "http1" | "http/1.0" | "http/1.1" | "ws" | "websocket" | "grpc-web" => Self::Http,
            "http2" | "http/2" | "h2c" => Self::Http2,
            "grpc" => Self::Grpc,
            "https" | "tls" | "ssl" | "wss" => Self::Tls,
            "mongo" | "mongodb" => Self::Mongo,
            "redis" => Self::Redis,
            "tcp" | "mysql" | "postgres" | "postgresql" | "kafka" | "amqp" => Self::Tcp,
            "udp" => Self::Udp,
            _ => return None,
        })
    }
}

/// What is said to be spoken on a service's port: `None` where nobody says anything, which is to be taken for TCP.
pub(crate) fn protocol_of(
    service: &Service,
    port: &ServicePort,
    said: &Said,
    config: &XdsConfig,
) -> Option<Protocol> {
    if port.transport != Transport::Tcp {
        return Some(Protocol::Udp);
    }
    let number = names::port(port);
    let rule = config.protocols.iter().find(|rule| {
        let is_port = |wanted: &String| *wanted == number || port.name == wanted.as_str();
        rule.port.as_ref().is_none_or(is_port) && Pattern::new(&rule.hosts).matches(service.hostname())
    });
    let word_of = |key: &str| said.get(key).and_then(Protocol::of_word);
    let of_service = || word_of("registryd.protocol");
    rule.and_then(|rule| Protocol::of_word(&rule.protocol))
        .or_else(|| word_of(&format!("registryd.protocol.{}", port.name)))
        .or_else(|| (service.ports().len() == 1).then(of_service).flatten())
        .or_else(|| {
            let word = &port.app_protocol;
            (!word.is_empty()).then(|| Protocol::of_word(word).unwrap_or(Protocol::Tcp))
        })
        .or_else(of_service)
        .or_else(|| word_of(said::PROTOCOL))
        .or_else(|| of_name(&port.name))
}

fn of_name(name: &str) -> Option<Protocol> {
    let is_grpc_web = name
        .get(.."grpc-web-".len())
        .is_some_and(|start| start.eq_ignore_ascii_case("grpc-web-"));
    if is_grpc_web {
        return Some(Protocol::Http);
    }
    Protocol::of_word(name).or_else(|| Protocol::of_word(name.split_once('-')?.0))
}

#[cfg(test)]
mod tests;
