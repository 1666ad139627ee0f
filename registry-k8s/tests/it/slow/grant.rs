//! Rights that are granted while the registry runs.

use std::time::Duration;

use crate::server::rights::time_of_a_grant;

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_26_a_namespace_that_is_allowed_later_is_served_without_a_restart() {
    let time = time_of_a_grant().await;
    // What only an operator can mend is tried again every 30 to 45 s.
    assert!(time < Duration::from_secs(75), "{time:?}");
}
