use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{Filter, Listener, filter};
use envoy_types::pb::envoy::config::route::v3 as proto_route;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager,
};
use envoy_types::pb::envoy::extensions::filters::network::redis_proxy::v3::RedisProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use registry_core::{
    Address, Discovery, Endpoint, EndpointBuilder, Health, Locality, Resolution, Service, ServiceId,
    ServiceMeta, ServiceMetaBuilder, ServicePort, ServiceRecord, SessionAffinity, StaticRegistry, Traffic,
    Transport, Vip,
};

use super::*;
use crate::config::{Destination, Layout, LocalPort, PathMatch, RouteConfig, RouteRule, SubsetRule};
use crate::resource::ResourceType;

// === What tests of all parts use ===

/// A merged service, as discovery publishes it: `<name>.static`.
pub(crate) fn service(
    meta: ServiceMetaBuilder,
    endpoints: impl IntoIterator<Item = EndpointBuilder>,
) -> Arc<Service> {
    let endpoints: Vec<Endpoint> = endpoints.into_iter().map(EndpointBuilder::build).collect();
    let record = ServiceRecord::new(meta.build(), endpoints);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let discovery = Discovery::builder()
            .registry("test", StaticRegistry::new([record]))
            .unwrap()
            .start()
            .unwrap();
        discovery.ready().await;
        let service = discovery.snapshot().services().next().unwrap().clone();
        discovery.shutdown().await;
        service
    })
}

pub(crate) fn meta(name: &str, ports: impl IntoIterator<Item = ServicePort>) -> ServiceMetaBuilder {
    ServiceMeta::builder(ServiceId::named(name)).ports(ports)
}

/// A port from `name`, `name:number` or `name:number/protocol`.
pub(crate) fn port(text: &str) -> ServicePort {
    let (text, app_protocol) = text.split_once('/').unwrap_or((text, ""));
    let (name, number) = match text.split_once(':') {
        Some((name, number)) => (name, Some(number.parse().unwrap())),
        None => (text, None),
    };
    ServicePort {
        name: name.into(),
        number,
        app_protocol: app_protocol.into(),
        ..ServicePort::default()
    }
}

/// A healthy endpoint at an address, with a port.
pub(crate) fn endpoint(address: &str, port: &str, number: u16) -> EndpointBuilder {
    Endpoint::builder(address.parse::<Address>().unwrap())
        .port(port, number)
        .health(Health::Healthy)
        .id(address)
}

pub(crate) fn view(kind: Kind) -> View {
    View {
        kind,
        locality: Locality::default(),
        network: Str::default(),
        services: Vec::new(),
        outbound: None,
    }
}

pub(crate) fn resource<M: Message + Default>(
    translation: &Translation,
    type_: ResourceType,
    name: &str,
) -> Option<M> {
    let found = translation
        .resources
        .iter()
        .find(|resource| resource.type_() == type_ && *resource.name() == name)?;
    Some(M::decode(found.body()).unwrap())
}

pub(crate) fn unpack<M: Message + Name + Default>(any: &Any) -> M {
    assert_eq!(any.type_url, M::type_url());
    M::decode(any.value.as_slice()).unwrap()
}

fn translated(service: &Service, kind: Kind, config: &XdsConfig) -> Translation {
    translate(service, &view(kind), config)
}

fn web() -> Arc<Service> {
    service(
        meta("web", [port("http:80/http")]),
        [
            endpoint("10.0.0.1", "http", 8080),
            endpoint("10.0.0.2", "http", 8080),
        ],
    )
}

// === Envoy ===

#[test]
fn an_http_service_becomes_a_cluster_its_endpoints_and_a_virtual_host() {
    let translation = translated(&web(), Kind::Envoy, &XdsConfig::default());
    assert_eq!(translation.warnings, Vec::<String>::new());
    let name = "outbound|80||web.static";
    let cluster: Cluster = resource(&translation, ResourceType::Cluster, name).unwrap();
    assert_eq!(cluster.name, name);
    let eds = cluster.eds_cluster_config.unwrap();
    assert_eq!(eds.eds_config, Some(proto::ads()));
    let assignment: ClusterLoadAssignment = resource(&translation, ResourceType::Endpoints, name).unwrap();
    assert_eq!(assignment.cluster_name, name);
    assert_eq!(assignment.endpoints[0].lb_endpoints.len(), 2);
    assert_eq!(translation.resources.len(), 2);
    let [host] = &translation.virtual_hosts[..] else {
        panic!("{:?}", translation.virtual_hosts)
    };
    assert_eq!((&*host.routes, &*host.name), ("http.15001", "web.static:80"));
    assert_eq!(
        host.domains,
        ["web.static", "web.static:80", "web.static:15001"].map(Str::from)
    );
    assert!(translation.listeners.is_empty());
}
