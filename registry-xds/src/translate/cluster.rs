//! Clusters: one for each port of a service and subset of its endpoints.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, circuit_breakers, cluster,
};
use envoy_types::pb::envoy::config::core::v3::Http2ProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::Any;
use registry_core::{SessionAffinity, Str};

use super::endpoints::{Endpoints, Subset, endpoints};
use super::listener::stat_prefix;
use super::{Context, Port, Translation, proto};
use crate::config::UnhealthyMode;
use crate::names;
use crate::node::Kind;
use crate::protocol::Protocol;
use crate::resource::{Resource, ResourceType};

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The name of the cluster of a port and subset.
pub(crate) fn name(context: &Context<'_>, port: &Port<'_>, subset: &str) -> String {
    names::cluster(&port.key, subset, context.service.hostname())
}

/// Adds all clusters of a port: of all its endpoints, and of each configured subset.
pub(crate) fn add_all(context: &Context<'_>, port: &Port<'_>, translation: &mut Translation) {
    add(context, port, Subset::All, translation);
    for subset in &context.subsets {
        add(context, port, Subset::Labels(subset), translation);
    }
}

/// Adds the cluster of a port and subset, and its endpoints where they are a resource of their own.
pub(crate) fn add(context: &Context<'_>, port: &Port<'_>, subset: Subset<'_>, translation: &mut Translation) {
    let name = name(context, port, subset.name());
    let endpoints = endpoints(
        &name,
        (context.service, &port.port.name, subset),
        context.view,
        context.config,
        &mut translation.warnings,
    );
    let resources = &mut translation.resources;
    let cluster = cluster(context, port, &name, &endpoints);
    resources.push(Resource::new(ResourceType::Cluster, name.as_str(), &cluster));
    if let Endpoints::Eds(assignment) = endpoints {
        resources.push(Resource::new(ResourceType::Endpoints, name, &assignment));
    }
}

fn cluster(context: &Context<'_>, port: &Port<'_>, name: &str, endpoints: &Endpoints) -> Cluster {
    let config = context.config;
    let limits = &config.circuit_breakers;
    let plain = Cluster {
        name: name.to_owned(),
        transport_socket: context.tls.as_ref().and_then(|tls| tls.socket(port.protocol)),
        connect_timeout: Some(proto::duration(config.connect_timeout)),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![circuit_breakers::Thresholds {
                max_connections: proto::number(limits.connections),
                max_pending_requests: proto::number(limits.pending_requests),
                max_requests: proto::number(limits.requests),
                max_retries: proto::number(limits.retries),
                ..circuit_breakers::Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        ..Cluster::default()
    };
    let found = found(plain, context.view.kind, endpoints);
    match context.view.kind {
        Kind::Envoy => for_envoy(found, context, port),
        Kind::Grpc => found,
    }
}

/// What an Envoy gets in the place of a cluster that is no more, and of which nothing but the name is known, while its
/// routes may lead there: it waits for the endpoints of this one, which never come, and uses what it has until then. Where
/// nobody tells it more, it gives that up after 15 s, and has a cluster without endpoints.
pub(crate) fn tombstone(name: &Str) -> Resource {
    let cluster = Cluster {
        name: name.to_string(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Eds.into(),
        )),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(proto::ads()),
            // Of its own: what Envoy has of the other name would make it a cluster, without the TLS that that one had.
            service_name: names::tombstone(name),
        }),
        ..Cluster::default()
    };
    Resource::new(ResourceType::Cluster, name.clone(), &cluster)
}

/// With how it finds its endpoints.
fn found(cluster: Cluster, kind: Kind, endpoints: &Endpoints) -> Cluster {
    let of_type = |type_: cluster::DiscoveryType| Some(cluster::ClusterDiscoveryType::Type(type_.into()));
    match endpoints {
        Endpoints::Eds(_) => Cluster {
            cluster_discovery_type: of_type(cluster::DiscoveryType::Eds),
            eds_cluster_config: Some(cluster::EdsClusterConfig {
                eds_config: Some(proto::ads()),
                // The name of the cluster.
                service_name: String::new(),
            }),
            ..cluster
        },
        Endpoints::Dns(assignment) => Cluster {
            cluster_discovery_type: of_type(match kind {
                Kind::Envoy => cluster::DiscoveryType::StrictDns,
                Kind::Grpc => cluster::DiscoveryType::LogicalDns,
            }),
            // Machines without IPv6 are more common than names without IPv4 addresses.
            dns_lookup_family: cluster::DnsLookupFamily::V4Preferred.into(),
            load_assignment: Some(assignment.clone()),
            ..cluster
        },
    }
}

/// With what gRPC has no use for.
fn for_envoy(plain: Cluster, context: &Context<'_>, port: &Port<'_>) -> Cluster {
    let config = context.config;
    let panics = config.unhealthy == UnhealthyMode::Omit;
    let outlier_detection = config.outlier_detection.as_ref().map(|outlier| OutlierDetection {
        consecutive_5xx: proto::number(outlier.consecutive_5xx),
        interval: Some(proto::duration(outlier.interval)),
        base_ejection_time: Some(proto::duration(outlier.base_ejection_time)),
        max_ejection_percent: proto::number(outlier.max_ejection_percent.min(100)),
        // A tenth of fewer than ten endpoints is none: nothing would ever be ejected. Without panic mode the only endpoint
        // would be out of use as well.
        always_eject_one_host: (panics && outlier.max_ejection_percent > 0)
            .then(proto::yes)
            .flatten(),
        ..OutlierDetection::default()
    });
    let common_lb_config = (!panics).then(|| cluster::CommonLbConfig {
        healthy_panic_threshold: Some(Percent { value: 0.0 }),
        ..cluster::CommonLbConfig::default()
    });
    let lb_policy = if port.protocol == Protocol::Redis {
        // A key stays at its endpoint, whatever the number of endpoints.
        cluster::LbPolicy::Maglev
    } else if context.is_sticky() {
        cluster::LbPolicy::RingHash
    } else {
        cluster::LbPolicy::RoundRobin
    };
    Cluster {
        alt_stat_name: stat_prefix(&plain.name),
        lb_policy: lb_policy.into(),
        outlier_detection,
        common_lb_config,
        // Who is no longer listed is gone, whatever an outlier detection thought of it last.
        ignore_health_on_host_removal: true,
        typed_extension_protocol_options: protocol_options(port.protocol),
        ..plain
    }
}

fn protocol_options(protocol: Protocol) -> HashMap<String, Any> {
    if !matches!(protocol, Protocol::Http2 | Protocol::Grpc) {
        return HashMap::new();
    }
    let explicit = http_protocol_options::ExplicitHttpConfig {
        protocol_config: Some(
            http_protocol_options::explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                Http2ProtocolOptions::default(),
            ),
        ),
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(
            http_protocol_options::UpstreamProtocolOptions::ExplicitHttpConfig(explicit),
        ),
        ..HttpProtocolOptions::default()
    };
    HashMap::from([(HTTP_OPTIONS.to_owned(), proto::any(&options))])
}

impl Context<'_> {
    /// Whether requests of one client stay at one endpoint.
    pub(crate) fn is_sticky(&self) -> bool {
        self.service.traffic().session_affinity == SessionAffinity::ClientIp
    }
}
