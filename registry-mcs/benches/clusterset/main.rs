//! What a clusterset costs: the first snapshot of all that its clusters export, and one change in it.
//!
//! `cargo xtask bench clusterset` (`--quick`: a tenth of the services). CPU time of the thread, from decoded events on: the
//! merge by the KEP's rules, with each export's own view beside it. A full run fails where a bar is missed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal that may panic"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use registry_core::engine::{Engine, EngineSettings};
use registry_core::{
    Address, Control, Endpoint, Event, EventStream, Health, Interner, Locality, Pattern, RegistryError,
    RegistryOptions, Scope, ServiceId, ServiceMeta, ServicePort, ServiceRecord, ServiceRegistry, Snapshot,
    Timestamp, async_trait,
};
use registry_k8s::{EXPORT, VALID};
use registry_mcs::{ClusterSet, exported, exports};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

const CLUSTERS: usize = 5;
const SERVICES: usize = 2_000;
const ENDPOINTS: usize = 10;

/// For the first snapshot.
const FIRST: Duration = Duration::from_millis(300);

/// For one changed endpoint, merged and published: the median.
const CHANGE: Duration = Duration::from_micros(50);

/// A backend of which the engine needs only the kind.
struct Member;

#[async_trait]
impl ServiceRegistry for Member {
    fn kind(&self) -> &'static str {
        "mcs"
    }

    async fn watch(&self, _: Control) -> Result<EventStream, RegistryError> {
        Ok(Box::pin(futures_util::stream::pending()))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

fn timed<T>(operation: impl FnOnce() -> T) -> (T, Duration) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap())
    };
    let start = now();
    let result = operation();
    (result, now() - start)
}

/// What the clusters export. Where they are at odds, the number of a port and a label are, in every service.
struct Clusters {
    ids: Vec<String>,
    interners: Vec<Interner>,
    at_odds: bool,
}

impl Clusters {
    fn new(at_odds: bool) -> Self {
        Self {
            ids: (0..CLUSTERS).map(|at| format!("eu-{at}.example")).collect(),
            interners: (0..CLUSTERS).map(|_| Interner::default()).collect(),
            at_odds,
        }
    }

    fn endpoint(&mut self, cluster: usize, service: usize, nth: usize, health: Health) -> Endpoint {
        let (id, interner) = (&self.ids[cluster], &mut self.interners[cluster]);
        let number = u32::try_from((cluster * SERVICES + service) * ENDPOINTS + nth).unwrap();
        let node = number % 500;
        Endpoint::builder(Address::V4((0x0A00_0000 + number).into()))
            .port(interner.text("http"), 8080)
            .port(interner.text("metrics"), 9090)
            .health(health)
            .status(interner.text("ready=true serving=true terminating=false"))
            .node(interner.text(&format!("node-{node:03}.{id}")))
            .cluster(interner.text(id))
            .id(format!("shop/service-{service:05}-{number:010x}"))
            .locality(Locality {
                region: interner.text(id),
                zone: interner.text(["a", "b", "c"][node as usize % 3]),
                ..Locality::default()
            })
            .build_in(interner)
    }

    fn record(&mut self, cluster: usize, service: usize) -> ServiceRecord {
        let endpoints: Vec<Endpoint> = (0..ENDPOINTS)
            .map(|nth| self.endpoint(cluster, service, nth, Health::Healthy))
            .collect();
        let odd = self.at_odds && cluster == CLUSTERS - 1;
        let (id, interner) = (&self.ids[cluster], &mut self.interners[cluster]);
        let mut text = |text: &str| interner.text(text);
        let ports = [("http", if odd { 81 } else { 80 }), ("metrics", 90)];
        let ports = ports.map(|(name, number)| ServicePort {
            number: Some(number),
            app_protocol: text("http"),
            ..ServicePort::new(text(name))
        });
        let raw = [
            (EXPORT, VALID),
            ("type", "ClusterIP"),
            ("ipFamilies", "IPv4"),
            ("ipFamilyPolicy", "SingleStack"),
            ("internalTrafficPolicy", "Cluster"),
        ];
        let labels = [("team", "shop"), ("tier", if odd { "1" } else { "2" })];
        let created = 1_700_000_000_000 + 1000 * u64::try_from((cluster * 7 + service) % 5).unwrap();
        let name = format!("service-{service:05}");
        let meta = ServiceMeta::builder(ServiceId::new(text("shop"), text("shop"), text(&name)))
            .ports(ports)
            .metadata(
                raw.into_iter()
                    .map(|(key, value)| (text(key), text(value)))
                    .collect(),
            )
            .labels(
                labels
                    .into_iter()
                    .map(|(key, value)| (text(key), text(value)))
                    .collect(),
            )
            .variables([(text("cluster"), text(id))].into_iter().collect())
            .created(Some(Timestamp::from_millis(created)))
            .build();
        ServiceRecord::new(meta, endpoints)
    }
}

fn engine(now: Instant) -> Engine {
    let mut engine = Engine::new(
        EngineSettings {
            policies: vec![(Pattern::new("*.svc.clusterset.local"), Arc::new(ClusterSet))],
            start_deadline: Duration::from_secs(30),
        },
        now,
    );
    for cluster in 0..CLUSTERS {
        let options = RegistryOptions {
            hostname: Some("{name}.{namespace}.svc.clusterset.local".parse().unwrap()),
            ..RegistryOptions::default()
        };
        let id = format!("mcs/{cluster}").parse().unwrap();
        engine.add(id, &Member, options, Arc::default()).unwrap();
    }
    engine
}

fn median(mut samples: Vec<Duration>) -> (Duration, Duration) {
    samples.sort();
    (
        samples[samples.len() / 2],
        samples[(samples.len() - 1) * 99 / 100],
    )
}

/// Measures one clusterset. Returns the first snapshot's time, and the median of a change.
fn measure(services: usize, at_odds: bool) -> (Duration, Duration) {
    let mut clusters = Clusters::new(at_odds);
    let mut records: Vec<Vec<ServiceRecord>> = (0..CLUSTERS)
        .map(|cluster| {
            (0..services)
                .map(|service| clusters.record(cluster, service))
                .collect()
        })
        .collect();
    let now = Instant::now();
    let mut firsts = Vec::new();
    let (mut engine, mut last) = (engine(now), Arc::new(Snapshot::default()));
    for run in 0..5 {
        if run > 0 {
            engine = self::engine(now);
        }
        let batches: Vec<Vec<Event>> = records
            .iter()
            .map(|records| Event::listing(Scope::Registry, records.iter().cloned()))
            .collect();
        let (mut listed, mut published) = (Duration::ZERO, Duration::ZERO);
        for (cluster, batch) in batches.into_iter().enumerate() {
            let id = format!("mcs/{cluster}").parse().unwrap();
            listed += timed(|| engine.apply(&id, batch, now).unwrap()).1;
        }
        let (snapshot, took) = timed(|| engine.publish(now).unwrap());
        published += took;
        assert_eq!(snapshot.len(), services);
        // Each endpoint has a port beside the one that is at odds.
        assert_eq!(snapshot.endpoint_count(), services * ENDPOINTS * CLUSTERS);
        firsts.push((listed + published, listed, published));
        last = snapshot;
    }
    firsts.sort();
    let (first, listed, published) = firsts[firsts.len() / 2];
    println!(
        "{CLUSTERS} clusters x {services} services x {ENDPOINTS} endpoints{}: first snapshot {first:.2?} ({listed:.2?} to \
         take in, {published:.2?} to merge and publish)",
        if at_odds { ", at odds" } else { "" }
    );

    let (mut derived, mut changed) = (Vec::new(), Vec::new());
    for turn in 0..4_000_usize {
        let (cluster, service) = (turn % CLUSTERS, (turn * 7919) % services);
        let health = [Health::Unhealthy, Health::Healthy][turn / services % 2];
        let endpoint = clusters.endpoint(cluster, service, turn % ENDPOINTS, health);
        let held = &mut records[cluster][service];
        let (record, took) =
            timed(|| ServiceRecord::new(held.meta().clone(), held.endpoints().with(endpoint)));
        derived.push(took);
        held.clone_from(&record);
        let id = format!("mcs/{cluster}").parse().unwrap();
        let batch = vec![Event::apply(record)];
        let (snapshot, took) = timed(|| {
            engine.apply(&id, batch, now).unwrap();
            engine.publish(now)
        });
        // The endpoint may have been so already.
        let Some(snapshot) = snapshot else { continue };
        assert_eq!(snapshot.changes_since(&last).updated.len(), 1);
        changed.push(took);
        last = snapshot;
    }
    let ((derived, _), (change, rare)) = (median(derived), median(changed));
    println!(
        "  one changed endpoint {change:.2?} (99th percentile {rare:.2?}); its record derived before {derived:.2?}"
    );
    let (all, took) = timed(|| {
        let hostnames = exported(&last);
        let exports = hostnames.iter().map(|hostname| exports(&last, hostname).len());
        exports.sum::<usize>()
    });
    assert_eq!(all, CLUSTERS * services);
    println!("  conditions of all {all} exports {took:.2?}");
    (first, change)
}

fn main() -> ExitCode {
    let (flags, words): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    if words
        .first()
        .is_some_and(|filter| !"clusterset".contains(filter.as_str()))
    {
        return ExitCode::SUCCESS;
    }
    let quick = flags.iter().any(|flag| flag == "--quick");
    let services = if quick { SERVICES / 10 } else { SERVICES };
    let mut met = true;
    for at_odds in [false, true] {
        let (first, change) = measure(services, at_odds);
        met &= first <= FIRST && change <= CHANGE;
    }
    if met || quick {
        return ExitCode::SUCCESS;
    }
    println!("expected at most {FIRST:?} and {CHANGE:?}");
    ExitCode::FAILURE
}
