//! What comes of it: the merged services and the conditions of their exports, as text.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use registry_core::{
    Discovery, Endpoint, Labels, Phase, RegistryStatus, Resolution, Service, SessionAffinity, Snapshot,
};
use registry_k8s::ANNOTATION;
use registry_mcs::{ExportStatus, Truth, import_spec};
use registry_testkit::wait;
use tokio::task::JoinHandle;

/// Longer than anything here takes on a slow and busy machine; nothing is asserted of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A discovery, and the namespace that it is about.
pub(crate) struct Observer {
    pub(crate) discovery: Discovery,
    namespace: String,
}

// === impl Observer ===

impl Observer {
    pub(crate) fn new(discovery: Discovery, namespace: &str) -> Self {
        Self {
            discovery,
            namespace: namespace.to_owned(),
        }
    }

    /// Waits until all registries have told all they know.
    pub(crate) async fn ready(&self) {
        let ready = tokio::time::timeout(DEADLINE, self.discovery.ready()).await;
        assert!(ready.is_ok(), "not ready: {:?}", self.discovery.status());
    }

    pub(crate) fn hostname(&self, name: &str) -> String {
        format!("{name}.{}.svc.clusterset.local", self.namespace)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Service>> {
        find(&self.discovery.snapshot(), &self.hostname(name))
    }

    pub(crate) fn get(&self, name: &str) -> Arc<Service> {
        self.find(name)
            .unwrap_or_else(|| panic!("{name} is not there: {:?}", self.discovery.status()))
    }

    /// Waits until what is published is as wanted; returns what `look` saw last.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let found = wait::until(what, DEADLINE, async || {
            let snapshot = self.discovery.snapshot();
            wanted(&snapshot).then_some(snapshot)
        });
        match found.await {
            Ok(snapshot) => snapshot,
            Err(error) => panic!("{error}; {:?}", self.discovery.status()),
        }
    }

    /// Waits until these lines, in the words of [`lines`], tell all of a service; of none where it is not to be there.
    pub(crate) async fn until_lines(&self, name: &str, wanted: &[&str]) {
        let mut wanted: Vec<String> = wanted.iter().map(|line| (*line).to_owned()).collect();
        wanted.sort();
        let hostname = self.hostname(name);
        let seen = |snapshot: &Snapshot| {
            let service = find(snapshot, &hostname);
            service.map_or_else(Vec::new, |service| lines(&service))
        };
        let found = wait::until("", DEADLINE, async || {
            (seen(&self.discovery.snapshot()) == wanted).then_some(())
        });
        if found.await.is_err() {
            let seen = seen(&self.discovery.snapshot());
            panic!(
                "{name}: wanted {wanted:#?}, and it is {seen:#?}; {:?}",
                self.discovery.status()
            );
        }
    }

    /// Waits until a service has these endpoints alone, in the words of [`endpoint`].
    pub(crate) async fn until_endpoints(&self, name: &str, wanted: &[&str]) {
        let hostname = self.hostname(name);
        let what = format!("{name} at {wanted:?}");
        let is_so = |snapshot: &Snapshot| {
            find(snapshot, &hostname).is_some_and(|service| endpoints(&service) == wanted)
        };
        self.until(&what, is_so).await;
    }

    pub(crate) async fn until_gone(&self, name: &str) {
        let hostname = self.hostname(name);
        let is_gone = |snapshot: &Snapshot| find(snapshot, &hostname).is_none();
        self.until(&format!("the end of {name}"), is_gone).await;
    }

    /// The conditions of all exports of a service, in the order of precedence, in the words of [`status`].
    pub(crate) fn statuses(&self, name: &str) -> Vec<String> {
        statuses(&self.discovery.snapshot(), &self.hostname(name))
    }

    /// Waits until these are the conditions of the exports of a service.
    pub(crate) async fn until_statuses(&self, name: &str, wanted: &[&str]) {
        let found = wait::until("", DEADLINE, async || {
            (self.statuses(name) == wanted).then_some(())
        });
        if found.await.is_err() {
            let seen = self.statuses(name);
            panic!(
                "{name}: wanted {wanted:#?}, and it is {seen:#?}; {:?}",
                self.discovery.status()
            );
        }
    }

    /// What is known of a registry.
    pub(crate) fn registry(&self, id: &str) -> RegistryStatus {
        let all = self.discovery.status().into_iter();
        all.clone().find(|status| status.id.as_str() == id).unwrap()
    }

    pub(crate) async fn until_phase(&self, id: &str, wanted: Phase) {
        self.until(&format!("{id} to be {wanted:?}"), |snapshot| {
            let mut all = snapshot.registries().iter();
            all.any(|registry| registry.id().as_str() == id && registry.phase() == wanted)
        })
        .await;
    }
}

/// All publications since it began, the one that there was then as the first.
pub(crate) struct Recording {
    seen: Arc<Mutex<BTreeMap<u64, Arc<Snapshot>>>>,
    task: JoinHandle<()>,
}

// === impl Recording ===

impl Recording {
    pub(crate) fn begin(observer: &Observer) -> Self {
        let mut changes = observer.discovery.changes();
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        note(&seen, changes.snapshot().clone());
        let (noted, discovery) = (seen.clone(), observer.discovery.clone());
        let task = tokio::spawn(async move {
            while changes.next().await.is_some() {
                // The one that woke us, and one that followed at once.
                note(&noted, changes.snapshot().clone());
                note(&noted, discovery.snapshot());
            }
        });
        Self { seen, task }
    }

    /// Every state of a service until now, once; `None` where it was not there.
    pub(crate) async fn of(&self, observer: &Observer, name: &str) -> Vec<Option<Arc<Service>>> {
        let last = observer.discovery.snapshot().revision();
        let caught_up = async || lock(&self.seen).range(last..).next().map(drop);
        wait::until("the recording", DEADLINE, caught_up).await.unwrap();
        let seen = lock(&self.seen);
        let hostname = observer.hostname(name);
        let states = seen.values().map(|snapshot| find(snapshot, &hostname));
        let mut states: Vec<Option<Arc<Service>>> = states.collect();
        states.dedup_by_key(|state| state.as_ref().map(|state| state.revision()));
        states
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(seen: &Mutex<BTreeMap<u64, Arc<Snapshot>>>, snapshot: Arc<Snapshot>) {
    lock(seen).insert(snapshot.revision(), snapshot);
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn find(snapshot: &Snapshot, hostname: &str) -> Option<Arc<Service>> {
    snapshot.get(hostname).cloned()
}

/// All that a ServiceImport would say of a merged service, sorted, with its endpoints.
pub(crate) fn lines(service: &Service) -> Vec<String> {
    let mut lines = vec![kind(service).to_owned()];
    for port in service.ports() {
        let number = port.number.map_or("-".to_owned(), |number| number.to_string());
        let mut line = format!("port {} {number}/{}", port.name, port.transport.as_str());
        // A port that is called `http` is taken for one of HTTP.
        if !port.app_protocol.is_empty() && port.app_protocol != port.name {
            line = format!("{line} {}", port.app_protocol);
        }
        lines.push(line);
    }
    lines.extend(
        service
            .labels()
            .iter()
            .map(|(key, value)| format!("label {key}={value}")),
    );
    // The winner's, as a whole.
    let metadata = service.sources()[0].meta.metadata();
    let annotations = metadata
        .iter()
        .filter_map(|(key, value)| Some(format!("annotation {}={value}", key.strip_prefix(ANNOTATION)?)));
    lines.extend(annotations);
    let traffic = service.traffic();
    if traffic.session_affinity == SessionAffinity::ClientIp {
        let seconds = metadata.get("sessionAffinityTimeoutSeconds");
        lines.push(format!("ClientIP for {}", seconds.map_or("-", |seconds| seconds)));
    }
    if traffic.internal_local {
        lines.push("internal traffic is local".to_owned());
    }
    if !traffic.distribution.is_empty() {
        lines.push(traffic.distribution.to_string());
    }
    lines.extend(endpoints(service));
    lines.sort();
    lines
}

/// The same without endpoints, as a controller would write it into a ServiceImport of exports.
pub(crate) fn import_lines(service: &Service) -> Vec<String> {
    let spec = import_spec(service).unwrap();
    let mut lines = vec![spec.kind.as_str().to_owned()];
    for port in &spec.ports {
        let (protocol, spoken) = (port.protocol.to_lowercase(), &port.app_protocol);
        let line = format!("port {} {}/{protocol} {spoken}", port.name, port.port);
        lines.push(line.trim_end().to_owned());
    }
    let pairs = |what: &'static str, texts: &Labels| -> Vec<String> {
        let texts = texts.iter();
        texts
            .map(|(key, value)| format!("{what} {key}={value}"))
            .collect()
    };
    lines.extend(pairs("label", &spec.labels));
    lines.extend(pairs("annotation", &spec.annotations));
    if spec.session_affinity != "None" {
        let seconds = spec.session_affinity_timeout.unwrap();
        lines.push(format!("{} for {seconds}", spec.session_affinity));
    }
    if spec.internal_traffic_policy.as_str() == "Local" {
        lines.push("internal traffic is local".to_owned());
    }
    lines.extend(spec.traffic_distribution.map(|word| word.to_string()));
    lines.sort();
    lines
}

/// The type that a ServiceImport would have.
pub(crate) fn kind(service: &Service) -> &'static str {
    match service.resolution() {
        Resolution::Static => "ClusterSetIP",
        Resolution::Headless => "Headless",
        Resolution::Dns => "ExternalName",
        Resolution::Nothing => "nothing",
    }
}

/// All endpoints, sorted.
pub(crate) fn endpoints(service: &Service) -> Vec<String> {
    let mut lines: Vec<String> = service.endpoints().iter().map(|one| endpoint(one)).collect();
    lines.sort();
    lines
}

/// `cluster address port=number …`.
pub(crate) fn endpoint(endpoint: &Endpoint) -> String {
    let mut line = format!("{} {}", endpoint.cluster(), endpoint.address());
    for port in endpoint.ports().iter() {
        line = format!("{line} {}={}", port.name, port.number);
    }
    line
}

/// The names of all endpoints in DNS, each with its address, sorted.
pub(crate) fn names(service: &Service) -> Vec<String> {
    let name = |one: &Arc<Endpoint>| {
        let name = service.endpoint_dns_name(one);
        Some(format!("{} {}", name?, one.address()))
    };
    let mut names: Vec<String> = service.endpoints().iter().filter_map(name).collect();
    names.sort();
    names
}

pub(crate) fn statuses(snapshot: &Snapshot, hostname: &str) -> Vec<String> {
    let all = registry_mcs::exports(snapshot, hostname);
    all.iter().map(status).collect()
}

/// `cluster Valid=True/Valid Conflict=False/NoConflicts`; several reasons in alphabetical order, because their own order
/// is nobody's business.
fn status(export: &ExportStatus) -> String {
    let mut line = export.cluster.to_string();
    // What a provider that writes nothing says of readiness is its own affair.
    for condition in [&export.conditions[0], &export.conditions[2]] {
        let status = match condition.status {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        };
        let mut reasons: Vec<&str> = condition.reason.split(',').collect();
        reasons.sort_unstable();
        line = format!("{line} {}={status}/{}", condition.kind, reasons.join(","));
    }
    line
}
