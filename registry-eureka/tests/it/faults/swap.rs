//! Changes that come and go while nobody looks: equal counts prove nothing.

use std::time::Duration;

use serde_json::json;

use super::watching::{config, discover, until_healthy, until_statuses, until_true};
use super::{FakeEureka, cut};
use registry_core::ErrorKind;

#[tokio::test(flavor = "multi_thread")]
async fn number_1_a_swap_during_an_outage_longer_than_the_retention_is_seen() {
    let fake = FakeEureka::holding(&[("ORDERS", "x"), ("USERS", "u")]).await;
    let proxy = fake.proxy().await;
    let mut config = config(&[format!("{}/eureka", proxy.url())]);
    config.delta_retention = Duration::from_secs(3);
    let discovery = discover(config);
    until_statuses(&discovery, "ORDERS", &["x UP"]).await;
    until_statuses(&discovery, "USERS", &["u UP"]).await;
    fake.until_asked(2).await;

    cut(&proxy);
    super::watching::until_degraded(&discovery, ErrorKind::Unreachable).await;
    let before = fake.hash();
    fake.unnoticed(|state| {
        state.cancel("ORDERS", "x");
        state.put("ORDERS", "y", json!({}));
    });
    fake.put("USERS", "u");
    assert_eq!(
        fake.hash(),
        before,
        "a client that trusts the counts is wrong for ever"
    );
    super::pause(2.0).await;
    proxy.refuse(false);
    until_statuses(&discovery, "ORDERS", &["y UP"]).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_no_delta_told_of_is_seen_by_the_periodic_full_fetch() {
    let fake = FakeEureka::holding(&[("ORDERS", "x")]).await;
    let mut config = config(&[fake.url()]);
    config.full_interval = Duration::from_secs(2);
    let discovery = discover(config);
    until_statuses(&discovery, "ORDERS", &["x UP"]).await;
    fake.unnoticed(|state| {
        state.cancel("ORDERS", "x");
        state.put("ORDERS", "y", json!({}));
    });
    until_statuses(&discovery, "ORDERS", &["y UP"]).await;
    until_true("another delta", &discovery, || fake.asked().ends_with('D')).await;
    discovery.shutdown().await;
}
