//! Servers that ask for patience, fall silent, or say what cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use registry_core::{Discovery, Phase, Scope};
use registry_k8s::KubernetesConfig;
use registry_testkit::kubernetes::{ADMIN, KubernetesApi, bulk_endpoints};
use registry_testkit::witness::Witness;
use registry_testkit::{Fault, Logged, Match, Rule};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::deltas::Deltas;
use crate::support::traffic::{of_kind, until_requests};
use crate::support::{
    Cluster, DEADLINE, WATCH, addresses, config, discover, discovered, ready, slice, spec, status, until,
    until_addresses, until_phase,
};

/// Services `web` and `pay` of one endpoint each.
async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.api().namespace("shop").await.unwrap();
    for (name, address) in [("web", "10.1.0.1"), ("pay", "10.1.0.2")] {
        publish(cluster.api(), name, address).await;
        cluster.api().service("shop", name, &spec()).await.unwrap();
    }
    cluster
}

/// Gives a service the one endpoint.
async fn publish(api: &KubernetesApi, name: &str, address: &str) {
    let slice = slice(&[address], 8080);
    let slice_name = format!("{name}-1");
    api.endpoint_slice("shop", &slice_name, name, &slice)
        .await
        .unwrap();
}

/// Two watches and no other.
fn two_watches(cluster: &Cluster) -> KubernetesConfig {
    KubernetesConfig {
        nodes: false,
        ..cluster.config()
    }
}

// === patience ===

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_20_a_server_that_asks_for_seven_seconds_is_left_alone_so_long() {
    let cluster = cluster().await;
    let discovery = discovered(two_watches(&cluster)).await;
    let deltas = Deltas::of(&discovery);
    for (plural, status) in [("services", 503), ("endpointslices", 429)] {
        let headers = [("Content-Type", "text/plain"), ("Retry-After", "7")];
        let fault = Fault::respond(status, &headers, "come back later");
        let once = Match::contains(format!("/{plural}?")).times(1);
        cluster.proxy.inject(Rule::new(once, fault));
    }
    cluster.proxy.reset_all();
    for (plural, status) in [("services", 503), ("endpointslices", 429)] {
        let refused = |request: &Logged| request.status == Some(status);
        until_requests(&cluster.proxy, "another attempt", |proxy| {
            let requests = of_kind(proxy, plural);
            let refusal = requests.iter().position(refused);
            refusal.is_some_and(|refusal| requests.len() > refusal + 1)
        })
        .await;
        let requests = of_kind(&cluster.proxy, plural);
        let refusal = requests.iter().position(refused).unwrap();
        let rest = requests[refusal + 1].at - requests[refusal].at;
        assert!(rest >= Duration::from_millis(6300), "{plural}: {rest:?}");
    }
    publish(cluster.api(), "web", "10.1.0.9").await;
    until_addresses(&discovery, "shop", "web", &["10.1.0.9:8080"]).await;
    until_phase(&discovery, Phase::Synced).await;
    // It came before its predecessor went.
    let changed = deltas.services().await;
    assert_eq!(changed, ["web.shop.svc.cluster.local"]);
}

// === silence ===

/// Changes something and says how long it took to be heard of.
async fn time_of_a_change(cluster: &Cluster, discovery: &Discovery, address: &str) -> Duration {
    let start = Instant::now();
    publish(cluster.api(), "web", address).await;
    until_addresses(discovery, "shop", "web", &[&format!("{address}:8080")]).await;
    start.elapsed()
}

/// How long it takes to notice that nothing comes any more on connections that stay open, as after a NAT forgot them,
/// and to hear of a change on others.
pub(crate) async fn time_of_dead_connections(watch_timeout: Duration) -> Duration {
    let cluster = cluster().await;
    let config = KubernetesConfig {
        watch_timeout,
        ..two_watches(&cluster)
    };
    let discovery = discovered(config).await;
    let dead = Rule::new(Match::any().times(2), Fault::StallAfter(0));
    let dead = cluster.proxy.inject(dead);
    until_requests(&cluster.proxy, "two dead watches", |proxy| proxy.hits(dead) == 2).await;
    publish(cluster.api(), "pay", "10.1.0.8").await;
    let time = time_of_a_change(&cluster, &discovery, "10.1.0.7").await;
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(
        addresses(&discovery.snapshot(), "shop", "pay").unwrap(),
        ["10.1.0.8:8080"]
    );
    time
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_21_dead_connections_are_left_within_the_bound() {
    let time = time_of_dead_connections(WATCH).await;
    // The watch may last 5 s, and 10 s more are allowed.
    assert!(time < Duration::from_secs(30), "{time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_21_a_black_hole_is_noticed_and_left() {
    let cluster = cluster().await;
    let discovery = discovered(two_watches(&cluster)).await;
    let witness = Witness::call(&discovery);
    let (start, connections) = (Instant::now(), cluster.proxy.connections_total());
    cluster.proxy.black_hole(true);
    let more = cluster.proxy.wait_for_connections(connections + 2);
    tokio::time::timeout(DEADLINE, more).await.unwrap();
    let noticed = start.elapsed();
    assert!(noticed < Duration::from_secs(35), "{noticed:?}");
    until_phase(&discovery, Phase::Stale).await;
    witness.saw_everything("within the hole", &discovery);
    cluster.proxy.black_hole(false);
    until_phase(&discovery, Phase::Synced).await;
    time_of_a_change(&cluster, &discovery, "10.1.0.9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_21_a_watch_of_a_head_and_nothing_else_is_left_within_the_bound() {
    let cluster = cluster().await;
    let discovery = discovered(two_watches(&cluster)).await;
    let mute = Match::contains("&resourceVersion=").times(2);
    let mute = cluster.proxy.inject(Rule::new(mute, Fault::StallAfter(0)));
    cluster.proxy.reset_all();
    until_requests(&cluster.proxy, "two mute watches", |proxy| proxy.hits(mute) == 2).await;
    let time = time_of_a_change(&cluster, &discovery, "10.1.0.9").await;
    assert!(time < Duration::from_secs(30), "{time:?}");
    until_phase(&discovery, Phase::Synced).await;
}

// === what cannot be read ===

/// Lines of lists and watches, in which the slice `bad-1` has ports that are none, while `broken` says so.
fn with_bad_ports(broken: Arc<AtomicBool>) -> Fault {
    Fault::map_line(move |line| {
        let told = serde_json::from_str::<Value>(line).ok();
        let Some(mut told) = told.filter(|_| broken.load(Ordering::Relaxed)) else {
            return Some(line.to_owned());
        };
        let objects: Vec<&mut Value> = match told.get_mut("items") {
            Some(items) => items.as_array_mut().unwrap().iter_mut().collect(),
            None => told.get_mut("object").into_iter().collect(),
        };
        for object in objects {
            if object["metadata"]["name"] == "bad-1" {
                object["ports"] = json!("x");
            }
        }
        Some(told.to_string())
    })
}

/// The services of which something cannot be read, with what is wrong.
fn unreadable(discovery: &Discovery) -> Vec<(String, String)> {
    let degraded = status(discovery).degraded.into_iter();
    degraded
        .filter_map(|degraded| match degraded.scope {
            Scope::Service(id) => Some((format!("{}/{}", id.group(), id.name()), degraded.error)),
            Scope::Registry | Scope::Group(_) => None,
        })
        .collect()
}

async fn until_bad_is_named(discovery: &Discovery) {
    until("the service that cannot be read", discovery, |_| {
        unreadable(discovery)
            .first()
            .is_some_and(|(service, error)| service == "shop/bad" && error.contains("shop/bad-1"))
    })
    .await;
    assert_eq!(unreadable(discovery).len(), 1);
}

async fn one_bad_object_harms_no_other(streaming_lists: bool) {
    let cluster = cluster().await;
    let api = cluster.api();
    publish(api, "bad", "10.1.0.3").await;
    api.service("shop", "bad", &spec()).await.unwrap();
    let broken = Arc::new(AtomicBool::new(true));
    cluster.proxy.inject(Rule::always(with_bad_ports(broken.clone())));

    // In a list.
    let discovery = discover(KubernetesConfig {
        streaming_lists,
        ..cluster.config()
    });
    ready(&discovery).await;
    until_addresses(&discovery, "shop", "web", &["10.1.0.1:8080"]).await;
    until_addresses(&discovery, "shop", "pay", &["10.1.0.2:8080"]).await;
    until_bad_is_named(&discovery).await;
    let skipped = status(&discovery).skipped;
    assert!(skipped >= 1, "{:?}", status(&discovery));

    // Mended, and written anew.
    broken.store(false, Ordering::Relaxed);
    publish(api, "bad", "10.1.0.4").await;
    until_addresses(&discovery, "shop", "bad", &["10.1.0.4:8080"]).await;
    until("the end of the trouble", &discovery, |_| {
        unreadable(&discovery).is_empty()
    })
    .await;

    // In a watch.
    broken.store(true, Ordering::Relaxed);
    publish(api, "bad", "10.1.0.5").await;
    publish(api, "web", "10.1.0.6").await;
    until_addresses(&discovery, "shop", "web", &["10.1.0.6:8080"]).await;
    until_bad_is_named(&discovery).await;
    assert!(status(&discovery).skipped > skipped, "{:?}", status(&discovery));
    assert_eq!(
        addresses(&discovery.snapshot(), "shop", "bad").unwrap(),
        ["10.1.0.4:8080"],
        "what was known of it stays"
    );
    broken.store(false, Ordering::Relaxed);
    publish(api, "bad", "10.1.0.7").await;
    until_addresses(&discovery, "shop", "bad", &["10.1.0.7:8080"]).await;
    until("the end of the trouble", &discovery, |_| {
        unreadable(&discovery).is_empty()
    })
    .await;
    until_phase(&discovery, Phase::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_22_an_object_that_cannot_be_read_harms_no_other_in_streaming_lists_and_watches() {
    one_bad_object_harms_no_other(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_22_an_object_that_cannot_be_read_harms_no_other_in_pages_and_watches() {
    one_bad_object_harms_no_other(false).await;
}

// === large answers ===

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_23_an_event_of_three_megabytes_is_read() {
    let cluster = cluster().await;
    let discovery = discovered(cluster.config()).await;
    // What is written would be too large for an etcd: the rest comes on the way.
    let padding = "x".repeat(3 << 20);
    let inflate = Fault::map_line(move |line| {
        let mut told: Value = serde_json::from_str(line).ok()?;
        if told["object"]["metadata"]["name"] == "web-1" {
            told["object"]["metadata"]["managedFields"] = json!([{ "manager": padding }]);
        }
        Some(told.to_string())
    });
    let path = Match::path("/apis/discovery.k8s.io/v1/endpointslices");
    let rule = cluster.proxy.inject(Rule::new(path, inflate));
    let many: Vec<String> = (0..1000)
        .map(|number| format!("10.2.{}.{}", number / 250, number % 250))
        .collect();
    let mut wanted: Vec<String> = many.iter().map(|address| format!("{address}:8080")).collect();
    wanted.sort();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    cluster
        .api()
        .endpoint_slice("shop", "web-1", "web", &slice(&many, 8080))
        .await
        .unwrap();
    until("a thousand endpoints", &discovery, |snapshot| {
        addresses(snapshot, "shop", "web").is_some_and(|found| found == wanted)
    })
    .await;
    assert!(cluster.proxy.hits(rule) > 0);
    assert_eq!(status(&discovery).skipped, 0);
}

/// The head of the answer to a request that allows compression.
async fn head(cluster: &Cluster, target: &str) -> String {
    let address = cluster.kubernetes.plain_address().unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let token = cluster.kubernetes.token().unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    text.split("\r\n\r\n").next().unwrap().to_ascii_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_23_pages_that_are_compressed_are_read() {
    const SERVICES: usize = 300;
    let cluster = cluster().await;
    cluster.api().namespace("bulk").await.unwrap();
    cluster.api().create_services("bulk", SERVICES).await.unwrap();
    for plural in ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"] {
        let head = head(&cluster, &format!("{plural}?limit=250")).await;
        assert!(head.contains("content-encoding: gzip"), "{head}");
    }
    // The proxy would ask for text: this goes past it.
    let url = cluster.kubernetes.plain_url().unwrap();
    let kubeconfig = cluster.kubernetes.kubeconfig_for(url, ADMIN).unwrap();
    let discovery = discovered(KubernetesConfig {
        streaming_lists: false,
        compression: true,
        page_size: 250,
        ..config(kubeconfig)
    })
    .await;
    let snapshot = discovery.snapshot();
    assert_eq!(snapshot.len(), SERVICES + 2);
    let endpoints: usize = (0..SERVICES).map(bulk_endpoints).sum();
    assert_eq!(snapshot.endpoint_count(), endpoints + 2);
    assert_eq!(status(&discovery).skipped, 0);
}
