//! The conformance suite of the testkit, with a real API server behind the fault proxy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use registry_core::{ServiceId, ServiceRegistry, async_trait};
use registry_k8s::{KubernetesConfig, KubernetesRegistry};
use registry_testkit::conformance::{self, Instance, Options, Subject, Trouble, World, WorldError};
use registry_testkit::kubernetes::{ADMIN, Kubernetes, KubernetesApi, endpoint_slices_path, services_path};
use registry_testkit::{Fault, FaultProxy, Match};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::support::{config, spec};

/// The label that ties a slice to its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Which namespaces the registry watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    All,
    /// The one of the suite alone, by its name.
    One,
}

/// One server for all worlds, each with a namespace of its own.
struct Shared {
    kubernetes: Arc<Mutex<Kubernetes>>,
    watched: Watched,
    namespace: StdMutex<Option<String>>,
}

struct KubernetesWorld {
    kubernetes: Arc<Mutex<Kubernetes>>,
    api: KubernetesApi,
    proxy: FaultProxy,
    registry: Arc<KubernetesRegistry>,
    namespace: String,
    services: BTreeMap<String, Vec<Instance>>,
    /// The service of which nothing can be read.
    broken: Option<&'static str>,
    /// What every error has to mention.
    location: String,
    token: String,
}

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
            api.delete(&services_path(&before)).await?;
            api.delete(&endpoint_slices_path(&before)).await?;
        }
        let namespace = kubernetes.new_namespace("conformance").await?.name().to_owned();
        *self.namespace.lock().unwrap_or_else(PoisonError::into_inner) = Some(namespace.clone());
        let proxy = FaultProxy::start(kubernetes.plain_address()?.into()).await?;
        let mut config = KubernetesConfig {
            request_timeout: Duration::from_secs(2),
            nodes: true,
            ..config(kubernetes.kubeconfig_for(&proxy.url(), ADMIN)?)
        };
        if self.watched == Watched::One {
            config.namespaces = vec![namespace.clone()];
        }
        Ok(Box::new(KubernetesWorld {
            token: kubernetes.token().unwrap_or_default().to_owned(),
            kubernetes: self.kubernetes.clone(),
            api,
            location: proxy.addr().to_string(),
            proxy,
            registry: Arc::new(KubernetesRegistry::try_new(config).map_err(WorldError::failed)?),
            namespace,
            services: BTreeMap::new(),
            broken: None,
        }))
    }

    fn is(&self, id: &ServiceId, service: &str) -> bool {
        id.name().as_str() == service && self.namespace().as_deref() == Some(id.group().as_str())
    }
}

impl KubernetesWorld {
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
        let name = format!("{service}-{id}");
        self.api
            .endpoint_slice(&self.namespace, &name, service, &slice)
            .await?;
        Ok(())
    }

    /// Changes an object of a service in a way that nobody cares for, so that the server tells everybody of it.
    async fn touch(&self, service: &str) -> Result<(), WorldError> {
        for instance in self.services.get(service).into_iter().flatten() {
            let touched = json!({ "metadata": { "annotations": { "touched": unique() } } });
            self.api
                .patch(&self.slice_path(service, &instance.id), &touched)
                .await?;
        }
        Ok(())
    }

    fn inject(&self, fault: Fault) {
        self.proxy
            .inject(registry_testkit::Rule::new(Match::any(), fault));
    }

    /// From now on every request is answered so, and what is under way is over.
    fn refuse_with(&self, fault: Fault) {
        self.inject(fault);
        self.proxy.reset_all();
    }
}

/// A number that was never used before, as text.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).to_string()
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
fn garble(line: &str, service: &str) -> Option<String> {
    let mut told: Value = serde_json::from_str(line).ok()?;
    let object = match told.get_mut("items") {
        Some(items) => items.as_array_mut()?.iter_mut().collect(),
        None => vec![told.get_mut("object")?],
    };
    for object in object {
        if object["metadata"]["labels"][SERVICE_NAME] == service {
            object["addressType"] = json!(7);
        }
    }
    Some(told.to_string())
}

#[async_trait]
impl World for KubernetesWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    /// Instances come before others go, and the service itself comes last: nothing is ever seen half.
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
            self.api.service(&self.namespace, service, &spec()).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        let path = format!("{}/{service}", services_path(&self.namespace));
        self.api.delete(&path).await?;
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
            Trouble::Denial => self.refuse_with(refusal(403, "Forbidden", "services is forbidden")),
            // Watches under way are struck as well.
            Trouble::CutAnswer => self.inject(Fault::CutBody(1)),
            Trouble::Garbage => {
                self.inject(Fault::map_line(|_| Some("<html>Bad gateway</html>".to_owned())));
                self.inject(Fault::replace_body("<html>Bad gateway</html>"));
            }
            Trouble::OneService(service) => {
                self.inject(Fault::map_line(move |line| {
                    Some(garble(line, service).unwrap_or_else(|| line.to_owned()))
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

/// The suite in front of a server of its own.
async fn check(watched: Watched, options: &Options) {
    registry_testkit::init_tls();
    let kubernetes = Kubernetes::builder().persistent().start().await.unwrap();
    let subject = Shared {
        kubernetes: Arc::new(Mutex::new(kubernetes)),
        watched,
        namespace: StdMutex::default(),
    };
    conformance::check(&subject, options).await.assert_passed();
}

async fn survives(watched: Watched, troubles: &[Trouble]) {
    check(watched, &Options::amid(troubles)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_all_is_well() {
    check(Watched::All, &Options::calm()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_nobody_answers() {
    survives(Watched::All, &Trouble::ALL[..2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_answers_are_wrong() {
    survives(Watched::One, &Trouble::ALL[2..]).await;
}
