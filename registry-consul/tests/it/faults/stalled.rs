//! Answers that come too slowly, or stop in the middle.

use std::time::Duration;

use registry_core::ErrorKind;
use registry_testkit::{Fault, Match, Rule};
use tokio::time::Instant;

use super::{FakeConsul, degraded, instances, short, until_degraded, until_healthy, until_passing};
use crate::support::{DEADLINE, discover, status, statuses};

/// Struck from the first poll that ends after the start: the poll ends by the change of `web`.
async fn strikes_polls_and_reads(fault: Fault) {
    let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.wait = Duration::from_secs(1);
    // Long enough for the head of each answer.
    config.http.request_timeout = Duration::from_secs(4);
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    until_passing(&discovery, "api", 1).await;
    proxy.inject(Rule::new(Match::path("/v1/health/service/web"), fault));
    let start = Instant::now();
    fake.put("web", &instances("web", 3));
    let mut count = 1;
    while !degraded(&discovery).contains(&"service web".to_owned()) {
        assert!(start.elapsed() < DEADLINE, "a poll outlived its deadline by far");
        // Others notice nothing.
        count = count % 5 + 1;
        fake.put("api", &instances("api", count));
        until_passing(&discovery, "api", count).await;
    }
    until_degraded(&discovery, "service web", ErrorKind::Unreachable).await;
    let held = status(&discovery).degraded;
    let told = held.iter().find(|held| held.scope.to_string() == "service web");
    let told = &told.unwrap().error;
    assert!(
        told.contains("no complete answer") && told.contains("in the middle of its body"),
        "{told}"
    );
    assert_eq!(statuses(&discovery.snapshot(), "web").unwrap().len(), 2);
    // It is tried again, and reads time out sooner.
    let requests = proxy.requests_total();
    let more = tokio::time::timeout(DEADLINE, proxy.wait_for_requests(requests + 3));
    more.await.expect("it is tried again");
    assert_eq!(statuses(&discovery.snapshot(), "web").unwrap().len(), 2);

    proxy.clear();
    until_passing(&discovery, "web", 3).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_10_an_answer_that_drips_or_stalls_times_out_and_harms_nobody_else() {
    tokio::join!(
        strikes_polls_and_reads(Fault::Drip(Duration::from_secs(1))),
        strikes_polls_and_reads(Fault::StallAfter(20)),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_10_a_stalled_catalogue_leaves_services_alone() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.wait = Duration::from_secs(1);
    config.http.request_timeout = Duration::from_secs(4);
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    proxy.inject(Rule::new(
        Match::path("/v1/catalog/services"),
        Fault::StallAfter(2),
    ));
    until_degraded(&discovery, "registry", ErrorKind::Unreachable).await;
    fake.put("web", &instances("web", 3));
    until_passing(&discovery, "web", 3).await;
    fake.put("api", &instances("api", 1));
    proxy.clear();
    until_passing(&discovery, "api", 1).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_10_a_black_hole_ends_by_itself() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.wait = Duration::from_secs(1);
    config.http.request_timeout = Duration::from_secs(4);
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    proxy.black_hole(true);
    until_degraded(&discovery, "registry", ErrorKind::Unreachable).await;
    assert_eq!(statuses(&discovery.snapshot(), "web").unwrap().len(), 2);
    fake.put("web", &instances("web", 4));
    proxy.black_hole(false);
    until_passing(&discovery, "web", 4).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}
