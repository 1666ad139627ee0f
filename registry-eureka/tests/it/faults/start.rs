//! Servers that do not answer yet.

use std::time::Duration;

use registry_core::{ErrorKind, ServiceRegistry as _};
use registry_eureka::EurekaRegistry;
use registry_testkit::log::Everything;
use registry_testkit::{Fault, Match, Rule};

use super::watching::{config, discover, until_degraded, until_healthy, until_statuses};
use super::{FakeEureka, until_logged};
use crate::support::status;

// One thread, so that the subscriber of this thread hears everything.
#[tokio::test]
async fn number_4_a_server_that_refuses_while_it_starts_has_not_answered() {
    let everything = Everything::default();
    let guard = everything.listen();
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let proxy = fake.proxy().await;
    let refusal = || Rule::new(Match::any(), Fault::respond(403, &[], ""));
    proxy.inject(refusal());
    let discovery = discover(config(&[format!("{}/eureka", proxy.url())]));
    let message = until_degraded(&discovery, ErrorKind::Unavailable).await;
    assert!(
        message.contains("403") && message.contains("still starting"),
        "{message}"
    );
    assert_eq!(
        status(&discovery).last_confirmed,
        None,
        "nothing is known, not even that nothing is there"
    );
    proxy.clear();
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;

    // And once more, when it is restarted.
    proxy.inject(refusal());
    until_degraded(&discovery, ErrorKind::Unavailable).await;
    assert_eq!(
        crate::support::statuses(&discovery.snapshot(), "ORDERS").unwrap(),
        ["a UP"]
    );
    proxy.clear();
    until_healthy(&discovery).await;
    fake.put("ORDERS", "b");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    // Its deltas were refused with all the rest: that says nothing of them.
    fake.until_asked(3).await;
    assert!(fake.asked().ends_with('D'), "{}", fake.asked());
    discovery.shutdown().await;
    until_logged(&everything, "the registry can be read again").await;
    drop(guard);
    assert_eq!(
        everything.count("WARN registry_eureka"),
        2,
        "{}",
        everything.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_spread_where_nobody_answers() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let proxy = fake.proxy().await;
    proxy.inject(Rule::new(Match::any(), Fault::respond(500, &[], "boom")));
    let discovery = discover(config(&[format!("{}/eureka", proxy.url())]));
    until_degraded(&discovery, ErrorKind::Unavailable).await;
    let (start, before) = (tokio::time::Instant::now(), proxy.requests_total());
    super::pause(4.0).await;
    let requests = proxy.requests_total() - before;
    // Spans of 0.2, 0.4, 0.8, … s, of which a random part is waited.
    let elapsed = start.elapsed();
    assert!(
        requests <= 40 + elapsed.as_secs(),
        "{requests} requests in {elapsed:?}"
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_to_be_left_alone_is_and_the_watch_is_not_taken_for_dead() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let proxy = fake.proxy().await;
    let rest = Fault::respond(503, &[("Retry-After", "3600")], "");
    proxy.inject(Rule::new(Match::any(), rest));
    let mut config = config(&[format!("{}/eureka", proxy.url())]);
    config.full_timeout = Duration::from_secs(1);
    config.http.request_timeout = Duration::from_millis(500);
    let bound = EurekaRegistry::try_new(config.clone()).unwrap().freshness_bound();
    let discovery = discover(config);
    until_degraded(&discovery, ErrorKind::Unavailable).await;
    tokio::time::sleep(bound * 3).await;
    assert_eq!(proxy.requests_total(), 1);
    assert_eq!(status(&discovery).attempts, 1);
    discovery.shutdown().await;
}
