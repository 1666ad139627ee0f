//! The daemon as its users run it, in front of a real Consul: how soon a change is seen, by its watch and by a real Envoy,
//! how many connections it takes, how much memory.
//!
//! `cargo xtask bench daemon` runs all rows; a word runs those whose names contain it, `--quick` smaller ones. Every
//! row asserts on what the daemon serves. The servers come from `cargo xtask servers`.

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/it/daemon.rs"]
mod daemon;
mod fleet;
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/it/stream.rs"]
mod stream;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use daemon::Daemon;
use registry_testkit::consul::{Consul, ConsulApi, instance_id, service_check_id, service_name};
use registry_testkit::sockets;
use serde_json::{Value, json};
use stream::{Stream, statuses};
use tokio::time::Instant;

/// Instances of each service, and the nodes that they are spread over.
const INSTANCES: usize = 5;
const NODES: usize = 100;

/// Longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(180);

struct Row {
    what: String,
    found: String,
    bar: &'static str,
    met: bool,
}

fn row(what: &str, found: String, bar: &'static str, met: bool) -> Row {
    Row {
        what: what.to_owned(),
        found,
        bar,
        met,
    }
}

type Outcome = Result<Vec<Row>, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    registry_testkit::init_tls();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let filter = arguments.iter().find(|argument| !argument.starts_with("--"));
    let wanted = |name: &str| {
        filter.is_none_or(|filter| name.contains(filter.as_str()) || "daemon".contains(filter.as_str()))
    };
    let mut rows = Vec::new();
    if wanted("memory") {
        rows.extend(memory_of_few().await?);
    }
    if wanted("change") {
        rows.extend(changes(if quick { 20 } else { 200 }).await?);
    }
    if wanted("envoy") {
        rows.extend(fleet::changes(if quick { 20 } else { 200 }).await?);
    }
    if wanted("plain") {
        rows.extend(plain(if quick { 200 } else { 1_000 }).await?);
    }
    if wanted("https") {
        rows.extend(https(if quick { 500 } else { 10_000 }, if quick { 20 } else { 200 }).await?);
    }
    if wanted("restart") {
        rows.extend(restart(if quick { 100 } else { 1_000 }).await?);
    }
    if wanted("many") {
        rows.extend(memory_of_many(if quick { 500 } else { 10_000 }).await?);
    }
    print(&rows);
    if rows.iter().all(|row| row.met) {
        Ok(())
    } else {
        Err("a bar was missed".into())
    }
}

#[allow(clippy::print_stdout, reason = "the table is the result")]
fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
    for Row {
        what,
        found,
        bar,
        met,
    } in rows
    {
        println!(
            "{what:width$}  {found:>28}  {bar:>12}  {}",
            if *met { "met" } else { "MISSED" }
        );
    }
}

/// A daemon with that one Consul, called `consul`; `more` are further keys of its entry.
async fn start(url: &str, more: &str) -> Daemon {
    let entry = format!("  - name: consul\n    consul:\n      address: {url}\n      {more}\n");
    let config = format!("http: {{ listen: \"127.0.0.1:0\" }}\nregistries:\n{entry}");
    Daemon::start(&[("registryd.yaml", &config)]).await
}

async fn registry(daemon: &Daemon) -> Value {
    daemon.get("/v1/registries/consul").await.1
}

async fn endpoints(daemon: &Daemon) -> usize {
    let endpoints = registry(daemon).await["endpoints"].as_u64().unwrap_or(0);
    usize::try_from(endpoints).unwrap_or(usize::MAX)
}

/// Waits until the registry is in sync with that many services.
async fn synced(daemon: &Daemon, services: usize) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    loop {
        let registry = registry(daemon).await;
        if registry["phase"] == "synced" && registry["services"].as_u64() == Some(services as u64) {
            return Ok(());
        }
        if started.elapsed() > DEADLINE {
            return Err(format!("not in sync within {DEADLINE:?}: {registry}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the watch has told of that status of that endpoint.
async fn told(watch: &mut Stream, host: &str, id: &str, status: &str) {
    let of = |service: &Value| {
        let endpoints = service["endpoints"].as_array().cloned().unwrap_or_default();
        let mut named = endpoints.into_iter().filter(|endpoint| {
            endpoint["sources"][0]["id"]
                .as_str()
                .is_some_and(|held| held.ends_with(id))
        });
        named.any(|endpoint| statuses(&json!({ "endpoints": [endpoint] })) == [status])
    };
    watch.until(host, of).await;
}

/// `RssAnon` and `VmRSS` in kB.
fn memory(daemon: &Daemon) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let of = |key: &str| -> Result<u64, Box<dyn std::error::Error>> {
        let line = status
            .lines()
            .find(|line| line.starts_with(key))
            .ok_or("the kernel does not tell")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
    };
    Ok((of("RssAnon:")?, of("VmRSS:")?))
}

/// One service changes; the time runs from before the request to Consul until the watch has told.
async fn changes(count: usize) -> Outcome {
    let consul = Consul::builder().start().await?;
    consul.api().register_services(10, INSTANCES, NODES).await?;
    let daemon = start(consul.url(), "").await;
    synced(&daemon, 11).await?;
    let mut watch = Stream::open(daemon.url()).await;
    let found = timed_changes(consul.api(), &mut watch, (10, NODES), count).await?;
    Ok(vec![row(
        &format!("change in Consul to the daemon's watch, {count} changes"),
        found.to_string(),
        "p99 50 ms",
        found.p99 <= Duration::from_millis(50),
    )])
}

struct Latencies {
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Latencies {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:.1} p99 {:.1} max {:.1} ms",
            ms(self.p50),
            ms(self.p99),
            ms(self.max)
        )
    }
}

async fn timed_changes(
    api: &ConsulApi,
    watch: &mut Stream,
    (services, nodes): (usize, usize),
    count: usize,
) -> Result<Latencies, Box<dyn std::error::Error>> {
    let mut times = Vec::with_capacity(count);
    for change in 0..count {
        let (service, instance) = (change * 7919 % services, change / services % INSTANCES);
        let node = ConsulApi::instance_node(service, instance, INSTANCES, nodes);
        let check = service_check_id(service, instance);
        let id = instance_id(service, instance);
        let status = if (change / services / INSTANCES).is_multiple_of(2) {
            "critical"
        } else {
            "passing"
        };
        let started = Instant::now();
        api.set_check(&node, &check, Some(&id), status).await?;
        let host = format!("{}.service.consul", service_name(service));
        told(watch, &host, &id, status).await;
        times.push(started.elapsed());
    }
    Ok(Latencies::of(times))
}

/// Watches how many connections the server has from this address while something else goes on.
struct Connections {
    most: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Connections {
    fn of(server: std::net::SocketAddrV4) -> Self {
        let most = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (most.clone(), stop.clone());
        tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(now) = sockets::established(Ipv4Addr::LOCALHOST, server) {
                    seen.fetch_max(now, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { most, stop }
    }

    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.most.load(Ordering::Relaxed)
    }
}

/// Plain HTTP under Consul's own limit of 200 connections.
async fn plain(services: usize) -> Outcome {
    let consul = Consul::builder().start().await?;
    consul.api().register_services(services, INSTANCES, NODES).await?;
    let connections = Connections::of(consul.address());
    let started = Instant::now();
    let daemon = start(consul.url(), "").await;
    synced(&daemon, services + 1).await?;
    let synced = started.elapsed();
    assert_eq!(
        endpoints(&daemon).await,
        services * INSTANCES + 1,
        "every instance, and the server itself"
    );

    // Another program on the same host goes on registering.
    let neighbour = ConsulApi::new(consul.url(), None)?;
    let mut refused = 0;
    for n in 0..50 {
        let registration = json!({ "ID": format!("other-{n}"), "Name": "other", "Port": 80 });
        refused += usize::from(neighbour.register(&registration).await.is_err());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = registry(&daemon).await;
    let failures = status["failures"].as_u64().unwrap_or(u64::MAX);
    // One more than the daemon's own: the neighbour's.
    let most = connections.finish().saturating_sub(1);
    Ok(vec![
        row(
            &format!("{services} services x {INSTANCES}, plain HTTP: in sync"),
            seconds(synced),
            "5 s",
            synced.as_secs() < 5,
        ),
        row("  most connections", most.to_string(), "80", most <= 80),
        row("  requests that failed", failures.to_string(), "0", failures == 0),
        row(
            "  other programs' registrations refused",
            refused.to_string(),
            "0",
            refused == 0,
        ),
        row(
            "  how the rest is watched",
            status["note"]
                .as_str()
                .map_or("parked", |_| "in turns")
                .to_owned(),
            "-",
            true,
        ),
    ])
}

/// HTTPS, where polls share HTTP/2 connections.
async fn https(services: usize, count: usize) -> Outcome {
    let consul = Consul::builder().tls().start().await?;
    consul
        .api()
        .register_services(services, INSTANCES, NODES * 10)
        .await?;
    let (Some(url), Some(address), Some(ca)) = (consul.https_url(), consul.https_address(), consul.ca_file())
    else {
        return Err("the server has no HTTPS".into());
    };
    let connections = Connections::of(address);
    let started = Instant::now();
    let tls = format!("http: {{ tls: {{ ca_file: {} }} }}", ca.display());
    let daemon = start(url, &tls).await;
    synced(&daemon, services + 1).await?;
    let synced = started.elapsed();
    // The polls are parked after the reads.
    tokio::time::sleep(Duration::from_secs(2) + Duration::from_micros(2_000) * u32::try_from(services)?)
        .await;
    let mut watch = Stream::open(daemon.url()).await;
    let found = timed_changes(consul.api(), &mut watch, (services, NODES * 10), count).await?;
    let quiet = idle(&daemon, &consul, services).await?;
    let most = connections.finish();
    let (anonymous, resident) = memory(&daemon)?;
    let mut rows = vec![
        row(
            &format!("{services} services x {INSTANCES}, HTTPS: in sync"),
            seconds(synced),
            "-",
            true,
        ),
        row("  most connections", most.to_string(), "64", most <= 64),
        row(
            &format!("  {count} changes"),
            found.to_string(),
            "p99 100 ms",
            found.p99 <= Duration::from_millis(100),
        ),
        row(
            "  resident",
            format!("{anonymous} kB anon, {resident} kB"),
            "-",
            true,
        ),
    ];
    rows.extend(quiet);
    Ok(rows)
}

/// A minute in which nothing changes: what the watch costs the registry, and the daemon.
async fn idle(
    daemon: &Daemon,
    consul: &Consul,
    services: usize,
) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    const MINUTE: Duration = Duration::from_secs(60);
    let server = consul.pid().ok_or("the server has ended")?;
    let requests = async || {
        registry(daemon).await["requests"]
            .as_u64()
            .ok_or("no number of requests")
    };
    let before = (requests().await?, cpu(server)?, cpu(daemon.pid())?);
    tokio::time::sleep(MINUTE).await;
    let asked = requests().await? - before.0;
    // Each service's poll, and the catalogue's, comes back once in the 30 s for which it is parked; a tenth is slack.
    let most = (services as u64 + 1) * 2 * 11 / 10;
    let share = |ticks: u64| {
        format!(
            "{:.1} % of a core",
            100.0 * Duration::from_millis(ticks * 10).div_duration_f64(MINUTE)
        )
    };
    let files = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))?.count();
    Ok(vec![
        row(
            "  a quiet minute: requests",
            asked.to_string(),
            "2 a service",
            asked <= most,
        ),
        row("  the server's CPU", share(cpu(server)? - before.1), "-", true),
        row(
            "  the daemon's CPU",
            share(cpu(daemon.pid())? - before.2),
            "-",
            true,
        ),
        row("  the daemon's open files", files.to_string(), "-", true),
    ])
}

/// The CPU time of a process so far, in hundredths of a second.
fn cpu(process: u32) -> Result<u64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let field = |at: usize| fields.get(at).ok_or("the kernel does not tell");
    Ok(field(11)?.parse::<u64>()? + field(12)?.parse::<u64>()?)
}

async fn memory_of_few() -> Outcome {
    let consul = Consul::builder().start().await?;
    consul.api().register_services(9, INSTANCES, NODES).await?;
    let daemon = start(consul.url(), "").await;
    synced(&daemon, 10).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (anonymous, resident) = memory(&daemon)?;
    Ok(vec![
        row(
            "10 services: RssAnon",
            format!("{anonymous} kB"),
            "10 MB",
            anonymous <= 10_000,
        ),
        row(
            "10 services: RSS",
            format!("{resident} kB"),
            "20 MB",
            resident <= 20_000,
        ),
    ])
}

/// A daemon is killed with all that it knew, and started again when its registry is gone.
async fn restart(services: usize) -> Outcome {
    const ENDPOINTS: usize = 100;
    let services: Vec<Value> = (0..services)
        .map(|service| {
            let endpoints: Vec<Value> = (0..ENDPOINTS)
                .map(|nth| {
                    let address = Ipv4Addr::from(0x0a00_0000 + u32::try_from(service * ENDPOINTS + nth).unwrap_or(0));
                    let labels = json!({ "version": "v2", "team": "money", "shard": (nth % 7).to_string() });
                    let locality = json!({ "region": "eu", "zone": format!("eu-{}", nth % 3) });
                    json!({ "address": address, "ports": { "http": 8080 }, "labels": labels, "locality": locality })
                })
                .collect();
            json!({ "name": format!("service-{service}"), "ports": [{ "name": "http" }], "endpoints": endpoints })
        })
        .collect();
    let count = services.len() * ENDPOINTS;
    let config =
        "http: { listen: \"127.0.0.1:0\" }\nregistries:\n  - name: vms\n    file: { path: vms.json }\n";
    let files = json!({ "services": services }).to_string();
    let mut daemon = Daemon::start(&[("registryd.yaml", config), ("vms.json", &files)]).await;
    let known = |vms: &Value| vms["endpoints"] == count && !vms["saved"].is_null();
    daemon.registry_that("vms", "known and saved", known).await;
    std::fs::remove_file(daemon.path("vms.json"))?;
    daemon.kill();

    let started = Instant::now();
    daemon.restart().await;
    daemon
        .wait("readiness", async || {
            (daemon.get("/readyz").await.0 == 200).then_some(())
        })
        .await;
    let ready = started.elapsed();
    let vms = daemon.registry("vms").await;
    assert_eq!(
        (&vms["endpoints"], &vms["phase"]),
        (&json!(count), &json!("stale"))
    );
    let what = format!("{count} endpoints served after kill -9 without the registry");
    Ok(vec![row(
        &what,
        seconds(ready),
        "1 s",
        ready <= Duration::from_secs(1),
    )])
}

/// Ten endpoints a service, read over plain HTTP in turns.
async fn memory_of_many(services: usize) -> Outcome {
    let consul = Consul::builder().start().await?;
    consul.api().register_services(services, 10, NODES * 10).await?;
    let daemon = start(consul.url(), "").await;
    let started = Instant::now();
    synced(&daemon, services + 1).await?;
    let synced = started.elapsed();
    assert_eq!(endpoints(&daemon).await, services * 10 + 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (anonymous, resident) = memory(&daemon)?;
    Ok(vec![
        row(
            &format!("{} endpoints over plain HTTP: in sync", services * 10),
            seconds(synced),
            "-",
            true,
        ),
        row(
            "  RSS",
            format!("{anonymous} kB anon, {resident} kB"),
            "100 MB",
            resident <= 100_000,
        ),
    ])
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
