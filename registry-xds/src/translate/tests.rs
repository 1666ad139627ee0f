use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3 as proto_route;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use registry_core::{
    Address, Discovery, Endpoint, EndpointBuilder, Health, Locality, Resolution, Service, ServiceId,
    ServiceMeta, ServiceMetaBuilder, ServicePort, ServiceRecord, StaticRegistry, Transport, Vip,
};

use super::*;
use crate::config::{Destination, PathMatch, RouteConfig, RouteRule, SubsetRule};
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

pub(crate) fn vip(addresses: &[&str]) -> Vip {
    Vip {
        cluster: Str::default(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

pub(crate) fn translated(service: &Service, kind: Kind, config: &XdsConfig) -> Translation {
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

#[test]
fn clusters_have_what_the_facts_ask_for() {
    let config = XdsConfig::default();
    let service = service(
        meta(
            "web",
            [
                port("g:50051/grpc"),
                port("r:6379/redis"),
                port("h:80/http"),
                port("plain"),
            ],
        ),
        [],
    );
    let translation = translated(&service, Kind::Envoy, &config);
    let cluster = |key: &str| -> Cluster {
        resource(
            &translation,
            ResourceType::Cluster,
            &format!("outbound|{key}||web.static"),
        )
        .unwrap()
    };
    let grpc = cluster("50051");
    assert_eq!(grpc.alt_stat_name, "outbound|50051||web_static");
    assert_eq!(
        grpc.typed_extension_protocol_options.keys().collect::<Vec<_>>(),
        ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    );
    assert!(grpc.ignore_health_on_host_removal);
    assert_eq!(grpc.common_lb_config, None);
    let outlier = grpc.outlier_detection.unwrap();
    assert_eq!(outlier.consecutive_5xx.unwrap().value, 5);
    assert!(outlier.always_eject_one_host.unwrap().value);
    assert_eq!(cluster("6379").lb_policy(), cluster::LbPolicy::Maglev);
    assert_eq!(cluster("80").lb_policy(), cluster::LbPolicy::RoundRobin);
    assert!(cluster("80").typed_extension_protocol_options.is_empty());
    // A port without a number goes by its name.
    assert_eq!(cluster("plain").name, "outbound|plain||web.static");
    // A service without endpoints has an empty list of them, not none.
    let empty: ClusterLoadAssignment =
        resource(&translation, ResourceType::Endpoints, "outbound|80||web.static").unwrap();
    assert!(empty.endpoints.is_empty());

    let config = XdsConfig {
        unhealthy: crate::config::UnhealthyMode::Send,
        ..config
    };
    let translation = translated(&web(), Kind::Envoy, &config);
    let cluster: Cluster = resource(&translation, ResourceType::Cluster, "outbound|80||web.static").unwrap();
    let panic_threshold = cluster.common_lb_config.unwrap().healthy_panic_threshold;
    assert_eq!(panic_threshold.unwrap().value, 0.0);
    assert_eq!(cluster.outlier_detection.unwrap().always_eject_one_host, None);
}

#[test]
fn each_http_port_with_a_number_is_a_host_and_the_first_the_bare_one() {
    let service = service(
        meta(
            "web",
            [
                port("admin:9000/http"),
                port("api:80/grpc"),
                port("rest:8080/http"),
            ],
        )
        .aliases([Str::from("web"), Str::from("not a name")]),
        [],
    );
    let translation = translated(&service, Kind::Envoy, &XdsConfig::default());
    let hosts: BTreeMap<&str, Vec<&str>> = translation
        .virtual_hosts
        .iter()
        .map(|host| (&*host.name, host.domains.iter().map(|domain| &**domain).collect()))
        .collect();
    assert_eq!(
        hosts["web.static:80"],
        [
            "web.static",
            "web.static:80",
            "web.static:15001",
            "web",
            "web:80",
            "web:15001"
        ]
    );
    assert_eq!(hosts["web.static:9000"], ["web.static:9000", "web:9000"]);
    assert_eq!(hosts["web.static:8080"], ["web.static:8080", "web:8080"]);
    let domains: Vec<&&str> = hosts.values().flatten().collect();
    assert_eq!(domains.iter().collect::<BTreeSet<_>>().len(), domains.len());
    assert_eq!(translation.warnings.len(), 1, "{:?}", translation.warnings);
}

#[test]
fn a_port_without_a_number_is_reached_with_any() {
    let service = service(meta("web", [port("default/http"), port("other/http")]), []);
    let mut from_elsewhere = view(Kind::Envoy);
    from_elsewhere.outbound = Some("127.0.0.1:8001".parse().unwrap());
    let translation = translate(&service, &from_elsewhere, &XdsConfig::default());
    let [host] = &translation.virtual_hosts[..] else {
        panic!("{:?}", translation.virtual_hosts)
    };
    assert_eq!(&*host.routes, "http.8001");
    assert_eq!(host.domains, ["web.static", "web.static:*"].map(Str::from));
    assert!(
        translation.warnings[0].contains("other"),
        "{:?}",
        translation.warnings
    );
}

#[test]
fn headless_http_services_have_names_for_their_endpoints() {
    let named = |count: usize| {
        let endpoints = (0..count).map(|i| {
            endpoint(&format!("10.0.{}.{}", i / 200, i % 200 + 1), "http", 8080)
                .hostname(format!("web-{i:03}"))
        });
        service(
            meta("web", [port("http:80/http")]).resolution(Resolution::Headless),
            endpoints,
        )
    };
    let translation = translated(&named(2), Kind::Envoy, &XdsConfig::default());
    let name = "outbound|80|web-001|web.static";
    let assignment: ClusterLoadAssignment = resource(&translation, ResourceType::Endpoints, name).unwrap();
    assert_eq!(assignment.endpoints[0].lb_endpoints.len(), 1);
    let host = translation
        .virtual_hosts
        .iter()
        .find(|host| host.name == "web-001.web.static:80")
        .unwrap();
    assert_eq!(
        host.domains,
        [
            "web-001.web.static",
            "web-001.web.static:80",
            "web-001.web.static:15001"
        ]
        .map(Str::from)
    );
    let body = proto_route::VirtualHost::decode(host.body.clone()).unwrap();
    let Some(proto_route::route::Action::Route(action)) = &body.routes[0].action else {
        panic!("{body:?}")
    };
    assert_eq!(
        action.cluster_specifier,
        Some(proto_route::route_action::ClusterSpecifier::Cluster(
            name.to_owned()
        ))
    );
    let many = translated(&named(120), Kind::Envoy, &XdsConfig::default());
    assert_eq!(many.virtual_hosts.len(), 101);
    assert_eq!(many.warnings.len(), 1, "{:?}", many.warnings);
}

#[test]
fn external_names_become_clusters_that_ask_dns() {
    let external = service(
        meta("api", [port("http:80/http2")]).resolution(Resolution::Dns),
        [endpoint("api.example.com", "http", 8080)],
    );
    for (kind, expected) in [
        (Kind::Envoy, cluster::DiscoveryType::StrictDns),
        (Kind::Grpc, cluster::DiscoveryType::LogicalDns),
    ] {
        let translation = translated(&external, kind, &XdsConfig::default());
        let cluster: Cluster =
            resource(&translation, ResourceType::Cluster, "outbound|80||api.static").unwrap();
        let type_ = cluster::ClusterDiscoveryType::Type(expected.into());
        assert_eq!(cluster.cluster_discovery_type, Some(type_));
        assert_eq!(cluster.eds_cluster_config, None);
        assert_eq!(cluster.load_assignment.unwrap().endpoints.len(), 1);
        let eds = translation
            .resources
            .iter()
            .any(|resource| resource.type_() == ResourceType::Endpoints);
        assert!(!eds);
    }
}

// === gRPC ===

/// Acceptance test 11: nothing of Envoy's in it.
#[test]
fn grpc_dials_by_host_and_by_host_and_port() {
    let service = service(
        meta(
            "web",
            [
                port("a:80/http"),
                port("b:81/http2"),
                port("c:82/grpc"),
                port("d:83"),
                port("e:84/tcp"),
            ],
        )
        .addresses([vip(&["127.0.9.1"])]),
        [endpoint("10.0.0.1", "c", 9000)],
    );
    let translation = translated(&service, Kind::Grpc, &XdsConfig::default());
    assert!(translation.virtual_hosts.is_empty() && translation.listeners.is_empty());
    let names = |type_: ResourceType| -> BTreeSet<&str> {
        let resources = translation.resources.iter();
        resources
            .filter(|resource| resource.type_() == type_)
            .map(|resource| resource.name().as_str())
            .collect()
    };
    let targets = ["web.static", "web.static:81", "web.static:82", "web.static:83"];
    assert_eq!(names(ResourceType::Listener), BTreeSet::from(targets));
    let clusters: Vec<&str> = names(ResourceType::Cluster).into_iter().collect();
    assert_eq!(
        clusters,
        [
            "outbound|81||web.static",
            "outbound|82||web.static",
            "outbound|83||web.static"
        ]
    );
    assert_eq!(names(ResourceType::Endpoints), names(ResourceType::Cluster));

    let listener: Listener = resource(&translation, ResourceType::Listener, "web.static").unwrap();
    assert_eq!(listener.address, None);
    let manager: HttpConnectionManager = unpack(&listener.api_listener.unwrap().api_listener.unwrap());
    assert_eq!(
        manager.http_filters.last().unwrap().name,
        "envoy.filters.http.router"
    );
    let Some(http_connection_manager::RouteSpecifier::Rds(rds)) = manager.route_specifier else {
        panic!("no RDS")
    };
    let routes: proto_route::RouteConfiguration =
        resource(&translation, ResourceType::Route, &rds.route_config_name).unwrap();
    assert_eq!(routes.virtual_hosts[0].domains, ["web.static", "*"]);
    let Some(proto_route::route::Action::Route(action)) = &routes.virtual_hosts[0].routes[0].action else {
        panic!("{routes:?}")
    };
    // gRPC comes before HTTP/2.
    assert_eq!(
        action.cluster_specifier,
        Some(proto_route::route_action::ClusterSpecifier::Cluster(
            "outbound|82||web.static".to_owned()
        ))
    );
    let cluster: Cluster = resource(&translation, ResourceType::Cluster, "outbound|82||web.static").unwrap();
    assert_eq!(cluster.lb_policy(), cluster::LbPolicy::RoundRobin);
    assert_eq!(cluster.outlier_detection, None);
    assert_eq!(cluster.eds_cluster_config.unwrap().eds_config, Some(proto::ads()));
}

// === Neither may refuse anything ===

/// Acceptance test 12: what is bad of a service costs that, and is told.
#[test]
fn a_service_that_proxies_would_refuse_gives_a_warning_and_nothing() {
    for name in ["a..b", &"x".repeat(300), ".a"] {
        let bad = service(meta(name, [port("http:80/http")]), []);
        for kind in [Kind::Envoy, Kind::Grpc] {
            let translation = translated(&bad, kind, &XdsConfig::default());
            assert!(translation.resources.is_empty(), "{name}");
            assert!(translation.virtual_hosts.is_empty() && translation.listeners.is_empty());
            assert_eq!(translation.warnings.len(), 1, "{name}");
            assert!(translation.warnings[0].len() < 600);
        }
    }
}

#[test]
fn a_port_that_proxies_would_refuse_costs_that_port_alone() {
    let udp = ServicePort {
        transport: Transport::Udp,
        ..port("udp:53")
    };
    let ports = [
        port("zero:0/http"),
        port("a|b/http"),
        port("x:80/http"),
        port("y:80/http"),
        udp,
    ];
    let translation = translated(
        &service(meta("web", ports), []),
        Kind::Envoy,
        &XdsConfig::default(),
    );
    let clusters: Vec<&Str> = translation
        .resources
        .iter()
        .filter(|resource| resource.type_() == ResourceType::Cluster)
        .map(Resource::name)
        .collect();
    assert_eq!(clusters, ["outbound|80||web.static"]);
    assert_eq!(translation.warnings.len(), 4, "{:?}", translation.warnings);
}

#[test]
fn large_labels_and_metadata_reach_no_resource() {
    let large = "x".repeat(30_000);
    let labels: registry_core::Labels = [("team", large.as_str()), ("registryd.protocol", large.as_str())]
        .into_iter()
        .collect();
    let web = service(
        meta("web", [port("http:80/http")])
            .labels(labels.clone())
            .metadata(labels),
        [endpoint("10.0.0.1", "http", 80).label("large", large.as_str())],
    );
    let translation = translated(&web, Kind::Envoy, &XdsConfig::default());
    let bytes: usize = translation
        .resources
        .iter()
        .map(|resource| resource.body().len())
        .sum();
    assert!(bytes < 2000, "{bytes}");
    let words: usize = translation.warnings.iter().map(String::len).sum();
    assert!(words < 500, "{:?}", translation.warnings);
}

/// Acceptance test 17.
#[test]
fn equal_services_give_equal_bytes() {
    let config = XdsConfig {
        subsets: vec![SubsetRule {
            hosts: "*".to_owned(),
            subsets: vec![SubsetConfig {
                name: "v1".to_owned(),
                labels: BTreeMap::new(),
            }],
        }],
        routes: vec![RouteRule {
            hosts: "*".to_owned(),
            routes: vec![RouteConfig {
                path: Some(PathMatch::Prefix("/a".to_owned())),
                to: vec![Destination {
                    subset: "v1".to_owned(),
                    weight: 1,
                }],
                ..RouteConfig::default()
            }],
        }],
        ..XdsConfig::default()
    };
    for kind in [Kind::Envoy, Kind::Grpc] {
        let (one, two) = (
            translated(&web(), kind, &config),
            translated(&web(), kind, &config),
        );
        assert_eq!(one.resources, two.resources);
        assert_eq!(one.virtual_hosts, two.virtual_hosts);
        assert_eq!(one.listeners, two.listeners);
    }
}
