//! Another cluster behind the same address, without a single error.

use std::time::Duration;

use crate::server::restart::time_of_a_polite_swap;

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_24a_a_server_that_was_swapped_without_any_error_is_noticed_within_a_minute() {
    let time = time_of_a_polite_swap().await;
    assert!(time < Duration::from_secs(80), "{time:?}");
}
