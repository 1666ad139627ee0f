//! Which cluster a cluster says it is.

use std::time::Duration;

use registry_core::{Discovery, RegistryOptions, ServiceRegistry};
use registry_k8s::{Cluster, KubernetesConfig};
use registry_mcs::{McsRegistry, McsSettings, exports};
use registry_testkit::kubernetes::mcs::{CLUSTER_ID, GROUP, VERSIONS, cluster_property_definition};
use registry_testkit::kubernetes::{ADMIN, Kubernetes};
use registry_testkit::wait;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(90);

const READER: &str = "reader";

const HOSTNAME: &str = "web.shop.svc.clusterset.local";

/// A cluster that exports `shop/web`, and knows no ClusterProperties. Its reader may read exports and what belongs to them.
async fn cluster() -> Kubernetes {
    registry_testkit::init_tls();
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    api.define_multicluster(GROUP, &VERSIONS).await.unwrap();
    for namespace in ["kube-system", "shop"] {
        api.namespace(namespace).await.unwrap();
    }
    api.service_export("shop", "web", &json!({})).await.unwrap();
    for resource in ["services", "endpointslices", "nodes", "serviceexports"] {
        kubernetes.allow(READER, "*", resource).unwrap();
    }
    kubernetes
}

fn registry(kubernetes: &Kubernetes, user: &str, id: Option<&str>) -> McsRegistry {
    let config = KubernetesConfig {
        kubeconfig: Some(kubernetes.kubeconfig(user).unwrap()),
        ..KubernetesConfig::default()
    };
    let cluster = Cluster::try_new(config).unwrap();
    McsRegistry::exports(cluster, id.map(str::to_owned), McsSettings::default())
}

fn discovery(kubernetes: &Kubernetes, user: &str) -> Discovery {
    let registry = registry(kubernetes, user, None);
    let options = RegistryOptions::default();
    let builder = Discovery::builder().registry_with("a", registry, options);
    builder.unwrap().start().unwrap()
}

/// The id that the cluster's export is said to be of, once it is.
async fn id(kubernetes: &Kubernetes, user: &str) -> String {
    let discovery = discovery(kubernetes, user);
    let found = wait::until("an export", DEADLINE, async || {
        let exports = exports(&discovery.snapshot(), HOSTNAME);
        exports.first().map(|export| export.cluster.to_string())
    });
    let found = found.await.unwrap();
    discovery.shutdown().await;
    found
}

/// What keeps the watch from beginning.
async fn failure(kubernetes: &Kubernetes, user: &str) -> String {
    let discovery = discovery(kubernetes, user);
    let found = wait::until("a failure", DEADLINE, async || {
        let status = discovery.status();
        status[0].last_error.as_ref().map(|error| error.message.clone())
    });
    let found = found.await.unwrap();
    assert!(exports(&discovery.snapshot(), HOSTNAME).is_empty());
    discovery.shutdown().await;
    found
}

async fn uid(kubernetes: &Kubernetes) -> String {
    let namespace = kubernetes
        .api()
        .get("/api/v1/namespaces/kube-system")
        .await
        .unwrap();
    namespace["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_cluster_is_what_its_property_says_or_else_the_uid_of_its_oldest_namespace() {
    let kubernetes = cluster().await;
    let uid = uid(&kubernetes).await;
    assert_eq!(
        id(&kubernetes, ADMIN).await,
        uid,
        "there are no ClusterProperties"
    );
    for (versions, value) in [(&VERSIONS[..1], "old.example"), (&VERSIONS[..], "eu-1")] {
        let definition = cluster_property_definition(versions);
        kubernetes.api().definition(&definition).await.unwrap();
        let version = versions[versions.len() - 1];
        if versions.len() == 1 {
            assert_eq!(id(&kubernetes, ADMIN).await, uid, "there is none of that name");
        }
        kubernetes
            .api()
            .cluster_property(version, CLUSTER_ID, value)
            .await
            .unwrap();
        assert_eq!(id(&kubernetes, ADMIN).await, value);
    }
    kubernetes
        .api()
        .cluster_property("v1beta1", CLUSTER_ID, "Not an id")
        .await
        .unwrap();
    let error = failure(&kubernetes, ADMIN).await;
    for part in [
        "clusterproperties/cluster.clusterset.k8s.io",
        "spec.value",
        "\"Not an id\"",
        "DNS label",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_id_does_not_change_with_rights() {
    let kubernetes = cluster().await;
    let uid = uid(&kubernetes).await;
    let error = failure(&kubernetes, READER).await;
    assert!(
        error.contains("allow `get` of the namespace kube-system"),
        "{error}"
    );
    kubernetes.allow(READER, "kube-system", "namespaces").unwrap();
    assert_eq!(
        id(&kubernetes, READER).await,
        uid,
        "everybody may know which kinds there are"
    );

    let definition = cluster_property_definition(&VERSIONS);
    kubernetes.api().definition(&definition).await.unwrap();
    let error = failure(&kubernetes, READER).await;
    assert!(
        error.contains("allow `get` of clusterproperties.about.k8s.io"),
        "{error}"
    );
    let probed = registry(&kubernetes, READER, None).probe().await.unwrap_err();
    assert!(probed.report().ends_with(&error), "{}", probed.report());
    let configured = registry(&kubernetes, READER, Some("eu"));
    configured.probe().await.unwrap();
    kubernetes.allow(READER, "*", "clusterproperties").unwrap();
    registry(&kubernetes, READER, None).probe().await.unwrap();
    assert_eq!(id(&kubernetes, READER).await, uid);
    kubernetes
        .api()
        .cluster_property("v1beta1", CLUSTER_ID, "eu-1")
        .await
        .unwrap();
    assert_eq!(id(&kubernetes, READER).await, "eu-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_mended_is_taken_up_without_a_restart() {
    let kubernetes = cluster().await;
    let api = kubernetes.api();
    let definition = cluster_property_definition(&VERSIONS);
    api.definition(&definition).await.unwrap();
    api.cluster_property("v1beta1", CLUSTER_ID, "Not_an_id")
        .await
        .unwrap();
    let discovery = discovery(&kubernetes, ADMIN);
    let refused = wait::until("a failure", DEADLINE, async || {
        discovery.status()[0].last_error.as_ref().map(drop)
    });
    refused.await.unwrap();
    api.cluster_property("v1beta1", CLUSTER_ID, "eu-1").await.unwrap();
    let taken_up = wait::until("the export", DEADLINE, async || {
        let exports = exports(&discovery.snapshot(), HOSTNAME);
        exports.first().map(|export| export.cluster.to_string())
    });
    assert_eq!(taken_up.await.unwrap(), "eu-1");
}
