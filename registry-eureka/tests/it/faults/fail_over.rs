//! Several servers.

use std::time::Duration;

use registry_core::{ErrorKind, Guard};
use registry_testkit::{Fault, FaultProxy, Match, Rule};
use serde_json::json;

use super::watching::{
    config, discover, discover_guarded, until_degraded, until_healthy, until_statuses, until_true,
};
use super::{FakeEureka, answer, cut, pause};
use crate::support::{status, statuses};

fn base(proxy: &FaultProxy) -> String {
    format!("{}/eureka", proxy.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn number_5_another_server_is_asked_for_everything_first_and_the_first_one_is_not_come_back_to() {
    let first = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let second = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let proxy = first.proxy().await;
    let discovery = discover(config(&[base(&proxy), second.url()]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    first.until_asked(3).await;
    assert_eq!(second.asked(), "", "one server is asked at a time");
    let mut changes = discovery.changes();

    cut(&proxy);
    second.until_asked(3).await;
    assert!(second.asked().starts_with("FD"), "{}", second.asked());
    // What only the second one says.
    second.put("ORDERS", "b");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    proxy.refuse(false);
    let before = first.asked();
    second.until_asked(10).await;
    assert_eq!(first.asked(), before, "no flapping");
    until_healthy(&discovery).await;
    assert_eq!(status(&discovery).attempts, 1, "the watch lives on");
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(300), changes.next()).await {
        assert!(delta.removed.is_empty(), "{:?}", delta.removed);
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn number_6_the_same_version_and_counts_from_another_server_are_not_the_same_delta() {
    let [first, second] = [
        FakeEureka::holding(&[("ORDERS", "a")]).await,
        FakeEureka::holding(&[("ORDERS", "a")]).await,
    ];
    let delta = |id: &str| {
        let instances = [(
            ("ORDERS".to_owned(), id.to_owned()),
            super::instance("ORDERS", id, 1000),
        )];
        answer(super::DELTA, &super::document("7", "UP_2_", &instances.into()))
    };
    // The documents of both with everything stay as they were, as those of caches do.
    first.server.set(delta("b"));
    second.server.set(delta("c"));
    let proxy = first.proxy().await;
    let discovery = discover(config(&[base(&proxy), second.url()]));
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    cut(&proxy);
    until_statuses(&discovery, "ORDERS", &["a UP", "c UP"]).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_refuse_or_fail_are_left_for_the_next_one() {
    for fault in [
        Fault::respond(403, &[], ""),
        Fault::respond(401, &[], ""),
        Fault::respond(404, &[], ""),
        Fault::respond(302, &[("Location", "/login")], ""),
        Fault::respond(500, &[], "boom"),
        Fault::respond(503, &[("Retry-After", "600")], ""),
        Fault::Close,
        Fault::Reset,
        Fault::replace_body("<html>Please sign in</html>"),
        Fault::replace_body(""),
        Fault::CutBody(20),
    ] {
        let case = format!("{fault:?}");
        let first = FakeEureka::holding(&[("ORDERS", "a")]).await;
        let second = FakeEureka::holding(&[("ORDERS", "a")]).await;
        let proxy = first.proxy().await;
        let discovery = discover(config(&[base(&proxy), second.url()]));
        until_statuses(&discovery, "ORDERS", &["a UP"]).await;
        proxy.inject(Rule::new(Match::any(), fault));
        second.put("ORDERS", "b");
        until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
        until_healthy(&discovery).await;
        assert!(second.asked().starts_with('F'), "{case}: {}", second.asked());
        discovery.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn number_22_a_server_that_never_answers_is_left_at_the_deadline() {
    let first = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let second = FakeEureka::holding(&[("ORDERS", "a"), ("ORDERS", "b")]).await;
    let proxy = first.proxy().await;
    proxy.inject(Rule::new(Match::any(), Fault::BlackHole));
    let mut config = config(&[base(&proxy), second.url()]);
    config.http.request_timeout = Duration::from_millis(500);
    config.full_timeout = Duration::from_secs(1);
    let discovery = discover(config.clone());
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    discovery.shutdown().await;

    // Alone: the loop lives, and is there when the server is.
    config.urls.truncate(1);
    let discovery = discover(config);
    until_degraded(&discovery, ErrorKind::Unreachable).await;
    proxy.clear();
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    proxy.inject(Rule::new(Match::any(), Fault::BlackHole));
    until_degraded(&discovery, ErrorKind::Unreachable).await;
    proxy.clear();
    first.put("ORDERS", "c");
    until_statuses(&discovery, "ORDERS", &["a UP", "c UP"]).await;
    until_healthy(&discovery).await;
    assert_eq!(status(&discovery).attempts, 1);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_own_zone_is_come_back_to() {
    let own = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let other = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let proxy = own.proxy().await;
    let mut config = config(&[]);
    config.zones = [
        ("z1".to_owned(), vec![other.url()]),
        ("z2".to_owned(), vec![base(&proxy)]),
    ]
    .into();
    config.zone = Some("z2".to_owned());
    config.full_interval = Duration::from_secs(2);
    let discovery = discover(config);
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    assert_eq!(other.asked(), "");
    cut(&proxy);
    other.put("ORDERS", "b");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    own.put("ORDERS", "c");
    proxy.refuse(false);
    until_statuses(&discovery, "ORDERS", &["a UP", "c UP"]).await;
    // And stays there.
    let before = other.asked();
    own.until_asked(20).await;
    assert_eq!(other.asked(), before);
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_zone_that_stays_dead_costs_no_poll() {
    let other = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let port = registry_testkit::ports::free(1).unwrap()[0];
    let mut config = config(&[]);
    config.zones = [
        ("z1".to_owned(), vec![other.url()]),
        ("z2".to_owned(), vec![format!("http://127.0.0.1:{port}/eureka")]),
    ]
    .into();
    config.zone = Some("z2".to_owned());
    config.full_interval = Duration::from_secs(1);
    let discovery = discover(config);
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    until_true("several periods", &discovery, || other.fulls() >= 4).await;
    until_healthy(&discovery).await;
    let failures = status(&discovery).failures;
    assert!(failures > 1, "it was tried again");
    // One attempt beside each full fetch, and the first one.
    assert!(
        failures <= 1 + other.fulls() as u64,
        "{failures}: {}",
        other.asked()
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn number_24_what_is_unlikely_is_confirmed_by_another_server() {
    let three = ["a", "b", "c"].map(|id| ("ORDERS", id));
    let restarted = FakeEureka::holding(&three).await;
    let full = FakeEureka::holding(&three).await;
    let guard = Guard {
        hold: Duration::from_secs(1),
        ..Guard::default()
    };
    let discovery = discover_guarded(config(&[restarted.url(), full.url()]), Some(guard));
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP", "c UP"]).await;
    assert_eq!(full.asked(), "");
    restarted.unnoticed(|state| three.iter().for_each(|(app, id)| state.cancel(app, id)));
    until_true("endpoints that are held back", &discovery, || {
        status(&discovery).held.is_some()
    })
    .await;
    until_true("nothing held back", &discovery, || {
        status(&discovery).held.is_none()
    })
    .await;
    assert_eq!(
        statuses(&discovery.snapshot(), "ORDERS").unwrap(),
        ["a UP", "b UP", "c UP"]
    );
    assert!(full.asked().starts_with('F'), "{}", full.asked());
    // It is the one in use from now on: the other one is not believed by turns with it.
    let before = restarted.asked();
    full.until_asked(10).await;
    assert_eq!(restarted.asked(), before);

    // What both lack is gone.
    full.unnoticed(|state| three.iter().for_each(|(app, id)| state.cancel(app, id)));
    until_statuses(&discovery, "ORDERS", &[]).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opinion_that_cannot_be_had_is_the_first_one_again() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let port = registry_testkit::ports::free(1).unwrap()[0];
    let guard = Guard {
        hold: Duration::from_secs(1),
        ..Guard::default()
    };
    let urls = [fake.url(), format!("http://127.0.0.1:{port}/eureka")];
    let discovery = discover_guarded(config(&urls), Some(guard));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    fake.unnoticed(|state| state.cancel("ORDERS", "a"));
    until_true("endpoints that are held back", &discovery, || {
        status(&discovery).held.is_some()
    })
    .await;
    until_statuses(&discovery, "ORDERS", &[]).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_servers_are_gone_everything_stays_and_attempts_go_on() {
    let [first, second] = [
        FakeEureka::holding(&[("ORDERS", "a")]).await,
        FakeEureka::holding(&[("ORDERS", "a")]).await,
    ];
    let [one, two] = [first.proxy().await, second.proxy().await];
    let discovery = discover(config(&[base(&one), base(&two)]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    cut(&one);
    cut(&two);
    until_degraded(&discovery, ErrorKind::Unreachable).await;
    pause(2.0).await;
    assert_eq!(statuses(&discovery.snapshot(), "ORDERS").unwrap(), ["a UP"]);
    second.put_as("ORDERS", "a", json!({ "status": "DOWN" }));
    two.refuse(false);
    until_statuses(&discovery, "ORDERS", &["a DOWN"]).await;
    until_healthy(&discovery).await;
    assert_eq!(status(&discovery).attempts, 1, "the watch lives on");
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_to_be_left_alone_is_while_the_other_one_fails_and_comes_back() {
    let [first, second] = [
        FakeEureka::holding(&[("ORDERS", "a")]).await,
        FakeEureka::holding(&[("ORDERS", "a")]).await,
    ];
    let [one, two] = [first.proxy().await, second.proxy().await];
    let discovery = discover(config(&[base(&one), base(&two)]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    one.inject(Rule::new(
        Match::any(),
        Fault::respond(503, &[("Retry-After", "600")], ""),
    ));
    second.put("ORDERS", "b");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    let asked = one.requests_total();
    cut(&two);
    until_degraded(&discovery, ErrorKind::Unreachable).await;
    pause(2.0).await;
    two.refuse(false);
    second.put("ORDERS", "c");
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP", "c UP"]).await;
    until_healthy(&discovery).await;
    assert_eq!(one.requests_total(), asked);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_of_a_service_does_not_go_with_the_last_instance_that_was_listed() {
    let all: Vec<String> = (0..20).map(|n| format!("i{n:02}")).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|id| ("ORDERS", id.as_str())).collect();
    let fake = FakeEureka::holding(&all).await;
    let discovery = discover_guarded(config(&[fake.url()]), Some(Guard::default()));
    let everything: Vec<String> = all.iter().map(|(_, id)| format!("{id} UP")).collect();
    let everything: Vec<&str> = everything.iter().map(String::as_str).collect();
    until_statuses(&discovery, "ORDERS", &everything).await;

    // Started again, and only one instance came back by now.
    fake.unnoticed(|state| all[1..].iter().for_each(|(app, id)| state.cancel(app, id)));
    until_true("a loss that is held back", &discovery, || {
        status(&discovery).held.is_some()
    })
    .await;
    until_statuses(&discovery, "ORDERS", &everything).await;
    fake.cancel("ORDERS", "i00");
    until_statuses(&discovery, "ORDERS", &everything[1..]).await;
    fake.until_asked(3).await;
    assert_eq!(
        statuses(&discovery.snapshot(), "ORDERS").unwrap_or_default(),
        everything[1..],
        "nobody announced that these are gone"
    );
    discovery.shutdown().await;
}
