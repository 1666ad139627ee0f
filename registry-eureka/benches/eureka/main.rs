//! What Eureka costs: this crate, and the daemon with it, in processes of their own beside `py-eureka-client`, all against
//! one genuine server; and how soon a change is seen behind the server's cache.
//!
//! `cargo xtask bench eureka` runs all rows with 50 000 instances of 10 000 applications, and takes a quarter of an hour;
//! `--quick` runs smaller ones. Words run those whose names contain one of them: `full`, `churn`, `delta`, `latency`; `idle`
//! is a program of its own. Server and client come from `cargo xtask servers`.
#![allow(clippy::print_stdout, reason = "figures are its output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod child;
mod clock;
mod latency;
mod many;
mod process;
mod registry;
mod report;

use std::time::Duration;

use serde_json::Value;

pub(crate) use many::{INSTANCES, MARK};
pub(crate) use report::{Outcome, Row, row};

/// How long the server tells a change in deltas.
pub(crate) const RETENTION: Duration = Duration::from_secs(120);

/// How much is measured.
pub(crate) struct Sizes {
    pub(crate) apps: usize,
    /// Runs of each process that are compared; the least of each counts, for the machine may be busy.
    pub(crate) runs: usize,
    /// How long the churn goes on.
    pub(crate) seconds: u64,
    /// Intervals of the server's cache in seconds, each with the changes to learn from and those that are measured.
    pub(crate) caches: &'static [(u64, u64, u64)],
}

const FULL: Sizes = Sizes {
    apps: 10_000,
    runs: 3,
    seconds: 60,
    caches: &[(5, 20, 40), (30, 10, 10)],
};

const QUICK: Sizes = Sizes {
    apps: 1_000,
    runs: 1,
    seconds: 10,
    caches: &[(5, 8, 8)],
};

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
    let filters: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let wanted = |name: &str| {
        let is_meant = |filter: &&str| name.contains(*filter) || "eureka".contains(*filter);
        filters.is_empty() || filters.iter().any(is_meant)
    };
    let mut met = true;
    if ["full", "churn", "delta"].into_iter().any(wanted) {
        met &= runtime.block_on(of_many(&sizes, wanted))?;
    }
    if wanted("latency") {
        met &= report::show(&runtime.block_on(latency::rows(&sizes))?);
    }
    if met || words.contains(&"--quick") {
        Ok(())
    } else {
        Err("a bar was missed".into())
    }
}

/// The rows of one server with many instances, as they are found. True where all bars are met.
async fn of_many(sizes: &Sizes, wanted: impl Fn(&str) -> bool) -> Outcome<bool> {
    let server = many::server(sizes.apps, RETENTION).await?;
    let mut met = true;
    if wanted("full") {
        met &= report::show(&registry::full(sizes, &server).await?);
    }
    if wanted("churn") {
        met &= report::show(&registry::churn(sizes, &server).await?);
    }
    if wanted("delta") {
        met &= report::show(&registry::large_delta(sizes, &server).await?);
    }
    Ok(met)
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
