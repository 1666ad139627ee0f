//! The conformance suite of the testkit, with a real API server behind the fault proxy: of exports, and of imports.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use registry_core::{ServiceId, ServiceRegistry, async_trait};
use registry_k8s::{Cluster, KubernetesConfig};
use registry_mcs::{McsRegistry, McsSettings};
use registry_testkit::conformance::{self, Instance, Options, Subject, Trouble, World, WorldError};
use registry_testkit::kubernetes::mcs::{
    self, GROUP, SERVICE_NAME, VERSIONS, service_exports_path, service_imports_path,
};
use registry_testkit::kubernetes::{ADMIN, Kubernetes, KubernetesApi, endpoint_slices_path, services_path};
use registry_testkit::{Fault, FaultProxy, Match, Rule};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::stage::web;

/// What the registry reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exports,
    Imports,
}

/// Which namespaces it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    All,
    /// The one of the suite alone, by its name.
    One,
}

impl Mode {
    /// The label that ties a slice to its service.
    fn label(self) -> &'static str {
        match self {
            Self::Exports => "kubernetes.io/service-name",
            Self::Imports => SERVICE_NAME,
        }
    }

    /// What a service is made of besides slices, what is deleted first first.
    fn collections(self, namespace: &str) -> Vec<String> {
        match self {
            Self::Exports => vec![service_exports_path(namespace), services_path(namespace)],
            Self::Imports => vec![service_imports_path(namespace)],
        }
    }
}

/// One server for all worlds, each with a namespace of its own.
struct Shared {
    kubernetes: Arc<Mutex<Kubernetes>>,
    mode: Mode,
    watched: Watched,
    namespace: StdMutex<Option<String>>,
}

struct McsWorld {
    kubernetes: Arc<Mutex<Kubernetes>>,
    api: KubernetesApi,
    proxy: FaultProxy,
    registry: Arc<McsRegistry>,
    mode: Mode,
    namespace: String,
    services: BTreeMap<String, Vec<Instance>>,
    /// The service of which nothing can be read.
    broken: Option<&'static str>,
    /// What every error has to mention.
    location: String,
    token: String,
}

// === impl Shared ===

impl Shared {
    /// The namespace of the present world.
    fn namespace(&self) -> Option<String> {
        self.namespace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Subject for Shared {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let kubernetes = self.kubernetes.lock().await;
        let api = kubernetes.api().clone();
        if let Some(before) = self.namespace() {
            for collection in self.mode.collections(&before) {
                api.delete(&collection).await?;
            }
            api.delete(&endpoint_slices_path(&before)).await?;
        }
        let namespace = kubernetes.new_namespace("conformance").await?.name().to_owned();
        *self.namespace.lock().unwrap_or_else(PoisonError::into_inner) = Some(namespace.clone());
        let proxy = FaultProxy::start(kubernetes.plain_address()?.into()).await?;
        let config = KubernetesConfig {
            kubeconfig: Some(kubernetes.kubeconfig_for(&proxy.url(), ADMIN)?),
            namespaces: match self.watched {
                Watched::All => Vec::new(),
                Watched::One => vec![namespace.clone()],
            },
            watch_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(2),
            streaming_lists: true,
            ..KubernetesConfig::default()
        };
        let cluster = Cluster::try_new(config).map_err(WorldError::failed)?;
        let settings = McsSettings::default();
        let registry = match self.mode {
            // Which cluster it is, it has to ask.
            Mode::Exports => McsRegistry::exports(cluster, None, settings),
            Mode::Imports => McsRegistry::imports(cluster, settings),
        };
        Ok(Box::new(McsWorld {
            token: kubernetes.token().unwrap_or_default().to_owned(),
            kubernetes: self.kubernetes.clone(),
            api,
            location: proxy.addr().to_string(),
            proxy,
            registry: Arc::new(registry),
            mode: self.mode,
            namespace,
            services: BTreeMap::new(),
            broken: None,
        }))
    }

    fn is(&self, id: &ServiceId, service: &str) -> bool {
        id.name().as_str() == service && self.namespace().as_deref() == Some(id.group().as_str())
    }
}

// === impl McsWorld ===

impl McsWorld {
    /// Each instance has a port of its own, and ports are the slice's.
    fn slice_path(&self, service: &str, id: &str) -> String {
        format!("{}/{service}-{id}", endpoint_slices_path(&self.namespace))
    }

    async fn slice(&self, service: &str, instance: &Instance) -> Result<(), WorldError> {
        let Instance {
            id,
            address,
            port,
            healthy,
            ..
        } = instance;
        let slice = json!({
            "endpoints": [{
                "addresses": [address],
                "conditions": { "ready": healthy, "serving": healthy, "terminating": false },
                "targetRef": { "kind": "Pod", "namespace": self.namespace, "name": id, "uid": format!("uid-of-{id}") },
            }],
            "ports": [{ "name": "http", "port": port }],
        });
        let (namespace, name) = (&self.namespace, format!("{service}-{id}"));
        match self.mode {
            Mode::Exports => self.api.endpoint_slice(namespace, &name, service, &slice).await?,
            Mode::Imports => {
                self.api
                    .imported_slice(namespace, &name, service, "far", &slice)
                    .await?
            }
        };
        Ok(())
    }

    /// What makes slices a service; it comes last, so that nothing is ever seen half.
    async fn publish(&self, service: &str) -> Result<(), WorldError> {
        let namespace = &self.namespace;
        match self.mode {
            Mode::Exports => {
                self.api.service(namespace, service, &web()).await?;
                self.api.service_export(namespace, service, &json!({})).await?;
            }
            Mode::Imports => {
                let spec = json!({ "type": "ClusterSetIP", "ips": ["10.99.0.1"], "ports": web()["ports"] });
                self.api.service_import(namespace, service, &spec).await?;
            }
        }
        Ok(())
    }

    /// Changes an object of a service in a way that nobody cares for, so that the server tells everybody of it.
    async fn touch(&self, service: &str) -> Result<(), WorldError> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        for instance in self.services.get(service).into_iter().flatten() {
            let unique = LAST.fetch_add(1, Ordering::Relaxed).to_string();
            let touched = json!({ "metadata": { "annotations": { "touched": unique } } });
            self.api
                .patch(&self.slice_path(service, &instance.id), &touched)
                .await?;
        }
        Ok(())
    }

    fn inject(&self, fault: Fault) {
        self.proxy.inject(Rule::new(Match::any(), fault));
    }

    /// From now on every request is answered so, and what is under way is over.
    fn refuse_with(&self, fault: Fault) {
        self.inject(fault);
        self.proxy.reset_all();
    }
}

/// The body of an error, as Kubernetes words it.
fn refusal(code: u16, reason: &str, message: &str) -> Fault {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Fault::respond(code, &[("Content-Type", "application/json")], status.to_string())
}

/// A line of a list or of a watch, in which slices of the service cannot be decoded.
fn garble(line: &str, label: &str, service: &str) -> Option<String> {
    let mut told: Value = serde_json::from_str(line).ok()?;
    let object = match told.get_mut("items") {
        Some(items) => items.as_array_mut()?.iter_mut().collect(),
        None => vec![told.get_mut("object")?],
    };
    for object in object {
        if object["metadata"]["labels"][label] == service {
            object["addressType"] = json!(7);
        }
    }
    Some(told.to_string())
}

#[async_trait]
impl World for McsWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    /// Instances come before others go.
    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        let before = self.services.insert(service.to_owned(), instances.to_vec());
        for instance in instances {
            if !before.iter().flatten().any(|held| held == instance) {
                self.slice(service, instance).await?;
            }
        }
        for held in before.iter().flatten() {
            if !instances.iter().any(|instance| instance.id == held.id) {
                self.api.delete(&self.slice_path(service, &held.id)).await?;
            }
        }
        if before.is_none() {
            self.publish(service).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        for collection in self.mode.collections(&self.namespace) {
            self.api.delete(&format!("{collection}/{service}")).await?;
        }
        for instance in self.services.remove(service).into_iter().flatten() {
            self.api.delete(&self.slice_path(service, &instance.id)).await?;
        }
        Ok(())
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        match trouble {
            Trouble::Silence => self.proxy.black_hole(true),
            Trouble::Refusal => {
                self.proxy.refuse(true);
                self.proxy.reset_all();
            }
            Trouble::ServerError => self.refuse_with(refusal(500, "InternalError", "etcdserver: no leader")),
            Trouble::Denial => self.refuse_with(refusal(403, "Forbidden", "you may not")),
            // Watches under way are struck as well.
            Trouble::CutAnswer => self.inject(Fault::CutBody(1)),
            Trouble::Garbage => {
                self.inject(Fault::map_line(|_| Some("<html>Bad gateway</html>".to_owned())));
                self.inject(Fault::replace_body("<html>Bad gateway</html>"));
            }
            Trouble::OneService(service) => {
                let label = self.mode.label();
                self.inject(Fault::map_line(move |line| {
                    Some(garble(line, label, service).unwrap_or_else(|| line.to_owned()))
                }));
                self.broken = Some(service);
                // An object that cannot be read is named itself, wherever the server is.
                self.location = format!("{}/{service}-", self.namespace);
                // Watches tell of nothing that stays as it is.
                self.touch(service).await?;
            }
            _ => return Err(WorldError::Unsupported),
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.proxy.black_hole(false);
        self.proxy.refuse(false);
        self.proxy.clear();
        if let Some(service) = self.broken.take() {
            // What was wrong with an object is over when somebody has written it anew.
            self.touch(service).await?;
        }
        Ok(())
    }

    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        let mut kubernetes = self.kubernetes.lock().await;
        kubernetes.kill().await?;
        kubernetes.wipe()?;
        kubernetes.restart().await?;
        self.api.define_multicluster(GROUP, &VERSIONS).await?;
        self.api.namespace(&self.namespace).await?;
        self.services.clear();
        Ok(())
    }

    fn connections(&self) -> Option<usize> {
        Some(self.proxy.connections_open())
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.token.clone()]
    }

    fn location(&self) -> Option<String> {
        Some(self.location.clone())
    }
}

/// A server with all definitions.
async fn server() -> Arc<Mutex<Kubernetes>> {
    registry_testkit::init_tls();
    let kubernetes = Kubernetes::builder().persistent().start().await.unwrap();
    let api = kubernetes.api();
    api.define_multicluster(GROUP, &VERSIONS).await.unwrap();
    let property = mcs::cluster_property_definition(&VERSIONS);
    api.definition(&property).await.unwrap();
    Arc::new(Mutex::new(kubernetes))
}

async fn check(kubernetes: Arc<Mutex<Kubernetes>>, mode: Mode, watched: Watched, options: Options) {
    let subject = Shared {
        kubernetes,
        mode,
        watched,
        namespace: StdMutex::default(),
    };
    conformance::check(&subject, &options).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_and_imports_keep_the_rules_of_the_conformance_suite_while_all_is_well() {
    let check = async |mode| check(server().await, mode, Watched::All, Options::calm()).await;
    tokio::join!(check(Mode::Exports), check(Mode::Imports));
}

/// All at the same time, because most of it is waiting. Trouble is between a world and the server, which all share.
#[tokio::test(flavor = "multi_thread")]
async fn exports_and_imports_keep_the_rules_of_the_conformance_suite_in_any_trouble() {
    let kubernetes = server().await;
    // What concerns one service says nothing of the start, so it goes with another one.
    let (first, last) = Trouble::ALL.split_at(Trouble::ALL.len() - 2);
    let kinds = first.chunks(1).chain([last]);
    let checks = kinds.flat_map(|troubles| {
        let options = Options::amid(troubles);
        [Mode::Exports, Mode::Imports]
            .map(|mode| check(kubernetes.clone(), mode, Watched::One, options.clone()))
    });
    join_all(checks).await;
}
