//! A server with many instances.

use std::time::Duration;

use registry_testkit::eureka::{Eureka, bulk_instance};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::report::Outcome;

/// The key of metadata that numbers changes.
pub(crate) const MARK: &str = "mark";

/// Instances of each application.
pub(crate) const INSTANCES: usize = 5;

/// Longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(120);

/// A server with so many applications, which tells a change in its deltas for as long as that.
pub(crate) async fn server(apps: usize, retention: Duration) -> Outcome<Eureka> {
    let server = Eureka::war()
        .heap_megabytes(1024)
        .delta_retention(retention)
        .delta_retention_timer(Duration::from_secs(5))
        .cache_expiration(Duration::from_secs(180))
        .eviction_interval(Duration::from_secs(60))
        .start()
        .await?;
    server.api().register_all(apps, INSTANCES).await?;
    println!("{} instances of {apps} applications", apps * INSTANCES);
    // The first to ask makes the server put everything into words, and Java compile that.
    for _ in 0..3 {
        server.api().answer("/apps", "application/json").await?;
    }
    Ok(server)
}

/// Waits until a server tells hardly a change any more. Without a further one it would tell the old ones for as long as
/// it keeps an answer.
pub(crate) async fn quiet(server: &Eureka, retention: Duration) -> Outcome<()> {
    const SMALL: usize = 100_000;
    println!(
        "waiting until the server tells its changes no more, which takes {retention:?} after the last one"
    );
    let (start, api) = (Instant::now(), server.api());
    loop {
        let mark = start.elapsed().as_millis().to_string();
        api.register(&bulk_instance(0, 0).metadata(MARK, mark)).await?;
        let delta = api.answer("/apps/delta", "application/json").await?;
        if delta.body.len() < SMALL {
            return Ok(());
        }
        if start.elapsed() > retention + DEADLINE {
            return Err("the server has changes all the time".into());
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// The configuration of a follower that polls that often, wherever the server's grid is.
pub(crate) fn follower(server: &Eureka, interval: Duration, retention: Duration) -> Value {
    json!({
        "urls": [server.base_url()],
        "interval": format!("{}ms", interval.as_millis()),
        "delta_retention": format!("{}s", retention.as_secs()),
        "alignment": "never",
    })
}
