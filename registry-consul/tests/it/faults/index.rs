//! Indexes that break the rules.

use std::time::Duration;

use futures_util::future::join_all;
use registry_testkit::{Fault, FaultProxy, Match, Rule};
use tokio::time::Instant;

use super::{FakeConsul, health_path, instances, pause, short, until_passing};
use crate::support::discover;

/// Sits out these waits, and returns how many requests about one of the services came in them, at most, and how many
/// may have come: so many for each wait, however long they took on this machine.
async fn count_in_waits(
    proxy: &FaultProxy,
    services: &[&str],
    wait: Duration,
    allowed: f64,
) -> (usize, usize) {
    let since = Instant::now();
    tokio::time::sleep(wait * WAITS).await;
    let busiest = busiest(proxy, services, since);
    let waits = since.elapsed().as_secs_f64() / wait.as_secs_f64();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number"
    )]
    let most = (allowed * waits).ceil() as usize + 2;
    (busiest, most)
}

/// How many waits the requests are counted in.
const WAITS: u32 = 4;

/// Requests about services since then, at most of one service.
fn busiest(proxy: &FaultProxy, services: &[&str], since: Instant) -> usize {
    let requests = proxy.requests();
    let count = |name: &&str| {
        let path = health_path(name);
        requests
            .iter()
            .filter(|logged| logged.at >= since && logged.path() == path)
            .count()
    };
    services.iter().map(count).max().unwrap()
}

/// With these faults the requests stay within two per wait of each service, and no later change is lost.
async fn bounded(case: &'static str, rules: Vec<Rule>) {
    let stands_still = case.contains("signed");
    let services = ["web", "api", "db"];
    let fake = FakeConsul::start(&services.map(|name| (name, 2))).await;
    let proxy = fake.proxy().await;
    for rule in rules {
        proxy.inject(rule);
    }
    let config = short(&proxy.url());
    let wait = config.wait;
    let discovery = discover(config);
    for name in services {
        until_passing(&discovery, name, 2).await;
    }
    // Pauses grow step by step.
    pause(5.0).await;
    let (busiest, most) = count_in_waits(&proxy, &services, wait, 2.0).await;
    assert!(
        busiest <= most,
        "{case}: {busiest} requests about one service in {WAITS} waits, {most} expected"
    );
    // An index that is always the same one makes every loss suspicious.
    let fewer = if stands_still { 5 } else { 1 };
    for (name, count) in services.into_iter().zip([3, fewer, 4]) {
        fake.put(name, &instances(name, count));
    }
    for (name, count) in services.into_iter().zip([3, fewer, 4]) {
        until_passing(&discovery, name, count).await;
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_7_no_index_makes_a_busy_loop_and_none_loses_a_change() {
    let health = || Match::path("/v1/health/service/");
    let polls = || Match::contains("index=");
    let header = |when: Match, value: &str| vec![Rule::new(when, Fault::set_header("X-Consul-Index", value))];
    let mut cases = Vec::new();
    for (case, rules) in [
        ("lower than asked", header(polls(), "5")),
        ("zero", header(health(), "0")),
        ("not a number", header(health(), "abc")),
        ("the largest number", header(health(), "18446744073709551615")),
        (
            "the largest signed number",
            header(health(), "9223372036854775807"),
        ),
        (
            "missing",
            vec![Rule::new(health(), Fault::remove_header("X-Consul-Index"))],
        ),
        (
            "one, on an error",
            vec![Rule::new(
                polls(),
                Fault::respond(
                    500,
                    &[("X-Consul-Index", "1"), ("X-Consul-Knownleader", "false")],
                    "rpc error",
                ),
            )],
        ),
    ] {
        cases.push(bounded(case, rules));
    }
    join_all(cases).await;
}

/// A server that does not park, and answers each poll at once with the old content and this index.
async fn never_parks(case: &'static str, index: &'static str) {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let body = serde_json::to_vec(&instances("web", 2)).unwrap();
    let at_once = Fault::respond(
        200,
        &[
            ("X-Consul-Index", index),
            ("X-Consul-Query-Backend", "blocking-query"),
        ],
        body,
    );
    let when = Match::contains("service/web?stale=&index=");
    proxy.inject(Rule::new(when, at_once));
    let config = short(&proxy.url());
    let wait = config.wait;
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    pause(5.0).await;
    // Two polls a wait, and the reads between them.
    let (busiest, most) = count_in_waits(&proxy, &["web"], wait, 4.0).await;
    assert!(
        busiest <= most,
        "{case}: {busiest} requests in {WAITS} waits, {most} expected"
    );
    // Polls still lie: what a read says counts.
    proxy.clear();
    fake.put("web", &instances("web", 3));
    until_passing(&discovery, "web", 3).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_7_a_server_that_never_parks_is_not_asked_in_a_busy_loop() {
    let mut cases = Vec::new();
    for (case, index) in [
        ("lower than asked", "5"),
        ("as asked", "104"),
        ("one more each time", "1000000"),
    ] {
        cases.push(never_parks(case, index));
    }
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_7_wakes_without_a_change_do_not_delay_the_next_change() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let mut config = short(&fake.url());
    // Half of it is the longest pause after useless answers: far beyond the deadline of what follows.
    config.wait = Duration::from_secs(600);
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    // The index moves and nothing else does: the output of a check changed.
    for _ in 0..10 {
        pause(0.6).await;
        fake.health("web", &instances("web", 2));
    }
    pause(0.6).await;
    fake.health("web", &instances("web", 3));
    until_passing(&discovery, "web", 3).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_7_a_reset_server_is_noticed_within_a_wait() {
    let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
    let discovery = discover(short(&fake.url()));
    until_passing(&discovery, "web", 2).await;
    // The state is another one, and its indexes begin anew.
    fake.server
        .set(super::health("web", &instances("web", 4)).with_index(7));
    until_passing(&discovery, "web", 4).await;
    fake.server
        .set(super::health("web", &instances("web", 3)).with_index(8));
    until_passing(&discovery, "web", 3).await;
    discovery.shutdown().await;
}
