//! What it costs to serve a fleet: this crate and go-control-plane, each in a process of its own, before the same clients.
//!
//! `cargo xtask bench xds` serves 10 000 clusters of 10 endpoints to 100 delta clients: the initial sync, single changes, and
//! 1 000 changes a second. `--quick` runs smaller ones. A word runs the servers whose names contain it: `ours`, `linear`,
//! `snapshot`. Needs Go, which builds the peer and the clients.
#![allow(clippy::print_stdout, reason = "figures are its output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod peer;
mod process;
mod serve;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use process::{Line, Process};

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much is measured.
struct Sizes {
    clusters: usize,
    clients: usize,
    changes: usize,
    /// How long changes go on without a pause, and how many there are each second.
    churn: (Duration, u32),
}

const ENDPOINTS: usize = 10;

const FULL: Sizes = Sizes {
    clusters: 10_000,
    clients: 100,
    changes: 100,
    churn: (Duration::from_secs(60), 1_000),
};

const QUICK: Sizes = Sizes {
    clusters: 1_000,
    clients: 20,
    changes: 20,
    churn: (Duration::from_secs(5), 200),
};

/// What was measured of one server.
#[derive(Debug, Default)]
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
    /// The oldest change that a client was given while changes went on, and how many were not seen at all.
    oldest: Option<(Duration, usize)>,
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
    let sizes = if words.contains(&"--quick") { QUICK } else { FULL };
    let filter = words.iter().find(|word| !word.starts_with("--"));
    let go = peer::build()?;
    println!(
        "{} clusters of {ENDPOINTS} endpoints, {} clients",
        sizes.clusters, sizes.clients
    );
    for server in ["ours", "linear", "snapshot"] {
        if filter.is_some_and(|filter| !server.contains(filter) && !"xds".contains(filter)) {
            continue;
        }
        let figures = measure(server, &go, &sizes)?;
        show(server, &figures);
    }
    Ok(())
}

fn measure(name: &str, go: &std::path::Path, sizes: &Sizes) -> Outcome<Figures> {
    let clusters = sizes.clusters.to_string();
    let mut server = if name == "ours" {
        Process::start(&std::env::current_exe()?, &["serve", &clusters])?
    } else {
        let endpoints = ENDPOINTS.to_string();
        Process::start(
            go,
            &[
                "server",
                "-cache",
                name,
                "-clusters",
                &clusters,
                "-endpoints",
                &endpoints,
            ],
        )?
    };
    let Line::Listening(address) = server.line(Duration::from_secs(120))? else {
        return Err("expected an address".into());
    };
    // What building everything needed is no part of serving it.
    std::thread::sleep(Duration::from_secs(2));
    let mut figures = Figures {
        idle: server.resident()?,
        ..Figures::default()
    };
    let cpu = server.cpu()?;
    let began = Instant::now();
    let count = sizes.clients.to_string();
    let mut clients = Process::start(
        go,
        &[
            "client",
            "-address",
            &address,
            "-clients",
            &count,
            "-clusters",
            &clusters,
        ],
    )?;
    let Line::Synced = clients.line(Duration::from_secs(300))? else {
        return Err("expected the clients to have everything".into());
    };
    figures.sync = began.elapsed();
    figures.sync_cpu = server.cpu()?.saturating_sub(cpu);
    figures.peak = server.peak()?;
    std::thread::sleep(Duration::from_secs(10));
    figures.steady = server.resident()?;

    let cpu = server.cpu()?;
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
        figures
            .latencies
            .push(Duration::from_nanos(until.saturating_sub(from)));
        std::thread::sleep(Duration::from_millis(50));
    }
    figures.cpu_per_change = server.cpu()?.saturating_sub(cpu) / u32::try_from(sizes.changes)?;
    figures.latencies.sort_unstable();
    figures.oldest = Some(churn(&mut server, &mut clients, sizes, weight)?);
    Ok(figures)
}

/// Changes without a pause, each of another cluster than the ones before it, so that none can be left out.
fn churn(
    server: &mut Process,
    clients: &mut Process,
    sizes: &Sizes,
    from: u32,
) -> Outcome<(Duration, usize)> {
    let (length, rate) = sizes.churn;
    let began = Instant::now();
    let mut told = Vec::new();
    let mut seen = HashMap::new();
    let mut weight = from;
    let note = |line: Line, told: &mut Vec<u64>, seen: &mut HashMap<u32, u64>| match line {
        Line::Changing(at) => told.push(at),
        Line::Seen(weight, at) => {
            seen.insert(weight, at);
        }
        _ => {}
    };
    while began.elapsed() < length {
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while weight - from < due {
            weight += 1;
            let cluster = weight as usize % sizes.clusters;
            server.say(&format!("change {cluster} {weight}"))?;
        }
        for process in [&mut *server, &mut *clients] {
            while let Some(line) = process.pending()? {
                note(line, &mut told, &mut seen);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let patience = Instant::now() + Duration::from_secs(30);
    while Instant::now() < patience {
        let mut quiet = true;
        for process in [&mut *server, &mut *clients] {
            while let Some(line) = process.pending()? {
                quiet = false;
                note(line, &mut told, &mut seen);
            }
        }
        if quiet && told.len() == (weight - from) as usize && seen.len() == told.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut oldest = Duration::ZERO;
    let mut missed = 0;
    for (weight, told) in (from + 1..).zip(&told) {
        match seen.get(&weight) {
            Some(at) => oldest = oldest.max(Duration::from_nanos(at.saturating_sub(*told))),
            None => missed += 1,
        }
    }
    Ok((oldest, missed))
}

fn show(server: &str, figures: &Figures) {
    let at = |share: f64| {
        let last = figures.latencies.len().saturating_sub(1);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = (last as f64 * share).round() as usize;
        figures.latencies.get(index).copied().unwrap_or_default()
    };
    let ms = |duration: Duration| format!("{:.1} ms", duration.as_secs_f64() * 1e3);
    println!(
        "{server}: sync {} ({} CPU), memory {:.0} MB idle, {:.0} peak, {:.0} steady",
        ms(figures.sync),
        ms(figures.sync_cpu),
        figures.idle,
        figures.peak,
        figures.steady
    );
    println!(
        "{server}: one change p50 {}, p99 {}, {} CPU",
        ms(at(0.5)),
        ms(at(0.99)),
        ms(figures.cpu_per_change)
    );
    if let Some((oldest, missed)) = figures.oldest {
        println!(
            "{server}: under churn the oldest change {}, {missed} missed",
            ms(oldest)
        );
    }
}
