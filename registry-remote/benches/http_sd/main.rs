//! What a document of 50 000 targets costs: processor time of the whole process, from its bytes on disk to events, and to a
//! published snapshot.
//!
//! `cargo xtask bench http_sd` (`--quick`: 5 000 targets). A full run fails where a bar is missed, a quick one only shows the
//! figures.
#![allow(clippy::print_stdout, reason = "figures are its output")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt;
use registry_core::{Control, Discovery, Event, EventStream, PortDefaults, Resync, Scope, ServiceRegistry};
use registry_remote::{HttpSdConfig, HttpSdRegistry};
use rustix::time::{ClockId, clock_gettime};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const TARGETS: usize = 50_000;

/// For everything that there is, from bytes to events.
const ALL: Duration = Duration::from_secs(1);

/// For one target that changed among them.
const ONE: Duration = Duration::from_millis(500);

/// For a document that did not change: it is hashed at most.
const NONE: Duration = Duration::from_millis(50);

/// How documents are written.
#[derive(Clone, Copy)]
enum Shape {
    /// As a script does: few labels for many targets.
    Grouped,
    /// As an inventory does: a group for each target, with a dozen labels, most of which are different for each.
    Single,
    /// As `Grouped`, in YAML.
    Yaml,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Grouped => "groups of 1 000",
            Self::Single => "a group each, 12 labels",
            Self::Yaml => "groups of 1 000, YAML",
        }
    }

    /// A document; of one target the port is what is given.
    fn document(self, targets: usize, port: u16) -> Outcome<String> {
        let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        let port = |n: usize| if n == targets / 2 { port } else { 9100 };
        let mut text = String::new();
        match self {
            Self::Grouped => {
                for first in (0..targets).step_by(1_000) {
                    let all: Vec<String> = (first..targets.min(first + 1_000))
                        .map(|n| format!("\"{}:{}\"", address(n), port(n)))
                        .collect();
                    let (mark, service, all) =
                        (if first == 0 { '[' } else { ',' }, first / 1_000, all.join(","));
                    writeln!(
                        text,
                        r#"{mark}{{"targets": [{all}], "labels": {{"job": "service-{service}", "zone": "eu-1a"}}}}"#
                    )?;
                }
                text.push(']');
            }
            Self::Single => {
                for n in 0..targets {
                    let (mark, address, port, service) =
                        (if n == 0 { '[' } else { ',' }, address(n), port(n), n % 500);
                    write!(
                        text,
                        r#"{mark}{{"targets":["{address}:{port}"],"labels":{{"job":"service-{service}","zone":"eu-1a","#
                    )?;
                    for label in 0..5 {
                        write!(
                            text,
                            r#""__meta_{label}":"{label}-{n}","own_{label}":"{label}-{n}","#
                        )?;
                    }
                    writeln!(text, r#""rack":"{}"}}}}"#, n % 40)?;
                }
                text.push(']');
            }
            Self::Yaml => {
                for first in (0..targets).step_by(1_000) {
                    writeln!(
                        text,
                        "- labels: {{ job: service-{}, zone: eu-1a }}\n  targets:",
                        first / 1_000
                    )?;
                    for n in first..targets.min(first + 1_000) {
                        writeln!(text, "  - {}:{}", address(n), port(n))?;
                    }
                }
            }
        }
        Ok(text)
    }
}

/// What was measured, and what it may cost.
struct Row {
    name: String,
    took: Duration,
    bar: Option<Duration>,
}

fn main() -> Outcome<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_quick = words.iter().any(|word| word == "--quick");
    let mut filters = words.iter().filter(|word| !word.starts_with("--")).peekable();
    if filters.peek().is_some() && !filters.any(|word| "http_sd".contains(word.as_str())) {
        return Ok(ExitCode::SUCCESS);
    }
    let targets = if is_quick { TARGETS / 10 } else { TARGETS };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut met = true;
    println!("{targets} targets, processor time of the process");
    for shape in [Shape::Grouped, Shape::Single, Shape::Yaml] {
        for Row { name, took, bar } in runtime.block_on(rows(shape, targets))? {
            let passed = bar.is_none_or(|bar| took <= bar);
            met &= passed;
            let bar = bar.map_or_else(String::new, |bar| {
                format!("at most {bar:?}: {}", if passed { "pass" } else { "FAIL" })
            });
            println!("{:<60} {:>9.1} ms  {bar}", name, took.as_secs_f64() * 1e3);
        }
    }
    Ok(if met || is_quick {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn rows(shape: Shape, targets: usize) -> Outcome<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let ending = if matches!(shape, Shape::Yaml) {
        "yaml"
    } else {
        "json"
    };
    let path = directory.path().join(format!("targets.{ending}"));
    write(&path, &shape.document(targets, 9100)?)?;

    let control = Control::new("bench".parse()?, PortDefaults::default());
    let mut stream = registry(&path)?.watch(control.clone()).await?;
    let row = |what: &str, took, bar| Row {
        name: format!("{}: {what}", shape.name()),
        took,
        bar,
    };
    let mut rows = Vec::new();
    let before = cpu_time();
    let held = listing(&mut stream, targets).await?;
    rows.push(row("all, to events", cpu_time() - before, Some(ALL)));

    write(&path, &shape.document(targets, 9101)?)?;
    control.request_resync(everything());
    let before = cpu_time();
    let changed = listing(&mut stream, targets).await?;
    rows.push(row("one changed, to events", cpu_time() - before, Some(ONE)));

    control.request_resync(everything());
    let before = cpu_time();
    let same = listing(&mut stream, targets).await?;
    rows.push(row(
        "none changed, listed when asked to",
        cpu_time() - before,
        Some(NONE),
    ));
    drop((stream, held, changed, same));

    let before = cpu_time();
    let discovery = Discovery::builder()
        .registry("bench", registry(&path)?)?
        .start()?;
    discovery.ready().await;
    rows.push(row("all, to a snapshot", cpu_time() - before, None));
    let known: usize = discovery
        .snapshot()
        .services()
        .map(|service| service.endpoints().len())
        .sum();
    assert_eq!(known, targets);
    discovery.shutdown().await;
    Ok(rows)
}

fn registry(path: &Path) -> Outcome<HttpSdRegistry> {
    Ok(HttpSdRegistry::try_new(HttpSdConfig {
        files: vec![PathBuf::from(path)],
        ..HttpSdConfig::default()
    })?)
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    Ok(std::fs::rename(beside, path)?)
}

fn everything() -> Resync {
    Resync {
        scope: Scope::Registry,
        strong: false,
    }
}

/// The next batch, which has to list so many targets.
async fn listing(stream: &mut EventStream, targets: usize) -> Outcome<Vec<Event>> {
    let batch = stream.next().await.ok_or("the watch ended")??;
    let endpoints = |event: &Event| match event {
        Event::Apply { record, .. } => record.endpoints().len(),
        _ => 0,
    };
    let listed: usize = batch.iter().map(endpoints).sum();
    assert_eq!(listed, targets, "{:?}", batch.first());
    Ok(batch)
}

/// Processor time that this process has used so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
