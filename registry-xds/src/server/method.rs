//! The methods of gRPC that are served, by path.

use std::str::Split;

use crate::resource::ResourceType;
use crate::session::Variant;

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Discovery in that protocol: of one type alone, or of all (ADS).
    Discovery(Variant, Option<ResourceType>),
    /// `grpc.health.v1.Health/Check`.
    Check,
    /// `grpc.health.v1.Health/Watch`.
    Watch,
}

use Method::{Check, Discovery, Watch};
use ResourceType::{Cluster, Endpoints, Listener, Route};
use Variant::{Delta, Sotw};

/// Service, method, what it stands for.
const METHODS: [(&str, &str, Method); 12] = [
    (ADS, "StreamAggregatedResources", Discovery(Sotw, None)),
    (ADS, "DeltaAggregatedResources", Discovery(Delta, None)),
    (CDS, "StreamClusters", Discovery(Sotw, Some(Cluster))),
    (CDS, "DeltaClusters", Discovery(Delta, Some(Cluster))),
    (EDS, "StreamEndpoints", Discovery(Sotw, Some(Endpoints))),
    (EDS, "DeltaEndpoints", Discovery(Delta, Some(Endpoints))),
    (LDS, "StreamListeners", Discovery(Sotw, Some(Listener))),
    (LDS, "DeltaListeners", Discovery(Delta, Some(Listener))),
    (RDS, "StreamRoutes", Discovery(Sotw, Some(Route))),
    (RDS, "DeltaRoutes", Discovery(Delta, Some(Route))),
    (HEALTH, "Check", Check),
    (HEALTH, "Watch", Watch),
];

const ADS: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
const CDS: &str = "envoy.service.cluster.v3.ClusterDiscoveryService";
const EDS: &str = "envoy.service.endpoint.v3.EndpointDiscoveryService";
const LDS: &str = "envoy.service.listener.v3.ListenerDiscoveryService";
const RDS: &str = "envoy.service.route.v3.RouteDiscoveryService";
const HEALTH: &str = "grpc.health.v1.Health";

impl Method {
    /// The method at that path, such as `/grpc.health.v1.Health/Check`.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut parts: Split<'_, char> = path.strip_prefix('/')?.split('/');
        let wanted = (parts.next()?, parts.next()?, parts.next());
        METHODS
            .into_iter()
            .find(|&(service, name, _)| wanted == (service, name, None))
            .map(|(_, _, method)| method)
    }
}

/// True where there is a service of that name; the empty one stands for all.
pub(super) fn is_service(name: &str) -> bool {
    name.is_empty() || METHODS.iter().any(|&(service, ..)| service == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_own_method_and_others_have_none() {
        for (service, name, method) in METHODS {
            assert_eq!(Method::of(&format!("/{service}/{name}")), Some(method));
            assert!(is_service(service));
        }
        for path in [
            "",
            "/",
            "//",
            "/grpc.health.v1.Health",
            "/grpc.health.v1.Health/",
            "/grpc.health.v1.Health/Check/",
            "grpc.health.v1.Health/Check",
            "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamRoutes",
        ] {
            assert_eq!(Method::of(path), None, "{path}");
        }
        assert!(is_service("") && !is_service("grpc"));
    }

    #[test]
    fn services_and_methods_are_named_as_in_the_protocol() {
        use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_server::SERVICE_NAME as CLUSTERS;
        use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::SERVICE_NAME as ALL;
        use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_server::SERVICE_NAME as ENDPOINTS;
        use envoy_types::pb::envoy::service::listener::v3::listener_discovery_service_server::SERVICE_NAME as LISTENERS;
        use envoy_types::pb::envoy::service::route::v3::route_discovery_service_server::SERVICE_NAME as ROUTES;
        assert_eq!(
            [ADS, CDS, EDS, LDS, RDS],
            [ALL, CLUSTERS, ENDPOINTS, LISTENERS, ROUTES]
        );
    }
}
