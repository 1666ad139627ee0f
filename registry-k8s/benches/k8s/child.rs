//! The processes that are compared: this crate in a discovery, and what anybody would write with `kube` alone.
//!
//! Each is a process of its own, so that its memory and its processor time are its own. It obeys words on its standard
//! input and answers each with one line of JSON.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Config};
use registry_core::Discovery;
use registry_k8s::{KubernetesConfig, KubernetesRegistry};
use serde_json::{Value, json};

/// Which of them this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A discovery with one Kubernetes registry.
    Ours,
    /// `kube`'s reflectors of full Services and EndpointSlices.
    Reflector,
    /// `kube`'s bare watcher of EndpointSlices.
    Watcher,
}

impl Who {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Reflector, Self::Watcher];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reflector => "reflector",
            Self::Watcher => "watcher",
        }
    }
}

/// What a process has seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// Of each numbered write, when it was seen: microseconds since 1970.
    arrivals: Mutex<HashMap<u64, u64>>,
    /// What was told downstream since the last reset: deltas here, events of slices there.
    told: AtomicU64,
    /// Endpoints known.
    endpoints: AtomicUsize,
}

/// The shortest time between two publications.
pub(crate) const PUBLISH_INTERVAL: Duration = Duration::from_millis(5);

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub(crate) async fn run(who: Who, kubeconfig: &Path) -> Outcome<()> {
    let seen = Arc::new(Seen::default());
    let start = tokio::time::Instant::now();
    let discovery = match who {
        Who::Ours => Some(ours(kubeconfig, &seen).await?),
        Who::Reflector => {
            reflectors(kubeconfig, &seen).await?;
            None
        }
        Who::Watcher => {
            bare(kubeconfig, &seen).await?;
            None
        }
    };
    say(&json!({ "synced_ms": u64::try_from(start.elapsed().as_millis())?, "cpu_ms": cpu_ms() }))?;
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
            "memory" => memory()?,
            // From now on the peak is that of what follows.
            "reset" => {
                std::fs::write("/proc/self/clear_refs", "5")?;
                seen.told.store(0, Ordering::SeqCst);
                json!({})
            }
            "list" => {
                if let Some(discovery) = &discovery {
                    list_again(discovery).await?;
                }
                json!({})
            }
            "told" => json!({ "told": seen.told.load(Ordering::SeqCst), "cpu_ms": cpu_ms() }),
            "endpoints" => json!({ "endpoints": seen.endpoints.load(Ordering::SeqCst) }),
            "arrivals" => {
                let arrivals = seen
                    .arrivals
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let arrivals: HashMap<String, u64> = arrivals
                    .iter()
                    .map(|(number, at)| (number.to_string(), *at))
                    .collect();
                json!(arrivals)
            }
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

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Processor time of this process so far.
fn cpu_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000
        + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}

/// Resident memory now and at its peak, in KiB.
fn memory() -> Outcome<Value> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Ok(json!({ "rss": field("VmRSS:"), "peak": field("VmHWM:") }))
}

impl Seen {
    /// Takes in the number of a write, which is the name of an endpoint's node.
    fn arrived(&self, node: &str) {
        if let Some(number) = node.strip_prefix("write-").and_then(|number| number.parse().ok()) {
            let mut arrivals = self
                .arrivals
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            arrivals.entry(number).or_insert_with(now_us);
        }
    }
}

// === ours ===

async fn ours(kubeconfig: &Path, seen: &Arc<Seen>) -> Outcome<Discovery> {
    let config = KubernetesConfig {
        kubeconfig: Some(kubeconfig.to_owned()),
        ..KubernetesConfig::default()
    };
    let registry = KubernetesRegistry::try_new(config)?;
    let discovery = Discovery::builder()
        .registry("bench", registry)?
        // As often as changes come in the last row, a publication each 10 ms would never be early.
        .publish_interval(PUBLISH_INTERVAL)
        .start()?;
    discovery.ready().await;
    let mut changes = discovery.changes();
    let task = seen.clone();
    task.endpoints.store(count(&discovery), Ordering::SeqCst);
    tokio::spawn(async move {
        while let Some(delta) = changes.next().await {
            let at = delta.updated.len() + delta.removed.len();
            task.told.fetch_add(at as u64, Ordering::SeqCst);
            for service in &delta.updated {
                for endpoint in service.endpoints().iter() {
                    task.arrived(endpoint.node());
                }
            }
        }
    });
    Ok(discovery)
}

fn count(discovery: &Discovery) -> usize {
    let snapshot = discovery.snapshot();
    snapshot.services().map(|service| service.endpoints().len()).sum()
}

/// Asks for complete knowledge, and waits for it.
async fn list_again(discovery: &Discovery) -> Outcome<()> {
    let told = || {
        discovery
            .status()
            .first()
            .and_then(|status| status.last_confirmed)
    };
    let before = told();
    discovery.resync("bench".parse()?).await;
    let answered = async {
        while told() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answered).await?;
    Ok(())
}

// === kube ===

async fn client(kubeconfig: &Path) -> Outcome<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn reflectors(kubeconfig: &Path, seen: &Arc<Seen>) -> Outcome<()> {
    let client = client(kubeconfig).await?;
    let (services, writer) = reflector::store();
    let stream = watcher(Api::<Service>::all(client.clone()), watcher::Config::default());
    tokio::spawn(
        stream
            .default_backoff()
            .reflect(writer)
            .for_each(|_| std::future::ready(())),
    );
    let (slices, writer) = reflector::store();
    let stream = watcher(Api::<EndpointSlice>::all(client), watcher::Config::default());
    let task = seen.clone();
    tokio::spawn(stream.default_backoff().reflect(writer).for_each(move |event| {
        if let Ok(watcher::Event::Apply(_) | watcher::Event::InitApply(_)) = event {
            task.told.fetch_add(1, Ordering::SeqCst);
        }
        std::future::ready(())
    }));
    services.wait_until_ready().await?;
    slices.wait_until_ready().await?;
    let endpoints = slices.state().iter().map(|slice| slice.endpoints.len()).sum();
    seen.endpoints.store(endpoints, Ordering::SeqCst);
    // The stores live as long as the process does.
    std::mem::forget((services, slices));
    Ok(())
}

async fn bare(kubeconfig: &Path, seen: &Arc<Seen>) -> Outcome<()> {
    let client = client(kubeconfig).await?;
    let stream = watcher(Api::<EndpointSlice>::all(client), watcher::Config::default()).default_backoff();
    let (done, ready) = tokio::sync::oneshot::channel();
    let task = seen.clone();
    tokio::spawn(async move {
        let mut done = Some(done);
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Apply(slice)) => {
                    for endpoint in &slice.endpoints {
                        task.arrived(endpoint.node_name.as_deref().unwrap_or_default());
                    }
                }
                Ok(watcher::Event::InitDone) => drop(done.take().map(|done| done.send(()))),
                _ => {}
            }
        }
    });
    Ok(ready.await?)
}
