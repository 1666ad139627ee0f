//! A server that answers from a cache, as in production.

use std::time::Duration;

use crate::support::delays::Race;

const PERIOD: Duration = Duration::from_secs(30);

/// 16.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_published_soon_after_a_cache_of_half_a_minute_shows_them() {
    let race = Race::start(PERIOD).await;
    // One in each period. Polls that are not aligned publish one while the next one is made; the last one is not worth it.
    let (learning, second, third) = tokio::join!(race.change(0), race.change(1), race.aligned_change(2));
    println!("while learning: {learning:.1?}, then: {second:.1?}, {third:.1?}");
    for delays in [second, third] {
        for own in [
            delays.own(|delays| delays.learning),
            delays.own(|delays| delays.fixed),
        ] {
            assert!(own <= Duration::from_secs(5), "{delays:?}");
        }
    }
    for late in [learning, second].map(|delays| delays.unaligned.unwrap()) {
        // A whole period of the cache, and a whole interval.
        assert!(late <= 2 * PERIOD + Duration::from_secs(10), "{late:?}");
    }
    race.end().await;
}
