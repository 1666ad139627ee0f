//! A server that preserves what it has.

use std::time::Duration;

use crate::server::expiry;

/// 9: in its first minute the server expires nothing for another reason: it has not counted renewals yet.
#[tokio::test]
async fn what_nobody_renews_stays_beyond_the_servers_first_minute() {
    expiry::number_9(Duration::from_secs(75)).await;
}
