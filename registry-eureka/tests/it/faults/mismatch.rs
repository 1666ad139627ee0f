//! Counts by status that differ from what is held.

use registry_testkit::log::Everything;
use serde_json::json;

use super::watching::{config, discover, until_healthy, until_statuses, until_true};
use super::{FakeEureka, until_logged};
use crate::support::status;

#[tokio::test(flavor = "multi_thread")]
async fn number_2_counts_that_differ_bring_exactly_one_full_fetch() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let discovery = discover(config(&[fake.url()]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    // A heartbeat changed a status, and nothing says so but the counts.
    fake.unnoticed(|state| state.put("ORDERS", "b", json!({})));
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
    fake.until_asked(10).await;
    assert_eq!(fake.fulls(), 2, "{}", fake.asked());
    assert_eq!(status(&discovery).note, None);
    discovery.shutdown().await;
}

// One thread, so that the subscriber of this thread hears everything.
#[tokio::test]
async fn number_2_counts_that_differ_for_ever_bring_few_full_fetches_and_one_line_of_log() {
    let everything = Everything::default();
    let guard = everything.listen();
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let discovery = discover(config(&[fake.url()]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    let start = tokio::time::Instant::now();
    fake.say_hash(Some("UP_9_"));
    until_true("a second full fetch", &discovery, || fake.fulls() == 2).await;
    // What comes by deltas comes on.
    for id in ["b", "c", "d", "e"] {
        fake.put("ORDERS", id);
        fake.until_asked(3).await;
    }
    until_statuses(&discovery, "ORDERS", &["a UP", "b UP", "c UP", "d UP", "e UP"]).await;
    // The rests between them are of half a minute, and longer.
    let most = 3 + start.elapsed().as_secs() / 30;
    assert!(fake.fulls() as u64 <= most, "{}", fake.asked());
    let note = status(&discovery).note.unwrap();
    assert!(
        note.contains(r#""UP_9_""#) && note.contains(r#""UP_5_""#),
        "{note}"
    );
    until_healthy(&discovery).await;

    fake.say_hash(None);
    until_true("the note to go", &discovery, || status(&discovery).note.is_none()).await;
    discovery.shutdown().await;
    until_logged(&everything, "counts by status differ").await;
    drop(guard);
    assert_eq!(
        everything.count("counts by status differ"),
        1,
        "{}",
        everything.text()
    );
}
