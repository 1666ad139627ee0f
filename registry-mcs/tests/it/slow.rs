//! Against real API servers, in tests that take longer than the others.

use std::time::Duration;

use crate::server::offered::times_of_definitions;

#[tokio::test(flavor = "multi_thread")]
async fn idea_29_definitions_that_come_later_are_found_within_a_minute() {
    for time in times_of_definitions().await {
        assert!(time < Duration::from_secs(60), "{time:?}");
    }
}
