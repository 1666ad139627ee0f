//! What an implementation of Multi-Cluster Services makes, and the exports of a cluster.

use futures_util::FutureExt;
use registry_core::{
    Control, Discovery, EventStream, Guard, RegistryError, RegistryOptions, ServiceRegistry, async_trait,
};
use registry_k8s::{EXPORT, KubernetesConfig, McsApi, NO_SERVICE, VALID, View};
use registry_testkit::Logged;
use registry_testkit::kubernetes::mcs::{GROUP, service_exports_path};
use registry_testkit::kubernetes::{ADMIN, Kubernetes, services_path};
use serde_json::json;

use crate::support::traffic::until_requests;
use crate::support::{self, Cluster, config, discovered, ready, slice, spec, until, until_addresses};

/// A view of a cluster as a registry.
#[derive(Debug)]
struct Viewed(registry_k8s::Cluster, View);

#[async_trait]
impl ServiceRegistry for Viewed {
    fn kind(&self) -> &'static str {
        "viewed"
    }

    fn default_hostname(&self) -> String {
        "{name}.{namespace}.svc.cluster.local".to_owned()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        Ok(self.0.watch(&self.1, "test", control))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.0.probe(&self.1).await
    }
}

fn view(config: KubernetesConfig, view: fn(McsApi) -> View) -> Viewed {
    let api = McsApi {
        groups: vec!["absent.example.com".to_owned(), GROUP.to_owned()],
    };
    Viewed(registry_k8s::Cluster::try_new(config).unwrap(), view(api))
}

async fn discover(registry: Viewed) -> Discovery {
    let options = RegistryOptions {
        guard: Some(Guard::default()),
        ..RegistryOptions::default()
    };
    let builder = Discovery::builder().registry_with("viewed", registry, options);
    let discovery = builder.unwrap().start().unwrap();
    ready(&discovery).await;
    discovery
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_derived_from_imports_is_no_service_of_the_cluster() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    let derived = json!({
        "metadata": { "name": "derived-x", "ownerReferences": [
            { "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport", "name": "web", "uid": "u" },
        ] },
        "spec": spec(),
    });
    api.create(&services_path("default"), &derived).await.unwrap();
    api.service("default", "web", &spec()).await.unwrap();
    api.endpoint_slice("default", "own", "web", &slice(&["10.0.0.1"], 8080))
        .await
        .unwrap();
    // Some implementations give imported slices the label of the local Service as well.
    let mut imported = slice(&["10.9.0.1"], 8080);
    imported["metadata"]["labels"] = json!({ "kubernetes.io/service-name": "web" });
    api.imported_slice("default", "imported", "web", "west", &imported)
        .await
        .unwrap();
    registry_testkit::init_tls();
    let discovery = discovered(config(kubernetes.kubeconfig(ADMIN).unwrap())).await;
    until_addresses(&discovery, "default", "web", &["10.0.0.1:8080"]).await;
    let snapshot = discovery.snapshot();
    assert!(support::service(&snapshot, "default", "derived-x").is_none());

    // What it is may change with any write.
    let path = format!("{}/derived-x", services_path("default"));
    let not_derived = json!({ "metadata": { "ownerReferences": null } });
    api.patch(&path, &not_derived).await.unwrap();
    until("derived-x", &discovery, |snapshot| {
        support::service(snapshot, "default", "derived-x").is_some()
    })
    .await;
    let again = json!({ "metadata": { "ownerReferences": derived["metadata"]["ownerReferences"] } });
    api.patch(&path, &again).await.unwrap();
    until("the end of derived-x", &discovery, |snapshot| {
        support::service(snapshot, "default", "derived-x").is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_read_as_soon_as_there_is_a_definition_of_them_and_in_its_best_version() {
    let cluster = Cluster::start().await;
    let api = cluster.api();
    api.service("default", "web", &spec()).await.unwrap();
    api.endpoint_slice("default", "web-1", "web", &slice(&["10.0.0.1"], 8080))
        .await
        .unwrap();
    let discovery = discover(view(cluster.config(), View::Exports)).await;
    let status = support::status(&discovery);
    assert!(discovery.snapshot().is_empty(), "{status:?}");
    let note = status.note.unwrap_or_default();
    assert!(note.contains("serves no serviceexports in"), "{note}");
    view(cluster.config(), View::Exports).probe().await.unwrap();

    api.define_multicluster(GROUP, &["v1alpha1"]).await.unwrap();
    api.service_export(
        "default",
        "web",
        &json!({ "exportedLabels": { "team": "money" } }),
    )
    .await
    .unwrap();
    api.service_export("default", "alone", &json!({})).await.unwrap();
    until_addresses(&discovery, "default", "web", &["10.0.0.1:8080"]).await;
    let worth = |name: &str| {
        // By itself: an export that is worth nothing takes no part in a service.
        let snapshot = discovery.snapshot();
        let hostname = format!("{name}.default.svc.cluster.local");
        let (_, said) = snapshot.claims(&hostname).next()?;
        Some(said.sources().first()?.meta.metadata().get(EXPORT)?.to_string())
    };
    assert_eq!(worth("web").as_deref(), Some(VALID));
    until("the export without a Service", &discovery, |_| {
        worth("alone").as_deref() == Some(NO_SERVICE)
    })
    .await;

    // Both versions: the better one is read from then on, and nothing is lost on the way.
    let mut changes = discovery.changes();
    api.define_multicluster(GROUP, &["v1alpha1", "v1beta1"])
        .await
        .unwrap();
    until_requests(&cluster.proxy, "a watch of v1beta1", |proxy| {
        let is_better = |request: &Logged| request.path().contains("/v1beta1/serviceexports");
        proxy.requests().iter().any(is_better)
    })
    .await;
    api.service_export("default", "later", &json!({})).await.unwrap();
    until("the export that came later", &discovery, |_| {
        worth("later").is_some()
    })
    .await;
    while let Some(Some(delta)) = changes.next().now_or_never() {
        assert!(delta.removed.is_empty(), "{delta:?}");
    }
    assert_eq!(worth("web").as_deref(), Some(VALID));

    // And what is removed was announced: it goes at once, all of it.
    api.delete(&service_exports_path("default")).await.unwrap();
    until("the end of all", &discovery, |snapshot| snapshot.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_are_read_with_the_slices_of_all_clusters() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    registry_testkit::init_tls();
    let api = kubernetes.api();
    api.define_multicluster(GROUP, &["v1alpha1"]).await.unwrap();
    let import =
        json!({ "type": "ClusterSetIP", "ips": ["10.97.0.1"], "ports": [{ "name": "http", "port": 80 }] });
    api.service_import("default", "web", &import).await.unwrap();
    api.service_import("default", "bare", &import).await.unwrap();
    for (name, cluster, address) in [("a", "east", "10.0.0.1"), ("b", "west.eu", "10.1.0.1")] {
        api.imported_slice("default", name, "web", cluster, &slice(&[address], 8080))
            .await
            .unwrap();
    }
    api.endpoint_slice("default", "own", "web", &slice(&["10.9.0.1"], 8080))
        .await
        .unwrap();
    let discovery = discover(view(config(kubernetes.kubeconfig(ADMIN).unwrap()), View::Imports)).await;
    until_addresses(&discovery, "default", "web", &["10.0.0.1:8080", "10.1.0.1:8080"]).await;
    until_addresses(&discovery, "default", "bare", &["10.97.0.1:80"]).await;
    let snapshot = discovery.snapshot();
    let web = support::service(&snapshot, "default", "web").unwrap();
    let clusters: Vec<_> = web
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.cluster().to_string())
        .collect();
    assert!(clusters.contains(&"west.eu".to_owned()), "{clusters:?}");
    api.imported_slice("default", "c", "bare", "east", &slice(&["10.0.0.2"], 8080))
        .await
        .unwrap();
    until_addresses(&discovery, "default", "bare", &["10.0.0.2:8080"]).await;
}
