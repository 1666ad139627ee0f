//! Where exports and imports are found: in which group and version, and where there are none yet.

use std::time::Duration;

use registry_core::{Discovery, Phase, RegistryOptions};
use registry_k8s::{Cluster, KubernetesConfig, KubernetesRegistry};
use registry_mcs::{ClusterSet, McsRegistry, McsSettings};
use registry_testkit::kubernetes::mcs::{GROUP, VERSIONS};
use registry_testkit::kubernetes::{ADMIN, Kubernetes, KubernetesApi};
use registry_testkit::witness::Witness;
use registry_testkit::{FaultProxy, wait};
use serde_json::json;
use tokio::time::Instant;

use crate::observer::{DEADLINE, Observer, endpoints};
use crate::stage::{pods, web};

const NAMESPACE: &str = "default";

/// Another group than usual, as one cloud has it.
const OTHER: &str = "net.example.io";

/// A cluster without any definitions, and a proxy in front of it.
struct Bare {
    kubernetes: Kubernetes,
    proxy: FaultProxy,
}

impl Bare {
    async fn start() -> Self {
        registry_testkit::init_tls();
        let kubernetes = Kubernetes::builder().start().await.unwrap();
        let address = kubernetes.plain_address().unwrap();
        let proxy = FaultProxy::start(address.into()).await.unwrap();
        let bare = Self { kubernetes, proxy };
        let (api, pods) = (bare.api(), pods(&["10.1.0.1"]));
        api.service(NAMESPACE, "web", &web()).await.unwrap();
        api.endpoint_slice(NAMESPACE, "web-1", "web", &pods)
            .await
            .unwrap();
        bare
    }

    fn api(&self) -> &KubernetesApi {
        self.kubernetes.api()
    }

    /// Watches exports, imports, and plain services beside them.
    async fn observe(&self, groups: &[&str]) -> Observer {
        let config = KubernetesConfig {
            kubeconfig: Some(self.kubernetes.kubeconfig_for(&self.proxy.url(), ADMIN).unwrap()),
            cluster: Some("a".to_owned()),
            ..KubernetesConfig::default()
        };
        let settings = || McsSettings {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..McsSettings::default()
        };
        let cluster = || Cluster::try_new(config.clone()).unwrap();
        let options = |domain: Option<&str>| RegistryOptions {
            hostname: domain.map(|domain| format!("{{name}}.{{namespace}}.{domain}").parse().unwrap()),
            // What goes is to be seen to go.
            guard: None,
            ..RegistryOptions::default()
        };
        let exports = McsRegistry::exports(cluster(), Some("a".to_owned()), settings());
        let imports = McsRegistry::imports(cluster(), settings());
        let plain = KubernetesRegistry::try_new(config.clone()).unwrap();
        let builder = Discovery::builder()
            .policy("*.svc.clusterset.local", ClusterSet)
            .registry_with("exports", exports, options(None))
            .unwrap()
            .registry_with("imports", imports, options(Some("imported")))
            .unwrap()
            .registry_with("plain", plain, options(None))
            .unwrap();
        let observer = Observer::new(builder.start().unwrap(), NAMESPACE);
        observer.ready().await;
        observer
    }

    /// Requests of that version of the API, in lists and watches.
    fn asks_for(&self, version: &str) -> bool {
        let list = format!("/{version}/serviceexports");
        let requests = self.proxy.requests();
        requests.iter().any(|request| request.path().ends_with(&list))
    }
}

/// Waits until the notes of both registries say that, or say nothing.
async fn until_noted(observer: &Observer, wanted: bool) {
    let is_noted = |id| {
        let note = observer.registry(id).note;
        note.is_some_and(|note| note.contains(GROUP)) == wanted
    };
    let found = wait::until("notes", DEADLINE, async || {
        (is_noted("exports") && is_noted("imports")).then_some(())
    });
    if found.await.is_err() {
        panic!("wanted a note: {wanted}; {:?}", observer.discovery.status());
    }
}

fn imported(observer: &Observer) -> Option<Vec<String>> {
    let service = observer
        .discovery
        .snapshot()
        .get("web.default.imported")
        .cloned()?;
    Some(endpoints(&service))
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_29_a_cluster_without_definitions_has_nothing_and_no_trouble() {
    let bare = Bare::start().await;
    let observer = bare.observe(&[GROUP]).await;
    until_noted(&observer, true).await;
    for id in ["exports", "imports"] {
        let status = observer.registry(id);
        assert_eq!((status.phase, status.services), (Phase::Synced, 0), "{status:?}");
        assert!(
            status.last_error.is_none() && status.degraded.is_empty(),
            "{status:?}"
        );
    }
    // All else is as it is.
    let snapshot = observer.discovery.snapshot();
    let plain = snapshot.get("web.default.svc.cluster.local").unwrap();
    assert_eq!(endpoints(plain), ["a 10.1.0.1 http=8080"]);
    assert!(observer.find("web").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_group_that_is_served_counts() {
    let bare = Bare::start().await;
    let api = bare.api();
    api.define_multicluster(OTHER, &VERSIONS[..1]).await.unwrap();
    let slice = pods(&["10.2.0.1"]);
    api.imported_slice(NAMESPACE, "imported-1", "web", "far", &slice)
        .await
        .unwrap();
    api.custom(OTHER, NAMESPACE, "ServiceExport", "web", &json!({}))
        .await
        .unwrap();
    let spec = json!({ "type": "ClusterSetIP", "ports": web()["ports"] });
    api.custom(OTHER, NAMESPACE, "ServiceImport", "web", &spec)
        .await
        .unwrap();
    for groups in [&[OTHER][..], &[GROUP, OTHER]] {
        let observer = bare.observe(groups).await;
        observer.until_endpoints("web", &["a 10.1.0.1 http=8080"]).await;
        observer
            .until("the import", |_| {
                imported(&observer).is_some_and(|seen| seen == ["far 10.2.0.1 http=8080"])
            })
            .await;
    }

    // Both are served, and nothing is in the one that is preferred.
    api.define_multicluster(GROUP, &VERSIONS).await.unwrap();
    let observer = bare.observe(&[GROUP, OTHER]).await;
    assert!(observer.find("web").is_none() && imported(&observer).is_none());
    api.service_export(NAMESPACE, "web", &json!({})).await.unwrap();
    observer.until_endpoints("web", &["a 10.1.0.1 http=8080"]).await;
    assert!(bare.asks_for("v1beta1"));
}

/// How long it takes until exports and imports are seen whose definition came later, in one version and then in another.
pub(crate) async fn times_of_definitions() -> [Duration; 2] {
    let bare = Bare::start().await;
    let api = bare.api();
    let observer = bare.observe(&[GROUP]).await;
    until_noted(&observer, true).await;

    api.define_multicluster(GROUP, &VERSIONS[..1]).await.unwrap();
    let start = Instant::now();
    api.service_export(NAMESPACE, "web", &json!({})).await.unwrap();
    let spec = json!({ "type": "ClusterSetIP", "ports": web()["ports"] });
    api.service_import(NAMESPACE, "web", &spec).await.unwrap();
    let slice = pods(&["10.2.0.1"]);
    api.imported_slice(NAMESPACE, "imported-1", "web", "far", &slice)
        .await
        .unwrap();
    observer.until_endpoints("web", &["a 10.1.0.1 http=8080"]).await;
    let far = ["far 10.2.0.1 http=8080"];
    observer
        .until("the import", |_| {
            imported(&observer).is_some_and(|seen| seen == far)
        })
        .await;
    let first = start.elapsed();
    until_noted(&observer, false).await;
    assert!(bare.asks_for("v1alpha1") && !bare.asks_for("v1beta1"));

    // A better version: nothing is missing while it is moved to.
    let witness = Witness::call(&observer.discovery);
    api.define_multicluster(GROUP, &VERSIONS).await.unwrap();
    let start = Instant::now();
    let moved = wait::until("the newer version", DEADLINE, async || {
        bare.asks_for("v1beta1").then_some(())
    });
    moved.await.unwrap();
    let second = start.elapsed();
    api.service(NAMESPACE, "pay", &web()).await.unwrap();
    api.endpoint_slice(NAMESPACE, "pay-1", "pay", &pods(&["10.1.0.5"]))
        .await
        .unwrap();
    api.service_export(NAMESPACE, "pay", &json!({})).await.unwrap();
    observer.until_endpoints("pay", &["a 10.1.0.5 http=8080"]).await;
    witness.saw_everything("while the version changed", &observer.discovery);
    for id in ["exports", "imports"] {
        let status = observer.registry(id);
        assert_eq!(status.phase, Phase::Synced, "{status:?}");
    }

    // Definitions that go take all of it along; there is no trouble about that, either.
    for plural in ["serviceexports", "serviceimports"] {
        api.undefine(GROUP, plural).await.unwrap();
    }
    observer.until_gone("web").await;
    observer
        .until("the end of the import", |_| imported(&observer).is_none())
        .await;
    until_noted(&observer, true).await;
    let snapshot = observer.discovery.snapshot();
    assert!(snapshot.get("web.default.svc.cluster.local").is_some());
    [first, second]
}
