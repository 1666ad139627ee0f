//! Many services: all of them appear, within the budget of connections, and other programs keep theirs.

use std::time::Duration;

use registry_core::Discovery;
use registry_testkit::FaultProxy;
use registry_testkit::consul::{Consul, ConsulApi, instance_id, service_check_id, service_name};
use tokio::time::Instant;

use crate::support::real::{
    BUDGET, LOST_DIALS, Neighbour, Sampler, https_config, patient, percentiles, until_true,
};
use crate::support::{DEADLINE, config, discover, ready, service, status, statuses, until, until_statuses};

/// Waits until this many of the services of `register_services` are there, each with all instances.
async fn until_complete(discovery: &Discovery, services: usize, instances: usize) {
    until(
        &format!("{services} services of {instances}"),
        discovery,
        |snapshot| {
            (0..services).all(|index| {
                service(snapshot, &service_name(index))
                    .is_some_and(|service| service.endpoints().len() == instances)
            })
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_1_300_services_fit_under_the_default_limit_and_others_can_still_register() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(300, 2, 20).await.unwrap();
    let (sampler, neighbour) = (
        Sampler::start(consul.address()),
        Neighbour::start(consul.address(), Duration::from_millis(20)),
    );
    let start = Instant::now();
    let discovery = discover(patient(config(consul.url())));
    until_complete(&discovery, 300, 2).await;
    let synced = start.elapsed();
    until_true("it to say that some are read in turns", &discovery, || {
        status(&discovery).note.is_some()
    })
    .await;
    // Into the time when all places are taken and the rest is read in turns.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let registrations = neighbour.never_failed().await;
    let status = status(&discovery);
    println!(
        "300 services synced in {synced:?}, at most {} connections, {} requests, {registrations} registrations beside",
        sampler.most(),
        status.requests,
    );
    assert!(
        sampler.most() <= BUDGET + LOST_DIALS + Neighbour::CONNECTIONS,
        "{}, the neighbour's included",
        sampler.most()
    );
    assert_eq!(status.failures, 0, "{:?}", status.last_error);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_2_2000_services_share_a_few_http2_connections_and_every_change_is_seen() {
    // A slow machine may not finish a handshake within Consul's own five seconds.
    let consul = Consul::builder()
        .tls()
        .extra_hcl("limits { https_handshake_timeout = \"90s\" }")
        .start()
        .await
        .unwrap();
    let api = consul.api();
    api.register_services(2000, 1, 50).await.unwrap();
    let sampler = Sampler::start(consul.https_address().unwrap());
    let mut config = https_config(&consul);
    // No poll ends by itself in this test: what is seen within the deadline woke its poll.
    config.wait = 3 * DEADLINE;
    let start = Instant::now();
    let discovery = discover(config);
    until_complete(&discovery, 2000, 1).await;
    println!("2000 services synced in {:?}", start.elapsed());

    let mut times = Vec::new();
    for change in 0..60 {
        let index = change * 33;
        let node = ConsulApi::instance_node(index, 0, 1, 50);
        let (check, id) = (service_check_id(index, 0), instance_id(index, 0));
        let start = Instant::now();
        api.set_check(&node, &check, Some(&id), "critical").await.unwrap();
        let wanted = [format!("{id} critical")];
        while statuses(&discovery.snapshot(), &service_name(index)).is_none_or(|found| found != wanted) {
            assert!(start.elapsed() < DEADLINE, "{id}; {:?}", discovery.status());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(start.elapsed());
    }
    println!(
        "60 changes, the call included: {}; at most {} connections",
        percentiles(times),
        sampler.most()
    );
    // 2000 polls, the catalogue's and 32 reads fill 11 connections of 200 streams; a dial may be lost to each.
    assert!(sampler.most() <= 2 * 11, "{}", sampler.most());
    let status = status(&discovery);
    assert_eq!(
        (status.failures, status.note),
        (0, None),
        "{:?}",
        status.last_error
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_15_500_services_registered_at_once_cost_few_catalogue_reads_and_publications() {
    let consul = Consul::builder().start().await.unwrap();
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let discovery = discover(config(&proxy.url()));
    ready(&discovery).await;
    let catalogue_reads = || {
        let reads = proxy.requests();
        reads
            .iter()
            .filter(|request| request.path() == "/v1/catalog/services")
            .count()
    };
    // The time spans the counts, not the other way round: a pause of the machine between them must not count.
    let (start, reads, revision) = (Instant::now(), catalogue_reads(), discovery.snapshot().revision());
    consul.api().register_services(500, 1, 20).await.unwrap();
    until_complete(&discovery, 500, 1).await;
    until_statuses(
        &discovery,
        &service_name(499),
        &[&format!("{} passing", instance_id(499, 0))],
    )
    .await;
    let reads = catalogue_reads() - reads;
    let publications = discovery.snapshot().revision() - revision;
    let elapsed = start.elapsed();
    println!("500 services in {elapsed:?}: {reads} catalogue reads, {publications} publications");
    assert!(
        reads as u128 <= elapsed.as_millis() / 1000 + 2,
        "{reads} in {elapsed:?}"
    );
    assert!(
        u128::from(publications) <= elapsed.as_millis() / 10 + 1,
        "{publications} in {elapsed:?}"
    );
    assert_eq!(discovery.snapshot().len(), 501, "these, and the service `consul`");
    for index in 0..500 {
        let wanted = [format!("{} passing", instance_id(index, 0))];
        assert_eq!(
            statuses(&discovery.snapshot(), &service_name(index)).unwrap(),
            wanted
        );
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bar_1000_services_of_5_sync_within_80_connections_and_no_limit_failure() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(1000, 5, 100).await.unwrap();
    let sampler = Sampler::start(consul.address());
    let start = Instant::now();
    let discovery = discover(patient(config(consul.url())));
    ready(&discovery).await;
    let synced = start.elapsed();
    until_complete(&discovery, 1000, 5).await;
    let neighbour = Neighbour::start(consul.address(), Duration::from_millis(20));
    tokio::time::sleep(Duration::from_secs(2)).await;
    neighbour.never_failed().await;
    let status = status(&discovery);
    println!(
        "1000 services x 5 in sync after {synced:?} (bar: 5 s), at most {} connections, {} requests, {} failures",
        sampler.most(),
        status.requests,
        status.failures
    );
    assert!(
        sampler.most() <= BUDGET + LOST_DIALS + Neighbour::CONNECTIONS,
        "{}, the neighbour's included",
        sampler.most()
    );
    assert_eq!(status.failures, 0, "{:?}", status.last_error);
    discovery.shutdown().await;
}
