//! A clusterset under the test's control: what its clusters export is said in so many words, and merged by the engine.

use std::sync::Arc;
use std::time::Duration;

use registry_core::engine::{Engine, EngineSettings};
use registry_core::{
    Address, Control, Endpoint, Event, EventStream, Health, MergePolicy, Outage, Pattern, RegistryError,
    RegistryId, RegistryOptions, Resolution, Scope, ServiceId, ServiceMeta, ServicePort, ServiceRecord,
    ServiceRegistry, SessionAffinity, Snapshot, Timestamp, Traffic, Transport, async_trait,
};
use registry_k8s::{ANNOTATION, APP_PROTOCOL, EXPORT, INVALID_SERVICE_TYPE, NO_SERVICE, VALID};
use registry_mcs::{ClusterSet, ExportStatus, Truth, exports};
use tokio::time::Instant;

/// A backend of which the engine needs only the kind.
pub(crate) struct Member;

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

/// An export of a cluster, with its Service and the endpoints of that, as the registry of the cluster maps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    /// `Valid`, or why not; empty for what is no export, but what another registry has of the service.
    pub(crate) word: &'static str,
    /// In seconds.
    pub(crate) created: Option<u64>,
    pub(crate) headless: bool,
    /// The seconds for which a client stays with an endpoint.
    pub(crate) affinity: Option<u32>,
    pub(crate) local: bool,
    pub(crate) distribution: &'static str,
    pub(crate) families: &'static str,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    pub(crate) annotations: Vec<(&'static str, &'static str)>,
    /// A port of number 0 is one with neither a name nor a number, whatever it is called.
    pub(crate) ports: Vec<(&'static str, u16, Transport)>,
    /// What the Service declares to be spoken on ports; others are taken for what they are called.
    pub(crate) protocols: Vec<(&'static str, &'static str)>,
    /// The last part of each address, and its health.
    pub(crate) endpoints: Vec<(u8, Health)>,
}

impl Export {
    /// Of a Service with the port `http`, 80, created at that second, and one endpoint.
    pub(crate) fn at(created: u64) -> Self {
        Self {
            word: VALID,
            created: Some(created),
            headless: false,
            affinity: None,
            local: false,
            distribution: "",
            families: "IPv4",
            labels: Vec::new(),
            annotations: Vec::new(),
            ports: vec![("http", 80, Transport::Tcp)],
            protocols: Vec::new(),
            endpoints: vec![(1, Health::Healthy)],
        }
    }

    /// Without a Service that it could export.
    pub(crate) fn invalid(created: u64, word: &'static str) -> Self {
        Self {
            word,
            ports: Vec::new(),
            endpoints: Vec::new(),
            families: "",
            ..Self::at(created)
        }
    }

    /// What the registry of that cluster says. Its pods have addresses of `10.<number>.0.0/16`.
    pub(crate) fn record(&self, service: &str, cluster: &str, number: u8) -> ServiceRecord {
        let mut raw = match self.word {
            // As users of files may write.
            "" => vec![("export".to_owned(), "true".to_owned())],
            word => vec![(EXPORT.to_owned(), word.to_owned())],
        };
        if self.word == VALID {
            let policy = if self.local { "Local" } else { "Cluster" };
            raw.push(("internalTrafficPolicy".to_owned(), policy.to_owned()));
        }
        if !self.families.is_empty() {
            raw.push(("ipFamilies".to_owned(), self.families.to_owned()));
        }
        if let Some(seconds) = self.affinity {
            raw.push(("sessionAffinityTimeoutSeconds".to_owned(), seconds.to_string()));
        }
        for (key, value) in &self.annotations {
            raw.push((format!("{ANNOTATION}{key}"), (*value).to_owned()));
        }
        for (port, protocol) in &self.protocols {
            raw.push((format!("{APP_PROTOCOL}{port}"), (*protocol).to_owned()));
        }
        let ports = self.ports.iter().map(|(name, number, transport)| ServicePort {
            number: Some(*number).filter(|number| *number > 0),
            implicit: *number == 0,
            transport: *transport,
            app_protocol: (*name).into(),
            ..ServicePort::new(*name)
        });
        let resolution = match (self.word, self.headless) {
            (NO_SERVICE | INVALID_SERVICE_TYPE, _) => Resolution::Nothing,
            (_, true) => Resolution::Headless,
            (_, false) => Resolution::Static,
        };
        let meta = ServiceMeta::builder(ServiceId::new("shop", "shop", service))
            .ports(ports)
            .labels(self.labels.iter().copied().collect())
            .metadata(raw.into_iter().collect())
            .variables([("cluster", cluster)].into_iter().collect())
            .traffic(Traffic {
                session_affinity: match self.affinity {
                    Some(_) => SessionAffinity::ClientIp,
                    None => SessionAffinity::None,
                },
                distribution: self.distribution.into(),
                internal_local: self.local,
            })
            .created(self.created.map(|seconds| Timestamp::from_millis(seconds * 1000)))
            .resolution(resolution)
            .build();
        let endpoints = self.endpoints.iter().map(|(n, health)| {
            let address = Address::V4([10, number, 0, *n].into());
            let mut endpoint = Endpoint::builder(address)
                .id(format!("{cluster}-{n}"))
                .cluster(cluster)
                .health(*health);
            for (name, port, _) in &self.ports {
                endpoint = endpoint.port(*name, 8000 + port);
            }
            if self.headless {
                endpoint = endpoint.hostname(format!("pod-{n}.{cluster}"));
            }
            endpoint.build()
        });
        ServiceRecord::new(meta, endpoints.collect::<Vec<_>>())
    }
}

pub(crate) fn id(name: &str) -> RegistryId {
    name.parse().unwrap()
}

/// The engine of a clusterset.
pub(crate) fn engine(now: Instant) -> Engine {
    engine_of(Arc::new(ClusterSet), now)
}

/// One that merges exports by another policy.
fn engine_of(policy: Arc<dyn MergePolicy>, now: Instant) -> Engine {
    let settings = EngineSettings {
        policies: vec![(Pattern::new("*.svc.clusterset.local"), policy)],
        start_deadline: Duration::from_secs(30),
    };
    Engine::new(settings, now)
}

/// Adds a member; nothing is held back, so that a test may take away what it likes.
pub(crate) fn add(engine: &mut Engine, registry: &str, outage: Outage) {
    let options = RegistryOptions {
        outage,
        hostname: Some("{name}.{namespace}.svc.clusterset.local".parse().unwrap()),
        guard: None,
        ..RegistryOptions::default()
    };
    engine
        .add(id(registry), &Member, options, Arc::default())
        .unwrap();
}

/// What clusters export of the one service `shop/web`, merged.
pub(crate) struct Clusters {
    engine: Engine,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Registries, and the ids of their clusters.
    members: Vec<(&'static str, &'static str)>,
    now: Instant,
}

pub(crate) const WEB: &str = "web.shop.svc.clusterset.local";

impl Clusters {
    /// Clusters that are called as their registries are.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self::with(&names.iter().map(|name| (*name, *name)).collect::<Vec<_>>())
    }

    /// Registries, and the ids of their clusters.
    pub(crate) fn with(members: &[(&'static str, &'static str)]) -> Self {
        Self::merged_by(Arc::new(ClusterSet), members)
    }

    /// The same under that policy.
    pub(crate) fn merged_by(policy: Arc<dyn MergePolicy>, members: &[(&'static str, &'static str)]) -> Self {
        let now = Instant::now();
        let mut engine = engine_of(policy, now);
        for (registry, _) in members {
            add(&mut engine, registry, Outage::Keep);
            engine
                .apply(&id(registry), Event::listing(Scope::Registry, []), now)
                .unwrap();
        }
        Self {
            engine,
            snapshot: Arc::default(),
            members: members.to_vec(),
            now,
        }
    }

    /// What the cluster behind that registry exports now, or that it exports nothing.
    pub(crate) fn say(&mut self, registry: &str, export: Option<&Export>) {
        let at = self
            .members
            .iter()
            .position(|(name, _)| *name == registry)
            .unwrap();
        let number = u8::try_from(at).unwrap();
        let records = export.map(|export| export.record("web", self.members[at].1, number));
        let events = Event::listing(Scope::Registry, records);
        self.engine.apply(&id(registry), events, self.now).unwrap();
        if let Some(snapshot) = self.engine.publish(self.now) {
            self.snapshot = snapshot;
        }
    }

    /// `cluster/n port+port health` of each endpoint of the service, sorted; `None` where it is not served.
    pub(crate) fn endpoints(&self) -> Option<Vec<String>> {
        let service = self.snapshot.get(WEB)?;
        let mut lines: Vec<String> = service
            .endpoints()
            .iter()
            .map(|endpoint| {
                let ports: Vec<&str> = endpoint.ports().iter().map(|port| port.name.as_str()).collect();
                format!("{} {} {}", endpoint.id(), ports.join("+"), endpoint.health())
            })
            .collect();
        lines.sort();
        Some(lines)
    }

    pub(crate) fn conflicts(&self) -> Vec<String> {
        let service = self.snapshot.get(WEB);
        let conflicts = service.into_iter().flat_map(|service| service.conflicts());
        conflicts.map(ToString::to_string).collect()
    }
}

/// `cluster: Valid Ready Conflict` of each export of the service, with the status where it is not the wanted one.
pub(crate) fn conditions(snapshot: &Snapshot, hostname: &str) -> Vec<String> {
    let line = |export: &ExportStatus| {
        let [valid, ready, conflict] = &export.conditions;
        assert_eq!(
            [valid.kind, ready.kind, conflict.kind],
            ["Valid", "Ready", "Conflict"]
        );
        let mut words = vec![format!("{}:", export.cluster)];
        for (condition, wanted) in [
            (valid, Truth::True),
            (ready, Truth::True),
            (conflict, Truth::False),
        ] {
            words.push(condition.reason.clone());
            assert!(!condition.reason.is_empty());
            if condition.status != wanted {
                words.push(format!("({})", condition.status.as_str()));
            }
        }
        words.join(" ")
    };
    exports(snapshot, hostname).iter().map(line).collect()
}
