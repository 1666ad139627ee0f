//! Where requests go: by subset and weight, by locality and priority, through gateways, by virtual address.

use std::collections::BTreeMap;

use registry_core::{EndpointBuilder, Locality};
use registry_testkit::upstream::{Kind, Load, LoadOptions, Upstream, client};
use registry_xds::{
    Bootstrap, Destination, GatewayConfig, Layout, LocalityMode, OutboundConfig, OutlierDetection, PathMatch,
    RouteConfig, RouteRule, SubsetConfig, SubsetRule, Variant, XdsConfig,
};

use super::stage::{Service, Stage, assert_content, free_port, local, start, until, virtual_address};

async fn upstream(id: &str) -> Upstream {
    Upstream::start(id, Kind::Http).await.unwrap()
}

/// Who answers, and how: the body where the status is 200.
async fn ask(stage: &Stage, host: &str, path: &str) -> Result<String, u16> {
    let answer = client::http(stage.outbound, host, path).await.unwrap();
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(answer.status)
    }
}

/// Of 600 requests to a path, how many the first of two servers answers.
async fn of_600(stage: &Stage, path: &str, [first, second]: [&Upstream; 2]) -> u64 {
    let mut options = LoadOptions::new(stage.outbound, "web.static");
    options.path = path.to_owned();
    let count = || first.requests() + second.requests();
    let before = count();
    let load = Load::start(&options);
    until("600 requests", async || (count() >= before + 600).then_some(())).await;
    let report = load.stop().await;
    assert_eq!(report.failures(), 0, "{:?}", report.troubles);
    report.by_server[first.id()] * 600 / report.requests
}

#[tokio::test]
async fn subsets_and_weights_share_requests_as_configured() {
    let (old, new) = (upstream("old").await, upstream("new").await);
    let version = |version: &'static str| move |endpoint: EndpointBuilder| endpoint.label("version", version);
    let web = Service::new("web", "http", 80)
        .with(old.address(), version("v1"))
        .with(new.address(), version("v2"));
    let subset = |name: &str| SubsetConfig {
        name: name.to_owned(),
        labels: BTreeMap::from([("version".to_owned(), name.to_owned())]),
    };
    let to = |subset: &str, weight| Destination {
        subset: subset.to_owned(),
        weight,
    };
    let config = XdsConfig {
        subsets: vec![SubsetRule {
            hosts: "web.*".to_owned(),
            subsets: vec![subset("v1"), subset("v2")],
        }],
        routes: vec![RouteRule {
            hosts: "web.*".to_owned(),
            routes: vec![
                RouteConfig {
                    path: Some(PathMatch::Exact("/new".to_owned())),
                    to: vec![to("v2", 1)],
                    ..RouteConfig::default()
                },
                RouteConfig {
                    headers: BTreeMap::from([("host".to_owned(), "never".to_owned())]),
                    to: vec![to("v1", 1)],
                    ..RouteConfig::default()
                },
                RouteConfig {
                    path: Some(PathMatch::Prefix("/shared".to_owned())),
                    to: vec![to("v1", 3), to("v2", 1)],
                    ..RouteConfig::default()
                },
            ],
        }],
        ..XdsConfig::default()
    };
    let stage = Stage::set([web.record()], config).await;
    let envoy = stage.envoy(Variant::Delta).await;

    // 450 in the mean, with a standard deviation of 11.
    let shared = of_600(&stage, "/shared/x", [&old, &new]).await;
    assert!((370..=530).contains(&shared), "{shared}");
    // Everything else goes to all endpoints, in turn.
    let all = of_600(&stage, "/", [&old, &new]).await;
    assert!((270..=330).contains(&all), "{all}");
    for _ in 0..5 {
        assert_eq!(ask(&stage, "web.static", "/new").await.unwrap(), "new");
    }
    assert_content(&envoy).await;
    stage.settled().await;
    stage.assert_nothing_refused();
}

#[tokio::test]
async fn requests_go_to_the_nearest_place_that_works() {
    let place = |region: &str, zone: &str| Locality {
        region: region.into(),
        zone: zone.into(),
        sub_zone: "".into(),
    };
    let near = upstream("near").await;
    let (region, far) = (upstream("region").await, upstream("far").await);
    let at = |locality: Locality| move |endpoint: EndpointBuilder| endpoint.locality(locality);
    let all = |near: Option<&Upstream>| {
        let service = Service::new("web", "http", 80)
            .with(region.address(), at(place("r1", "z2")))
            .with(far.address(), at(place("r2", "z1")));
        let service = match near {
            Some(near) => service.with(near.address(), at(place("r1", "z1"))),
            None => service,
        };
        [service.record()]
    };
    let config = XdsConfig {
        locality: LocalityMode::Nearest,
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: 3,
            ..OutlierDetection::default()
        }),
        ..XdsConfig::default()
    };
    let stage = Stage::set(all(Some(&near)), config).await;
    let envoy = start(&Bootstrap {
        locality: place("r1", "z1"),
        ..stage.bootstrap(Variant::Delta)
    })
    .await;
    for _ in 0..5 {
        assert_eq!(ask(&stage, "web.static", "/").await.unwrap(), "near");
    }

    // Its registry says nothing, but Envoy finds out that it is gone.
    let address = near.address();
    drop(near);
    let outlier = "cluster.outbound|80||web_static.outlier_detection.ejections_active";
    let ejected = async || {
        let answer = ask(&stage, "web.static", "/").await;
        (answer.as_deref() == Ok("region")).then_some(())
    };
    until("another one of the region", ejected).await;
    assert_eq!(envoy.stat(outlier).await.unwrap(), 1);

    // Its registry says so: the next one.
    let far_alone = Service::new("web", "http", 80).with(far.address(), at(place("r2", "z1")));
    stage.say([far_alone.record()]);
    until("one from afar", async || {
        (ask(&stage, "web.static", "/").await.as_deref() == Ok("far")).then_some(())
    })
    .await;

    // The only one is used though it fails: better some answers than none.
    for _ in 0..5 {
        assert_eq!(ask(&stage, "web.static", "/status/500").await, Err(500));
    }
    let ejected = async || (envoy.stat(outlier).await.ok()? == 1).then_some(());
    until("it is ejected", ejected).await;
    for _ in 0..5 {
        assert_eq!(ask(&stage, "web.static", "/").await.unwrap(), "far");
    }

    // And the nearest is back.
    let near = Upstream::start_at(address, "near again", Kind::Http)
        .await
        .unwrap();
    stage.say(all(Some(&near)));
    until("the nearest", async || {
        (ask(&stage, "web.static", "/").await.as_deref() == Ok("near again")).then_some(())
    })
    .await;
    assert_content(&envoy).await;
    stage.settled().await;
    stage.assert_nothing_refused();
}

#[tokio::test]
async fn another_network_is_reached_through_its_gateways() {
    let gateways = [upstream("gateway").await, upstream("gateway").await];
    let inside = upstream("inside").await;
    let pod = Service::new("web", "http", 80).with(inside.address(), |endpoint| endpoint.network("pods"));
    let config = XdsConfig {
        networks: BTreeMap::from([(
            "pods".to_owned(),
            GatewayConfig {
                gateways: gateways.iter().map(Upstream::address).collect(),
            },
        )]),
        ..XdsConfig::default()
    };
    let stage = Stage::set([pod.record()], config).await;
    let outside = stage.envoy(Variant::Delta).await;
    for _ in 0..10 {
        assert_eq!(ask(&stage, "web.static", "/").await.unwrap(), "gateway");
    }
    assert!(gateways.iter().all(|gateway| gateway.requests() > 0));
    assert_content(&outside).await;
    drop(outside);

    let within = start(&Bootstrap {
        network: Some("pods".to_owned()),
        ..stage.bootstrap(Variant::Delta)
    })
    .await;
    for _ in 0..10 {
        assert_eq!(ask(&stage, "web.static", "/").await.unwrap(), "inside");
    }
    assert_content(&within).await;
}

#[tokio::test]
async fn http_is_at_virtual_addresses_too_where_the_layout_says_so() {
    let web = upstream("web-1").await;
    let number = free_port();
    let service = |name, last| {
        Service::new(name, "http", number)
            .at(virtual_address(last))
            .on(web.address())
            .record()
    };
    let config = XdsConfig {
        outbound: OutboundConfig {
            listen: local(free_port()),
            layout: Layout::Vips,
        },
        ..XdsConfig::default()
    };
    let stage = Stage::set([service("a", 1), service("b", 2)], config).await;
    let envoy = stage.envoy(Variant::Delta).await;
    for last in [1, 2] {
        let address = (virtual_address(last), number).into();
        // Whatever the client calls it: nothing else is there.
        for host in ["a.static", "anything"] {
            let answer = client::http(address, host, "/").await.unwrap();
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, "web-1"),
                "{address} {host}"
            );
        }
    }
    assert_eq!(ask(&stage, "b.static", "/").await.unwrap(), "web-1");
    assert_content(&envoy).await;
    stage.settled().await;
    stage.assert_nothing_refused();
}
