//! Two clusters with a namespace of one name in each: where tests write.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use registry_core::{Discovery, Guard, Outage, RegistryOptions};
use registry_k8s::{Cluster, KubernetesConfig, KubernetesRegistry};
use registry_mcs::{ClusterSet, McsRegistry, McsSettings};
use registry_testkit::FaultProxy;
use registry_testkit::kubernetes::mcs::service_exports_path;
use registry_testkit::kubernetes::{
    ADMIN, Clusterset, Kubernetes, KubernetesApi, SharedNamespace, endpoint_slices_path, services_path,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::observer::Observer;

/// The ids of the clusters; their registries have the same names.
pub(crate) const IDS: [&str; 2] = ["a", "b"];

/// Creation times count whole seconds.
const A_SECOND: Duration = Duration::from_millis(1100);

/// The servers that tests share while any of them runs. The last one that lets go of them ends them.
static SHARED: Mutex<Weak<Clusterset>> = Mutex::const_new(Weak::new());

/// Two servers of our own, which nobody may stop.
pub(crate) async fn own_clusters() -> Arc<Clusterset> {
    registry_testkit::init_tls();
    let mut shared = SHARED.lock().await;
    if let Some(clusters) = shared.upgrade() {
        return clusters;
    }
    let clusters = Arc::new(Clusterset::start(2).await.unwrap());
    *shared = Arc::downgrade(&clusters);
    clusters
}

/// Those, or the clusters that tests are to run against.
pub(crate) async fn any_clusters() -> Arc<Clusterset> {
    registry_testkit::init_tls();
    match std::env::var_os(registry_testkit::kubernetes::KUBECONFIG) {
        Some(path) if !path.is_empty() => Arc::new(Clusterset::start_or_external(2).await.unwrap()),
        _ => own_clusters().await,
    }
}

/// Where a test writes.
pub(crate) struct Stage {
    pub(crate) members: [Member; 2],
    namespace: SharedNamespace,
    _clusters: Option<Arc<Clusterset>>,
}

/// One of the clusters.
pub(crate) struct Member {
    pub(crate) id: &'static str,
    pub(crate) api: KubernetesApi,
    pub(crate) config: KubernetesConfig,
    namespace: String,
    proxy: Option<FaultProxy>,
}

/// How the clusters are watched.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The ids of the clusters; what they say themselves where there is none.
    pub(crate) ids: [Option<String>; 2],
    /// The places of the clusters in the order in which registries are named, which settles nothing.
    pub(crate) order: [usize; 2],
    pub(crate) outages: [Outage; 2],
    pub(crate) state: Option<PathBuf>,
    pub(crate) guard: Option<Guard>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            ids: IDS.map(|id| Some(id.to_owned())),
            order: [0, 1],
            outages: [Outage::default(); 2],
            state: None,
            guard: Some(Guard::default()),
        }
    }
}

// === impl Stage ===

impl Stage {
    /// On any two clusters.
    pub(crate) async fn open() -> Self {
        Self::on(any_clusters().await, false).await
    }

    /// On clusters that are watched through proxies.
    pub(crate) async fn behind_proxies() -> Self {
        Self::on(own_clusters().await, true).await
    }

    async fn on(clusters: Arc<Clusterset>, behind_proxies: bool) -> Self {
        let namespace = clusters.new_namespace("mcs").await.unwrap();
        let member = async |index: usize| {
            let proxy = match behind_proxies {
                true => {
                    let address = clusters[index].plain_address().unwrap();
                    Some(FaultProxy::start(address.into()).await.unwrap())
                }
                false => None,
            };
            Member::new(IDS[index], &clusters[index], namespace.name(), proxy)
        };
        let members = [member(0).await, member(1).await];
        Self {
            members,
            namespace,
            _clusters: Some(clusters),
        }
    }

    /// On clusters that the test may stop.
    pub(crate) fn of(clusters: &Clusterset, namespace: SharedNamespace) -> Self {
        let member = |index: usize| Member::new(IDS[index], &clusters[index], namespace.name(), None);
        Self {
            members: [member(0), member(1)],
            namespace,
            _clusters: None,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        self.namespace.name()
    }

    pub(crate) fn a(&self) -> &Member {
        &self.members[0]
    }

    pub(crate) fn b(&self) -> &Member {
        &self.members[1]
    }

    /// Watches both, until all of both is known.
    pub(crate) async fn observe(&self) -> Observer {
        self.observe_with(|_| {}).await
    }

    /// The same with other settings for both clusters.
    pub(crate) async fn observe_with(&self, change: impl Fn(&mut KubernetesConfig)) -> Observer {
        let observer = self.begin(&Plan::default(), change);
        observer.ready().await;
        observer
    }

    /// Watches both in this way; waits for nothing.
    pub(crate) fn observe_as(&self, plan: &Plan) -> Observer {
        self.begin(plan, |_| {})
    }

    fn begin(&self, plan: &Plan, change: impl Fn(&mut KubernetesConfig)) -> Observer {
        let mut builder = Discovery::builder().policy("*.svc.clusterset.local", ClusterSet);
        if let Some(state) = &plan.state {
            builder = builder.state_dir(state);
        }
        for index in plan.order {
            let member = &self.members[index];
            let mut config = member.config.clone();
            change(&mut config);
            let cluster = Cluster::try_new(config).unwrap();
            let registry = McsRegistry::exports(cluster, plan.ids[index].clone(), McsSettings::default());
            let options = RegistryOptions {
                hostname: Some("{name}.{namespace}.svc.clusterset.local".parse().unwrap()),
                guard: plan.guard,
                outage: plan.outages[index],
                ..RegistryOptions::default()
            };
            builder = builder.registry_with(member.id, registry, options).unwrap();
        }
        Observer::new(builder.start().unwrap(), self.namespace())
    }

    /// Watches what the first cluster imports, and beside it what a plain registry makes of the same cluster.
    pub(crate) async fn observe_imports(&self) -> Observer {
        let config = KubernetesConfig {
            cluster: Some("test".to_owned()),
            ..self.a().config.clone()
        };
        let imports = Cluster::try_new(config.clone()).unwrap();
        let imports = McsRegistry::imports(imports, McsSettings::default());
        let plain = KubernetesRegistry::try_new(config).unwrap();
        let builder = Discovery::builder().registry("imports", imports).unwrap();
        let discovery = builder.registry("plain", plain).unwrap().start().unwrap();
        let observer = Observer::new(discovery, self.namespace());
        observer.ready().await;
        observer
    }

    /// Exports a service in both within the same second.
    pub(crate) async fn export_at_once(&self, name: &str) {
        // The end of a second may be in between; clocks may be that far apart, and then this is not the place to test it.
        for _ in 0..20 {
            let (a, b) = tokio::join!(self.a().export(name), self.b().export(name));
            if created(&a) == created(&b) {
                return;
            }
            self.a().unexport(name).await;
            self.b().unexport(name).await;
        }
        panic!("the clocks of the clusters differ");
    }
}

/// What is created after this is younger than what was created before it.
pub(crate) async fn a_second_later() {
    tokio::time::sleep(A_SECOND).await;
}

/// When an object was created, to the second.
pub(crate) fn created(object: &Value) -> String {
    object["metadata"]["creationTimestamp"]
        .as_str()
        .unwrap()
        .to_owned()
}

// === impl Member ===

impl Member {
    fn new(id: &'static str, kubernetes: &Kubernetes, namespace: &str, proxy: Option<FaultProxy>) -> Self {
        let kubeconfig = match &proxy {
            Some(proxy) => kubernetes.kubeconfig_for(&proxy.url(), ADMIN),
            None => kubernetes.kubeconfig(ADMIN),
        };
        Self {
            id,
            // The clusters may have been started in the runtime of another test.
            api: kubernetes.new_api().unwrap(),
            config: KubernetesConfig {
                kubeconfig: Some(kubeconfig.unwrap()),
                namespaces: vec![namespace.to_owned()],
                // So that freshness bounds can be sat out.
                watch_timeout: Duration::from_secs(5),
                ..KubernetesConfig::default()
            },
            namespace: namespace.to_owned(),
            proxy,
        }
    }

    /// Between the registry and the cluster.
    pub(crate) fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().unwrap()
    }

    /// Breaks all connections and lets no new ones in.
    pub(crate) fn cut_off(&self) {
        self.proxy().refuse(true);
        self.proxy().reset_all();
    }

    pub(crate) fn let_in(&self) {
        self.proxy().refuse(false);
    }

    // === writing ===

    pub(crate) async fn service(&self, name: &str, spec: &Value) -> Value {
        self.api.service(&self.namespace, name, spec).await.unwrap()
    }

    pub(crate) async fn slice(&self, name: &str, service: &str, slice: &Value) {
        let written = self
            .api
            .endpoint_slice(&self.namespace, name, service, slice)
            .await;
        written.unwrap();
    }

    /// A service with one slice, and no export.
    pub(crate) async fn serve(&self, name: &str, spec: &Value, slice: &Value) {
        self.service(name, spec).await;
        self.slice(&format!("{name}-1"), name, slice).await;
    }

    pub(crate) async fn export(&self, name: &str) -> Value {
        self.export_as(name, &json!({})).await
    }

    pub(crate) async fn export_as(&self, name: &str, spec: &Value) -> Value {
        self.api
            .service_export(&self.namespace, name, spec)
            .await
            .unwrap()
    }

    pub(crate) async fn unexport(&self, name: &str) {
        self.delete(&format!("{}/{name}", service_exports_path(&self.namespace)))
            .await;
    }

    pub(crate) async fn delete_service(&self, name: &str) {
        self.delete(&format!("{}/{name}", services_path(&self.namespace)))
            .await;
    }

    pub(crate) async fn delete_slice(&self, name: &str) {
        self.delete(&format!("{}/{name}", endpoint_slices_path(&self.namespace)))
            .await;
    }

    /// Merges into a Service.
    pub(crate) async fn patch_service(&self, name: &str, patch: &Value) {
        let path = format!("{}/{name}", services_path(&self.namespace));
        self.api.patch(&path, patch).await.unwrap();
    }

    async fn delete(&self, path: &str) {
        self.api.delete(path).await.unwrap();
    }
}

// === what is written ===

/// A service with a port `http` of number 80.
pub(crate) fn web() -> Value {
    json!({ "ports": [{ "name": "http", "port": 80 }] })
}

/// A headless service with the same port.
pub(crate) fn headless() -> Value {
    let mut spec = web();
    spec["clusterIP"] = json!("None");
    spec
}

/// A slice of pods that are ready, with these ports.
pub(crate) fn slice(addresses: &[&str], ports: &[(&str, u16)]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({ "addresses": [address], "conditions": { "ready": true } }))
        .collect();
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, port)| json!({ "name": name, "port": port }))
        .collect();
    json!({ "endpoints": endpoints, "ports": ports })
}

/// The same of pods with the port `http` alone, of number 8080.
pub(crate) fn pods(addresses: &[&str]) -> Value {
    slice(addresses, &[("http", 8080)])
}

/// Pods with host names, as those of a StatefulSet have them.
pub(crate) fn named_pods(pods: &[(&str, &str)]) -> Value {
    let addresses: Vec<&str> = pods.iter().map(|(_, address)| *address).collect();
    let mut slice = self::pods(&addresses);
    for (endpoint, (hostname, _)) in slice["endpoints"].as_array_mut().unwrap().iter_mut().zip(pods) {
        endpoint["hostname"] = json!(hostname);
    }
    slice
}
