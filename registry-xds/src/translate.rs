//! From one service to what proxies need: pure functions of service, view and configuration.
//!
//! | protocol | Envoy | gRPC |
//! |---|---|---|
//! | `http`, `http2`, `grpc` | a cluster, its endpoints, a virtual host | listener, route, cluster, endpoints by name |
//! | `tcp`, `mongo`, `redis` | a cluster, its endpoints, a part of a listener | as above |
//! | `tls` | a cluster, its endpoints, a part of a listener chosen by server name | – |
//! | `udp` | a warning | – |

pub(crate) mod cluster;
pub(crate) mod endpoints;
pub(crate) mod grpc;
pub(crate) mod listener;
mod proto;
pub(crate) mod route;
pub(crate) mod tls;

use std::net::SocketAddr;

use bytes::Bytes;
use registry_core::{Service, Str, Timestamp};

use crate::config::XdsConfig;
use crate::node::View;
use crate::resource::Resource;

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

/// What a service gives to a view.
pub(crate) fn translate(_service: &Service, _view: &View, _config: &XdsConfig) -> Translation {
    unimplemented!("translate")
}
