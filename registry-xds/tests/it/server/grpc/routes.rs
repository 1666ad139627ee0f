//! Which endpoints a call goes to: by the target's port, and by the routes of the configuration.

use std::collections::BTreeMap;

use registry_core::{Endpoint, EndpointBuilder, ServiceId, ServiceMeta, ServicePort, ServiceRecord};
use registry_testkit::grpc::{Answered, Call};
use registry_testkit::wait::until;
use registry_xds::{
    Destination, PathMatch, ResourceType, RouteConfig, RouteRule, SubsetConfig, SubsetRule, XdsConfig,
};

use super::{ECHO, Mesh, at, call, call_until, grpc_port, servers, service, spread, waiting};
use crate::support::PATIENCE;

fn to(destinations: &[(&str, u32)]) -> Vec<Destination> {
    let destination = |&(subset, weight): &(&str, u32)| Destination {
        subset: subset.to_owned(),
        weight,
    };
    destinations.iter().map(destination).collect()
}

/// Versions 1 and 2 by label: 2 for a path, for a header, and for some of all other calls.
fn routed() -> XdsConfig {
    let subset = |version: &str| SubsetConfig {
        name: version.to_owned(),
        labels: BTreeMap::from([("version".to_owned(), version.to_owned())]),
    };
    let hosts = || "echo.static".to_owned();
    let routes = vec![
        RouteConfig {
            path: Some(PathMatch::Exact("/test.Echo/Stream".to_owned())),
            to: to(&[("v2", 1)]),
            ..RouteConfig::default()
        },
        RouteConfig {
            path: Some(PathMatch::Prefix("/test.Echo/".to_owned())),
            headers: BTreeMap::from([("x-canary".to_owned(), "always".to_owned())]),
            to: to(&[("v2", 1)]),
            ..RouteConfig::default()
        },
        RouteConfig {
            to: to(&[("v1", 80), ("v2", 20)]),
            ..RouteConfig::default()
        },
    ];
    XdsConfig {
        subsets: vec![SubsetRule {
            hosts: hosts(),
            subsets: vec![subset("v1"), subset("v2")],
        }],
        routes: vec![RouteRule {
            hosts: hosts(),
            routes,
        }],
        ..XdsConfig::default()
    }
}

/// `xds.routes` and `xds.subsets`, which are changed while calls go on.
#[tokio::test]
async fn acceptance_2_calls_follow_routes_by_path_header_and_weight() {
    let [a, b] = servers(["a", "b"]).await;
    let record = service(
        "echo",
        [at(&a).label("version", "v1"), at(&b).label("version", "v2")],
    );
    let mesh = Mesh::start([record], routed()).await;
    let mut client = mesh.client(&[]).await;

    let canary = Call {
        metadata: vec![("x-canary".to_owned(), "always".to_owned())],
        ..waiting(ECHO)
    };
    let shares = spread(&mut client, &canary, 20).await;
    assert_eq!(shares, BTreeMap::from([("b".to_owned(), 20)]));
    let other_value = Call {
        metadata: vec![("x-canary".to_owned(), "never".to_owned())],
        ..waiting(ECHO)
    };
    let shares = spread(&mut client, &other_value, 300).await;
    eprintln!("80 : 20: {shares:?}");
    // A fifth, and six standard deviations.
    assert!((18..=102).contains(&shares["b"]), "{shares:?}");
    let streamed = client.stream(&call(ECHO), 2).await.unwrap();
    assert_eq!(streamed.messages, ["b", "b"], "{streamed:?}");

    // All to version 1, without a call that fails.
    client.start_load(&waiting(ECHO), 2).await.unwrap();
    let mut config = routed();
    config.routes[0].routes.truncate(2);
    config.routes[0].routes.push(RouteConfig {
        to: to(&[("v1", 1)]),
        ..RouteConfig::default()
    });
    mesh.xds.reconfigure(config).unwrap();
    until("version 1 alone", PATIENCE, async || {
        let shares = spread(&mut client, &call(ECHO), 50).await;
        (shares.get("a") == Some(&50)).then_some(())
    })
    .await
    .unwrap();
    let report = client.stop_load().await.unwrap();
    assert_eq!(report.by_code.keys().collect::<Vec<_>>(), ["OK"], "{report:?}");
    assert_eq!(mesh.xds.clients().metrics().nacks.values().sum::<u64>(), 0);
}

/// `svc:port` names a port, the bare name the best one; HTTP/2 is served, and what nobody says the protocol of.
#[tokio::test]
async fn acceptance_4_a_target_may_name_a_port_and_http2_is_served_as_well() {
    let [a, b] = servers(["a", "b"]).await;
    let http2 = ServicePort {
        number: Some(80),
        app_protocol: "http2".into(),
        ..ServicePort::new("web")
    };
    let unsaid = ServicePort {
        number: Some(9000),
        ..ServicePort::new("main")
    };
    let http = ServicePort {
        number: Some(8080),
        app_protocol: "http".into(),
        ..ServicePort::new("admin")
    };
    let record = |name: &str, ports: Vec<ServicePort>, endpoint: EndpointBuilder| {
        let meta = ServiceMeta::builder(ServiceId::named(name)).ports(ports).build();
        let endpoints: Vec<Endpoint> = vec![endpoint.build()];
        ServiceRecord::new(meta, endpoints)
    };
    let endpoint = || {
        let (a, b) = (a.address().port(), b.address().port());
        let address: registry_core::Address = "127.0.0.1".parse().unwrap();
        Endpoint::builder(address)
            .port("grpc", a)
            .port("web", b)
            .port("main", b)
            .port("admin", b)
    };
    let services = [
        record("echo", vec![http2.clone(), grpc_port("grpc", 50_051)], endpoint()),
        record("web", vec![http2], endpoint()),
        record("consul", vec![unsaid], endpoint()),
        record("plain", vec![http], endpoint()),
    ];
    let mesh = Mesh::start(services, XdsConfig::default()).await;
    let mut client = mesh.client(&[registry_testkit::grpc::DATA_ERRORS]).await;
    for (target, server) in [
        ("xds:///echo.static", "a"),
        ("xds:///echo.static:50051", "a"),
        ("xds:///echo.static:80", "b"),
        ("xds:///web.static", "b"),
        ("xds:///consul.static", "b"),
        ("xds:///consul.static:9000", "b"),
    ] {
        let answer = client.call(&waiting(target)).await.unwrap();
        assert_eq!(answer.server.as_deref(), Some(server), "{target}: {answer:?}");
    }
    let plain = client.call(&call("xds:///plain.static")).await.unwrap();
    assert_eq!(plain.code, "UNAVAILABLE", "{plain:?}");
    // Another authority than the target's is the server's business.
    let named = Call {
        authority: Some("public.example".to_owned()),
        ..waiting(ECHO)
    };
    let found = |answer: &Answered| answer.server.as_deref() == Some("a");
    call_until(&mut client, &named, "another authority", found).await;
    let status = &mesh.xds.clients().list()[0];
    assert_eq!(
        status.types[&ResourceType::Listener].channel.nacks,
        0,
        "{status:?}"
    );
}
