//! Versions and tokens that are too old, lists that break off, and servers without streaming lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use registry_core::Phase;
use registry_k8s::KubernetesConfig;
use registry_testkit::kubernetes::{Kubernetes, endpoint_slices_path};
use registry_testkit::witness::Witness;
use registry_testkit::{Fault, Logged, Match, Rule, wait};
use serde_json::json;

use crate::support::deltas::Deltas;
use crate::support::traffic::{is_stream, listings, of_kind, until_requests, watches};
use crate::support::{
    Cluster, DEADLINE, addresses, discover, discovered, ready, slice, spec, status, until_addresses,
    until_phase,
};

/// The number of services of which tests keep some and delete some.
const SERVICES: usize = 20;

fn name(number: usize) -> String {
    format!("web-{number:02}")
}

fn address(number: usize) -> String {
    format!("10.1.0.{}", number + 1)
}

/// The path of the slice of a service.
fn slice_of(number: usize) -> String {
    format!("{}/{}", endpoint_slices_path("shop"), name(number))
}

/// Services with one endpoint each.
async fn publish(cluster: &Cluster) {
    let api = cluster.api();
    api.namespace("shop").await.unwrap();
    for number in 0..SERVICES {
        let (name, address) = (name(number), address(number));
        let slice = slice(&[&address], 8080);
        api.endpoint_slice("shop", &name, &name, &slice).await.unwrap();
        api.service("shop", &name, &spec()).await.unwrap();
    }
}

/// Only what is told of services and slices, so that requests can be counted.
fn quiet(config: KubernetesConfig) -> KubernetesConfig {
    KubernetesConfig {
        nodes: false,
        ..config
    }
}

/// What a server answers to a version or a token that is too old.
fn expired() -> Fault {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410,
    });
    Fault::respond(410, &[("Content-Type", "application/json")], status.to_string())
}

/// Asserts that the services of these numbers changed, and no other ones.
async fn assert_only_changed(deltas: &Deltas, these: &[usize]) {
    let mut changed = deltas.services().await;
    changed.sort();
    changed.dedup();
    let wanted: Vec<String> = these
        .iter()
        .map(|number| format!("{}.shop.svc.cluster.local", name(*number)))
        .collect();
    assert_eq!(changed, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_16_a_watch_that_is_answered_with_410_leads_to_a_new_listing() {
    let cluster = Cluster::start().await;
    publish(&cluster).await;
    let discovery = discovered(quiet(cluster.config())).await;
    let (witness, deltas) = (Witness::call(&discovery), Deltas::of(&discovery));
    let listed = listings(&cluster.proxy, "endpointslices");
    // Streaming lists are watches as well, but name no version.
    let old = Match::contains("&resourceVersion=").times(2);
    let rule = cluster.proxy.inject(Rule::new(old, expired()));
    cluster.proxy.reset_all();
    until_requests(&cluster.proxy, "new listings", |proxy| {
        proxy.hits(rule) == 2 && listings(proxy, "endpointslices") > listed && listings(proxy, "services") > 1
    })
    .await;
    witness.saw_everything("after watches were too old", &discovery);
    deltas.saw_no_service("after watches were too old").await;
    // What it watches from now on is the new version's.
    let more = slice(&["10.9.0.1"], 8080);
    cluster
        .api()
        .endpoint_slice("shop", &name(0), &name(0), &more)
        .await
        .unwrap();
    until_addresses(&discovery, "shop", &name(0), &["10.9.0.1:8080"]).await;
    until_phase(&discovery, Phase::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_17_a_watch_that_is_too_old_finds_out_what_was_deleted_meanwhile() {
    let builder = Kubernetes::builder().without_watch_cache("endpointslices");
    let cluster = Cluster::start_as(builder).await;
    publish(&cluster).await;
    let discovery = discovered(quiet(cluster.config())).await;
    let deltas = Deltas::of(&discovery);
    let listed = listings(&cluster.proxy, "endpointslices");

    cluster.proxy.refuse(true);
    cluster.proxy.reset_all();
    for number in [3, 7] {
        cluster.api().delete(&slice_of(number)).await.unwrap();
    }
    cluster.kubernetes.compact().await.unwrap();
    cluster.proxy.refuse(false);
    for number in [3, 7] {
        until_addresses(&discovery, "shop", &name(number), &[]).await;
    }
    assert!(
        listings(&cluster.proxy, "endpointslices") > listed,
        "the watch must have been too old"
    );
    assert_only_changed(&deltas, &[3, 7]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_17_a_token_that_is_too_old_begins_the_listing_anew() {
    let builder = Kubernetes::builder()
        .feature_gate("WatchList=false")
        .without_watch_cache("endpointslices");
    let cluster = Cluster::start_as(builder).await;
    publish(&cluster).await;
    let discovery = discovered(KubernetesConfig {
        streaming_lists: false,
        page_size: 4,
        ..quiet(cluster.config())
    })
    .await;
    let deltas = Deltas::of(&discovery);

    // Of the five pages the third one is held until the history is gone.
    let page = |request: &Logged| request.query("continue").is_some();
    let pages = of_kind(&cluster.proxy, "endpointslices")
        .iter()
        .filter(|r| page(r))
        .count();
    assert_eq!(pages, SERVICES / 4 - 1, "five pages each");
    let third = Match::contains("endpointslices?limit=4&continue=").nth(2);
    let hold = cluster.proxy.inject(Rule::new(third, Fault::BlackHole));
    discovery.resync("kubernetes".parse().unwrap()).await;
    until_requests(&cluster.proxy, "the third page", |proxy| proxy.hits(hold) == 1).await;
    for number in [1, 18] {
        cluster.api().delete(&slice_of(number)).await.unwrap();
    }
    cluster.kubernetes.compact().await.unwrap();
    cluster.proxy.remove(hold);
    cluster.proxy.reset_all();
    for number in [1, 18] {
        until_addresses(&discovery, "shop", &name(number), &[]).await;
    }
    let gone = of_kind(&cluster.proxy, "endpointslices");
    let gone = gone
        .iter()
        .filter(|request| page(request) && request.status == Some(410));
    assert!(gone.count() >= 1, "the token must have been too old");
    assert_only_changed(&deltas, &[1, 18]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_18_a_streaming_list_that_is_cut_half_way_leaves_no_ghost() {
    let cluster = Cluster::start().await;
    publish(&cluster).await;
    // Half of the slices come, and nothing else, until the connection breaks.
    let half = Arc::new(AtomicBool::new(true));
    let sent = Arc::new(AtomicUsize::new(0));
    let (while_half, counted) = (half.clone(), sent.clone());
    let cut = Fault::map_line(move |line| {
        let late = (SERVICES / 2..SERVICES).any(|number| line.contains(&format!("\"{}\"", name(number))));
        let never = late || !line.contains(r#""type":"ADDED""#);
        if while_half.load(Ordering::Relaxed) && never {
            return None;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Some(line.to_owned())
    });
    let rule = Match::path("/apis/discovery.k8s.io/v1/endpointslices");
    let cut = cluster.proxy.inject(Rule::new(rule, cut));
    let discovery = discover(quiet(cluster.config()));
    until_requests(&cluster.proxy, "half a list", |proxy| {
        proxy.hits(cut) == 1 && sent.load(Ordering::Relaxed) == SERVICES / 2
    })
    .await;
    // Two of those that were sent go before there is another listing.
    for number in [2, 5] {
        cluster.api().delete(&slice_of(number)).await.unwrap();
    }
    cluster.proxy.refuse(true);
    cluster.proxy.reset_all();
    half.store(false, Ordering::Relaxed);
    cluster.proxy.refuse(false);
    ready(&discovery).await;
    let snapshot = discovery.snapshot();
    for number in 0..SERVICES {
        let found = addresses(&snapshot, "shop", &name(number)).unwrap_or_default();
        let wanted = format!("{}:8080", address(number));
        let wanted = if [2, 5].contains(&number) {
            vec![]
        } else {
            vec![wanted]
        };
        assert_eq!(found, wanted, "{}", name(number));
    }
    assert!(listings(&cluster.proxy, "endpointslices") >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_19_a_server_without_streaming_lists_is_asked_for_pages_and_never_for_streams_again() {
    let cluster = Cluster::start_as(Kubernetes::builder().feature_gate("WatchList=false")).await;
    publish(&cluster).await;
    let discovery = discovered(quiet(cluster.config())).await;
    assert_eq!(discovery.snapshot().endpoint_count(), SERVICES);
    let deltas = Deltas::of(&discovery);
    // One attempt to stream, and a page for each listing.
    for pages in 2..=3 {
        discovery.resync("kubernetes".parse().unwrap()).await;
        until_requests(&cluster.proxy, "pages of both kinds", |proxy| {
            ["services", "endpointslices"]
                .iter()
                .all(|plural| listings(proxy, plural) == 1 + pages)
        })
        .await;
    }
    let more = slice(&["10.9.0.1"], 8080);
    cluster
        .api()
        .endpoint_slice("shop", &name(0), &name(0), &more)
        .await
        .unwrap();
    until_addresses(&discovery, "shop", &name(0), &["10.9.0.1:8080"]).await;
    let requests = cluster.proxy.requests();
    let streams: Vec<_> = requests
        .iter()
        .filter(|request| is_stream(request))
        .map(|request| (request.path(), request.status))
        .collect();
    assert_eq!(streams.len(), 2, "one for each kind: {streams:?}");
    assert!(
        streams
            .iter()
            .all(|(_, status)| matches!(status, Some(400 | 422))),
        "{streams:?}"
    );
    assert_only_changed(&deltas, &[0]).await;
    assert_eq!(status(&discovery).last_error.map(|error| error.message), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_25_bookmarks_alone_keep_a_watch_young_enough_to_be_resumed() {
    let cluster = Cluster::start().await;
    publish(&cluster).await;
    let discovery = discovered(quiet(cluster.config())).await;
    let deltas = Deltas::of(&discovery);
    // The versions from which watches began.
    let versions = |plural: &str| -> Vec<u64> {
        let requests = of_kind(&cluster.proxy, plural).into_iter();
        requests
            .filter(|request| !is_stream(request) && request.query("watch").is_some())
            .map(|request| request.query("resourceVersion").unwrap().parse().unwrap())
            .collect()
    };
    // Objects of another kind move the version on, and nothing else happens, while watches end and begin.
    let mut nodes = 0;
    let led_on = wait::until("watches of later versions", DEADLINE, async || {
        nodes += 1;
        let api = cluster.api();
        api.node(&format!("n{nodes}"), &json!({})).await.unwrap();
        let mut all = true;
        for plural in ["services", "endpointslices"] {
            // A read of the newest state makes the server's watch cache see how far its storage is.
            let path = &of_kind(&cluster.proxy, plural)[0];
            api.get(path.path()).await.unwrap();
            let versions = versions(plural);
            all &= versions.len() >= 3 && versions.first() < versions.last();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        all.then_some(())
    });
    led_on.await.unwrap();

    let before = watches(&cluster.proxy, "endpointslices");
    cluster.proxy.reset_all();
    cluster.api().delete(&slice_of(0)).await.unwrap();
    until_addresses(&discovery, "shop", &name(0), &[]).await;
    assert!(watches(&cluster.proxy, "endpointslices") > before);
    for plural in ["services", "endpointslices"] {
        assert_eq!(listings(&cluster.proxy, plural), 1, "{plural}");
    }
    assert_only_changed(&deltas, &[0]).await;
}
