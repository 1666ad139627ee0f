//! A server that answers from a cache, as in production.

use std::time::Duration;

use crate::support::delays::Race;

const PERIOD: Duration = Duration::from_secs(30);

/// 16.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_published_soon_after_a_cache_of_half_a_minute_shows_them() {
    let mut race = Race::start(PERIOD).await;
    println!("while learning: {:.1?}", race.change().await);
    for _ in 0..2 {
        let delays = race.change().await;
        println!("then: {delays:.1?}");
        for own in [
            delays.own(|delays| delays.learning),
            delays.own(|delays| delays.fixed),
        ] {
            assert!(own <= Duration::from_secs(5), "{delays:?}");
        }
        // A whole period of the cache, and a whole interval.
        assert!(
            delays.unaligned <= 2 * PERIOD + Duration::from_secs(10),
            "{delays:?}"
        );
    }
    race.end().await;
}
