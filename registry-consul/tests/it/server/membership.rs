//! Services that come and go, and their polls with them.

use std::time::Duration;

use registry_testkit::FaultProxy;
use registry_testkit::consul::Consul;
use serde_json::json;
use tokio::time::Instant;

use crate::support::real::{established, patient, until_true};
use crate::support::{config, discover, service, status, until, until_statuses};

/// Requests for a service that are not answered, on connections that are open.
fn parked(proxy: &FaultProxy, name: &str) -> usize {
    let path = format!("/v1/health/service/{name}");
    let requests = proxy.requests();
    requests
        .iter()
        .filter(|request| request.path() == path && request.status.is_none())
        .count()
}

/// Beyond all looks at a service that is gone: two seconds after the first, when the catalogue does not say so yet, and
/// with each answer of the catalogue, one a second.
const LEFT_ALONE: Duration = Duration::from_secs(4);

/// When a service was last asked for.
fn asked_last(proxy: &FaultProxy, name: &str) -> Option<Instant> {
    let path = format!("/v1/health/service/{name}");
    let requests = proxy.requests();
    let last = requests.iter().rfind(|request| request.path() == path);
    last.map(|request| request.at)
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_16_a_service_without_instances_goes_with_its_poll_and_comes_back() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    let web = |index: usize| json!({ "ID": format!("web-{index}"), "Name": "web", "Address": "10.9.0.1", "Port": 80 + index });
    for index in 0..2 {
        api.register(&web(index)).await.unwrap();
    }
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let discovery = discover(patient(config(&proxy.url())));
    until_statuses(&discovery, "web", &["web-0 passing", "web-1 passing"]).await;
    until_true("the poll to be parked", &discovery, || parked(&proxy, "web") == 1).await;

    for round in 0..3 {
        api.deregister("web-0").await.unwrap();
        until_statuses(&discovery, "web", &["web-1 passing"]).await;
        let start = Instant::now();
        api.deregister("web-1").await.unwrap();
        until("web gone", &discovery, |snapshot| {
            service(snapshot, "web").is_none()
        })
        .await;
        println!("round {round}: removed after {:?} (bar: 1 s)", start.elapsed());
        until_true("its poll to end", &discovery, || parked(&proxy, "web") == 0).await;
        println!("round {round}: its poll ended after {:?}", start.elapsed());
        // And stays away: a missing service would wake at every registration. The last look at it may be still to come.
        until_true("it to be left alone", &discovery, || {
            asked_last(&proxy, "web").is_none_or(|at| at.elapsed() > LEFT_ALONE)
        })
        .await;
        let requests = proxy.requests_total();
        let other = json!({ "ID": "other", "Name": "other", "Port": 80 + round });
        api.register(&other).await.unwrap();
        until("other", &discovery, |snapshot| {
            service(snapshot, "other").is_some_and(|other| {
                other
                    .endpoints()
                    .iter()
                    .any(|endpoint| endpoint.ports().get("default") == Some(80 + round))
            })
        })
        .await;
        let asked = &proxy.requests()[usize::try_from(requests).unwrap()..];
        assert!(
            !asked.iter().any(|request| request.path().ends_with("/web")),
            "{asked:?}"
        );

        let start = Instant::now();
        for index in 0..2 {
            api.register(&web(index)).await.unwrap();
        }
        until_statuses(&discovery, "web", &["web-0 passing", "web-1 passing"]).await;
        println!("round {round}: back after {:?} (bar: 2 s)", start.elapsed());
        until_true("the poll to be parked again", &discovery, || {
            parked(&proxy, "web") == 1
        })
        .await;
    }
    let trouble = status(&discovery);
    assert_eq!(
        (trouble.failures, trouble.last_error.map(|error| error.message)),
        (0, None)
    );
    discovery.shutdown().await;
    until_true("no connection left", &discovery, || proxy.connections_open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_16_services_that_go_while_others_come_raise_no_alarm() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    api.register_services(40, 1, 5).await.unwrap();
    let discovery = discover(patient(config(consul.url())));
    until("all services", &discovery, |snapshot| snapshot.len() == 41).await;
    // Polls of a service that is gone wake at every registration, while the catalogue is read once a second.
    for index in 0..40 {
        let node = registry_testkit::consul::ConsulApi::instance_node(index, 0, 1, 5);
        let id = registry_testkit::consul::instance_id(index, 0);
        api.catalog_deregister(&json!({ "Node": node, "ServiceID": id }))
            .await
            .unwrap();
        let come = json!({ "Node": "n9", "Address": "10.9.0.1", "Service": { "ID": format!("come-{index}"), "Service": format!("come-{index}"), "Port": 80 } });
        api.catalog_register(&come).await.unwrap();
    }
    until("the others alone", &discovery, |snapshot| {
        snapshot.len() == 41 && (0..40).all(|index| service(snapshot, &format!("come-{index}")).is_some())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = status(&discovery);
    println!("{} requests", status.requests);
    assert!(
        status.last_error.is_none() && status.degraded.is_empty(),
        "{status:?}"
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discovery_that_is_shut_down_leaves_no_connection() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(100, 1, 5).await.unwrap();
    let discovery = discover(config(consul.url()));
    until("all services", &discovery, |snapshot| snapshot.len() == 101).await;
    until_true("polls to be parked", &discovery, || {
        established(consul.address()) > 10
    })
    .await;
    discovery.shutdown().await;
    until_true("no connection left", &discovery, || {
        established(consul.address()) == 0
    })
    .await;
}
