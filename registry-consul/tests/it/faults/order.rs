//! Answers that come twice, in another order, or from the past.

use std::time::Duration;

use registry_testkit::{Fault, Match, Rule};

use super::{FakeConsul, instances, pause, short, until_healthy, until_passing};
use crate::support::real::until_true;
use crate::support::{discover, status};

const SERVICES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Changes everything under these faults, takes them away, and expects the truth.
async fn ends_in_the_truth(rules: Vec<Rule>) {
    let fake = FakeConsul::start(&SERVICES.map(|name| (name, 2))).await;
    let proxy = fake.proxy().await;
    let discovery = discover(short(&proxy.url()));
    for name in SERVICES {
        until_passing(&discovery, name, 2).await;
    }
    let rules: Vec<_> = rules.into_iter().map(|rule| proxy.inject(rule)).collect();
    for round in 1..=8 {
        for (number, name) in SERVICES.into_iter().enumerate() {
            fake.health(name, &instances(name, 1 + (round + number) % 5));
        }
        pause(0.4).await;
    }
    until_true("the fault to strike", &discovery, || {
        rules.iter().any(|rule| proxy.hits(*rule) > 0)
    })
    .await;
    proxy.clear();
    for (number, name) in SERVICES.into_iter().enumerate() {
        until_passing(&discovery, name, 1 + (8 + number) % 5).await;
    }
    until_healthy(&discovery).await;
    assert_eq!(status(&discovery).services, SERVICES.len() + 1);
    discovery.shutdown().await;
}

fn health() -> Match {
    Match::path("/v1/health/service/")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_twice_end_in_the_truth() {
    ends_in_the_truth(vec![Rule::new(health().every(2), Fault::Duplicate)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_answers_end_in_the_truth() {
    tokio::join!(
        ends_in_the_truth(vec![Rule::new(health().every(3), Fault::ReplayPrevious)]),
        ends_in_the_truth(vec![Rule::new(health().every(2), Fault::ReplayFirst)]),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_in_another_order_end_in_the_truth() {
    ends_in_the_truth(vec![
        Rule::new(
            health().every(3).times(12),
            Fault::HoldUntilNext(Duration::from_millis(1500)),
        ),
        Rule::new(health().every(4), Fault::Latency(Duration::from_millis(300))),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_catalogue_removes_nothing_that_is_there() {
    let fake = FakeConsul::start(&[("a", 2)]).await;
    let proxy = fake.proxy().await;
    let discovery = discover(short(&proxy.url()));
    until_passing(&discovery, "a", 2).await;
    for name in ["b", "c", "d"] {
        fake.put(name, &instances(name, 2));
        until_passing(&discovery, name, 2).await;
    }
    let mut changes = discovery.changes();
    proxy.inject(Rule::new(Match::path("/v1/catalog/services"), Fault::ReplayFirst));
    fake.put("e", &instances("e", 1));
    pause(5.0).await;
    proxy.clear();
    until_passing(&discovery, "e", 1).await;
    for name in ["a", "b", "c", "d"] {
        until_passing(&discovery, name, 2).await;
    }
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(300), changes.next()).await {
        assert!(delta.removed.is_empty(), "{:?}", delta.removed);
    }
    discovery.shutdown().await;
}
