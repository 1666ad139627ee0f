//! A discovery of Eureka in a process of its own, so that its memory and its processor time are its own. It obeys words
//! on its standard input and answers each with one line of JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use registry_core::Discovery;
use registry_eureka::{EurekaConfig, EurekaRegistry};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clock::{self, now_us, processor_ms};
use crate::process::memory_of;
use crate::{MARK, Outcome};

/// What a process has seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// Of each numbered change, when it was published: microseconds since 1970.
    arrivals: Mutex<BTreeMap<u64, u64>>,
    /// Services that were told to be different since the last reset.
    told: AtomicU64,
    reading: AtomicBool,
    reads: AtomicU64,
    /// How often a reader gave way because it had to wait for somebody.
    waits: AtomicU64,
    /// The longest read in microseconds, which is also long where the thread was not given its turn.
    longest_read: AtomicU64,
}

/// Follows the registry of that configuration until nobody asks any more.
pub(crate) async fn run(config: &str) -> Outcome<()> {
    let config: EurekaConfig = serde_json::from_str(config)?;
    let start = Instant::now();
    let discovery = Discovery::builder()
        .registry("bench", EurekaRegistry::try_new(config)?)?
        .publish_interval(Duration::from_millis(10))
        .start()?;
    discovery.ready().await;
    say(&json!({ "wall_ms": u64::try_from(start.elapsed().as_millis())?, "cpu_ms": processor_ms() }))?;
    let seen = Arc::new(Seen::default());
    follow(&discovery, &seen);
    let (send, mut words) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    while let Some(word) = words.recv().await {
        let answer = match word.as_str() {
            "memory" => memory_of("self")?,
            // From now on the peak is that of what follows.
            "reset" => {
                std::fs::write("/proc/self/clear_refs", "5")?;
                seen.told.store(0, Ordering::SeqCst);
                json!({})
            }
            "told" => told(&discovery, &seen),
            "resync" => {
                discovery.resync("bench".parse()?).await;
                json!({})
            }
            "read" => {
                read(&discovery, &seen);
                json!({})
            }
            "arrivals" => {
                let arrivals = seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                json!(
                    arrivals
                        .iter()
                        .map(|(number, at)| (number.to_string(), *at))
                        .collect::<BTreeMap<_, _>>()
                )
            }
            "contents" => json!({ "contents": contents(&discovery) }),
            other => return Err(format!("{other:?}: no such word").into()),
        };
        say(&answer)?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the parent reads it")]
fn say(answer: &Value) -> Outcome<()> {
    println!("{answer}");
    Ok(std::io::stdout().flush()?)
}

/// Notes what is published from now on.
fn follow(discovery: &Discovery, seen: &Arc<Seen>) {
    let mut changes = discovery.changes();
    let seen = seen.clone();
    tokio::spawn(async move {
        while let Some(delta) = changes.next().await {
            let now = now_us();
            let told = delta.updated.len() + delta.removed.len();
            seen.told.fetch_add(told as u64, Ordering::SeqCst);
            let marks = delta
                .updated
                .iter()
                .flat_map(|service| service.endpoints().iter())
                .filter_map(|endpoint| endpoint.labels().get(MARK)?.parse().ok());
            let mut arrivals = seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            for mark in marks {
                arrivals.entry(mark).or_insert(now);
            }
        }
    });
}

fn told(discovery: &Discovery, seen: &Seen) -> Value {
    let status = discovery.status();
    let status = status.first();
    json!({
        "told": seen.told.load(Ordering::SeqCst),
        "revision": discovery.snapshot().revision(),
        "requests": status.map(|status| status.requests),
        "failures": status.map(|status| status.failures),
        "endpoints": status.map(|status| status.endpoints),
        "held": status.and_then(|status| status.held.as_ref()).map_or(0, |held| held.endpoints),
        "note": status.and_then(|status| status.note.clone()),
        "cpu_ms": processor_ms(),
        "reads": seen.reads.load(Ordering::SeqCst),
        "waits": seen.waits.load(Ordering::SeqCst),
        "longest_read_us": seen.longest_read.load(Ordering::SeqCst),
    })
}

/// Reads again and again from a thread of its own, and notes how often a read had to wait. The second word ends it.
#[allow(clippy::disallowed_methods, reason = "the thread is its own")]
fn read(discovery: &Discovery, seen: &Arc<Seen>) {
    /// Between two looks at how often this thread has waited.
    const READS: u64 = 5_000;
    if seen.reading.fetch_xor(true, Ordering::SeqCst) {
        return;
    }
    let (discovery, seen) = (discovery.clone(), seen.clone());
    std::thread::spawn(move || {
        let names: Vec<String> = (0..READS)
            .map(|number| format!("app-{number:05}.eureka"))
            .collect();
        while seen.reading.load(Ordering::SeqCst) {
            let before = clock::waits();
            for name in &names {
                let start = Instant::now();
                std::hint::black_box(discovery.snapshot().get(name).map(Arc::as_ptr));
                let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                seen.longest_read.fetch_max(took, Ordering::SeqCst);
            }
            seen.reads.fetch_add(READS, Ordering::SeqCst);
            seen.waits.fetch_add(clock::waits() - before, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

/// All that is published, but for the times at which it was first seen: a hash, and the number of endpoints.
fn contents(discovery: &Discovery) -> String {
    let snapshot = discovery.snapshot();
    let mut lines = Vec::new();
    for service in snapshot.services() {
        for endpoint in service.endpoints().iter() {
            let mut line = format!(
                "{} {:?} {:?} {} {:?} {:?} {}",
                service.hostname(),
                endpoint.address(),
                endpoint.health(),
                endpoint.id(),
                endpoint.claims().map(|claim| claim.status).collect::<Vec<_>>(),
                endpoint.locality(),
                endpoint.weight(),
            );
            for port in endpoint.ports() {
                let _ = write!(line, " {}={}", port.name, port.number);
            }
            for (key, value) in endpoint.labels().iter() {
                let _ = write!(line, " {key}={value}");
            }
            lines.push(line);
        }
    }
    lines.sort_unstable();
    let hash = xxhash_rust::xxh3::xxh3_128(lines.join("\n").as_bytes());
    format!("{} endpoints, {hash:032x}", lines.len())
}
