//! What Envoys get of a service beside its clusters: virtual hosts on listeners that are shared, and listeners of its own.
//!
//! The shared listener goes by the host of a request. Of a service's HTTP ports the *first* has the bare hostname and all
//! aliases: port 80, else the one called `http`, else that of the lowest number. All that have a number are
//! `hostname:<number>` as well. The first is also what is asked for with the number of the shared listener itself, by
//! those who connect to it under the service's name; and with any number, where it has none of its own.
//!
//! A headless service has, beside its own name, one for each of its endpoints that has a name, for HTTP: a virtual host
//! and a cluster whose subset is the endpoint's name. Nothing in a TCP connection tells such names apart: there a local
//! port leads to the service as a whole.

use std::collections::BTreeMap;

use registry_core::{Resolution, Str};

use super::endpoints::Subset;
use super::{
    Context, ListenerPart, ListenerTarget, Port, Translation, check, cluster, listener, local, route,
};
use crate::names;
use crate::protocol::Protocol;

/// For so many endpoints of a headless service there are names.
const NAMED_ENDPOINTS: usize = 100;

/// Adds clusters, virtual hosts and parts of listeners.
pub(crate) fn translate(context: &Context<'_>, ports: &[Port<'_>], translation: &mut Translation) {
    for port in ports {
        cluster::add_all(context, port, translation);
        add_listeners(context, port, translation);
    }
    add_hosts(context, ports, translation);
    if context.service.resolution() == Resolution::Headless {
        add_named(context, ports, translation);
    }
}

/// Where a port is listened for, beside the shared listener.
fn add_listeners(context: &Context<'_>, port: &Port<'_>, translation: &mut Translation) {
    let hostname = context.service.hostname();
    let cluster = cluster::name(context, port, "");
    let addresses = local::addresses(context, port, &mut translation.warnings);
    if addresses.is_empty() && !port.protocol.is_http() {
        translation.warnings.push(format!(
            "port {}: no listener, as it has neither a virtual address nor a local port",
            port.key
        ));
    }
    for address in addresses {
        let filters = || listener::filters(port.protocol, &cluster, context.is_sticky());
        let target = match port.protocol {
            Protocol::Http | Protocol::Http2 | Protocol::Grpc => {
                let routes = Str::from(names::listener(address));
                let name = format!("{hostname}:{}", port.key);
                let domains = hosts(context).chain(["*".to_owned()]);
                let messages = route::routes(context, port, &mut translation.warnings);
                let host = route::virtual_host(&routes, &name, domains, messages);
                translation.virtual_hosts.push(host);
                ListenerTarget::Http { routes }
            }
            Protocol::Tls => ListenerTarget::Sni {
                names: hosts(context).map(Str::from).collect(),
                filters: filters(),
            },
            Protocol::Tcp | Protocol::Mongo | Protocol::Redis | Protocol::Udp => {
                ListenerTarget::Tcp { filters: filters() }
            }
        };
        translation.listeners.push(ListenerPart {
            address,
            created: context.service.created(),
            target,
        });
    }
}

/// The names of the service, its own first.
fn hosts<'a>(context: &'a Context<'_>) -> impl Iterator<Item = String> + 'a {
    std::iter::once(context.service.hostname())
        .chain(context.aliases.iter().copied())
        .map(ToString::to_string)
}

/// The virtual hosts on the shared listener.
fn add_hosts(context: &Context<'_>, ports: &[Port<'_>], translation: &mut Translation) {
    let routes = Str::from(names::shared_routes(shared_port(context)));
    let ports = http_ports(ports);
    let hosts: Vec<String> = hosts(context).collect();
    for (port, domains) in ports.iter().zip(domains(&hosts, &ports, shared_port(context))) {
        let name = format!("{}:{}", context.service.hostname(), port.key);
        if domains.is_empty() {
            let key = &port.key;
            translation.warnings.push(format!(
                "port {key}: no host name leads to it, as it has no number and is not the first"
            ));
            continue;
        }
        let messages = route::routes(context, port, &mut translation.warnings);
        let host = route::virtual_host(&routes, &name, domains, messages);
        translation.virtual_hosts.push(host);
    }
}

/// Clusters and virtual hosts of single endpoints.
fn add_named(context: &Context<'_>, ports: &[Port<'_>], translation: &mut Translation) {
    let routes = Str::from(names::shared_routes(shared_port(context)));
    let ports = http_ports(ports);
    let service = context.service;
    let names: BTreeMap<&str, String> = service
        .endpoints()
        .iter()
        .filter_map(|endpoint| Some((endpoint.hostname(), service.endpoint_dns_name(endpoint)?)))
        .collect();
    if ports.is_empty() {
        return;
    }
    if names.len() > NAMED_ENDPOINTS {
        translation.warnings.push(format!(
            "{} endpoints with names of their own: the first {NAMED_ENDPOINTS} are served by them",
            names.len()
        ));
    }
    for (name, host) in names.into_iter().take(NAMED_ENDPOINTS) {
        let is_subset = context.subsets.iter().any(|subset| subset.name == name);
        if is_subset || !check::name(name) || check::host(&host).is_err() {
            let name = check::short(name);
            translation.warnings.push(format!(
                "endpoint {name:?}: not served by a name that cannot be one, or is a subset's"
            ));
            continue;
        }
        let hosts = [host];
        for (port, domains) in ports.iter().zip(domains(&hosts, &ports, shared_port(context))) {
            if domains.is_empty() {
                continue;
            }
            cluster::add(context, port, Subset::Named(name), translation);
            let messages = route::routes_to(context, port, cluster::name(context, port, name));
            let name = format!("{}:{}", hosts[0], port.key);
            let host = route::virtual_host(&routes, &name, domains, messages);
            translation.virtual_hosts.push(host);
        }
    }
}

/// The port of the shared listener.
fn shared_port(context: &Context<'_>) -> u16 {
    let configured = context.config.outbound.listen;
    context.view.outbound.unwrap_or(configured).port()
}

/// The HTTP ports, the first first.
fn http_ports<'p, 's>(ports: &'p [Port<'s>]) -> Vec<&'p Port<'s>> {
    let mut ports: Vec<&Port<'_>> = ports.iter().filter(|port| port.protocol.is_http()).collect();
    ports.sort_by_key(|port| {
        let number = port.port.number;
        (
            number != Some(80),
            port.port.name != "http",
            number.is_none(),
            number,
        )
    });
    ports
}

/// What requests to each of these ports may name as their host.
fn domains(hosts: &[String], ports: &[&Port<'_>], shared: u16) -> Vec<Vec<String>> {
    let is_taken = ports.iter().any(|port| port.port.number == Some(shared));
    let of = |port: &Port<'_>, is_first: bool| {
        let mut domains = Vec::new();
        for host in hosts {
            let number = port.port.number.map(|number| format!("{host}:{number}"));
            if is_first {
                let other = match number {
                    None => Some(format!("{host}:*")),
                    Some(_) => (!is_taken).then(|| format!("{host}:{shared}")),
                };
                domains.extend([Some(host.clone()), number, other].into_iter().flatten());
            } else {
                domains.extend(number);
            }
        }
        domains
    };
    ports
        .iter()
        .enumerate()
        .map(|(at, port)| of(port, at == 0))
        .collect()
}
