//! Answers of a real server that break off on their way.

use futures_util::future::join_all;
use registry_core::Phase;
use registry_testkit::consul::{Consul, ConsulApi, instance_id, service_name};
use registry_testkit::{Fault, FaultProxy, Match, Rule};
use serde_json::json;

use crate::support::real::{revisions, until_true};
use crate::support::{config, discover, phase, service, status, until, until_phase};

/// So many numbers below a bound, always the same ones (xorshift).
fn numbers(count: usize, below: usize) -> Vec<usize> {
    let mut state = 0x5eed_2026_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    (0..count).map(|_| next()).collect()
}

const OF_SERVICES: usize = 48;
const OF_CATALOGUES: usize = 16;

/// The head of an answer is longer than this: all offsets are within the answer.
const HEAD: usize = 150;

async fn touch(api: &ConsulApi, service: usize) {
    let registration = json!({
        "Node": ConsulApi::instance_node(service, 0, 2, 5), "SkipNodeUpdate": true, "Address": "10.0.0.1",
        "Service": { "ID": instance_id(service, 0), "Service": service_name(service), "Address": "10.9.0.1", "Port": 81 },
    });
    api.catalog_register(&registration).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_2_answers_about_services_that_break_off_on_their_way_change_nothing() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(OF_SERVICES, 2, 5).await.unwrap();
    let path = |service: usize| format!("/v1/health/service/{}", service_name(service));
    let length = consul.api().answer(&path(0)).await.unwrap().body.len() + HEAD;
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let discovery = discover(config(&proxy.url()));
    until("all services", &discovery, |snapshot| {
        snapshot.len() == OF_SERVICES + 1
    })
    .await;
    until_phase(&discovery, Phase::Synced).await;
    let (before, hash) = (revisions(&discovery.snapshot()), discovery.snapshot().root_hash());

    let offsets = numbers(OF_SERVICES, length);
    let cuts: Vec<_> = offsets
        .iter()
        .enumerate()
        .map(|(service, at)| proxy.inject(Rule::new(Match::path(path(service)), Fault::CutAnswer(*at))))
        .collect();
    for service in 0..OF_SERVICES {
        touch(consul.api(), service).await;
    }
    until_true("each answer to break off", &discovery, || {
        cuts.iter().all(|cut| proxy.hits(*cut) > 0) && status(&discovery).degraded.len() >= OF_SERVICES
    })
    .await;
    assert_eq!(revisions(&discovery.snapshot()), before, "{offsets:?}");
    assert_eq!(discovery.snapshot().root_hash(), hash);

    proxy.clear();
    until("all changes", &discovery, |snapshot| {
        (0..OF_SERVICES).all(|index| {
            service(snapshot, &service_name(index)).is_some_and(|service| {
                service.endpoints().len() == 2
                    && service
                        .endpoints()
                        .iter()
                        .any(|held| held.ports().get("default") == Some(81))
            })
        })
    })
    .await;
    until_phase(&discovery, Phase::Synced).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_2_catalogues_that_break_off_on_their_way_change_nothing() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    api.register_services(5, 2, 5).await.unwrap();
    let length = api.answer("/v1/catalog/services").await.unwrap().body.len() + HEAD;
    let offsets = numbers(OF_CATALOGUES, length);
    let mut running = Vec::new();
    for at in &offsets {
        let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
        let mut config = config(&proxy.url());
        config.http.max_connections = 12;
        let discovery = discover(config);
        until("all services", &discovery, |snapshot| snapshot.len() == 6).await;
        until_phase(&discovery, Phase::Synced).await;
        let before = revisions(&discovery.snapshot());
        let cut = proxy.inject(Rule::new(
            Match::path("/v1/catalog/services"),
            Fault::CutAnswer(*at),
        ));
        running.push((proxy, discovery, before, cut));
    }
    let late = json!({ "Node": "n9", "Address": "10.9.0.1", "Service": { "ID": "late-1", "Service": "late", "Port": 80 } });
    api.catalog_register(&late).await.unwrap();
    join_all(
        running
            .iter()
            .zip(offsets)
            .map(async |((proxy, discovery, before, cut), at)| {
                until_true("the catalogue to break off", discovery, || {
                    proxy.hits(*cut) > 1 && status(discovery).last_error.is_some()
                })
                .await;
                assert_eq!(revisions(&discovery.snapshot()), *before, "cut at {at}");
                proxy.clear();
                until("the latest service", discovery, |snapshot| {
                    service(snapshot, "late").is_some()
                })
                .await;
                until_true("no trouble", discovery, || phase(discovery) == Phase::Synced).await;
            }),
    )
    .await;
    for (_, discovery, ..) in running {
        discovery.shutdown().await;
    }
}
