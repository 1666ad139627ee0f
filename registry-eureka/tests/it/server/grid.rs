//! A server that answers from a cache, as all do in production, only that its cache is renewed six times as often.

use std::time::Duration;

use crate::support::delays::{Delays, Race, median};

const PERIOD: Duration = Duration::from_secs(5);

/// 16, in short.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_published_soon_after_the_servers_cache_shows_them() {
    let mut race = Race::start(PERIOD).await;
    for _ in 0..2 {
        println!("while learning: {:.1?}", race.change().await);
    }
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(race.change().await);
    }
    let own = |of: fn(&Delays) -> Duration| all.iter().map(|delays| delays.own(of)).collect::<Vec<_>>();
    let (learning, fixed, unaligned) = (
        own(|delays| delays.learning),
        own(|delays| delays.fixed),
        own(|delays| delays.unaligned),
    );
    println!("learnt {learning:.2?}, fixed {fixed:.2?}, unaligned {unaligned:.2?}");
    for aligned in [learning, fixed] {
        assert!(
            aligned.iter().all(|delay| *delay <= Duration::from_secs(3)),
            "{aligned:?}"
        );
        // Polls anywhere are half a period late in the mean.
        assert!(median(aligned.clone()) < PERIOD / 4, "{aligned:?}");
    }
    // One interval, and what a busy machine takes.
    let bound = PERIOD + Duration::from_secs(10);
    assert!(unaligned.iter().all(|delay| *delay <= bound), "{unaligned:?}");
    race.end().await;
}
