//! What Eureka costs: this crate, and the daemon with it, in processes of their own beside `py-eureka-client`, all against
//! one genuine server; and how soon a change is seen behind the server's cache.
//!
//! `cargo xtask bench eureka` runs all rows with 50 000 instances of 10 000 applications, and takes a quarter of an hour;
//! `--quick` runs smaller ones. A word runs those whose names contain it: `full`, `idle`, `churn`, `delta`, `latency`.
//! Server and client come from `cargo xtask servers`.
#![allow(clippy::print_stdout, reason = "figures are its output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod child;
mod clock;
mod latency;
mod process;
mod registry;

use std::time::Duration;

use registry_testkit::eureka::Eureka;
use serde_json::{Value, json};

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The key of metadata that numbers changes.
pub(crate) const MARK: &str = "mark";

/// Instances of each application.
pub(crate) const INSTANCES: usize = 5;

/// How long the server tells a change in deltas.
pub(crate) const RETENTION: Duration = Duration::from_secs(120);

/// How much is measured.
pub(crate) struct Sizes {
    pub(crate) apps: usize,
    /// Runs of each process that are compared; the least of each counts, for the machine may be busy.
    pub(crate) runs: usize,
    pub(crate) polls: u64,
    /// How long the churn goes on.
    pub(crate) seconds: u64,
    /// Intervals of the server's cache in seconds, each with the changes to learn from and those that are measured.
    pub(crate) caches: &'static [(u64, u64, u64)],
}

const FULL: Sizes = Sizes {
    apps: 10_000,
    runs: 3,
    polls: 100,
    seconds: 60,
    caches: &[(5, 20, 40), (30, 10, 10)],
};

const QUICK: Sizes = Sizes {
    apps: 1_000,
    runs: 1,
    polls: 20,
    seconds: 10,
    caches: &[(5, 8, 8)],
};

pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) found: String,
    pub(crate) bar: &'static str,
    pub(crate) met: bool,
}

pub(crate) fn row(what: impl Into<String>, found: impl Into<String>, bar: &'static str, met: bool) -> Row {
    Row {
        what: what.into(),
        found: found.into(),
        bar,
        met,
    }
}

fn main() -> Outcome<()> {
    registry_testkit::init_tls();
    let mut arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let mut next = || {
        if arguments.is_empty() {
            None
        } else {
            Some(arguments.remove(0))
        }
    };
    let first = next();
    let first = first.as_deref();
    if first == Some("idle-child") {
        let (config, polls) = (next().unwrap_or_default(), next().unwrap_or_default());
        return child::idle(&config, polls.parse()?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if first == Some("child") {
        return runtime.block_on(child::run(&next().unwrap_or_default()));
    }
    let words: Vec<&str> = first
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let sizes = if words.contains(&"--quick") { QUICK } else { FULL };
    let filter = words.iter().find(|word| !word.starts_with("--"));
    let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter) || "eureka".contains(filter));
    let mut rows = Vec::new();
    if ["full", "idle", "churn", "delta"].into_iter().any(wanted) {
        rows.extend(runtime.block_on(of_many(&sizes, wanted))?);
    }
    if wanted("latency") {
        rows.extend(runtime.block_on(latency::rows(&sizes))?);
    }
    let width = rows
        .iter()
        .map(|row| row.what.chars().count())
        .max()
        .unwrap_or_default();
    for Row {
        what,
        found,
        bar,
        met,
    } in &rows
    {
        let verdict = if *met { "met" } else { "MISSED" };
        println!("{what:width$}  {found}  (bar: {bar}, {verdict})");
    }
    if rows.iter().all(|row| row.met) || words.contains(&"--quick") {
        Ok(())
    } else {
        Err("a bar was missed".into())
    }
}

/// The rows of one server with many instances.
async fn of_many(sizes: &Sizes, wanted: impl Fn(&str) -> bool) -> Outcome<Vec<Row>> {
    let server = Eureka::war()
        .heap_megabytes(1024)
        .delta_retention(RETENTION)
        .delta_retention_timer(Duration::from_secs(5))
        .cache_expiration(Duration::from_secs(180))
        .eviction_interval(Duration::from_secs(60))
        .start()
        .await?;
    server.api().register_all(sizes.apps, INSTANCES).await?;
    println!(
        "{} instances of {} applications",
        sizes.apps * INSTANCES,
        sizes.apps
    );
    // The first to ask makes the server put everything into words, and Java compile that.
    for _ in 0..3 {
        server.api().answer("/apps", "application/json").await?;
    }
    let mut rows = Vec::new();
    if wanted("full") {
        rows.extend(registry::full(sizes, &server).await?);
    }
    if wanted("idle") {
        rows.extend(registry::idle(sizes, &server).await?);
    }
    if wanted("churn") {
        rows.extend(registry::churn(sizes, &server).await?);
    }
    if wanted("delta") {
        rows.extend(registry::large_delta(sizes, &server).await?);
    }
    Ok(rows)
}

/// The configuration of a follower that polls that often, wherever the server's grid is.
pub(crate) fn follower(server: &Eureka, interval: Duration) -> Value {
    json!({
        "urls": [server.base_url()],
        "interval": format!("{}ms", interval.as_millis()),
        "delta_retention": format!("{}s", RETENTION.as_secs()),
        "alignment": "never",
    })
}

pub(crate) fn number(answer: &Value, field: &str) -> Outcome<u64> {
    answer[field]
        .as_u64()
        .ok_or_else(|| format!("{answer}: no {field}").into())
}

/// Millions of bytes of so many KiB.
pub(crate) fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
