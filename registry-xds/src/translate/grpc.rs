//! What gRPC clients ask for by name: `xds:///<hostname>` and `xds:///<hostname>:<port>`.
//!
//! Ports of gRPC and HTTP/2 are served, and those of which nobody says what they speak: who dials them by gRPC knows. The
//! bare hostname is the first of them, gRPC before HTTP/2 before unknown ones.

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

use super::{Context, Port, Translation, cluster, listener, route};
use crate::names;
use crate::protocol::Protocol;
use crate::resource::{Resource, ResourceType};

/// Adds clusters, routes and listeners.
pub(crate) fn translate(context: &Context<'_>, ports: &[Port<'_>], translation: &mut Translation) {
    let mut served: Vec<&Port<'_>> = ports.iter().filter(|port| rank(port).is_some()).collect();
    served.sort_by_key(|port| rank(port));
    for (at, port) in served.iter().enumerate() {
        cluster::add_all(context, port, translation);
        let hostname = context.service.hostname();
        let with_port = port.port.number.map(|number| format!("{hostname}:{number}"));
        let bare = (at == 0).then(|| hostname.to_string());
        for authority in bare.into_iter().chain(with_port) {
            add_target(context, port, &authority, translation);
        }
    }
}

/// Which ports are served, the best first.
fn rank(port: &Port<'_>) -> Option<u8> {
    match (port.protocol, port.is_said) {
        (Protocol::Grpc, _) => Some(0),
        (Protocol::Http2, _) => Some(1),
        (Protocol::Tcp, false) => Some(2),
        _ => None,
    }
}

/// A target that can be dialled: its listener and its routes.
fn add_target(context: &Context<'_>, port: &Port<'_>, authority: &str, translation: &mut Translation) {
    let name = names::grpc_routes(authority);
    let host = VirtualHost {
        name: authority.to_owned(),
        // A channel may state another authority than its target's: these routes are for the target alone.
        domains: vec![authority.to_owned(), "*".to_owned()],
        routes: route::routes(context, port, &mut translation.warnings),
        ..VirtualHost::default()
    };
    let routes = RouteConfiguration {
        name: name.clone(),
        virtual_hosts: vec![host],
        ..RouteConfiguration::default()
    };
    let listener = listener::api_listener(authority, &name);
    translation.resources.extend([
        Resource::new(ResourceType::Listener, authority, &listener),
        Resource::new(ResourceType::Route, name, &routes),
    ]);
}
