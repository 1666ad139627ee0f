//! Listeners and what is in them. Equal arguments give equal bytes: a listener that changes drains its connections.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{Http1ProtocolOptions, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3::{
    ApiListener, Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::mongo_proxy::v3::MongoProxy;
use envoy_types::pb::envoy::extensions::filters::network::redis_proxy::v3::{RedisProxy, redis_proxy};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::envoy::r#type::v3::{HashPolicy, hash_policy};
use prost::{Message, Name};
use registry_core::Str;

use super::proto;
use crate::names;
use crate::protocol::Protocol;

/// How long one command of Redis may take.
const REDIS_OP_TIMEOUT: Duration = Duration::from_secs(5);

/// To how many endpoints a TCP connection is tried before the client's is closed: one that has just gone costs nobody
/// anything.
const CONNECT_ATTEMPTS: u32 = 3;

/// The listener for HTTP at an address, by a route configuration of that name.
pub(crate) fn http_listener(address: SocketAddr, routes: &str) -> Listener {
    let manager = HttpConnectionManager {
        stat_prefix: stat_prefix(&names::listener(address)),
        // Health checks and old tools still speak it.
        http_protocol_options: Some(Http1ProtocolOptions {
            accept_http_10: true,
            ..Http1ProtocolOptions::default()
        }),
        upgrade_configs: vec![http_connection_manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..http_connection_manager::UpgradeConfig::default()
        }],
        // What answered stays visible to the caller.
        server_header_transformation: http_connection_manager::ServerHeaderTransformation::PassThrough.into(),
        ..routed(routes)
    };
    let filter = filter("envoy.filters.network.http_connection_manager", &manager);
    listener(address, vec![chain(vec![filter])])
}

/// The listener at an address that takes every connection through these encoded filters.
pub(crate) fn tcp_listener(address: SocketAddr, filters: &[Bytes]) -> Listener {
    listener(address, vec![chain(decoded(filters))])
}

/// The listener at an address that takes TLS connections through the filters that belong to their server name. No name
/// may be in two of the chains.
pub(crate) fn sni_listener(address: SocketAddr, chains: &[(&[Str], &[Bytes])]) -> Listener {
    let chains = chains.iter().map(|(names, filters)| FilterChain {
        name: names.first().map(ToString::to_string).unwrap_or_default(),
        filter_chain_match: Some(FilterChainMatch {
            server_names: names.iter().map(ToString::to_string).collect(),
            ..FilterChainMatch::default()
        }),
        ..chain(decoded(filters))
    });
    let inspector = ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(proto::any(
            &TlsInspector::default(),
        ))),
        ..ListenerFilter::default()
    };
    Listener {
        listener_filters: vec![inspector],
        ..listener(address, chains.collect())
    }
}

/// The listener that gRPC asks for by the name of its target.
pub(crate) fn api_listener(name: &str, routes: &str) -> Listener {
    let manager = HttpConnectionManager {
        stat_prefix: "grpc".to_owned(),
        ..routed(routes)
    };
    Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener {
            api_listener: Some(proto::any(&manager)),
        }),
        ..Listener::default()
    }
}

/// The encoded filters that take connections of a protocol to a cluster. `sticky` keeps those of one client at one
/// endpoint.
pub(crate) fn filters(protocol: Protocol, cluster: &str, sticky: bool) -> Vec<Bytes> {
    let stat_prefix = stat_prefix(cluster);
    let encoded = |filter: Filter| Bytes::from(filter.encode_to_vec());
    if protocol == Protocol::Redis {
        let proxy = RedisProxy {
            stat_prefix,
            settings: Some(redis_proxy::ConnPoolSettings {
                op_timeout: Some(proto::duration(REDIS_OP_TIMEOUT)),
                ..redis_proxy::ConnPoolSettings::default()
            }),
            prefix_routes: Some(redis_proxy::PrefixRoutes {
                catch_all_route: Some(redis_proxy::prefix_routes::Route {
                    cluster: cluster.to_owned(),
                    ..redis_proxy::prefix_routes::Route::default()
                }),
                ..redis_proxy::PrefixRoutes::default()
            }),
            ..RedisProxy::default()
        };
        return vec![encoded(filter("envoy.filters.network.redis_proxy", &proxy))];
    }
    let source_ip = HashPolicy {
        policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp {})),
    };
    let proxy = TcpProxy {
        stat_prefix: stat_prefix.clone(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        max_connect_attempts: proto::number(CONNECT_ATTEMPTS),
        hash_policy: if sticky { vec![source_ip] } else { Vec::new() },
        ..TcpProxy::default()
    };
    let proxy = encoded(filter("envoy.filters.network.tcp_proxy", &proxy));
    if protocol == Protocol::Mongo {
        let mongo = MongoProxy {
            stat_prefix,
            ..MongoProxy::default()
        };
        return vec![
            encoded(filter("envoy.filters.network.mongo_proxy", &mongo)),
            proxy,
        ];
    }
    vec![proxy]
}

/// A name as part of the name of a statistic, where dots separate.
pub(crate) fn stat_prefix(name: &str) -> String {
    name.replace(['.', ':'], "_")
}

/// A connection manager that asks for its routes by name.
fn routed(routes: &str) -> HttpConnectionManager {
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        // Not by its name alone: neither Envoy nor gRPC takes that any more.
        config_type: Some(http_filter::ConfigType::TypedConfig(proto::any(
            &Router::default(),
        ))),
        ..HttpFilter::default()
    };
    HttpConnectionManager {
        route_specifier: Some(http_connection_manager::RouteSpecifier::Rds(Rds {
            config_source: Some(proto::ads()),
            route_config_name: routes.to_owned(),
        })),
        http_filters: vec![router],
        ..HttpConnectionManager::default()
    }
}

fn listener(address: SocketAddr, filter_chains: Vec<FilterChain>) -> Listener {
    let ip = address.ip();
    Listener {
        name: names::listener(address),
        address: Some(proto::socket_of(address)),
        filter_chains,
        // A virtual address may be routed to this machine without being one of its interfaces', or not be there yet: to
        // Envoy it is then no reason to refuse the listener.
        freebind: if ip.is_loopback() || ip.is_unspecified() {
            None
        } else {
            proto::yes()
        },
        traffic_direction: TrafficDirection::Outbound.into(),
        ..Listener::default()
    }
}

fn chain(filters: Vec<Filter>) -> FilterChain {
    FilterChain {
        filters,
        ..FilterChain::default()
    }
}

fn filter<M: Message + Name>(name: &str, config: &M) -> Filter {
    Filter {
        name: name.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(proto::any(config))),
    }
}

/// They were encoded here, by [`filters`].
fn decoded(filters: &[Bytes]) -> Vec<Filter> {
    filters
        .iter()
        .filter_map(|filter| Filter::decode(filter.as_ref()).ok())
        .collect()
}

#[cfg(test)]
mod tests;
