//! Whatever happens to a clusterset, in whatever order it is heard: readers see what the KEP's table says of it.
//!
//! The table is written down here once more, as naively as can be, and computed from scratch each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use registry_core::engine::Engine;
use registry_core::{
    Event, Health, Outage, Resolution, Scope, ServiceId, ServiceRecord, SessionAffinity, Snapshot, Transport,
    fuzzing,
};
use registry_k8s::{INVALID_SERVICE_TYPE, NO_SERVICE, VALID};
use registry_mcs::{exported, import_spec};
use tokio::time::Instant;

use crate::clusterset::{self, Export, conditions, id};

/// The registries, with the ids of their clusters and what becomes of them in an outage. Two ids are the same, and their order is
/// not that of the registries.
const CLUSTERS: [(&str, &str, Outage); 4] = [
    ("a", "w", Outage::Keep),
    ("b", "b.example", Outage::Degrade),
    ("c", "c", Outage::Drop),
    ("d", "c", Outage::Keep),
];

const SERVICES: [&str; 2] = ["api", "web"];

const PORTS: [&[(&str, u16, Transport)]; 8] = [
    &[("http", 80, Transport::Tcp)],
    &[("grpc", 90, Transport::Tcp), ("http", 80, Transport::Tcp)],
    &[("http", 81, Transport::Tcp)],
    &[("web", 80, Transport::Tcp)],
    &[("http", 80, Transport::Udp)],
    &[("grpc", 80, Transport::Tcp), ("http", 90, Transport::Tcp)],
    &[("grpc", 90, Transport::Tcp), ("http", 81, Transport::Tcp)],
    &[],
];

const FAMILIES: [&str; 3] = ["IPv4", "IPv6", "IPv4,IPv6"];

const LABELS: [&[(&str, &str)]; 3] = [&[], &[("k", "1")], &[("k", "2"), ("l", "1")]];

const HEALTH: [Health; 4] = [
    Health::Healthy,
    Health::Degraded,
    Health::Draining,
    Health::Unhealthy,
];

/// A ServiceExport: when it was made, and which labels and annotations it exports.
#[derive(Debug, Clone)]
struct ServiceExport {
    created: Option<u64>,
    labels: usize,
    annotations: usize,
}

#[derive(Debug, Clone)]
struct Service {
    external: bool,
    headless: bool,
    affinity: Option<u32>,
    local: bool,
    close: bool,
    families: usize,
    ports: usize,
}

#[derive(Debug, Clone)]
enum Step {
    Export(Option<ServiceExport>),
    Service(Option<Service>),
    /// An endpoint of that number comes or changes.
    Endpoint(u8, Health),
    EndpointGone(u8),
    /// The cluster is listed anew, perhaps after a listing that broke off. It is in touch again where it was not.
    List {
        broken: bool,
    },
    /// The cluster is out of touch for longer than is fresh.
    Lose,
    /// All that is known is what was kept on disk, and no cluster is in touch.
    Restart,
    /// What was said so far is published, and compared.
    Quiesce,
}

fn step() -> impl Strategy<Value = Step> {
    let export = (prop::option::weighted(0.9, 0_u64..3), 0..3_usize, 0..2_usize).prop_map(
        |(created, labels, annotations)| ServiceExport {
            created,
            labels,
            annotations,
        },
    );
    let service = (
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.3),
        prop::option::weighted(0.4, 10_u32..12),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        0..3_usize,
        0..8_usize,
    );
    let service = service.prop_map(
        |(external, headless, affinity, local, close, families, ports)| Service {
            external,
            headless,
            affinity,
            local,
            close,
            families,
            ports,
        },
    );
    prop_oneof![
        5 => prop::option::weighted(0.8, export).prop_map(Step::Export),
        5 => prop::option::weighted(0.8, service).prop_map(Step::Service),
        5 => (0_u8..5, 0..4_usize).prop_map(|(n, health)| Step::Endpoint(n, HEALTH[health])),
        2 => (0_u8..5).prop_map(Step::EndpointGone),
        3 => any::<bool>().prop_map(|broken| Step::List { broken }),
        1 => Just(Step::Lose),
        1 => Just(Step::Restart),
        3 => Just(Step::Quiesce),
    ]
}

/// Steps, each with its cluster and service.
fn steps() -> impl Strategy<Value = Vec<(usize, usize, Step)>> {
    prop::collection::vec((0..4_usize, 0..2_usize, step()), 10..60)
}

/// What a cluster has of one name.
#[derive(Debug, Clone, Default)]
struct Objects {
    export: Option<ServiceExport>,
    service: Option<Service>,
    endpoints: BTreeMap<u8, Health>,
}

impl Objects {
    /// The export with its Service and endpoints, as its registry sees it.
    fn export(&self) -> Option<Export> {
        let export = self.export.as_ref()?;
        let exported = |mut seen: Export| {
            seen.created = export.created;
            seen.labels = LABELS[export.labels].to_vec();
            seen.annotations = LABELS[export.annotations].to_vec();
            Some(seen)
        };
        let Some(service) = &self.service else {
            return exported(Export::invalid(0, NO_SERVICE));
        };
        if service.external {
            return exported(Export::invalid(0, INVALID_SERVICE_TYPE));
        }
        exported(Export {
            headless: service.headless,
            affinity: service.affinity,
            local: service.local,
            distribution: if service.close { "PreferClose" } else { "" },
            families: FAMILIES[service.families],
            ports: PORTS[service.ports].to_vec(),
            endpoints: self.endpoints.iter().map(|(n, health)| (*n, *health)).collect(),
            ..Export::at(0)
        })
    }
}

#[derive(Debug, Default)]
struct Cluster {
    objects: [Objects; 2],
    in_touch: bool,
    /// What it said last of each service; `None` where it said nothing yet.
    heard: Option<[Option<Export>; 2]>,
}

struct World {
    clusters: [Cluster; 4],
    engine: Engine,
    snapshot: Arc<Snapshot>,
    now: Instant,
}

fn record(cluster: usize, service: usize, export: &Export) -> ServiceRecord {
    export.record(
        SERVICES[service],
        CLUSTERS[cluster].1,
        u8::try_from(cluster).unwrap(),
    )
}

fn engine(now: Instant) -> Engine {
    let mut engine = clusterset::engine(now);
    for (name, _, outage) in CLUSTERS {
        clusterset::add(&mut engine, name, outage);
    }
    engine
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            clusters: Default::default(),
            engine: engine(now),
            snapshot: Arc::default(),
            now,
        }
    }

    fn say(&mut self, cluster: usize, events: Vec<Event>) {
        self.engine
            .apply(&id(CLUSTERS[cluster].0), events, self.now)
            .unwrap();
    }

    fn take(&mut self, at: usize, service: usize, step: &Step) {
        let objects = &mut self.clusters[at].objects[service];
        match step {
            Step::Export(export) => objects.export.clone_from(export),
            Step::Service(service) => objects.service.clone_from(service),
            Step::Endpoint(n, health) => drop(objects.endpoints.insert(*n, *health)),
            Step::EndpointGone(n) => drop(objects.endpoints.remove(n)),
            Step::List { broken } => return self.list(at, *broken),
            Step::Lose => return self.lose(at),
            Step::Restart => return self.restart(),
            Step::Quiesce => return self.compare(),
        }
        let seen = objects.export();
        let cluster = &mut self.clusters[at];
        let Some(heard) = cluster.heard.as_mut().filter(|_| cluster.in_touch) else {
            return;
        };
        heard[service].clone_from(&seen);
        let event = match seen {
            Some(export) => Event::Apply {
                record: record(at, service, &export),
                explicit: true,
            },
            None => Event::Delete {
                id: ServiceId::new("shop", "shop", SERVICES[service]),
                explicit: true,
            },
        };
        self.say(at, vec![event]);
    }

    fn list(&mut self, at: usize, broken: bool) {
        let seen = [0, 1].map(|service| self.clusters[at].objects[service].export());
        let records = || {
            let seen = seen.iter().enumerate();
            seen.filter_map(|(service, export)| Some(record(at, service, export.as_ref()?)))
        };
        if broken {
            let mut events = Event::listing(Scope::Registry, records());
            events.pop();
            self.say(at, events);
            self.engine.interrupted(&id(CLUSTERS[at].0), None, self.now);
        }
        let events = Event::listing(Scope::Registry, records());
        self.say(at, events);
        self.clusters[at].in_touch = true;
        self.clusters[at].heard = Some(seen);
    }

    fn lose(&mut self, at: usize) {
        self.clusters[at].in_touch = false;
        for _ in 0..2 {
            self.now += Duration::from_secs(40);
            for at in 0..CLUSTERS.len() {
                if self.clusters[at].in_touch {
                    self.say(at, vec![Event::Confirmed(Scope::Registry)]);
                }
            }
        }
        self.engine.tick(self.now);
    }

    fn restart(&mut self) {
        let gone = std::mem::replace(&mut self.engine, engine(self.now));
        self.snapshot = Arc::default();
        for (at, cluster) in self.clusters.iter_mut().enumerate() {
            cluster.in_touch = false;
            if cluster.heard.is_some() {
                fuzzing::restart(&gone, &mut self.engine, &id(CLUSTERS[at].0), self.now);
            }
        }
        self.engine.tick(self.now);
    }

    fn compare(&mut self) {
        if let Some(snapshot) = self.engine.publish(self.now) {
            self.snapshot = snapshot;
        }
        let (seen, expected) = (shown(&self.snapshot), self.table());
        assert_eq!(seen, expected);
        assert_eq!(
            self.snapshot.len(),
            expected.iter().filter(|line| line.starts_with("service")).count()
        );
    }
}

/// All that readers see.
fn shown(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for hostname in exported(snapshot) {
        if let Some(service) = snapshot.get(hostname) {
            let import = import_spec(service).unwrap();
            let traffic = service.traffic();
            assert_eq!(
                import.session_affinity == "ClientIP",
                traffic.session_affinity == SessionAffinity::ClientIp
            );
            assert_eq!(
                import.kind.as_str() == "Headless",
                service.resolution() == Resolution::Headless
            );
            assert_eq!(import.labels, *service.labels());
            lines.push(format!(
                "service {hostname} {} {}/{:?} {} {:?} {:?} {:?} of {:?}",
                import.kind.as_str(),
                import.session_affinity,
                import.session_affinity_timeout,
                import.internal_traffic_policy,
                import.traffic_distribution.as_deref().unwrap_or_default(),
                import.labels,
                import.annotations,
                import.clusters,
            ));
            for port in service.ports() {
                lines.push(format!(
                    "port {} {}/{}",
                    port.name,
                    port.number.unwrap(),
                    port.transport
                ));
            }
            let endpoints = service.endpoints().iter().map(|endpoint| {
                let ports: Vec<&str> = endpoint.ports().iter().map(|port| port.name.as_str()).collect();
                let claims: Vec<String> = endpoint
                    .claims()
                    .map(|claim| service.registry_of(&claim).unwrap().to_string())
                    .collect();
                let name = service.endpoint_dns_name(endpoint);
                format!(
                    "endpoint {} {} {ports:?} {} {name:?}",
                    claims.join("+"),
                    endpoint.address(),
                    endpoint.health()
                )
            });
            lines.extend(endpoints.collect::<BTreeSet<_>>());
        }
        lines.extend(conditions(snapshot, hostname));
    }
    lines
}

/// A valid export that takes part.
struct Part<'a> {
    at: usize,
    export: &'a Export,
    stale: bool,
}

impl World {
    /// The same lines, by the KEP.
    fn table(&self) -> Vec<String> {
        (0..SERVICES.len())
            .flat_map(|service| self.table_of(service))
            .collect()
    }

    fn table_of(&self, service: usize) -> Vec<String> {
        let hostname = format!("{}.shop.svc.clusterset.local", SERVICES[service]);
        let mut all: Vec<Part<'_>> = Vec::new();
        for (at, cluster) in self.clusters.iter().enumerate() {
            let stale = !cluster.in_touch;
            let heard = cluster
                .heard
                .as_ref()
                .filter(|_| !stale || CLUSTERS[at].2 != Outage::Drop);
            if let Some(export) = heard.and_then(|heard| heard[service].as_ref()) {
                all.push(Part { at, export, stale });
            }
        }
        all.sort_by_key(|part| {
            let (registry, cluster, _) = CLUSTERS[part.at];
            (part.export.created.unwrap_or(u64::MAX), cluster, registry)
        });
        let parts: Vec<&Part<'_>> = all.iter().filter(|part| part.export.word == VALID).collect();

        let mut lines = Vec::new();
        if let Some(oldest) = parts.first() {
            let (ports, kept) = ports(&parts);
            let old = oldest.export;
            let mut clusters: Vec<&str> = Vec::new();
            for part in &parts {
                let cluster = CLUSTERS[part.at].1;
                if !clusters.contains(&cluster) {
                    clusters.push(cluster);
                }
            }
            lines.push(format!(
                "service {hostname} {} {}/{:?} {} {:?} {:?} {:?} of {clusters:?}",
                if old.headless { "Headless" } else { "ClusterSetIP" },
                if old.affinity.is_some() {
                    "ClientIP"
                } else {
                    "None"
                },
                old.affinity,
                if old.local { "Local" } else { "Cluster" },
                old.distribution,
                old.labels.iter().copied().collect::<BTreeMap<_, _>>(),
                old.annotations.iter().copied().collect::<BTreeMap<_, _>>(),
            ));
            for (name, (number, transport)) in &ports {
                lines.push(format!("port {name} {number}/{transport}"));
            }
            let mut endpoints = BTreeSet::new();
            for (part, kept) in parts.iter().zip(&kept) {
                if kept.is_empty() && !part.export.ports.is_empty() {
                    continue;
                }
                let (registry, cluster, outage) = CLUSTERS[part.at];
                for (n, health) in &part.export.endpoints {
                    let worse = part.stale && outage == Outage::Degrade && *health == Health::Healthy;
                    let health = if worse { Health::Degraded } else { *health };
                    let named = old.headless && part.export.headless;
                    let name = named.then(|| format!("pod-{n}.{cluster}.{hostname}"));
                    endpoints.insert(format!(
                        "endpoint {registry} 10.{}.0.{n} {kept:?} {health} {name:?}",
                        part.at
                    ));
                }
            }
            lines.extend(endpoints);
        }
        let reasons = reasons(&parts);
        for part in &all {
            let cluster = CLUSTERS[part.at].1;
            lines.push(match part.export.word {
                NO_SERVICE => format!("{cluster}: NoService (False) Pending (False) NoConflicts"),
                INVALID_SERVICE_TYPE => {
                    format!("{cluster}: InvalidServiceType (False) Failed (False) NoConflicts")
                }
                _ if reasons.is_empty() => format!("{cluster}: Valid Ready NoConflicts"),
                _ => format!("{cluster}: Valid Ready {} (True)", reasons.join(",")),
            });
        }
        lines
    }
}

type Ports<'a> = BTreeMap<&'a str, (u16, Transport)>;

/// The ports of all, and which of its own each one keeps. Nobody connects to the number of a headless service's port.
fn ports<'a>(parts: &[&Part<'a>]) -> (Ports<'a>, Vec<Vec<&'a str>>) {
    let headless = parts.first().is_some_and(|oldest| oldest.export.headless);
    let mut ports = Ports::new();
    let mut kept = Vec::new();
    for part in parts {
        let before = ports.clone();
        let mut own = Vec::new();
        for (name, number, transport) in &part.export.ports {
            let port = (*number, *transport);
            let fits = match before.get(name) {
                Some(held) if headless => held.1 == port.1,
                Some(held) => *held == port,
                None if headless => true,
                None => !before.values().any(|held| *held == port),
            };
            if fits {
                ports.entry(name).or_insert(port);
                own.push(*name);
            }
        }
        kept.push(own);
    }
    (ports, kept)
}

/// The reasons of the condition `Conflict`, in the order of the API.
fn reasons(parts: &[&Part<'_>]) -> Vec<&'static str> {
    // What those say among themselves that lost is nobody's conflict.
    let differ = |differ: &dyn Fn(&Export, &Export) -> bool| match parts {
        [oldest, others @ ..] => others.iter().any(|other| differ(oldest.export, other.export)),
        [] => false,
    };
    let families: Vec<BTreeSet<&str>> = parts
        .iter()
        .map(|part| part.export.families.split(',').collect())
        .collect();
    let common = families.iter().cloned().reduce(|a, b| &a & &b);
    let ids: Vec<&str> = parts.iter().map(|part| CLUSTERS[part.at].1).collect();
    let found = [
        ("PortConflict", differ(&|a, b| a.ports != b.ports)),
        ("TypeConflict", differ(&|a, b| a.headless != b.headless)),
        (
            "SessionAffinityConflict",
            differ(&|a, b| a.affinity.is_some() != b.affinity.is_some()),
        ),
        (
            "SessionAffinityConfigConflict",
            differ(&|a, b| a.affinity.is_some() && b.affinity.is_some() && a.affinity != b.affinity),
        ),
        ("LabelsConflict", differ(&|a, b| a.labels != b.labels)),
        (
            "AnnotationsConflict",
            differ(&|a, b| a.annotations != b.annotations),
        ),
        (
            "InternalTrafficPolicyConflict",
            differ(&|a, b| a.local != b.local),
        ),
        (
            "TrafficDistributionConflict",
            differ(&|a, b| a.distribution != b.distribution),
        ),
        ("IPFamilyConflict", common.is_some_and(|common| common.is_empty())),
        (
            "ClusterIDConflict",
            ids.iter().collect::<BTreeSet<_>>().len() < ids.len(),
        ),
    ];
    found
        .into_iter()
        .filter(|(_, found)| *found)
        .map(|(reason, _)| reason)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn idea_40_readers_see_what_the_table_says_whatever_happened_in_whatever_order(steps in steps()) {
        let mut world = World::new();
        for at in 0..CLUSTERS.len() {
            world.list(at, false);
        }
        for (at, service, step) in &steps {
            world.take(*at, *service, step);
        }
        world.compare();

        // The same content as of an engine that was told all of it at once, the other way round.
        let mut fresh = World::new();
        for at in (0..CLUSTERS.len()).rev() {
            if world.clusters[at].in_touch {
                fresh.clusters[at].objects = world.clusters[at].objects.clone();
                fresh.list(at, false);
            }
        }
        for (cluster, (registry, ..)) in world.clusters.iter().zip(CLUSTERS) {
            if !cluster.in_touch {
                world.engine.remove(&id(registry)).unwrap();
                fresh.engine.remove(&id(registry)).unwrap();
            }
        }
        for world in [&mut world, &mut fresh] {
            if let Some(snapshot) = world.engine.publish(world.now) {
                world.snapshot = snapshot;
            }
        }
        prop_assert_eq!(world.snapshot.root_hash(), fresh.snapshot.root_hash());
    }
}
