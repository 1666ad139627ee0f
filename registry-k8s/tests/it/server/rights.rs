//! Namespaces: which may be read, which are selected, and how much of one may be lost at once.

use std::time::Duration;

use registry_core::{
    DegradedScope, Discovery, ErrorKind, Guard, Phase, RegistryStatus, Scope, ServiceRegistry,
};
use registry_k8s::{KubernetesConfig, KubernetesRegistry};
use registry_testkit::kubernetes::{Kubernetes, KubernetesApi, endpoint_slices_path};
use registry_testkit::wait;
use registry_testkit::witness::Witness;
use serde_json::json;
use tokio::time::Instant;

use crate::support::deltas::Deltas;
use crate::support::traffic::{listings, until_requests};
use crate::support::{
    Cluster, DEADLINE, addresses, config, discover, discover_guarded, discovered, ready, service, slice,
    spec, status, until, until_addresses, until_phase,
};

/// Who may do as little as the tests say.
const READER: &str = "reader";

/// The namespaces `a`, `b` and `c` with a service `web` each.
async fn server() -> Kubernetes {
    registry_testkit::init_tls();
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    for (namespace, address) in [("a", "10.1.0.1"), ("b", "10.1.0.2"), ("c", "10.1.0.3")] {
        kubernetes.api().namespace(namespace).await.unwrap();
        publish(kubernetes.api(), namespace, &[address]).await;
    }
    kubernetes
}

async fn publish(api: &KubernetesApi, namespace: &str, addresses: &[&str]) {
    let slice = slice(addresses, 8080);
    api.endpoint_slice(namespace, "web-1", "web", &slice)
        .await
        .unwrap();
    api.service(namespace, "web", &spec()).await.unwrap();
}

fn allow(kubernetes: &Kubernetes, namespace: &str) {
    for resource in ["services", "endpointslices"] {
        kubernetes.allow(READER, namespace, resource).unwrap();
    }
}

/// Why a probe fails.
async fn refusal(config: KubernetesConfig) -> Option<String> {
    let registry = KubernetesRegistry::try_new(config).unwrap();
    registry.probe().await.err().map(|error| error.report())
}

fn deny(kubernetes: &Kubernetes, namespace: &str) {
    for resource in ["services", "endpointslices"] {
        kubernetes.deny(READER, namespace, resource).unwrap();
    }
}

/// For the three namespaces, as reader, who may read the first two of them.
fn two_of_three(kubernetes: &Kubernetes) -> KubernetesConfig {
    allow(kubernetes, "a");
    allow(kubernetes, "b");
    KubernetesConfig {
        namespaces: ["a", "b", "c"].map(str::to_owned).to_vec(),
        nodes: false,
        ..config(kubernetes.kubeconfig(READER).unwrap())
    }
}

/// What is wrong with the namespace.
fn trouble_of(status: &RegistryStatus, namespace: &str) -> Option<DegradedScope> {
    let degraded = status.degraded.iter();
    degraded
        .clone()
        .find(|degraded| degraded.scope == Scope::Group(namespace.into()))
        .cloned()
}

async fn until_forbidden(discovery: &Discovery, namespace: &str) -> DegradedScope {
    let found = wait::until("a namespace that is forbidden", DEADLINE, async || {
        let trouble = trouble_of(&status(discovery), namespace)?;
        (trouble.kind == ErrorKind::Denied).then_some(trouble)
    });
    match found.await {
        Ok(trouble) => trouble,
        Err(error) => panic!("{error}; {:?}", status(discovery)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_26_a_namespace_that_is_forbidden_takes_no_other_with_it() {
    let kubernetes = server().await;
    let discovery = discovered(two_of_three(&kubernetes)).await;
    until_addresses(&discovery, "a", "web", &["10.1.0.1:8080"]).await;
    until_addresses(&discovery, "b", "web", &["10.1.0.2:8080"]).await;
    let trouble = until_forbidden(&discovery, "c").await;
    let denied = |what: &str| trouble.error.contains(what);
    assert!(
        denied("403") && denied("namespace c") && denied("list and watch"),
        "{trouble:?}"
    );
    assert!(service(&discovery.snapshot(), "c", "web").is_none());
    assert_eq!(status(&discovery).degraded.len(), 1, "{:?}", status(&discovery));
    // The others stay up to date, also of what comes later.
    publish(kubernetes.api(), "a", &["10.1.0.1", "10.1.0.9"]).await;
    until_addresses(&discovery, "a", "web", &["10.1.0.1:8080", "10.1.0.9:8080"]).await;
}

/// How long it takes to hear that a namespace may be read now, in which a service changed meanwhile.
pub(crate) async fn time_of_a_grant() -> Duration {
    let kubernetes = server().await;
    let discovery = discovered(two_of_three(&kubernetes)).await;
    until_forbidden(&discovery, "c").await;
    let deltas = Deltas::of(&discovery);
    let start = Instant::now();
    allow(&kubernetes, "c");
    until_addresses(&discovery, "c", "web", &["10.1.0.3:8080"]).await;
    let time = start.elapsed();
    until("the end of the trouble", &discovery, |_| {
        status(&discovery).degraded.is_empty()
    })
    .await;
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(deltas.services().await, ["web.c.svc.cluster.local"]);
    time
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_26_rights_that_are_taken_back_leave_what_was_known() {
    let kubernetes = server().await;
    let discovery = discovered(two_of_three(&kubernetes)).await;
    let (witness, deltas) = (Witness::call(&discovery), Deltas::of(&discovery));
    // Watches under way go on to their end.
    deny(&kubernetes, "b");
    until_forbidden(&discovery, "b").await;
    witness.saw_everything("without rights", &discovery);
    deltas.saw_no_service("without rights").await;
    publish(kubernetes.api(), "a", &["10.1.0.1", "10.1.0.9"]).await;
    until_addresses(&discovery, "a", "web", &["10.1.0.1:8080", "10.1.0.9:8080"]).await;
    let snapshot = discovery.snapshot();
    assert_eq!(addresses(&snapshot, "b", "web").unwrap(), ["10.1.0.2:8080"]);
    assert!(trouble_of(&status(&discovery), "a").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_asks_for_each_namespace_and_what_it_is_selected_by() {
    let kubernetes = server().await;
    let config = two_of_three(&kubernetes);
    let refused = refusal(config.clone()).await.unwrap();
    assert!(
        refused.contains("/namespaces/c/services") && refused.contains("403"),
        "{refused}"
    );
    allow(&kubernetes, "c");
    assert_eq!(refusal(config).await, None);

    let mut config = selecting(&kubernetes);
    assert_eq!(refusal(config.clone()).await, None);
    config.namespace_selector = Some("discovery in (".to_owned());
    let refused = refusal(config).await.unwrap();
    assert!(
        refused.contains("labelSelector=discovery%20in") && refused.contains("400"),
        "{refused}"
    );
}

async fn label(api: &KubernetesApi, namespace: &str, value: Option<&str>) {
    let labels = json!({ "metadata": { "labels": { "discovery": value } } });
    api.patch(&format!("/api/v1/namespaces/{namespace}"), &labels)
        .await
        .unwrap();
}

fn selecting(kubernetes: &Kubernetes) -> KubernetesConfig {
    KubernetesConfig {
        namespace_selector: Some("discovery=enabled".to_owned()),
        nodes: false,
        ..config(
            kubernetes
                .kubeconfig(registry_testkit::kubernetes::ADMIN)
                .unwrap(),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_served_while_they_have_the_label() {
    let kubernetes = server().await;
    let api = kubernetes.api();
    label(api, "a", Some("enabled")).await;
    let discovery = discovered(selecting(&kubernetes)).await;
    until_addresses(&discovery, "a", "web", &["10.1.0.1:8080"]).await;
    assert_eq!(discovery.snapshot().len(), 1);

    // One more, also while it is not the first one.
    let witness = Witness::call(&discovery);
    label(api, "b", Some("enabled")).await;
    until_addresses(&discovery, "b", "web", &["10.1.0.2:8080"]).await;
    publish(api, "b", &["10.1.0.2", "10.1.0.8"]).await;
    until_addresses(&discovery, "b", "web", &["10.1.0.2:8080", "10.1.0.8:8080"]).await;
    witness.saw_everything("while another was added", &discovery);
    drop(witness);

    // Another value, or none.
    for (namespace, value) in [("a", Some("disabled")), ("b", None)] {
        label(api, namespace, value).await;
        until("the end of a namespace", &discovery, |snapshot| {
            service(snapshot, namespace, "web").is_none()
        })
        .await;
    }
    assert!(discovery.snapshot().is_empty());
    assert!(status(&discovery).degraded.is_empty(), "{:?}", status(&discovery));

    // And again; what happened to it meanwhile is known.
    publish(api, "a", &["10.1.0.7"]).await;
    label(api, "a", Some("enabled")).await;
    until_addresses(&discovery, "a", "web", &["10.1.0.7:8080"]).await;
    until_phase(&discovery, Phase::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_takes_its_services_with_it() {
    let kubernetes = server().await;
    let api = kubernetes.api();
    label(api, "a", Some("enabled")).await;
    label(api, "b", Some("enabled")).await;
    let discovery = discovered(selecting(&kubernetes)).await;
    until_addresses(&discovery, "b", "web", &["10.1.0.2:8080"]).await;
    let deltas = Deltas::of(&discovery);
    api.delete("/api/v1/namespaces/b").await.unwrap();
    until("the end of a namespace", &discovery, |snapshot| {
        service(snapshot, "b", "web").is_none()
    })
    .await;
    assert_eq!(deltas.services().await, ["web.b.svc.cluster.local"]);
    until_addresses(&discovery, "a", "web", &["10.1.0.1:8080"]).await;
    assert!(status(&discovery).degraded.is_empty(), "{:?}", status(&discovery));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_listed_empty_is_held_back_by_the_guard() {
    let cluster = Cluster::start().await;
    let api = cluster.api();
    let many: Vec<String> = (1..=30).map(|number| format!("10.1.0.{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (namespace, addresses) in [("a", &many[..10]), ("b", &many[10..])] {
        api.namespace(namespace).await.unwrap();
        publish(api, namespace, addresses).await;
    }
    let config = KubernetesConfig {
        namespaces: ["a", "b"].map(str::to_owned).to_vec(),
        nodes: false,
        ..cluster.config()
    };
    let guard = Guard {
        hold: Duration::from_secs(5),
        ..Guard::default()
    };
    let discovery = discover_guarded(config, Some(guard));
    ready(&discovery).await;
    until("all endpoints", &discovery, |snapshot| {
        snapshot.endpoint_count() == 30
    })
    .await;

    // The slices go while nobody looks, and only a new listing can tell.
    let listed = listings(&cluster.proxy, "endpointslices");
    cluster.proxy.refuse(true);
    cluster.proxy.reset_all();
    api.delete(&endpoint_slices_path("b")).await.unwrap();
    until_phase(&discovery, Phase::Stale).await;
    discovery.resync("kubernetes".parse().unwrap()).await;
    cluster.proxy.refuse(false);
    let held = wait::until("a loss that is held back", DEADLINE, async || {
        status(&discovery).held
    });
    let held = held.await.unwrap();
    assert_eq!((held.services, held.endpoints), (1, 20), "{held:?}");
    // The status knows of it a moment before the next publication shows it.
    let snapshot = until("endpoints that are marked as held", &discovery, |snapshot| {
        let marked = |b: std::sync::Arc<registry_core::Service>| {
            b.endpoints().iter().filter(|endpoint| endpoint.held()).count()
        };
        service(snapshot, "b", "web").map(marked) == Some(20)
    })
    .await;
    assert_eq!(addresses(&snapshot, "a", "web").unwrap().len(), 10);

    // Then the registry is asked once more, and says the same.
    until("the end of what is gone", &discovery, |snapshot| {
        snapshot.endpoint_count() == 10
    })
    .await;
    until_requests(&cluster.proxy, "a listing to confirm it", |proxy| {
        listings(proxy, "endpointslices") >= listed + 2
    })
    .await;
    assert_eq!(status(&discovery).held, None);
    assert_eq!(
        addresses(&discovery.snapshot(), "b", "web").unwrap(),
        Vec::<String>::new()
    );
}

/// The registry as a whole is forbidden: nothing is known, and so nothing is served as if it were empty.
#[tokio::test(flavor = "multi_thread")]
async fn rights_for_nothing_are_not_an_empty_registry() {
    let kubernetes = server().await;
    let discovery = discover(KubernetesConfig {
        nodes: false,
        ..config(kubernetes.kubeconfig(READER).unwrap())
    });
    let error = wait::until("an error", DEADLINE, async || {
        discovery.snapshot().registries().first()?;
        status(&discovery).last_error
    });
    let error = error.await.unwrap();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert!(error.message.contains("list and watch on"), "{error:?}");
    assert_eq!(status(&discovery).phase, Phase::Connecting);
    assert!(!discovery.readiness().ready);
}
