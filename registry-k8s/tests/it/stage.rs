//! A namespace of a test's own, on any cluster, a discovery that watches it alone, and all that it publishes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use registry_core::{Discovery, Endpoint, Guard, Service, Snapshot};
use registry_k8s::KubernetesConfig;
use registry_testkit::kubernetes::{
    Kubernetes, KubernetesApi, Namespace, endpoint_slices_path, services_path,
};
use registry_testkit::wait;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{self, DEADLINE, any_cluster, discover_guarded, ready, slice, spec};

/// So long that whatever a test sees came by the watch that was under way.
const WATCH: Duration = Duration::from_secs(120);

/// Where a test writes, and what comes of it.
pub(crate) struct Stage {
    pub(crate) discovery: Discovery,
    namespace: Namespace,
    kubernetes: Kubernetes,
    marks: AtomicUsize,
}

// === impl Stage ===

impl Stage {
    /// An empty namespace that is watched as by default.
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// An empty namespace that is watched with other settings.
    pub(crate) async fn open_with(change: impl FnOnce(&mut KubernetesConfig)) -> Self {
        let (kubernetes, config) = any_cluster().await;
        let namespace = kubernetes.new_namespace("acceptance").await.unwrap();
        let mut config = KubernetesConfig {
            namespaces: vec![namespace.name().to_owned()],
            watch_timeout: WATCH,
            ..config
        };
        change(&mut config);
        let discovery = discover_guarded(config, Some(Guard::default()));
        ready(&discovery).await;
        Self {
            discovery,
            namespace,
            kubernetes,
            marks: AtomicUsize::new(0),
        }
    }

    pub(crate) fn api(&self) -> &KubernetesApi {
        self.kubernetes.api()
    }

    /// True on a cluster with controllers.
    pub(crate) fn is_external(&self) -> bool {
        self.kubernetes.is_external()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.namespace.name()
    }

    // === writing ===

    pub(crate) async fn service(&self, name: &str, spec: &Value) -> Value {
        let written = self.api().service(self.namespace(), name, spec).await;
        written.unwrap()
    }

    /// Merges into a Service.
    pub(crate) async fn patch_service(&self, name: &str, patch: &Value) -> Value {
        let path = format!("{}/{name}", services_path(self.namespace()));
        self.api().patch(&path, patch).await.unwrap()
    }

    pub(crate) async fn delete_service(&self, name: &str) {
        let path = format!("{}/{name}", services_path(self.namespace()));
        self.api().delete(&path).await.unwrap();
    }

    pub(crate) async fn slice(&self, name: &str, service: &str, slice: &Value) -> Value {
        let written = self
            .api()
            .endpoint_slice(self.namespace(), name, service, slice)
            .await;
        written.unwrap()
    }

    /// Merges into a slice.
    pub(crate) async fn patch_slice(&self, name: &str, patch: &Value) -> Value {
        let path = format!("{}/{name}", endpoint_slices_path(self.namespace()));
        self.api().patch(&path, patch).await.unwrap()
    }

    pub(crate) async fn delete_slice(&self, name: &str) {
        let path = format!("{}/{name}", endpoint_slices_path(self.namespace()));
        self.api().delete(&path).await.unwrap();
    }

    // === reading ===

    /// A service as it is published, which is there.
    pub(crate) fn get(&self, name: &str) -> Arc<Service> {
        self.find(name)
            .unwrap_or_else(|| panic!("{name} is not there: {:?}", self.discovery.snapshot()))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Service>> {
        support::service(&self.discovery.snapshot(), self.namespace(), name)
    }

    /// Waits until a service is as wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        name: &str,
        wanted: impl Fn(&Service) -> bool,
    ) -> Arc<Service> {
        let is_so = |snapshot: &Snapshot| {
            let service = support::service(snapshot, self.namespace(), name);
            service.is_some_and(|service| wanted(&service))
        };
        let snapshot = support::until(what, &self.discovery, is_so).await;
        support::service(&snapshot, self.namespace(), name).unwrap()
    }

    /// Waits until a service has endpoints at these addresses and ports, in the words of [`support::addresses`].
    pub(crate) async fn until_at(&self, name: &str, wanted: &[&str]) -> Arc<Service> {
        let snapshot = support::until_addresses(&self.discovery, self.namespace(), name, wanted).await;
        support::service(&snapshot, self.namespace(), name).unwrap()
    }

    /// Waits until there is no such service.
    pub(crate) async fn until_gone(&self, name: &str) {
        support::until(&format!("the end of {name}"), &self.discovery, |snapshot| {
            support::service(snapshot, self.namespace(), name).is_none()
        })
        .await;
    }

    /// Waits until all that was written to Services and slices so far was read, by writing something more: each kind is
    /// told in the order of its writes.
    pub(crate) async fn settle(&self) -> Arc<Snapshot> {
        let name = format!("mark-{}", self.marks.fetch_add(1, Ordering::Relaxed));
        self.slice(&name, &name, &slice(&["10.255.255.1"], 9)).await;
        self.service(&name, &spec()).await;
        support::until_addresses(&self.discovery, self.namespace(), &name, &["10.255.255.1:9"]).await
    }

    /// Keeps what is published from now on.
    pub(crate) fn record(&self) -> Recording {
        Recording::begin(&self.discovery)
    }
}

/// All publications since it began, the one that there was then as the first.
pub(crate) struct Recording {
    seen: Arc<Mutex<BTreeMap<u64, Arc<Snapshot>>>>,
    task: JoinHandle<()>,
}

// === impl Recording ===

impl Recording {
    fn begin(discovery: &Discovery) -> Self {
        let mut changes = discovery.changes();
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        note(&seen, changes.snapshot().clone());
        let (noted, discovery) = (seen.clone(), discovery.clone());
        let task = tokio::spawn(async move {
            while changes.next().await.is_some() {
                // The one that woke us, and one that followed at once.
                note(&noted, changes.snapshot().clone());
                note(&noted, discovery.snapshot());
            }
        });
        Self { seen, task }
    }

    /// What was published of a service until now: each of its states once, in their order; `None` where it was not there.
    pub(crate) async fn of(&self, stage: &Stage, name: &str) -> Vec<Option<Arc<Service>>> {
        let states = self.of_all(stage, [name]).await.into_iter().map(|[state]| state);
        let mut states: Vec<Option<Arc<Service>>> = states.collect();
        states.dedup_by_key(|state| state.as_ref().map(|state| state.revision()));
        states
    }

    /// The same of several services at once: all of them in each publication until now, in the order of their names here.
    pub(crate) async fn of_all<const N: usize>(
        &self,
        stage: &Stage,
        names: [&str; N],
    ) -> Vec<[Option<Arc<Service>>; N]> {
        let last = stage.settle().await.revision();
        let caught_up = async || lock(&self.seen).range(last..).next().map(drop);
        wait::until("the recording", DEADLINE, caught_up).await.unwrap();
        let seen = lock(&self.seen);
        let states = seen
            .values()
            .map(|snapshot| names.map(|name| support::service(snapshot, stage.namespace(), name)));
        states.collect()
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

// === what is written ===

/// A pod that serves, as a slice lists it.
pub(crate) fn pod(address: &str, name: &str) -> Value {
    json!({
        "addresses": [address],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "targetRef": { "kind": "Pod", "name": name, "uid": format!("uid-of-{name}") },
    })
}

/// A slice of pods, at the port `http` of this number.
pub(crate) fn slice_of(pods: &[Value], port: u16) -> Value {
    json!({ "endpoints": pods, "ports": [{ "name": "http", "port": port }] })
}

/// A pod of these conditions, of which any may be left open.
pub(crate) fn pod_as(address: &str, name: &str, [ready, serving, terminating]: [Option<bool>; 3]) -> Value {
    let mut pod = pod(address, name);
    pod["conditions"] = json!({});
    for (key, set) in [
        ("ready", ready),
        ("serving", serving),
        ("terminating", terminating),
    ] {
        if let Some(set) = set {
            pod["conditions"][key] = json!(set);
        }
    }
    pod
}

// === what is seen ===

/// The one endpoint at an address.
pub(crate) fn at<'a>(service: &'a Service, address: &str) -> &'a Endpoint {
    let mut found = service
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.address().to_string() == address);
    match (found.next(), found.next()) {
        (Some(endpoint), None) => endpoint,
        (found, other) => panic!("{address} of {service:?}: {found:?} {other:?}"),
    }
}

/// What the registry itself says of the health of an endpoint.
pub(crate) fn status(endpoint: &Endpoint) -> String {
    let mut claims = endpoint.claims();
    let status = claims.next().unwrap().status.to_string();
    assert!(claims.next().is_none(), "one registry says so: {endpoint:?}");
    status
}

/// The addresses of all endpoints, in their order.
pub(crate) fn addresses(service: &Service) -> Vec<String> {
    let endpoints = service.endpoints().iter();
    endpoints.map(|endpoint| endpoint.address().to_string()).collect()
}
