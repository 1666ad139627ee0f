//! How soon a change is published, from when the server's own cache shows it: with polls that follow the cache's grid, as
//! learnt from changes, and with polls anywhere.

use std::time::Duration;

use registry_testkit::eureka::{Eureka, bulk_instance};
use serde_json::{Value, json};

use crate::clock::now_us;
use crate::process::Follower;
use crate::{MARK, Outcome, Row, Sizes, row};

/// How often to look whether the cache shows a change: the error of all that is found here.
const LOOK: Duration = Duration::from_millis(20);

/// What is granted beyond the server's own cache, and beyond the interval of polls for a request.
const ALIGNED: Duration = Duration::from_secs(1);
const REQUEST: Duration = Duration::from_millis(250);

pub(crate) async fn rows(sizes: &Sizes) -> Outcome<Vec<Row>> {
    let mut runs = tokio::task::JoinSet::new();
    for (place, (seconds, learning, measured)) in sizes.caches.iter().enumerate() {
        let (interval, learning, measured) = (Duration::from_secs(*seconds), *learning, *measured);
        runs.spawn(async move {
            behind(interval, learning, measured)
                .await
                .map(|rows| (place, rows))
        });
    }
    let mut found = runs.join_all().await.into_iter().collect::<Outcome<Vec<_>>>()?;
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().flat_map(|(_, rows)| rows).collect())
}

/// Behind a cache with that interval.
async fn behind(interval: Duration, learning: u64, measured: u64) -> Outcome<Vec<Row>> {
    let server = Eureka::war()
        .read_only_cache(true)
        .cache_update_interval(interval)
        .cache_expiration(Duration::from_secs(180))
        .start()
        .await?;
    server.api().register(&bulk_instance(0, 0)).await?;
    let config = |alignment: &str| {
        json!({
            "urls": [server.base_url()],
            "interval": format!("{}s", interval.as_secs()),
            "cache_interval": format!("{}s", interval.as_secs()),
            "alignment": alignment,
        })
    };
    // The second starts somewhere between two lines of the grid.
    let mut aligned = Follower::start(&config("learn"))?;
    tokio::time::sleep(interval.mul_f64(0.4)).await;
    let mut anywhere = Follower::start(&config("never"))?;
    let mut shown = Vec::new();
    for change in 0..learning + measured {
        // Spread over the grid.
        let part = change as f64 * 0.618_034 % 1.0;
        tokio::time::sleep(interval.mul_f64(part)).await;
        let instance = bulk_instance(0, 0).metadata(MARK, change.to_string());
        server.api().register(&instance).await?;
        let at = until_shown(&server, change).await?;
        if change >= learning {
            shown.push((change, at));
        }
    }
    tokio::time::sleep(interval * 2).await;
    let [aligned, anywhere] = [&mut aligned, &mut anywhere].map(|one| one.ask("arrivals"));
    let (aligned, anywhere) = (delays(&aligned?, &shown)?, delays(&anywhere?, &shown)?);
    let what = |polls: &str| format!("cache of {} s to snapshot, {polls}", interval.as_secs());
    let report = |delays: &[Duration]| {
        let at = |percent: usize| delays[(delays.len() * percent / 100).min(delays.len() - 1)].as_secs_f64();
        format!(
            "p50 {:.2} s, p90 {:.2} s, max {:.2} s of {} changes",
            at(50),
            at(90),
            at(100),
            delays.len()
        )
    };
    let most = |delays: &[Duration]| delays.last().copied().unwrap_or(Duration::MAX);
    Ok(vec![
        row(
            what(&format!("grid learnt from {learning} changes")),
            report(&aligned),
            "<= 1 s",
            most(&aligned) <= ALIGNED,
        ),
        row(
            what("polls anywhere"),
            report(&anywhere),
            "<= one poll interval, and the request",
            most(&anywhere) <= interval + REQUEST,
        ),
    ])
}

/// Looks at the server's delta until it shows that change, and says when it did at the earliest.
async fn until_shown(server: &Eureka, change: u64) -> Outcome<u64> {
    let mark = format!("\"{MARK}\":\"{change}\"");
    let mut earliest = now_us();
    loop {
        let sent = now_us();
        let answer = server.api().answer("/apps/delta", "application/json").await?;
        if answer.body.contains(&mark) {
            return Ok(earliest);
        }
        earliest = sent;
        tokio::time::sleep(LOOK).await;
    }
}

/// How much later each change was published, sorted.
fn delays(arrivals: &Value, shown: &[(u64, u64)]) -> Outcome<Vec<Duration>> {
    let delay = |(change, shown): &(u64, u64)| {
        let arrived = arrivals[change.to_string()]
            .as_u64()
            .ok_or_else(|| format!("change {change} was not seen"))?;
        Ok(Duration::from_micros(arrived.saturating_sub(*shown)))
    };
    let mut delays = shown.iter().map(delay).collect::<Outcome<Vec<_>>>()?;
    delays.sort();
    Ok(delays)
}
