//! Figures of this crate's server alone: what a stream costs that has nothing to do, and what the routes cost that all
//! services share.

use std::path::Path;
use std::time::Duration;

use crate::process::{Line, Process};
use crate::report::{Row, load, ms, quantile, row};
use crate::{Outcome, Sizes, ours};

/// Services of which streams have everything, and have nothing to do.
const FEW: usize = 10;

/// The route configuration of the shared listener.
const ROUTES: &str = "http.15001";

fn clients(go: &Path, address: &str, count: usize, more: &[&str]) -> Outcome<Process> {
    let count = count.to_string();
    let mut arguments = vec!["client", "-address", address, "-clients", &count];
    arguments.extend(more);
    let clients = Process::start(go, &arguments)?;
    let Line::Synced = clients.line(Duration::from_secs(300))? else {
        return Err("expected the clients to have everything".into());
    };
    Ok(clients)
}

pub(crate) fn idle(go: &Path, sizes: &Sizes) -> Outcome<Row> {
    let (server, address) = ours(FEW)?;
    // What the first clients need is no cost of a stream.
    let few = FEW.to_string();
    drop(clients(go, &address, 20, &["-clusters", &few])?);
    std::thread::sleep(Duration::from_secs(2));
    let before = server.resident()?;
    let fleet = clients(go, &address, sizes.idle, &["-clusters", &few])?;
    std::thread::sleep(Duration::from_secs(5));
    let each = (server.resident()? - before).max(0.0) * 1e3 / sizes.idle as f64;
    drop(fleet);
    let what = format!("ours: memory of each of {} idle streams", sizes.idle);
    Ok(row(what, format!("{each:.1} KB")).bar("50 KB", each <= 50.0))
}

/// An HTTP service comes or goes, which changes the route configuration that holds all of them.
pub(crate) fn routes(go: &Path, sizes: &Sizes) -> Outcome<Vec<Row>> {
    let (mut server, address) = ours(sizes.clusters)?;
    std::thread::sleep(Duration::from_secs(2));
    let mut rows = Vec::new();
    for count in [1, sizes.clients] {
        let fleet = clients(go, &address, count, &["-routes", ROUTES])?;
        std::thread::sleep(Duration::from_secs(2));
        let cpu = server.cpu()?;
        let mut latencies = Vec::new();
        let changes = 20;
        for n in 1..=changes {
            server.say(&match n % 2 {
                1 => format!("change {} 1", sizes.clusters),
                _ => format!("remove {}", sizes.clusters),
            })?;
            let Line::Changing(from) = server.line(Duration::from_secs(60))? else {
                return Err("expected a change".into());
            };
            let Line::Seen(seen, until) = fleet.line(Duration::from_secs(120))? else {
                return Err("expected the clients to see a change".into());
            };
            if seen != n {
                return Err(format!("change {seen} was seen, expected {n}").into());
            }
            latencies.push(Duration::from_nanos(until.saturating_sub(from)));
            std::thread::sleep(Duration::from_millis(200));
        }
        latencies.sort_unstable();
        let what = format!(
            "ours: one of {} HTTP services comes or goes, {count} with its routes",
            sizes.clusters
        );
        let found = format!(
            "p50 {}, p99 {}, {} CPU each (load {})",
            ms(quantile(&latencies, 0.5)),
            ms(quantile(&latencies, 0.99)),
            ms(server.cpu()?.saturating_sub(cpu) / changes),
            load()
        );
        rows.push(row(what, found));
    }
    Ok(rows)
}
