//! What the tests share: a server with a proxy in front of it, a discovery over one Kubernetes registry, and waiting for
//! what it publishes.

pub(crate) mod deltas;
pub(crate) mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Discovery, Endpoint, Guard, Phase, RegistryOptions, RegistryStatus, Service, Snapshot};
use registry_k8s::{KubernetesConfig, KubernetesRegistry};
use registry_testkit::kubernetes::{ADMIN, Kubernetes, KubernetesApi, KubernetesBuilder};
use registry_testkit::{FaultProxy, wait, witness};
use serde_json::{Value, json};

/// Longer than anything here takes on a slow and busy machine; nothing is asserted of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The shortest that watches may last, so that tests can sit them out.
pub(crate) const WATCH: Duration = Duration::from_secs(5);

/// A server, and a proxy in front of its port without TLS.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) proxy: FaultProxy,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_as(Kubernetes::builder()).await
    }

    pub(crate) async fn start_as(builder: KubernetesBuilder) -> Self {
        registry_testkit::init_tls();
        let kubernetes = builder.start().await.unwrap();
        let address = kubernetes.plain_address().unwrap();
        let proxy = FaultProxy::start(address.into()).await.unwrap();
        Self { kubernetes, proxy }
    }

    /// Calls past the proxy.
    pub(crate) fn api(&self) -> &KubernetesApi {
        self.kubernetes.api()
    }

    /// For all namespaces, through the proxy, as administrator.
    pub(crate) fn config(&self) -> KubernetesConfig {
        self.config_of(ADMIN)
    }

    /// For all namespaces, through the proxy.
    pub(crate) fn config_of(&self, user: &str) -> KubernetesConfig {
        config(self.kubernetes.kubeconfig_for(&self.proxy.url(), user).unwrap())
    }
}

/// A server, or the cluster that tests are to run against, for those that need no more than its API; and a configuration
/// for its HTTPS port. Tests keep to namespaces of their own, and watch those alone.
pub(crate) async fn any_cluster() -> (Kubernetes, KubernetesConfig) {
    registry_testkit::init_tls();
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let config = config(kubernetes.kubeconfig(ADMIN).unwrap());
    (kubernetes, config)
}

/// A configuration for the cluster `test`, with short watches.
pub(crate) fn config(kubeconfig: PathBuf) -> KubernetesConfig {
    KubernetesConfig {
        kubeconfig: Some(kubeconfig),
        cluster: Some("test".to_owned()),
        watch_timeout: WATCH,
        // More can happen to them than to pages.
        streaming_lists: true,
        ..KubernetesConfig::default()
    }
}

/// A discovery of that one registry, called `kubernetes`, which believes any loss that the registry tells.
pub(crate) fn discover(config: KubernetesConfig) -> Discovery {
    discover_guarded(config, None)
}

/// The same with a guard against losses.
pub(crate) fn discover_guarded(config: KubernetesConfig, guard: Option<Guard>) -> Discovery {
    let registry = KubernetesRegistry::try_new(config).unwrap();
    let options = RegistryOptions {
        guard,
        ..RegistryOptions::default()
    };
    Discovery::builder()
        .registry_with("kubernetes", registry, options)
        .unwrap()
        .start()
        .unwrap()
}

/// A discovery that has listed everything once.
pub(crate) async fn discovered(config: KubernetesConfig) -> Discovery {
    let discovery = discover(config);
    ready(&discovery).await;
    discovery
}

/// Waits for the first complete listing.
pub(crate) async fn ready(discovery: &Discovery) {
    let ready = tokio::time::timeout(DEADLINE, discovery.ready()).await;
    assert!(ready.is_ok(), "not ready: {:?}", discovery.status());
}

// === what there is to see ===

/// The status of the one registry.
pub(crate) fn status(discovery: &Discovery) -> RegistryStatus {
    discovery.status().remove(0)
}

/// The service of that name in a namespace.
pub(crate) fn service(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Arc<Service>> {
    snapshot
        .get(&format!("{name}.{namespace}.svc.cluster.local"))
        .cloned()
}

/// `address:port health status`, sorted, of the endpoints of a service; `None` where there is none.
pub(crate) fn endpoints(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Vec<String>> {
    let service = service(snapshot, namespace, name)?;
    let line = |endpoint: &Arc<Endpoint>| {
        let claim = endpoint.claims().next().unwrap();
        let (address, ports) = (endpoint.address(), witness::ports(endpoint));
        format!("{address}:{ports} {} {}", endpoint.health(), claim.status)
    };
    let mut lines: Vec<String> = service.endpoints().iter().map(line).collect();
    lines.sort();
    Some(lines)
}

/// `address:port`, sorted, of the endpoints of a service; `None` where there is none.
pub(crate) fn addresses(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Vec<String>> {
    let mut lines = endpoints(snapshot, namespace, name)?;
    for line in &mut lines {
        line.truncate(line.find(' ').unwrap());
    }
    Some(lines)
}

// === waiting ===

/// Waits until the published snapshot is as wanted.
pub(crate) async fn until(
    what: &str,
    discovery: &Discovery,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let found = wait::until(what, DEADLINE, async || {
        let snapshot = discovery.snapshot();
        wanted(&snapshot).then_some(snapshot)
    });
    match found.await {
        Ok(snapshot) => snapshot,
        Err(error) => panic!("{error}; {:?}; {:?}", discovery.snapshot(), discovery.status()),
    }
}

/// Waits until a service has endpoints with these addresses and ports.
pub(crate) async fn until_addresses(
    discovery: &Discovery,
    namespace: &str,
    name: &str,
    wanted: &[&str],
) -> Arc<Snapshot> {
    until(&format!("{name} at {wanted:?}"), discovery, |snapshot| {
        addresses(snapshot, namespace, name).is_some_and(|found| found == wanted)
    })
    .await
}

/// Waits until the registry is in that phase.
pub(crate) async fn until_phase(discovery: &Discovery, wanted: Phase) {
    until(&format!("phase {wanted:?}"), discovery, |snapshot| {
        // The first snapshot of all knows of no registry yet.
        snapshot
            .registries()
            .first()
            .is_some_and(|registry| registry.phase() == wanted)
    })
    .await;
}

// === what is written ===

/// A service with a port `http` of number 80 and without a selector.
pub(crate) fn spec() -> Value {
    json!({ "ports": [{ "name": "http", "port": 80 }] })
}

/// A slice of endpoints that are ready, at the port `http` of this number.
pub(crate) fn slice(addresses: &[&str], port: u16) -> Value {
    let endpoint = |address: &&str| json!({ "addresses": [address], "conditions": { "ready": true } });
    let endpoints: Vec<Value> = addresses.iter().map(endpoint).collect();
    json!({ "endpoints": endpoints, "ports": [{ "name": "http", "port": port }] })
}
