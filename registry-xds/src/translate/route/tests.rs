use std::collections::BTreeMap;

use registry_core::Service;

use super::*;
use crate::config::{RouteRule, SubsetConfig, SubsetRule, XdsConfig};
use crate::resource::ResourceType;
use crate::translate::tests::{meta, port, resource, service, view};
use crate::translate::{Translation, translate};

fn routed(routes: Vec<RouteConfig>) -> XdsConfig {
    let subset = |name: &str| SubsetConfig {
        name: name.to_owned(),
        labels: BTreeMap::from([("version".to_owned(), name.to_owned())]),
    };
    XdsConfig {
        subsets: vec![SubsetRule {
            hosts: "*".to_owned(),
            subsets: vec![subset("v1"), subset("v2"), subset("v1"), subset("a|b")],
        }],
        routes: vec![RouteRule {
            hosts: "web.*".to_owned(),
            routes,
        }],
        ..XdsConfig::default()
    }
}

/// The routes and what was warned of.
fn routes_of(service: &Service, kind: Kind, config: &XdsConfig) -> (Vec<Route>, Translation) {
    let translation = translate(service, &view(kind), config);
    let host = match kind {
        Kind::Envoy => proto_route::VirtualHost::decode(translation.virtual_hosts[0].body.clone()).unwrap(),
        Kind::Grpc => {
            let name = "grpc|web.static";
            let routes: proto_route::RouteConfiguration =
                resource(&translation, ResourceType::Route, name).unwrap();
            routes.virtual_hosts[0].clone()
        }
    };
    (host.routes, translation)
}

fn action(route: &Route) -> &RouteAction {
    match &route.action {
        Some(route::Action::Route(action)) => action,
        other => panic!("{other:?}"),
    }
}

fn prefix(route: &Route) -> Option<&str> {
    match route.r#match.as_ref()?.path_specifier.as_ref()? {
        route_match::PathSpecifier::Prefix(prefix) => Some(prefix),
        _ => None,
    }
}

fn cluster(route: &Route) -> &str {
    match &action(route).cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn http_requests_end_after_15_seconds_and_streams_of_grpc_never() {
    let config = XdsConfig::default();
    let http = service(meta("web", [port("http:80/http")]), []);
    let (routes, _) = routes_of(&http, Kind::Envoy, &config);
    assert_eq!(prefix(&routes[0]), Some("/"));
    assert_eq!(cluster(&routes[0]), "outbound|80||web.static");
    assert_eq!(action(&routes[0]).timeout.unwrap().seconds, 15);
    assert_eq!(action(&routes[0]).max_stream_duration, None);

    let grpc = service(meta("web", [port("grpc:80/grpc")]), []);
    let (routes, _) = routes_of(&grpc, Kind::Envoy, &config);
    let zero = Some(proto::duration(Duration::ZERO));
    assert_eq!(action(&routes[0]).timeout, zero);
    assert_eq!(action(&routes[0]).idle_timeout, zero);
    let stream = action(&routes[0]).max_stream_duration.unwrap();
    assert_eq!(stream.grpc_timeout_header_max, zero);

    let (routes, _) = routes_of(&grpc, Kind::Grpc, &config);
    assert_eq!(prefix(&routes[0]), Some(""));
    assert_eq!(action(&routes[0]).max_stream_duration, None);
}

#[test]
fn configured_routes_come_before_the_one_for_everything() {
    let config = routed(vec![
        RouteConfig {
            path: Some(PathMatch::Prefix("/api".to_owned())),
            headers: BTreeMap::from([("X-Canary".to_owned(), "yes".to_owned())]),
            to: vec![
                Destination {
                    subset: "v1".to_owned(),
                    weight: 90,
                },
                Destination {
                    subset: "v2".to_owned(),
                    weight: 10,
                },
                Destination {
                    subset: String::new(),
                    weight: 0,
                },
            ],
            timeout: Some(Duration::from_secs(3)),
            retries: 2,
        },
        RouteConfig {
            path: Some(PathMatch::Exact("/one".to_owned())),
            to: vec![Destination {
                subset: "v2".to_owned(),
                weight: 1,
            }],
            ..RouteConfig::default()
        },
    ]);
    let service = service(meta("web", [port("http:80/http2")]), []);
    for (kind, rest) in [(Kind::Envoy, "/"), (Kind::Grpc, "")] {
        let (routes, translation) = routes_of(&service, kind, &config);
        let [first, second, last] = &routes[..] else {
            panic!("{routes:?}")
        };
        assert_eq!(prefix(first), Some("/api"));
        let header = &first.r#match.as_ref().unwrap().headers[0];
        assert_eq!(header.name, "x-canary");
        let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action(first).cluster_specifier else {
            panic!("{first:?}")
        };
        let weights: Vec<(&str, u32)> = weighted
            .clusters
            .iter()
            .map(|cluster| (cluster.name.as_str(), cluster.weight.unwrap().value))
            .collect();
        assert_eq!(
            weights,
            [
                ("outbound|80|v1|web.static", 90),
                ("outbound|80|v2|web.static", 10)
            ]
        );
        let retries = action(first).retry_policy.as_ref().unwrap();
        assert_eq!(retries.num_retries.unwrap().value, 2);
        let three = Some(proto::duration(Duration::from_secs(3)));
        match kind {
            Kind::Envoy => assert_eq!(action(first).timeout, three),
            Kind::Grpc => {
                assert_eq!(action(first).timeout, None);
                assert_eq!(
                    action(first).max_stream_duration.unwrap().max_stream_duration,
                    three
                );
                assert_eq!(retries.retry_on, "unavailable");
            }
        }
        assert_eq!(cluster(second), "outbound|80|v2|web.static");
        assert_eq!(
            (prefix(last), cluster(last)),
            (Some(rest), "outbound|80||web.static")
        );
        for (name, _) in weights {
            let found = translation
                .resources
                .iter()
                .any(|resource| *resource.name() == name);
            assert!(found, "a route leads to {name}, which is not there");
        }
        // The subset that is there twice, and the one whose name would break that of its cluster.
        assert_eq!(translation.warnings.len(), 2, "{:?}", translation.warnings);
    }
}

#[test]
fn a_route_to_an_unknown_subset_goes_to_all_and_one_with_a_bad_header_nowhere() {
    let config = routed(vec![
        RouteConfig {
            to: vec![Destination {
                subset: "v3".to_owned(),
                weight: 1,
            }],
            ..RouteConfig::default()
        },
        RouteConfig {
            headers: BTreeMap::from([("no header".to_owned(), String::new())]),
            ..RouteConfig::default()
        },
    ]);
    let service = service(meta("web", [port("http:80/http")]), []);
    let (routes, translation) = routes_of(&service, Kind::Envoy, &config);
    assert_eq!(routes.len(), 2);
    assert_eq!(cluster(&routes[0]), "outbound|80||web.static");
    assert_eq!(translation.warnings.len(), 4, "{:?}", translation.warnings);
}

#[test]
fn requests_of_one_client_stay_together_where_the_registry_says_so() {
    use registry_core::{SessionAffinity, Traffic};
    let sticky = meta("web", [port("http:80/http")]).traffic(Traffic {
        session_affinity: SessionAffinity::ClientIp,
        ..Traffic::default()
    });
    let (routes, _) = routes_of(&service(sticky, []), Kind::Envoy, &XdsConfig::default());
    assert_eq!(action(&routes[0]).hash_policy.len(), 1);
}
