use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager;
use registry_core::{SessionAffinity, Traffic};

use super::*;
use crate::config::{Layout, LocalPort, XdsConfig};
use crate::node::Kind;
use crate::resource::ResourceType;
use crate::translate::tests::{meta, port, resource, service, translated, unpack, vip};
use crate::translate::{ListenerTarget, Translation};

fn listened(translation: &Translation) -> Vec<String> {
    let addresses = translation.listeners.iter().map(|part| part.address.to_string());
    addresses.collect()
}

#[test]
fn tcp_services_are_listened_for_at_their_virtual_addresses_and_local_ports() {
    let db = || meta("db", [port("sql:5432/postgres")]);
    let mut config = XdsConfig::default();
    let nowhere = translated(&service(db(), []), Kind::Envoy, &config);
    assert!(nowhere.listeners.is_empty());
    assert_eq!(nowhere.resources.len(), 2);
    assert_eq!(nowhere.warnings.len(), 1);

    let at_vips = service(
        db().addresses([vip(&["10.96.0.7", "2001:db8::7", "0.0.0.0"]), vip(&["10.97.0.7"])]),
        [],
    );
    let translation = translated(&at_vips, Kind::Envoy, &config);
    assert_eq!(
        listened(&translation),
        ["10.96.0.7:5432", "10.97.0.7:5432", "[2001:db8::7]:5432"]
    );
    assert_eq!(translation.warnings.len(), 1);

    let labelled = |key: &str, value: &str| {
        let labels = [(key, value)].into_iter().collect();
        service(db().labels(labels), [])
    };
    for (key, value, expected) in [
        ("registryd.local_port", "15432", Some("127.0.0.1:15432")),
        (
            "registryd.local_port.sql",
            "127.0.0.5:5432",
            Some("127.0.0.5:5432"),
        ),
        ("registryd.local_port.other", "15432", None),
        ("registryd.local_port", "0", None),
        ("registryd.local_port", "0.0.0.0:22", None),
        ("registryd.local_port", "many", None),
    ] {
        let translation = translated(&labelled(key, value), Kind::Envoy, &config);
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(listened(&translation), expected, "{key} {value}");
        assert_eq!(
            translation.warnings.is_empty(),
            !expected.is_empty(),
            "{key} {value}"
        );
    }

    for key in ["db.static", "db.static:5432", "db.static:sql"] {
        config.local_ports = BTreeMap::from([(key.to_owned(), LocalPort::Port(1234))]);
        let translation = translated(&labelled("registryd.local_port", "15432"), Kind::Envoy, &config);
        assert_eq!(listened(&translation), ["127.0.0.1:1234"], "{key}");
    }
}

#[test]
fn a_local_port_of_a_service_is_one_port() {
    let config = XdsConfig {
        local_ports: BTreeMap::from([("db.static".to_owned(), LocalPort::Port(1234))]),
        ..XdsConfig::default()
    };
    let db = service(
        meta("db", [port("admin:80/http"), port("a:1/tcp"), port("b:2/tcp")]),
        [],
    );
    let translation = translated(&db, Kind::Envoy, &config);
    let [part] = &translation.listeners[..] else {
        panic!("{:?}", translation.listeners)
    };
    let ListenerTarget::Tcp { filters } = &part.target else {
        panic!("{part:?}")
    };
    assert_eq!(tcp_cluster(&filters[0]), "outbound|1||db.static");
}

fn config_of<M: Message + Name + Default>(filter: &[u8]) -> M {
    match Filter::decode(filter).unwrap().config_type {
        Some(filter::ConfigType::TypedConfig(any)) => unpack(&any),
        other => panic!("{other:?}"),
    }
}

fn tcp_cluster(filter: &[u8]) -> String {
    match config_of::<TcpProxy>(filter).cluster_specifier {
        Some(tcp_proxy::ClusterSpecifier::Cluster(name)) => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_protocol_has_its_filters() {
    let address = || vip(&["127.0.9.1"]);
    let filters = |word: &str| -> Vec<Bytes> {
        let service = service(
            meta("db", [port(&format!("p:1/{word}"))]).addresses([address()]),
            [],
        );
        let translation = translated(&service, Kind::Envoy, &XdsConfig::default());
        match &translation.listeners[0].target {
            ListenerTarget::Tcp { filters } => filters.clone(),
            ListenerTarget::Sni { names, filters } => {
                assert_eq!(names[..], ["db.static"].map(Str::from));
                filters.clone()
            }
            other => panic!("{other:?}"),
        }
    };
    let cluster = "outbound|1||db.static";
    assert_eq!(tcp_cluster(&filters("tcp")[0]), cluster);
    assert_eq!(tcp_cluster(&filters("tls")[0]), cluster);
    let mongo = filters("mongo");
    assert_eq!(mongo.len(), 2);
    assert_eq!(
        Filter::decode(&*mongo[0]).unwrap().name,
        "envoy.filters.network.mongo_proxy"
    );
    assert_eq!(tcp_cluster(&mongo[1]), cluster);
    let redis: RedisProxy = config_of(&filters("redis")[0]);
    assert_eq!(
        redis.prefix_routes.unwrap().catch_all_route.unwrap().cluster,
        cluster
    );
    assert!(redis.settings.unwrap().op_timeout.is_some());
}

#[test]
fn tcp_connections_of_one_client_stay_together_where_the_registry_says_so() {
    let sticky = meta("db", [port("p:1/tcp")])
        .addresses([vip(&["127.0.9.1"])])
        .traffic(Traffic {
            session_affinity: SessionAffinity::ClientIp,
            ..Traffic::default()
        });
    let translation = translated(&service(sticky, []), Kind::Envoy, &XdsConfig::default());
    let cluster: Cluster = resource(&translation, ResourceType::Cluster, "outbound|1||db.static").unwrap();
    assert_eq!(cluster.lb_policy(), cluster::LbPolicy::RingHash);
    let ListenerTarget::Tcp { filters } = &translation.listeners[0].target else {
        panic!("{:?}", translation.listeners)
    };
    assert_eq!(config_of::<TcpProxy>(&filters[0]).hash_policy.len(), 1);
}

#[test]
fn in_the_layout_of_virtual_addresses_http_is_there_as_well() {
    let mut config = XdsConfig::default();
    let web = service(
        meta("web", [port("http:80/http")]).addresses([vip(&["10.96.0.9"])]),
        [],
    );
    assert!(translated(&web, Kind::Envoy, &config).listeners.is_empty());
    config.outbound.layout = Layout::Vips;
    let translation = translated(&web, Kind::Envoy, &config);
    let [part] = &translation.listeners[..] else {
        panic!("{:?}", translation.listeners)
    };
    let routes = Str::from("outbound_10.96.0.9_80");
    assert_eq!(
        part.target,
        ListenerTarget::Http {
            routes: routes.clone()
        }
    );
    let host = translation
        .virtual_hosts
        .iter()
        .find(|host| host.routes == routes)
        .unwrap();
    assert_eq!(host.domains, ["web.static", "*"].map(Str::from));
    assert_eq!(translation.virtual_hosts.len(), 2);
}

#[test]
fn listeners_hold_their_filters_and_routes() {
    let address = "10.96.0.9:80".parse().unwrap();
    let http = http_listener(address, "http.15001");
    assert_eq!(http.name, "outbound_10.96.0.9_80");
    assert!(http.freebind.unwrap().value);
    let manager: HttpConnectionManager = config_of(&http.filter_chains[0].filters[0].encode_to_vec());
    assert_eq!(manager.upgrade_configs[0].upgrade_type, "websocket");
    let Some(http_connection_manager::RouteSpecifier::Rds(rds)) = manager.route_specifier else {
        panic!("no RDS")
    };
    assert_eq!(
        (rds.config_source, &*rds.route_config_name),
        (Some(proto::ads()), "http.15001")
    );
    let Some(config) = &manager.http_filters.last().unwrap().config_type else {
        panic!("a router without its type is refused")
    };
    assert!(format!("{config:?}").contains("router.v3.Router"));

    let filters = filters(Protocol::Mongo, "c", false);
    let tcp = tcp_listener("127.0.0.1:1".parse().unwrap(), &filters);
    assert_eq!(tcp.filter_chains[0].filters.len(), 2);
    assert_eq!(tcp.freebind, None);

    let (a, b) = ([Str::from("a"), Str::from("b")], [Str::from("c")]);
    let sni = sni_listener(address, &[(&a, &filters), (&b, &filters)]);
    assert_eq!(
        sni.listener_filters[0].name,
        "envoy.filters.listener.tls_inspector"
    );
    let names: Vec<Vec<String>> = sni
        .filter_chains
        .iter()
        .map(|chain| chain.filter_chain_match.clone().unwrap().server_names)
        .collect();
    assert_eq!(names, [vec!["a", "b"], vec!["c"]]);
}
