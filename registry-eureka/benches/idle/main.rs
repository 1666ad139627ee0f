//! What polls leave behind that bring nothing, with a genuine server of 50 000 instances (`--quick`: of 5 000).
//!
//! In a program of its own: who counts allocations has buffers copied that grow in place otherwise, and what is measured of
//! memory beside it would be more than it is.
#![allow(clippy::print_stdout, reason = "figures are its output")]

#[path = "../eureka/many.rs"]
mod many;
#[path = "../eureka/report.rs"]
mod report;

use std::time::Duration;

use registry_core::Discovery;
use registry_eureka::{EurekaConfig, EurekaRegistry};
use report::{Outcome, Row, row};
use serde_json::Value;

/// How long the server tells a change in deltas.
const RETENTION: Duration = Duration::from_secs(20);

fn main() -> Outcome<()> {
    registry_testkit::init_tls();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_quick = words.iter().any(|word| word == "--quick");
    let mut filters = words.iter().filter(|word| !word.starts_with("--")).peekable();
    if filters.peek().is_some() && !filters.any(|word| "idle".contains(&**word) || "eureka".contains(&**word))
    {
        return Ok(());
    }
    let (apps, polls) = if is_quick { (1_000, 20) } else { (10_000, 100) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = runtime.block_on(many::server(apps, RETENTION))?;
    runtime.block_on(many::quiet(&server, RETENTION))?;
    let config = many::follower(&server, Duration::from_millis(100), RETENTION);
    if report::show(&[idle(config, polls)?]) || is_quick {
        Ok(())
    } else {
        Err("a bar was missed".into())
    }
}

/// Polls so often without a change after warming up, all on this thread.
fn idle(config: Value, polls: u64) -> Outcome<Row> {
    let config: EurekaConfig = serde_json::from_value(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let discovery = runtime.block_on(async {
        let discovery = Discovery::builder()
            .registry("bench", EurekaRegistry::try_new(config)?)?
            .start()?;
        discovery.ready().await;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(discovery)
    })?;
    // Between two polls, so that none is under way at either end.
    let polled = |count: u64| {
        let requests = || discovery.status().first().map_or(0, |status| status.requests);
        runtime.block_on(async {
            let until = requests() + count;
            while requests() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        });
    };
    polled(polls / 2);
    let before = discovery.snapshot().revision();
    let allocated = allocation_counter::measure(|| polled(polls));
    let published = discovery.snapshot().revision() - before;
    Ok(row(
        format!("{polls} polls without a change"),
        format!(
            "{} bytes retained of {} allocated, {published} publications",
            allocated.bytes_current, allocated.bytes_total
        ),
        "0 and 0",
        allocated.bytes_current <= 0 && published == 0,
    ))
}
