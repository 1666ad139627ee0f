//! What resources refer to.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

/// Decodes a resource, or any other message that says its type.
///
/// # Panics
///
/// When it is of another type or damaged: in a test nothing else can be done about it.
#[must_use]
pub fn decode<M: Message + Name + Default>(any: &Any) -> M {
    assert_eq!(any.type_url, M::type_url());
    match M::decode(any.value.as_slice()) {
        Ok(message) => message,
        Err(error) => panic!("a damaged {}: {error}", M::NAME),
    }
}

/// The names under which the cluster's endpoints are asked for; none where they come from elsewhere.
pub(super) fn endpoints_of(cluster: &Any) -> Option<String> {
    let cluster: Cluster = decode(cluster);
    let eds = ClusterDiscoveryType::Type(DiscoveryType::Eds as i32);
    if cluster.cluster_discovery_type != Some(eds) {
        return None;
    }
    let service = cluster.eds_cluster_config.unwrap_or_default().service_name;
    Some(if service.is_empty() { cluster.name } else { service })
}

/// What a listener refers to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ListenerReferences {
    /// The route configurations that it asks for.
    pub(super) routes: BTreeSet<String>,
    /// The clusters that it sends to by itself.
    pub(super) clusters: BTreeSet<String>,
}

pub(super) fn references_of_listener(listener: &Any) -> ListenerReferences {
    let listener: Listener = decode(listener);
    let chains = listener
        .filter_chains
        .iter()
        .chain(&listener.default_filter_chain);
    let filters = chains.flat_map(|chain| &chain.filters);
    let configs = filters.filter_map(|filter| match &filter.config_type {
        Some(ConfigType::TypedConfig(config)) => Some(config),
        _ => None,
    });
    let api = listener
        .api_listener
        .as_ref()
        .and_then(|api| api.api_listener.as_ref());
    let mut found = ListenerReferences::default();
    for config in configs.chain(api) {
        if config.type_url == HttpConnectionManager::type_url() {
            match decode::<HttpConnectionManager>(config).route_specifier {
                Some(RouteSpecifier::Rds(rds)) => drop(found.routes.insert(rds.route_config_name)),
                Some(RouteSpecifier::RouteConfig(routes)) => found.clusters.extend(clusters_of(&routes)),
                _ => {}
            }
        } else if config.type_url == TcpProxy::type_url() {
            match decode::<TcpProxy>(config).cluster_specifier {
                Some(tcp_proxy::ClusterSpecifier::Cluster(cluster)) => drop(found.clusters.insert(cluster)),
                Some(tcp_proxy::ClusterSpecifier::WeightedClusters(weighted)) => {
                    let names = weighted.clusters.into_iter().map(|cluster| cluster.name);
                    found.clusters.extend(names);
                }
                None => {}
            }
        }
    }
    found
}

/// The clusters that a route configuration sends to.
pub(super) fn clusters_of_routes(routes: &Any) -> BTreeSet<String> {
    clusters_of(&decode(routes))
}

fn clusters_of(routes: &RouteConfiguration) -> BTreeSet<String> {
    let mut clusters = BTreeSet::new();
    for route in routes.virtual_hosts.iter().flat_map(|host| &host.routes) {
        let Some(Action::Route(action)) = &route.action else {
            continue;
        };
        match &action.cluster_specifier {
            Some(ClusterSpecifier::Cluster(cluster)) => drop(clusters.insert(cluster.clone())),
            Some(ClusterSpecifier::WeightedClusters(weighted)) => {
                let names = weighted.clusters.iter().map(|cluster| cluster.name.clone());
                clusters.extend(names);
            }
            _ => {}
        }
    }
    clusters
}
