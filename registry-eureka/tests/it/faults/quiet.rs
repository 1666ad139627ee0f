//! Nothing changes, and so nothing is published.

use serde_json::json;

use super::FakeEureka;
use super::watching::{config, discover, until_statuses, until_true};
use crate::support::status;

#[tokio::test(flavor = "multi_thread")]
async fn number_18_polls_without_a_change_publish_nothing() {
    let fake = FakeEureka::holding(&[("ORDERS", "a"), ("ORDERS", "b"), ("USERS", "u")]).await;
    let mut config = config(&[fake.url()]);
    config.interval = std::time::Duration::from_millis(100);
    config.full_interval = std::time::Duration::from_secs(1);
    let discovery = discover(config);
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    until_statuses(&discovery, "USERS", &["u UP"]).await;
    fake.until_asked(5).await;
    let revision = discovery.snapshot().revision();
    for round in 0..10_u64 {
        // The payload is generated anew with other lease times, and the same instances come in a delta for minutes.
        let lease = json!({ "leaseInfo": { "lastRenewalTimestamp": 1_700_000_000_000 + round, "durationInSecs": 90 } });
        fake.put_as("ORDERS", "a", lease.clone());
        fake.put_as("USERS", "u", lease);
        fake.until_asked(10).await;
    }
    assert!(fake.fulls() > 2, "{}", fake.asked());
    assert_eq!(discovery.snapshot().revision(), revision);
    let requests = status(&discovery).requests;
    until_true("polls go on", &discovery, || {
        status(&discovery).requests > requests + 3
    })
    .await;
    assert_eq!(status(&discovery).failures, 0);
    discovery.shutdown().await;
}
