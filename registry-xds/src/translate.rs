//! From one service to what proxies need: pure functions of service, view and configuration.
//!
//! | protocol | Envoy | gRPC |
//! |---|---|---|
//! | `http` | a cluster, its endpoints, a virtual host | – |
//! | `http2`, `grpc` | a cluster, its endpoints, a virtual host | listener, route, cluster, endpoints by name |
//! | `tcp`, `mongo`, `redis` | a cluster, its endpoints, a part of a listener | – |
//! | unknown | as `tcp` | as `grpc` |
//! | `tls` | a cluster, its endpoints, a part of a listener chosen by server name | – |
//! | `udp` | a warning | a warning |
//!
//! [`crate::protocol`] says how a port's protocol is known, [`endpoints`] what becomes of health, weight, priority,
//! locality and network, [`envoy`] by which names and [`local`] at which addresses services are reached.

mod check;
pub(crate) mod cluster;
mod endpoints;
mod envoy;
mod grpc;
pub(crate) mod listener;
mod local;
mod proto;
mod route;
pub(crate) mod said;
mod tls;

use std::net::SocketAddr;

use bytes::Bytes;
use registry_core::{Pattern, Service, ServicePort, Str, Timestamp};

use crate::config::{SubsetConfig, XdsConfig};
use crate::names;
use crate::node::{Kind, View};
use crate::protocol::{Protocol, protocol_of};
use crate::resource::Resource;
use said::Said;
use tls::Tls;

/// What one service gives to one view. What several services share a name or address for, is put together by the view.
#[derive(Debug, Clone, Default)]
pub(crate) struct Translation {
    /// Resources of this service alone: clusters and endpoints; for gRPC also listeners and routes.
    pub(crate) resources: Vec<Resource>,
    /// Its virtual hosts in route configurations.
    pub(crate) virtual_hosts: Vec<VirtualHost>,
    /// Where it wants to be listened for.
    pub(crate) listeners: Vec<ListenerPart>,
    /// What could not be done for it, in words.
    pub(crate) warnings: Vec<String>,
}

/// A virtual host, to be part of a route configuration with those of other services.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VirtualHost {
    /// The route configuration.
    pub(crate) routes: Str,
    /// Its name in there.
    pub(crate) name: Str,
    /// Its domains, the most important first. One that another service has already is left out.
    pub(crate) domains: Vec<Str>,
    /// All other fields of the `VirtualHost` message, encoded.
    pub(crate) body: Bytes,
}

/// A wish to listen somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerPart {
    /// Where.
    pub(crate) address: SocketAddr,
    /// When the service was created: the oldest wins where two cannot share.
    pub(crate) created: Option<Timestamp>,
    /// For what.
    pub(crate) target: ListenerTarget,
}

/// What a listener does with connections.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ListenerTarget {
    /// HTTP by that route configuration; services with the same one share the listener.
    Http {
        /// The route configuration.
        routes: Str,
    },
    /// Everything goes through these encoded `envoy.config.listener.v3.Filter`s.
    Tcp {
        /// The filters.
        filters: Vec<Bytes>,
    },
    /// TLS of these server names goes through these filters; services with other names share the listener.
    Sni {
        /// The server names.
        names: Vec<Str>,
        /// The filters.
        filters: Vec<Bytes>,
    },
}

/// A port that is served.
#[derive(Debug)]
pub(crate) struct Port<'a> {
    /// The service's port.
    pub(crate) port: &'a ServicePort,
    /// How names of resources write it.
    pub(crate) key: String,
    /// What is spoken on it.
    pub(crate) protocol: Protocol,
    /// Whether anybody says so.
    pub(crate) is_said: bool,
}

/// All that the parts of a translation look at.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) service: &'a Service,
    pub(crate) view: &'a View,
    pub(crate) config: &'a XdsConfig,
    pub(crate) said: Said,
    /// The subsets of the service, each name once.
    pub(crate) subsets: Vec<&'a SubsetConfig>,
    /// Those of its aliases that can be names.
    pub(crate) aliases: Vec<&'a Str>,
    /// The key of the port that is meant where the service as a whole is named.
    pub(crate) main_port: Option<String>,
    /// TLS to its endpoints.
    pub(crate) tls: Option<Tls<'a>>,
}

/// What a service gives to a view. A pure function: equal services give equal bytes, here and in every other process.
///
/// What Envoy or gRPC would refuse is not made, and a warning says why: where it is a port that port is left out, where
/// it is the hostname nothing is served.
pub(crate) fn translate(service: &Service, view: &View, config: &XdsConfig) -> Translation {
    let mut translation = Translation::default();
    let warnings = &mut translation.warnings;
    if let Err(problem) = check::host(service.hostname()) {
        warnings.push(format!("hostname {problem}: not served"));
        return translation;
    }
    let tls = match Tls::of(service, view.kind, config) {
        Ok(tls) => tls,
        Err(problem) => {
            warnings.push(problem);
            return translation;
        }
    };
    let said = Said::of(service);
    let ports = ports(service, &said, config, warnings);
    let main_port = ports
        .iter()
        .find(|port| !port.protocol.is_http())
        .or(ports.first());
    let context = Context {
        service,
        view,
        config,
        subsets: subsets(service, config, warnings),
        aliases: aliases(service, warnings),
        main_port: main_port.map(|port| port.key.clone()),
        said,
        tls,
    };
    match view.kind {
        Kind::Envoy => envoy::translate(&context, &ports, &mut translation),
        Kind::Grpc => grpc::translate(&context, &ports, &mut translation),
    }
    translation.warnings.sort_unstable();
    translation.warnings.dedup();
    translation
}

/// The ports that are served, in the order of their names.
fn ports<'a>(
    service: &'a Service,
    said: &Said,
    config: &XdsConfig,
    warnings: &mut Vec<String>,
) -> Vec<Port<'a>> {
    for (key, value) in said.iter() {
        if key.starts_with("registryd.protocol") && Protocol::of_word(value).is_none() {
            let (key, value) = (check::short(key), check::short(value));
            warnings.push(format!("{key}: {value:?} is no protocol that is known here"));
        }
    }
    if service.ports().is_empty() {
        warnings.push("it has no ports: nothing to serve".to_owned());
    }
    let mut ports: Vec<Port<'a>> = Vec::with_capacity(service.ports().len());
    for port in service.ports() {
        let key = names::port(port);
        let protocol = protocol_of(service, port, said, config);
        let problem = if protocol == Some(Protocol::Udp) {
            Some("only TCP is served")
        } else if port.number == Some(0) {
            Some("expected a number from 1 to 65535")
        } else if !check::name(&key) {
            Some("expected a name of letters, digits, '-', '_' and '.'")
        } else if ports.iter().any(|held| held.key == key) {
            Some("another port of the service is called so")
        } else {
            None
        };
        match problem {
            Some(problem) => warnings.push(format!("port {}: {problem}", check::short(&key))),
            None => ports.push(Port {
                port,
                key,
                protocol: protocol.unwrap_or(Protocol::Tcp),
                is_said: protocol.is_some(),
            }),
        }
    }
    ports
}

fn subsets<'a>(
    service: &Service,
    config: &'a XdsConfig,
    warnings: &mut Vec<String>,
) -> Vec<&'a SubsetConfig> {
    let rule = config
        .subsets
        .iter()
        .find(|rule| Pattern::new(&rule.hosts).matches(service.hostname()));
    let mut subsets: Vec<&SubsetConfig> = Vec::new();
    for subset in rule.map_or(&[][..], |rule| &rule.subsets) {
        if check::name(&subset.name) && subsets.iter().all(|held| held.name != subset.name) {
            subsets.push(subset);
        } else {
            let name = check::short(&subset.name);
            warnings.push(format!("subset {name:?}: no name for one, or there twice"));
        }
    }
    subsets
}

fn aliases<'a>(service: &'a Service, warnings: &mut Vec<String>) -> Vec<&'a Str> {
    let mut aliases = Vec::with_capacity(service.aliases().len());
    for alias in service.aliases() {
        match check::host(alias) {
            Ok(()) => aliases.push(alias),
            Err(problem) => warnings.push(format!("alias {}", check::short(&problem))),
        }
    }
    aliases
}

#[cfg(test)]
pub(crate) mod tests;
