//! What a leaf costs: the time from its start until everything of another daemon is published, and its memory then; and the
//! time and traffic of one change.
//!
//! `cargo xtask bench tiers` (`--quick`: 5 000 endpoints). The other daemon is a process of its own, so that memory is that
//! of the leaf alone.
#![allow(clippy::print_stdout, reason = "figures are its output")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use registry_core::{
    Address, Discovery, Endpoint, Health, Interner, Locality, ServiceId, ServiceMeta, ServicePort,
    ServiceRecord, StaticRegistry,
};
use registry_remote::{DaemonConfig, DaemonRegistry};
use registryd::http::{HttpOptions, serve};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Endpoints of one service.
const SIZE: u32 = 100;

/// For everything of 100 000 endpoints to be published at the leaf.
const SYNC: Duration = Duration::from_secs(10);

/// For the memory of the leaf with 100 000 endpoints, in bytes for each of them.
const BYTES: u64 = 2_000;

const CHILD: &str = "--serve";

/// A service with labels, ids and machines as of a real one.
fn record(interner: &mut Interner, service: u32, change: u32) -> ServiceRecord {
    let name = format!("service-{service:06}");
    let endpoints: Vec<Endpoint> = (0..SIZE)
        .map(|nth| {
            let number = service * SIZE + nth;
            let node = number % 5_000;
            let zone = ["eu-west-1a", "eu-west-1b", "eu-west-1c"][node as usize % 3];
            Endpoint::builder(Address::V4((0x0A00_0000 + number).into()))
                .port(interner.text("http"), 8080)
                .health(if nth < change {
                    Health::Draining
                } else {
                    Health::Healthy
                })
                .status(interner.text("passing"))
                .node(interner.text(&format!("node-{node:04}.example.internal")))
                .id(format!(
                    "{number:08x}-{:04x}-{:014x}",
                    number % 9973,
                    u64::from(number) * 2_654_435_761
                ))
                .locality(Locality {
                    region: interner.text("eu-west"),
                    zone: interner.text(zone),
                    ..Locality::default()
                })
                .label(interner.text("app"), interner.text(&name))
                .label(interner.text("version"), interner.text(&format!("v{}", nth % 2)))
                .label(
                    interner.text("team"),
                    interner.text(&format!("team-{}", service % 100)),
                )
                .build_in(interner)
        })
        .collect();
    let meta = ServiceMeta::builder(ServiceId::named(interner.text(&name)))
        .ports([ServicePort::new(interner.text("http"))])
        .build();
    ServiceRecord::new(meta, endpoints)
}

/// The other daemon. Each line that it reads is a change of one service.
async fn other(services: u32) -> Outcome<()> {
    let mut interner = Interner::default();
    let mut records: Vec<_> = (0..services)
        .map(|service| record(&mut interner, service, 0))
        .collect();
    let registry = StaticRegistry::new(records.clone());
    let handle = registry.handle();
    let discovery = Discovery::builder().registry("vms", registry)?.start()?;
    discovery.ready().await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    tokio::spawn(serve(
        listener,
        discovery,
        HttpOptions::default(),
        CancellationToken::new(),
    ));
    let read = tokio::task::spawn_blocking(move || {
        for (change, _line) in (1..).zip(std::io::stdin().lock().lines()) {
            records[0] = record(&mut interner, 0, change);
            handle.set(records.clone());
        }
    });
    read.await?;
    Ok(())
}

struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What of this process is in memory now, and was at most, in bytes.
fn memory() -> Outcome<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let kilobytes = field("VmRSS:").zip(field("VmHWM:"));
    let (now, most) = kilobytes.ok_or("no memory in /proc/self/status")?;
    Ok((now * 1024, most * 1024))
}

async fn leaf(services: u32, quick: bool) -> Outcome<()> {
    let program = std::env::current_exe()?;
    let mut child = Other(
        Command::new(program)
            .args([CHILD, &services.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut address = String::new();
    BufReader::new(child.0.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let (before, _) = memory()?;

    let start = Instant::now();
    let config = DaemonConfig {
        urls: vec![format!("http://{}", address.trim())],
        ..DaemonConfig::default()
    };
    let discovery = Discovery::builder()
        .registry("parent", DaemonRegistry::try_new(config)?)?
        .start()?;
    discovery.ready().await;
    let synced = start.elapsed();
    let endpoints = discovery.snapshot().endpoint_count() as u64;
    let (now, most) = memory()?;
    let (held, peak) = ((now - before) / endpoints, (most - before) / endpoints);
    println!("{endpoints} endpoints of {services} services: published after {synced:.2?}");
    println!(
        "memory: {held} bytes an endpoint then ({} MiB), {peak} at most",
        (now - before) >> 20
    );

    let mut orders = child.0.stdin.take().ok_or("no input")?;
    let mut took = Vec::new();
    for _ in 0..20 {
        let mut changes = discovery.changes();
        let start = Instant::now();
        orders.write_all(b"\n")?;
        orders.flush()?;
        changes.next().await.ok_or("discovery ended")?;
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    took.sort();
    println!(
        "one endpoint of one service of {SIZE} changes: seen at the leaf after {:.2?} (median of 20)",
        took[10]
    );
    if !quick && (synced > SYNC || held > BYTES) {
        return Err(format!("expected at most {SYNC:?} and {BYTES} bytes an endpoint").into());
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    if let [first, services] = &*arguments.iter().map(String::as_str).collect::<Vec<_>>()
        && *first == CHILD
    {
        return runtime.block_on(other(services.parse()?));
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with("--"));
    if filter.is_some_and(|filter| !"tiers".contains(filter.as_str())) {
        return Ok(());
    }
    registry_testkit::init_tls();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    runtime.block_on(leaf(if quick { 50 } else { 1_000 }, quick))
}
