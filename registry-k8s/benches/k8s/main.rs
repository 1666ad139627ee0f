//! What Kubernetes costs: this crate beside what `kube` alone costs, in processes of their own, against one API server.
//!
//! `cargo xtask bench k8s` runs all rows: to sync 5 000 services with 37 500 endpoints, to list again, and 100 writes a
//! second for a minute. `--quick` runs smaller ones. The server comes from `cargo xtask servers`.
#![allow(clippy::print_stdout, reason = "figures are its output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod child;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use child::Who;
use registry_testkit::kubernetes::{ADMIN, Kubernetes, bulk_endpoints, bulk_slice, endpoint_slices_path};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs of each process that are compared; the least of each counts, for the machine may be busy.
const RUNS: usize = 5;

const NAMESPACE: &str = "bench";

struct Sizes {
    services: usize,
    seconds: u64,
    lists: usize,
}

struct Row {
    what: String,
    found: String,
    bar: &'static str,
    met: bool,
}

fn main() -> Outcome<()> {
    registry_testkit::init_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let first = arguments.next();
    if first.as_deref() == Some("child") {
        let (word, kubeconfig) = (
            arguments.next().unwrap_or_default(),
            arguments.next().unwrap_or_default(),
        );
        let who = Who::ALL
            .into_iter()
            .find(|who| who.word() == word)
            .ok_or("no such process")?;
        return runtime.block_on(child::run(who, Path::new(&kubeconfig)));
    }
    let arguments: Vec<String> = first.into_iter().chain(arguments).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let filter = arguments.iter().find(|argument| !argument.starts_with("--"));
    if filter.is_some_and(|filter| !"kubernetes k8s".contains(filter.as_str())) {
        return Ok(());
    }
    let sizes = if quick {
        Sizes {
            services: 500,
            seconds: 5,
            lists: 3,
        }
    } else {
        Sizes {
            services: 5_000,
            seconds: 60,
            lists: 10,
        }
    };
    let rows = runtime.block_on(rows(&sizes))?;
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or_default();
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
    Ok(())
}

async fn rows(sizes: &Sizes) -> Outcome<Vec<Row>> {
    let server = Kubernetes::builder().persistent().start().await?;
    let kubeconfig = server.kubeconfig(ADMIN)?;
    server.api().namespace(NAMESPACE).await?;
    server.api().create_services(NAMESPACE, sizes.services).await?;
    let endpoints = (0..sizes.services).map(bulk_endpoints).sum();
    println!("{} services with {endpoints} endpoints", sizes.services);
    let mut rows = sync(sizes, endpoints, &kubeconfig).await?;
    rows.extend(lists(sizes, &kubeconfig).await?);
    rows.extend(writes(sizes, &server, &kubeconfig).await?);
    Ok(rows)
}

// === the rows ===

/// The least of processor time, wall time and memory that a process took to sync.
struct Cost {
    cpu_ms: u64,
    wall_ms: u64,
    rss: u64,
    peak: u64,
}

async fn sync(sizes: &Sizes, endpoints: usize, kubeconfig: &Path) -> Outcome<Vec<Row>> {
    let mut runs: [Vec<Cost>; 2] = Default::default();
    // By turns, so that what else the machine does strikes both.
    for _ in 0..RUNS {
        for (who, runs) in [Who::Ours, Who::Reflector].into_iter().zip(&mut runs) {
            let mut process = Process::start(who, kubeconfig)?;
            let known = number(&process.ask("endpoints")?, "endpoints")?;
            if known != endpoints as u64 {
                return Err(format!("{}: {known} endpoints, expected {endpoints}", who.word()).into());
            }
            // What was needed to sync alone is given back by now.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let memory = process.ask("memory")?;
            runs.push(Cost {
                cpu_ms: number(&process.synced, "cpu_ms")?,
                wall_ms: number(&process.synced, "synced_ms")?,
                rss: number(&memory, "rss")?,
                peak: number(&memory, "peak")?,
            });
        }
    }
    let costs = runs.map(|runs| {
        let least = |field: fn(&Cost) -> u64| runs.iter().map(field).min().unwrap_or_default();
        Cost {
            cpu_ms: least(|cost| cost.cpu_ms),
            wall_ms: least(|cost| cost.wall_ms),
            rss: least(|cost| cost.rss),
            peak: least(|cost| cost.peak),
        }
    });
    let [ours, theirs] = &costs;
    let share = |ours: u64, theirs: u64| ours as f64 / theirs.max(1) as f64;
    let cpu = share(ours.cpu_ms, theirs.cpu_ms);
    let rss = share(ours.rss, theirs.rss);
    let what = |what: &str| format!("{what}, {} services", sizes.services);
    Ok(vec![
        Row {
            what: what("processor time to sync"),
            found: format!(
                "{} ms, reflector {} ms: {cpu:.2} x (wall {} and {} ms)",
                ours.cpu_ms, theirs.cpu_ms, ours.wall_ms, theirs.wall_ms
            ),
            bar: "<= 1.0 x",
            met: cpu <= 1.0,
        },
        Row {
            what: what("resident memory"),
            found: format!(
                "{:.1} MiB, reflector {:.1} MiB: {rss:.2} x (peaks {:.1} and {:.1})",
                mib(ours.rss),
                mib(theirs.rss),
                mib(ours.peak),
                mib(theirs.peak)
            ),
            bar: "<= 0.5 x",
            met: rss <= 0.5,
        },
    ])
}

async fn lists(sizes: &Sizes, kubeconfig: &Path) -> Outcome<Vec<Row>> {
    let mut process = Process::start(Who::Ours, kubeconfig)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut steady = Vec::new();
    let mut peak = 0;
    let mut told = 0;
    for _ in 0..=sizes.lists {
        process.ask("reset")?;
        steady.push(number(&process.ask("memory")?, "rss")?);
        process.ask("list")?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        peak = peak.max(number(&process.ask("memory")?, "peak")?);
        told += number(&process.ask("told")?, "told")?;
    }
    // The first list still grows what every list needs once.
    let (first, second) = (steady[0], steady[1]);
    let last = steady.last().copied().unwrap_or_default();
    let times = peak as f64 / first.max(1) as f64;
    let drift = last as f64 / second.max(1) as f64 - 1.0;
    Ok(vec![
        Row {
            what: "peak during a list of unchanged data".to_owned(),
            found: format!(
                "{:.1} MiB at rest, {:.1} at the peak: {times:.2} x",
                mib(first),
                mib(peak)
            ),
            bar: "<= 1.3 x",
            met: times <= 1.3,
        },
        Row {
            what: format!("memory after {} such lists", sizes.lists),
            found: format!(
                "{:.1} -> {:.1} MiB: {:+.1} %",
                mib(second),
                mib(last),
                drift * 100.0
            ),
            bar: "< 5 %",
            met: drift < 0.05,
        },
        Row {
            what: "services told downstream meanwhile".to_owned(),
            found: told.to_string(),
            bar: "0",
            met: told == 0,
        },
    ])
}

async fn writes(sizes: &Sizes, server: &Kubernetes, kubeconfig: &Path) -> Outcome<Vec<Row>> {
    let mut ours = Process::start(Who::Ours, kubeconfig)?;
    let mut theirs = Process::start(Who::Watcher, kubeconfig)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = number(&ours.ask("told")?, "cpu_ms")?;
    let count = sizes.seconds * 100;
    let collection = endpoint_slices_path(NAMESPACE);
    let mut slices = server.api().list(&collection).await?;
    slices.sort_by_key(|slice| slice["metadata"]["name"].to_string());
    let slices: Vec<Value> = slices
        .into_iter()
        .map(|mut slice| slice["endpoints"].take())
        .collect();
    let mut starts = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 0..count {
        ticks.tick().await;
        let api = server.api().clone();
        let service = usize::try_from(number)? * 7 % sizes.services;
        let path = format!("{collection}/{}", bulk_slice(service));
        let mut endpoints = slices[service].clone();
        endpoints[0]["nodeName"] = json!(format!("write-{number}"));
        starts.push(now_us());
        tasks.spawn(async move { api.patch(&path, &json!({ "endpoints": endpoints })).await });
    }
    while let Some(written) = tasks.join_next().await {
        written??;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = number(&ours.ask("told")?, "cpu_ms")? - cpu;
    let latencies = |process: &mut Process| -> Outcome<Vec<u64>> {
        let arrivals = process.ask("arrivals")?;
        let mut latencies = Vec::new();
        for (number, start) in starts.iter().enumerate() {
            // A write may be overtaken by the next to the same slice before anybody sees it.
            if let Some(at) = arrivals[number.to_string()].as_u64() {
                latencies.push(at.saturating_sub(*start));
            }
        }
        if latencies.len() * 100 < starts.len() * 95 {
            return Err(format!("{} of {} writes were seen", latencies.len(), starts.len()).into());
        }
        latencies.sort_unstable();
        Ok(latencies)
    };
    let (mine, others) = (latencies(&mut ours)?, latencies(&mut theirs)?);
    let at = |latencies: &[u64], percent: usize| {
        latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)]
    };
    let beyond = at(&mine, 99) as f64 / 1e3 - at(&others, 99) as f64 / 1e3;
    Ok(vec![Row {
        what: format!(
            "write of a slice to snapshot, 100/s for {} s, published each {:?}",
            sizes.seconds,
            child::PUBLISH_INTERVAL
        ),
        found: format!(
            "p50 {:.1} ms, p99 {:.1} ms; bare watcher {:.1} and {:.1} ms: {beyond:+.1} ms at p99 ({} of {count} seen, {:.1} % of a core)",
            at(&mine, 50) as f64 / 1e3,
            at(&mine, 99) as f64 / 1e3,
            at(&others, 50) as f64 / 1e3,
            at(&others, 99) as f64 / 1e3,
            mine.len(),
            cpu as f64 / 10.0 / sizes.seconds as f64,
        ),
        bar: "p99 <= watcher's + 5 ms",
        met: beyond <= 5.0,
    }])
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn number(answer: &Value, field: &str) -> Outcome<u64> {
    answer[field]
        .as_u64()
        .ok_or_else(|| format!("{answer}: no {field}").into())
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

// === processes ===

struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// What it said once it had synced.
    synced: Value,
}

impl Process {
    fn start(who: Who, kubeconfig: &Path) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["child", who.word()])
            .arg(kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut process = Self {
            child,
            lines,
            synced: Value::Null,
        };
        process.synced = process.answer()?;
        Ok(process)
    }

    fn ask(&mut self, word: &str) -> Outcome<Value> {
        writeln!(self.child.stdin.as_ref().ok_or("no input")?, "{word}")?;
        self.answer()
    }

    fn answer(&mut self) -> Outcome<Value> {
        let line = self.lines.next().ok_or("the process ended")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
