//! What it costs to serve a fleet: this crate and go-control-plane, each in a process of its own, before the same clients.
//!
//! `cargo xtask bench xds` serves 10 000 clusters of 10 endpoints to 100 delta clients: the initial sync, single changes, and
//! 1 000 changes a second; then what a stream costs that has nothing to do, and the routes that all services share. `--quick`
//! runs smaller ones. A word runs the servers whose names contain it: `ours`, `linear`, `snapshot`. Needs Go, which builds
//! the peer and the clients.
#![allow(clippy::print_stdout, reason = "figures are its output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::disallowed_methods, reason = "one thread that waits for processes")]

mod churn;
mod more;
mod peer;
mod process;
mod report;
mod serve;

use std::path::Path;
use std::time::{Duration, Instant};

use churn::Churn;
use process::{Line, Process};
use report::{Row, load, ms, quantile, row, show};

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much is measured.
struct Sizes {
    clusters: usize,
    clients: usize,
    changes: usize,
    /// How long changes go on without a pause, and how many there are each second.
    churn: (Duration, u32),
    /// How many streams have nothing to do.
    idle: usize,
}

const ENDPOINTS: usize = 10;

const FULL: Sizes = Sizes {
    clusters: 10_000,
    clients: 100,
    changes: 100,
    churn: (Duration::from_secs(60), 1_000),
    idle: 1_000,
};

const QUICK: Sizes = Sizes {
    clusters: 1_000,
    clients: 20,
    changes: 20,
    churn: (Duration::from_secs(5), 200),
    idle: 200,
};

/// What was measured of one server.
#[derive(Debug)]
struct Figures {
    /// Megabytes before the clients come, at the peak of their sync, and 10 s after it.
    idle: f64,
    peak: f64,
    steady: f64,
    /// From the first connection until all clients have everything.
    sync: Duration,
    sync_cpu: Duration,
    /// From before a change until the last client has it, sorted.
    latencies: Vec<Duration>,
    cpu_per_change: Duration,
    churn: Churn,
    /// Of the machine, after the sync, the single changes, and the churn.
    loads: [String; 3],
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if let [role, clusters] = arguments.as_slice()
        && role == "serve"
    {
        return serve::run(clusters.parse()?, ENDPOINTS);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let quick = words.contains(&"--quick");
    let sizes = if quick { QUICK } else { FULL };
    let filter = words.iter().find(|word| !word.starts_with("--"));
    let wanted = |server: &str| filter.is_none_or(|filter| server.contains(filter) || "xds".contains(filter));
    let go = peer::build()?;
    println!(
        "{} clusters of {ENDPOINTS} endpoints, {} clients",
        sizes.clusters, sizes.clients
    );
    let mut met = true;
    let mut mine = None;
    if wanted("ours") {
        let figures = measure(ours(sizes.clusters)?, &go, &sizes)?;
        met &= show(&rows("ours", &figures));
        met &= show(&[more::idle(&go, &sizes)?]);
        met &= show(&more::routes(&go, &sizes)?);
        mine = Some(quantile(&figures.latencies, 0.99));
    }
    for cache in ["linear", "snapshot"] {
        if !wanted(cache) {
            continue;
        }
        let figures = measure(theirs(&go, cache, sizes.clusters)?, &go, &sizes)?;
        show(&rows(cache, &figures));
        if let Some(mine) = mine.filter(|_| cache == "linear") {
            let share = mine.as_secs_f64() / quantile(&figures.latencies, 0.99).as_secs_f64();
            let what = "ours: p99 of one change, as a share of that of linear";
            met &= show(&[row(what, format!("{share:.3}")).bar("0.1", share <= 0.1)]);
        }
    }
    if met || quick {
        Ok(())
    } else {
        Err("a bar is missed".into())
    }
}

/// A server, and where it listens.
fn ready(server: Process) -> Outcome<(Process, String)> {
    match server.line(Duration::from_secs(120))? {
        Line::Listening(address) => Ok((server, address)),
        _ => Err("expected an address".into()),
    }
}

fn ours(clusters: usize) -> Outcome<(Process, String)> {
    let clusters = clusters.to_string();
    ready(Process::start(&std::env::current_exe()?, &["serve", &clusters])?)
}

fn theirs(go: &Path, cache: &str, clusters: usize) -> Outcome<(Process, String)> {
    let (clusters, endpoints) = (clusters.to_string(), ENDPOINTS.to_string());
    let sizes = ["-clusters", &clusters, "-endpoints", &endpoints];
    let arguments: Vec<&str> = ["server", "-cache", cache].into_iter().chain(sizes).collect();
    ready(Process::start(go, &arguments)?)
}

fn measure((mut server, address): (Process, String), go: &Path, sizes: &Sizes) -> Outcome<Figures> {
    // What building everything needed is no part of serving it.
    std::thread::sleep(Duration::from_secs(2));
    let idle = server.resident()?;
    let cpu = server.cpu()?;
    let began = Instant::now();
    let (count, clusters) = (sizes.clients.to_string(), sizes.clusters.to_string());
    let arguments = [
        "client",
        "-address",
        &address,
        "-clients",
        &count,
        "-clusters",
        &clusters,
    ];
    let mut clients = Process::start(go, &arguments)?;
    let Line::Synced = clients.line(Duration::from_secs(300))? else {
        return Err("expected the clients to have everything".into());
    };
    let sync = began.elapsed();
    let sync_cpu = server.cpu()?.saturating_sub(cpu);
    let peak = server.peak()?;
    let synced = load();
    std::thread::sleep(Duration::from_secs(10));
    let steady = server.resident()?;

    let cpu = server.cpu()?;
    let mut latencies = Vec::new();
    let mut weight = 1;
    for n in 0..sizes.changes {
        weight += 1;
        let cluster = n * 97 % sizes.clusters;
        server.say(&format!("change {cluster} {weight}"))?;
        let Line::Changing(from) = server.line(Duration::from_secs(60))? else {
            return Err("expected a change".into());
        };
        let Line::Seen(seen, until) = clients.line(Duration::from_secs(60))? else {
            return Err("expected the clients to see a change".into());
        };
        if seen != weight {
            return Err(format!("change {seen} was seen, expected {weight}").into());
        }
        latencies.push(Duration::from_nanos(until.saturating_sub(from)));
        std::thread::sleep(Duration::from_millis(50));
    }
    let cpu_per_change = server.cpu()?.saturating_sub(cpu) / u32::try_from(sizes.changes)?;
    latencies.sort_unstable();
    let changed = load();
    let churn = churn::run(&mut server, &mut clients, sizes, weight)?;
    Ok(Figures {
        idle,
        peak,
        steady,
        sync,
        sync_cpu,
        latencies,
        cpu_per_change,
        churn,
        loads: [synced, changed, load()],
    })
}

/// Bars are for ours; the peers have them beside their figures for comparison.
fn rows(server: &str, figures: &Figures) -> Vec<Row> {
    let Figures { churn, loads, .. } = figures;
    let [synced, changed, churned] = loads;
    let p99 = quantile(&figures.latencies, 0.99);
    let limit = Duration::from_millis;
    vec![
        row(
            format!("{server}: initial sync, server CPU"),
            format!("{} in {} (load {synced})", ms(figures.sync_cpu), ms(figures.sync)),
        )
        .bar("2 s", figures.sync_cpu <= limit(2_000)),
        row(
            format!("{server}: memory, peak of the sync"),
            format!("{:.0} MB, {:.0} before", figures.peak, figures.idle),
        )
        .bar("500 MB", figures.peak <= 500.0),
        row(
            format!("{server}: memory, 10 s later"),
            format!("{:.0} MB", figures.steady),
        )
        .bar("250 MB", figures.steady <= 250.0),
        row(
            format!("{server}: one change at all clients"),
            format!(
                "p50 {}, p99 {} (load {changed})",
                ms(quantile(&figures.latencies, 0.5)),
                ms(p99)
            ),
        )
        .bar("p99 100 ms", p99 <= limit(100)),
        row(
            format!("{server}: one change, server CPU"),
            ms(figures.cpu_per_change),
        )
        .bar("10 ms", figures.cpu_per_change <= limit(10)),
        row(
            format!("{server}: oldest change under churn"),
            format!(
                "{}, p50 {}, p99 {}, {} superseded, {} missed (load {churned})",
                ms(churn.oldest),
                ms(churn.p50),
                ms(churn.p99),
                churn.superseded,
                churn.missed
            ),
        )
        .bar("1 s", churn.oldest <= limit(1_000) && churn.missed == 0),
        row(
            format!("{server}: each change under churn, server CPU"),
            format!(
                "{:.0} µs; of cores, the server had {:.2}, the clients {:.2}",
                churn.cpu.as_secs_f64() * 1e6,
                churn.server,
                churn.clients
            ),
        ),
    ]
}
