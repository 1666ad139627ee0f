//! A server that answers from a cache, as all do in production, only that its cache is renewed six times as often.

use std::time::Duration;

use crate::support::delays::{Delays, Race, median};

const PERIOD: Duration = Duration::from_secs(5);

/// 16, in short.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_published_soon_after_the_servers_cache_shows_them() {
    let race = Race::start(PERIOD).await;
    // One in each period. Polls that are not aligned publish one while the next one is made.
    let (first, second, third, fourth, fifth) = tokio::join!(
        race.change(0),
        race.change(1),
        race.change(2),
        race.change(3),
        race.change(4),
    );
    println!("while learning: {first:.1?}, {second:.1?}");
    let all = [third, fourth, fifth];
    let own = |of: fn(&Delays) -> Duration| all.iter().map(|delays| delays.own(of)).collect::<Vec<_>>();
    let (learning, fixed, unaligned) = (
        own(|delays| delays.learning),
        own(|delays| delays.fixed),
        own(|delays| delays.unaligned.unwrap()),
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
