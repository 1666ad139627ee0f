//! Several clusters, of which not all can be reached.

use std::time::Duration;

use registry_core::{Discovery, RegistryOptions};
use registry_k8s::{KubernetesConfig, KubernetesRegistry};
use registry_testkit::kubernetes::Kubernetes;
use registry_testkit::wait;

use crate::support::{Cluster, DEADLINE, addresses, ready, service, slice, spec, until, until_addresses};

/// A cluster with one service.
async fn cluster(name: &str, address: &str) -> Cluster {
    let cluster = Cluster::start_as(Kubernetes::builder()).await;
    cluster.api().namespace("shop").await.unwrap();
    publish(&cluster, name, address).await;
    cluster
}

async fn publish(cluster: &Cluster, name: &str, address: &str) {
    let slice = slice(&[address], 8080);
    let slice_name = format!("{name}-1");
    cluster
        .api()
        .endpoint_slice("shop", &slice_name, name, &slice)
        .await
        .unwrap();
    cluster.api().service("shop", name, &spec()).await.unwrap();
}

/// A discovery of both clusters, of which the second one is needed or not.
fn discover(near: &Cluster, far: &Cluster, required: bool, patience: Duration) -> Discovery {
    let registry = |cluster: &Cluster, name: &str| {
        KubernetesRegistry::try_new(KubernetesConfig {
            cluster: Some(name.to_owned()),
            ..cluster.config()
        })
        .unwrap()
    };
    let options = |required| RegistryOptions {
        required,
        guard: None,
        ..RegistryOptions::default()
    };
    Discovery::builder()
        .start_deadline(patience)
        .registry_with("near", registry(near, "near"), options(true))
        .unwrap()
        .registry_with("far", registry(far, "far"), options(required))
        .unwrap()
        .start()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_28_a_cluster_that_cannot_be_reached_holds_up_no_other_and_joins_later() {
    let near = cluster("web", "10.1.0.1").await;
    let far = cluster("pay", "10.2.0.1").await;
    far.proxy.refuse(true);
    let discovery = discover(&near, &far, false, Duration::from_secs(1));
    ready(&discovery).await;
    let snapshot = until_addresses(&discovery, "shop", "web", &["10.1.0.1:8080"]).await;
    assert!(service(&snapshot, "shop", "pay").is_none());
    let of = |name: &str| {
        let all = discovery.status().into_iter();
        all.clone().find(|status| status.id.as_str() == name).unwrap()
    };
    let error = wait::until("an error of the other cluster", DEADLINE, async || {
        of("far").last_error
    });
    let error = error.await.unwrap();
    assert!(error.message.contains(&far.proxy.addr().to_string()), "{error:?}");
    assert!(of("near").last_error.is_none(), "{:?}", of("near"));

    publish(&far, "pay", "10.2.0.2").await;
    far.proxy.refuse(false);
    let snapshot = until_addresses(&discovery, "shop", "pay", &["10.2.0.2:8080"]).await;
    assert_eq!(addresses(&snapshot, "shop", "web").unwrap(), ["10.1.0.1:8080"]);
    let clusters = ["web", "pay"].map(|name| {
        let service = service(&snapshot, "shop", name).unwrap();
        let endpoint = service.endpoints().iter().next().unwrap();
        endpoint.cluster().to_string()
    });
    assert_eq!(clusters, ["near", "far"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_28_a_cluster_that_is_required_is_waited_for() {
    let near = cluster("web", "10.1.0.1").await;
    let far = cluster("pay", "10.2.0.1").await;
    far.proxy.refuse(true);
    let discovery = discover(&near, &far, true, Duration::from_secs(1));
    until_addresses(&discovery, "shop", "web", &["10.1.0.1:8080"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!discovery.readiness().ready, "{:?}", discovery.readiness());
    far.proxy.refuse(false);
    ready(&discovery).await;
    until("both clusters", &discovery, |snapshot| snapshot.len() == 2).await;
}
