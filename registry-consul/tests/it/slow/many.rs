//! More services than can be parked, and so many that only HTTP/2 can.

use std::time::Duration;

use registry_core::Phase;
use registry_testkit::consul::{Consul, ConsulApi, instance_id, service_check_id, service_name};
use registry_testkit::wait;
use tokio::time::Instant;

use crate::support::real::{
    BUDGET, LOST_DIALS, Neighbour, Sampler, established, https_config, patient, percentiles, until_true,
};
use crate::support::{DEADLINE, config, discover, ready, service, status, statuses};

#[tokio::test(flavor = "multi_thread")]
async fn bar_10000_services_share_64_http2_connections() {
    // A slow machine does not finish 51 handshakes and 10 000 requests within Consul's own five seconds for each.
    let consul = Consul::builder()
        .tls()
        .extra_hcl("limits { https_handshake_timeout = \"240s\" }")
        .start()
        .await
        .unwrap();
    consul.api().register_services(10_000, 2, 200).await.unwrap();
    let sampler = Sampler::start(consul.https_address().unwrap());
    let mut config = https_config(&consul);
    // No poll ends by itself in this test: what is seen within the deadline woke its poll.
    config.wait = Duration::from_secs(600);
    let start = Instant::now();
    let discovery = discover(config);
    let deadline = Duration::from_secs(240);
    tokio::time::timeout(deadline, discovery.ready()).await.unwrap();
    let ready = start.elapsed();
    let complete = wait::until("10 000 services of 2", deadline, async || {
        let snapshot = discovery.snapshot();
        (0..10_000)
            .all(|index| {
                service(&snapshot, &service_name(index)).is_some_and(|found| found.endpoints().len() == 2)
            })
            .then_some(())
    });
    complete.await.unwrap();
    println!(
        "10 000 services over HTTPS: ready after {ready:?}, complete after {:?}",
        start.elapsed()
    );

    // So many connections are not needed before nearly all polls are parked.
    let server = consul.https_address().unwrap();
    let parked = wait::until("the polls to be parked", deadline, async || {
        (established(server) >= 10_000 / 200).then_some(())
    });
    parked.await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut times = Vec::new();
    for change in 0..50 {
        let index = change * 199;
        let node = ConsulApi::instance_node(index, 0, 2, 200);
        let (check, id) = (service_check_id(index, 0), instance_id(index, 0));
        let start = Instant::now();
        consul
            .api()
            .set_check(&node, &check, Some(&id), "critical")
            .await
            .unwrap();
        let wanted = format!("{id} critical");
        while statuses(&discovery.snapshot(), &service_name(index))
            .is_none_or(|found| !found.contains(&wanted))
        {
            assert!(start.elapsed() < deadline, "{id}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(start.elapsed());
    }
    // A dial that an overloaded machine loses fails all requests that waited for it; they are sent again.
    until_true("nothing in trouble", &discovery, || {
        let status = status(&discovery);
        status.phase == Phase::Synced && status.degraded.is_empty()
    })
    .await;
    let status = status(&discovery);
    println!(
        "50 changes, the call included: {} (bar: p99 100 ms); at most {} connections, {} failures of {} requests",
        percentiles(times),
        sampler.most(),
        status.failures,
        status.requests
    );
    // A dial may be lost to some of them, too.
    assert!(sampler.most() <= 64 + LOST_DIALS, "{}", sampler.most());
    discovery.shutdown().await;
}

/// A poll that is given up occupies its connection on the server until the wait ends: who gives up many fills the limit
/// of 200 with dead polls, for all programs on the host.
#[tokio::test(flavor = "multi_thread")]
async fn changes_everywhere_beyond_the_budget_leave_the_limit_to_others() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    api.register_services(600, 1, 20).await.unwrap();
    let mut config = patient(config(consul.url()));
    config.wait = Duration::from_secs(30);
    let discovery = discover(config);
    ready(&discovery).await;
    let sampler = Sampler::start(consul.address());
    let neighbour = Neighbour::start(consul.address(), Duration::from_millis(20));
    let start = Instant::now();
    for round in 0..600 {
        let index = round * 7 % 600;
        let node = ConsulApi::instance_node(index, 0, 1, 20);
        let (check, id) = (service_check_id(index, 0), instance_id(index, 0));
        api.set_check(&node, &check, Some(&id), "warning").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = wait::until("all changes", DEADLINE, async || {
        let snapshot = discovery.snapshot();
        (0..600)
            .all(|index| {
                statuses(&snapshot, &service_name(index))
                    .is_some_and(|found| found == [format!("{} warning", instance_id(index, 0))])
            })
            .then(|| start.elapsed())
    });
    let last = last.await.unwrap();
    let status = status(&discovery);
    println!(
        "600 changes, the last one seen {last:?} after the first was made; at most {} connections, {} failures of {} requests",
        sampler.most(),
        status.failures,
        status.requests
    );
    neighbour.never_failed().await;
    assert!(
        sampler.most() <= BUDGET + LOST_DIALS + Neighbour::CONNECTIONS,
        "{}, the neighbour's included",
        sampler.most()
    );
    assert_eq!(status.failures, 0, "{:?}", status.last_error);
    discovery.shutdown().await;
}
