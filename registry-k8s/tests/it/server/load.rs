//! Many writes, and many listings of the same.

use registry_core::Phase;
use registry_k8s::KubernetesConfig;
use registry_testkit::kubernetes::{KubernetesApi, bulk_endpoints, bulk_service, bulk_slice};

use crate::support::deltas::Deltas;
use crate::support::traffic::{listings, until_requests};
use crate::support::{
    Cluster, addresses, any_cluster, discovered, slice, spec, status, until, until_addresses, until_phase,
};

/// How many changes are written.
const WRITES: usize = 200;
/// To how many services, one after the other.
const SERVICES: usize = 20;

fn name(number: usize) -> String {
    format!("web-{:02}", number % SERVICES)
}

fn address(number: usize) -> String {
    format!("10.1.{}.{}", number / 250, number % 250 + 1)
}

/// Writes the change of that number: the service moves to another address.
async fn write(api: &KubernetesApi, namespace: &str, number: usize) {
    let (name, slice) = (name(number), slice(&[&address(number)], 8080));
    api.endpoint_slice(namespace, &name, &name, &slice).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_31_of_many_writes_in_a_row_the_last_ones_are_seen() {
    let (kubernetes, config) = any_cluster().await;
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("load").await.unwrap();
    let namespace = namespace.name();
    for number in 0..SERVICES {
        api.service(namespace, &name(number), &spec()).await.unwrap();
        write(api, namespace, number).await;
    }
    let discovery = discovered(KubernetesConfig {
        namespaces: vec![namespace.to_owned()],
        ..config
    })
    .await;
    for number in 0..WRITES {
        write(api, namespace, SERVICES + number).await;
    }
    until("the last write to each service", &discovery, |snapshot| {
        (WRITES..WRITES + SERVICES).all(|number| {
            let wanted = vec![format!("{}:8080", address(number))];
            addresses(snapshot, namespace, &name(number)) == Some(wanted)
        })
    })
    .await;
    assert_eq!(discovery.snapshot().endpoint_count(), SERVICES);
    assert_eq!(status(&discovery).skipped, 0);
    assert_eq!(status(&discovery).failures, 0, "{:?}", status(&discovery));
}

async fn listing_the_same_again_publishes_nothing(streaming_lists: bool) {
    const BULK: usize = 100;
    let cluster = Cluster::start().await;
    let api = cluster.api();
    api.namespace("bulk").await.unwrap();
    api.create_services("bulk", BULK).await.unwrap();
    let discovery = discovered(KubernetesConfig {
        streaming_lists,
        page_size: 30,
        ..cluster.config()
    })
    .await;
    let endpoints: usize = (0..BULK).map(bulk_endpoints).sum();
    assert_eq!(discovery.snapshot().endpoint_count(), endpoints);
    let deltas = Deltas::of(&discovery);
    let revision = discovery.snapshot().revision();
    for times in 2..=4 {
        discovery.resync("kubernetes".parse().unwrap()).await;
        until_requests(&cluster.proxy, "listings of both kinds", |proxy| {
            ["services", "endpointslices"]
                .iter()
                .all(|plural| listings(proxy, plural) == times)
        })
        .await;
    }
    // What comes after the listings is the first that is published.
    let more = slice(&["10.9.0.1"], 8080);
    let slice = bulk_slice(0);
    api.endpoint_slice("bulk", &slice, &bulk_service(0), &more)
        .await
        .unwrap();
    until_addresses(&discovery, "bulk", &bulk_service(0), &["10.9.0.1:8080"]).await;
    let changed = deltas.services().await;
    assert_eq!(changed, [format!("{}.bulk.svc.cluster.local", bulk_service(0))]);
    assert_eq!(deltas.phases().await, []);
    // One for what came and one for what went.
    let published = discovery.snapshot().revision() - revision;
    assert!((1..=2).contains(&published), "{published}");
    until_phase(&discovery, Phase::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_32_streaming_the_same_again_publishes_nothing() {
    listing_the_same_again_publishes_nothing(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_32_paging_through_the_same_again_publishes_nothing() {
    listing_the_same_again_publishes_nothing(false).await;
}
