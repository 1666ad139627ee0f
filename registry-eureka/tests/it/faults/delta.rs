//! Deltas: applied as they come, and done without where there are none.

use registry_testkit::log::Everything;
use registry_testkit::{Exchange, Fault, Match, Rule};
use serde_json::json;

use super::watching::{config, discover, until_healthy, until_statuses, until_true};
use super::{DELTA, FakeEureka};
use crate::support::{service, status};

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_by_deltas_alone() {
    let fake = FakeEureka::holding(&[("ORDERS", "a"), ("USERS", "u")]).await;
    let discovery = discover(config(&[fake.url()]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    fake.put("ORDERS", "b");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    fake.put_as(
        "ORDERS",
        "a",
        json!({ "status": "OUT_OF_SERVICE", "overriddenStatus": "OUT_OF_SERVICE" }),
    );
    until_statuses(&discovery, "ORDERS", &["a OUT_OF_SERVICE", "b UP"]).await;
    fake.cancel("ORDERS", "a");
    until_statuses(&discovery, "ORDERS", &["b UP"]).await;
    fake.cancel("USERS", "u");
    until_true("USERS to be gone", &discovery, || {
        service(&discovery.snapshot(), "USERS").is_none()
    })
    .await;
    fake.put("USERS", "u");
    until_statuses(&discovery, "USERS", &["u UP"]).await;
    assert_eq!(fake.fulls(), 1, "{}", fake.asked());
    assert!(fake.asked().starts_with("FD"), "{}", fake.asked());
    discovery.shutdown().await;
}

// One thread, so that the subscriber of this thread hears everything.
#[tokio::test]
async fn number_3_without_deltas_everything_is_fetched_and_that_is_told_once() {
    let everything = Everything::default();
    let guard = everything.listen();
    for code in [403, 404, 501] {
        let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
        let proxy = fake.proxy().await;
        proxy.inject(Rule::new(Match::path(DELTA), Fault::respond(code, &[], "")));
        let discovery = discover(config(&[format!("{}/eureka", proxy.url())]));
        until_statuses(&discovery, "ORDERS", &["a UP"]).await;
        fake.put("ORDERS", "b");
        until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
        fake.cancel("ORDERS", "a");
        until_statuses(&discovery, "ORDERS", &["b UP"]).await;
        fake.until_asked(5).await;
        until_healthy(&discovery).await;
        let deltas = proxy
            .requests()
            .iter()
            .filter(|request| request.path() == DELTA)
            .count();
        assert_eq!(deltas, 1, "{code}: it is not asked for again soon");
        discovery.shutdown().await;
    }
    drop(guard);
    let text = everything.text();
    assert_eq!(everything.count("the server has no deltas"), 3, "{text}");
    assert_eq!(everything.count("cannot be read; attempts go on"), 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_deltas_come_back_is_asked_for_them_again() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let proxy = fake.proxy().await;
    proxy.inject(Rule::new(Match::path(DELTA), Fault::respond(404, &[], "")));
    let mut config = config(&[format!("{}/eureka", proxy.url())]);
    config.full_interval = std::time::Duration::from_secs(1);
    let discovery = discover(config);
    until_true("a delta that is refused", &discovery, || {
        proxy.requests().iter().any(|request| request.path() == DELTA)
    })
    .await;
    proxy.clear();
    until_true("deltas", &discovery, || fake.asked().ends_with("DD")).await;
    fake.put("ORDERS", "b");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn number_12_a_removal_from_an_application_that_was_never_seen_is_no_error_and_no_ghost() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let discovery = discover(config(&[fake.url()]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    fake.cancel("NEVER", "x");
    fake.cancel("ORDERS", "never");
    fake.put("ORDERS", "b");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    fake.until_asked(2).await;
    assert!(service(&discovery.snapshot(), "NEVER").is_none());
    until_healthy(&discovery).await;
    assert_eq!(status(&discovery).failures, 0);
    assert_eq!(fake.fulls(), 1, "{}", fake.asked());
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_fetch_that_lacks_something_is_no_announcement_of_its_removal() {
    let fake = FakeEureka::holding(&[("ORDERS", "a"), ("USERS", "u")]).await;
    let discovery =
        super::watching::discover_guarded(config(&[fake.url()]), Some(registry_core::Guard::default()));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    // Restarted: nothing is there, and nothing of it was announced.
    fake.unnoticed(|state| {
        state.cancel("ORDERS", "a");
        state.cancel("USERS", "u");
    });
    until_true("endpoints that are held back", &discovery, || {
        status(&discovery).held.is_some()
    })
    .await;
    assert_eq!(
        crate::support::statuses(&discovery.snapshot(), "ORDERS").unwrap(),
        ["a UP"]
    );
    // They register again.
    fake.put("ORDERS", "a");
    fake.put("USERS", "u");
    until_true("nothing held back", &discovery, || {
        status(&discovery).held.is_none()
    })
    .await;
    // What is announced is believed, all of it.
    fake.cancel("ORDERS", "a");
    fake.cancel("USERS", "u");
    until_true("nothing to be left", &discovery, || {
        discovery.snapshot().services().count() == 0
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_fetch_lacked_goes_as_soon_as_a_delta_announces_its_removal() {
    let fake = FakeEureka::holding(&[("ORDERS", "a"), ("ORDERS", "b"), ("USERS", "u"), ("PAY", "p")]).await;
    let guard = registry_core::Guard {
        // Longer than the test waits for anything.
        hold: std::time::Duration::from_secs(3600),
        ..config(&[fake.url()]).guard()
    };
    let discovery = super::watching::discover_guarded(config(&[fake.url()]), Some(guard));
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    let held = || status(&discovery).held.map_or(0, |held| held.endpoints);
    fake.unnoticed(|state| {
        for (app, id) in [("ORDERS", "a"), ("USERS", "u"), ("PAY", "p")] {
            state.cancel(app, id);
        }
    });
    until_true("endpoints that are held back", &discovery, || held() == 3).await;
    // The answers in a server's cache are of different moments.
    fake.cancel("ORDERS", "a");
    fake.cancel("USERS", "u");
    until_true("one that is held back", &discovery, || held() == 1).await;
    until_statuses(&discovery, "ORDERS", &["b UP"]).await;
    assert!(service(&discovery.snapshot(), "USERS").is_none());
    until_statuses(&discovery, "PAY", &["p UP"]).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_asked_for_with_both_documents() {
    let fake = FakeEureka::start().await;
    for path in [super::APPS, DELTA] {
        let with = format!("{path}?regions=us-east-1%2Ceu-west-1");
        fake.server
            .set(Exchange::get(with).with_body(super::document("1", "", &Default::default()).to_string()));
    }
    let mut config = config(&[fake.url()]);
    config.remote_regions = vec!["us-east-1".to_owned(), "eu-west-1".to_owned()];
    let discovery = discover(config);
    fake.until_asked(3).await;
    until_healthy(&discovery).await;
    let requests = fake.server.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.query("regions").as_deref() == Some("us-east-1,eu-west-1"))
    );
    discovery.shutdown().await;
}
