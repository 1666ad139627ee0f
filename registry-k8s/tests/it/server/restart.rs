//! Servers that end and come back: with all they knew, with nothing, or as another one.

use std::time::Duration;

use registry_core::{Discovery, Guard, Phase};
use registry_k8s::KubernetesConfig;
use registry_testkit::kubernetes::{Kubernetes, endpoint_slices_path, services_path};
use registry_testkit::witness::Witness;
use registry_testkit::{Fault, Match, Rule, wait};
use serde_json::json;
use tokio::time::Instant;

use crate::support::deltas::Deltas;
use crate::support::traffic::{listings, until_requests};
use crate::support::{
    Cluster, DEADLINE, WATCH, addresses, discover_guarded, discovered, ready, service, slice, spec, status,
    until, until_addresses, until_phase,
};

async fn persistent() -> Cluster {
    Cluster::start_as(Kubernetes::builder().persistent()).await
}

/// A service with one slice.
async fn publish(cluster: &Cluster, name: &str, addresses: &[&str]) {
    let api = cluster.api();
    api.namespace("shop").await.unwrap();
    let slice = slice(addresses, 8080);
    let slice_name = format!("{name}-1");
    api.endpoint_slice("shop", &slice_name, name, &slice)
        .await
        .unwrap();
    api.service("shop", name, &spec()).await.unwrap();
}

/// Ends the server, deletes all it knew and starts it while nobody is let in.
async fn wipe_behind_closed_doors(cluster: &mut Cluster) {
    cluster.proxy.refuse(true);
    cluster.proxy.reset_all();
    cluster.kubernetes.kill().await.unwrap();
    cluster.kubernetes.wipe().unwrap();
    cluster.kubernetes.restart().await.unwrap();
}

async fn version(cluster: &Cluster) -> u64 {
    let version = cluster.api().resource_version("/api/v1/services?limit=1").await;
    version.unwrap().parse().unwrap()
}

/// Leads the versions of the new server far beyond all that we know, whose own are still in its watch cache's history.
async fn overtake(cluster: &Cluster, before: u64) {
    cluster.api().namespace("noise").await.unwrap();
    let noise = (0..200).map(|number| {
        let object = json!({ "metadata": { "name": format!("noise-{number}") }, "spec": spec() });
        (services_path("noise"), object)
    });
    cluster.api().create_all(noise).await.unwrap();
    assert!(version(cluster).await > before);
}

/// Waits for what the new server has, and for the end of what it has not.
async fn until_swapped(discovery: &Discovery) {
    until("the services of the new server", discovery, |snapshot| {
        service(snapshot, "shop", "old").is_none()
            && addresses(snapshot, "shop", "new").is_some_and(|found| found == ["10.2.0.1:8080"])
            && addresses(snapshot, "shop", "both").is_some_and(|found| found == ["10.2.0.2:8080"])
    })
    .await;
}

/// What the server has before it is wiped, and something that is not of its kind any more afterwards.
async fn publish_old(cluster: &Cluster) {
    publish(cluster, "old", &["10.1.0.1"]).await;
    publish(cluster, "both", &["10.1.0.2"]).await;
}

async fn publish_new(cluster: &Cluster) {
    publish(cluster, "new", &["10.2.0.1"]).await;
    publish(cluster, "both", &["10.2.0.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_15_a_crash_and_restart_change_nothing_but_the_phase() {
    let mut cluster = persistent().await;
    publish(&cluster, "web", &["10.1.0.1", "10.1.0.2"]).await;
    publish(&cluster, "pay", &["10.1.0.3"]).await;
    let discovery = discovered(KubernetesConfig {
        nodes: false,
        ..cluster.config()
    })
    .await;
    let (witness, deltas) = (Witness::call(&discovery), Deltas::of(&discovery));
    let listed = ["services", "endpointslices"].map(|plural| listings(&cluster.proxy, plural));

    // Another kind moves the version on, and nobody hears of it: after the restart all that is known is too old.
    cluster.proxy.black_hole(true);
    let labels = json!({ "topology.kubernetes.io/zone": "a" });
    cluster.api().node("n1", &labels).await.unwrap();
    cluster.kubernetes.kill().await.unwrap();
    cluster.proxy.black_hole(false);
    until_phase(&discovery, Phase::Stale).await;
    witness.saw_everything("while there was no server", &discovery);

    cluster.kubernetes.restart().await.unwrap();
    until_phase(&discovery, Phase::Synced).await;
    until_requests(&cluster.proxy, "new listings of both kinds", |proxy| {
        listings(proxy, "services") > listed[0] && listings(proxy, "endpointslices") > listed[1]
    })
    .await;
    // Works again, and what it then tells comes after all that it told before.
    publish(&cluster, "last", &["10.1.0.9"]).await;
    until_addresses(&discovery, "shop", "last", &["10.1.0.9:8080"]).await;
    witness.saw_everything("after the restart", &discovery);
    let services = deltas.services().await;
    assert_eq!(services, ["last.shop.svc.cluster.local"]);
    assert_eq!(deltas.phases().await, [Phase::Stale, Phase::Synced]);
    assert!(status(&discovery).degraded.is_empty(), "{:?}", status(&discovery));
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_24a_a_server_that_was_wiped_is_believed() {
    let mut cluster = persistent().await;
    publish_old(&cluster).await;
    let discovery = discovered(cluster.config()).await;
    let before = version(&cluster).await;

    wipe_behind_closed_doors(&mut cluster).await;
    publish_new(&cluster).await;
    assert!(version(&cluster).await < before + 100, "it started over");
    cluster.proxy.refuse(false);
    until_swapped(&discovery).await;
    until_phase(&discovery, Phase::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_24a_a_server_that_was_wiped_before_it_was_known_is_listed_again() {
    let mut cluster = persistent().await;
    publish_old(&cluster).await;
    let nobody = Match::path("/api/v1/namespaces/kube-system");
    let nobody = cluster.proxy.inject(Rule::new(nobody, Fault::Reset));
    let discovery = discovered(cluster.config()).await;
    let before = version(&cluster).await;

    wipe_behind_closed_doors(&mut cluster).await;
    publish_new(&cluster).await;
    overtake(&cluster, before).await;
    assert!(cluster.proxy.remove(nobody));
    cluster.proxy.refuse(false);
    until_swapped(&discovery).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_24a_a_server_that_was_wiped_and_has_overtaken_us_is_known_by_its_uid() {
    let mut cluster = persistent().await;
    publish_old(&cluster).await;
    let discovery = discovered(cluster.config()).await;
    until_known(&cluster).await;
    let before = version(&cluster).await;

    wipe_behind_closed_doors(&mut cluster).await;
    publish_new(&cluster).await;
    overtake(&cluster, before).await;
    cluster.proxy.refuse(false);
    until_swapped(&discovery).await;
    until_phase(&discovery, Phase::Synced).await;
}

/// How long it takes to notice another server that came without any error: the old one ended all watches as it should.
pub(crate) async fn time_of_a_polite_swap() -> Duration {
    let mut cluster = persistent().await;
    publish_old(&cluster).await;
    let discovery = discovered(cluster.config()).await;
    until_known(&cluster).await;
    let before = version(&cluster).await;

    // Watches end as they should, and that is heard of when there is another server.
    cluster.proxy.black_hole(true);
    tokio::time::sleep(WATCH + Duration::from_secs(1)).await;
    cluster.kubernetes.kill().await.unwrap();
    cluster.kubernetes.wipe().unwrap();
    cluster.kubernetes.restart().await.unwrap();
    publish_new(&cluster).await;
    overtake(&cluster, before).await;
    cluster.proxy.black_hole(false);
    let start = Instant::now();
    until_swapped(&discovery).await;
    until_phase(&discovery, Phase::Synced).await;
    start.elapsed()
}

/// Waits until the registry was told which cluster it is.
async fn until_known(cluster: &Cluster) {
    until_requests(&cluster.proxy, "the uid of the cluster", |proxy| {
        let requests = proxy.requests();
        requests
            .iter()
            .any(|request| request.path().ends_with("/kube-system") && request.status == Some(200))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_24a_with_a_guard_a_wipe_is_held_back_and_then_confirmed() {
    let mut cluster = persistent().await;
    let many: Vec<String> = (1..=20).map(|number| format!("10.1.0.{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    publish(&cluster, "old", &many).await;
    let guard = Guard {
        hold: Duration::from_secs(5),
        ..Guard::default()
    };
    let discovery = discover_guarded(cluster.config(), Some(guard));
    ready(&discovery).await;

    wipe_behind_closed_doors(&mut cluster).await;
    publish(&cluster, "new", &["10.2.0.1"]).await;
    cluster.proxy.refuse(false);
    let held = wait::until("a loss that is held back", DEADLINE, async || {
        status(&discovery).held
    });
    let held = held.await.unwrap();
    assert_eq!((held.services, held.endpoints), (1, 20), "{held:?}");
    until_addresses(&discovery, "shop", "new", &["10.2.0.1:8080"]).await;
    until("the end of what is gone", &discovery, |snapshot| {
        service(snapshot, "shop", "old").is_none()
    })
    .await;
    assert_eq!(status(&discovery).held, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_24b_what_was_made_anew_during_a_disconnect_is_replaced() {
    let cluster = Cluster::start().await;
    let api = cluster.api();
    api.namespace("shop").await.unwrap();
    let labelled = |version: &str, ports| {
        json!({
            "metadata": { "name": "web", "labels": { "version": version, version: "yes" } },
            "spec": { "ports": ports },
        })
    };
    let old = labelled("one", json!([{ "name": "http", "port": 80 }]));
    api.create(&services_path("shop"), &old).await.unwrap();
    let endpoints = slice(&["10.1.0.1", "10.1.0.2"], 8080);
    api.endpoint_slice("shop", "web-1", "web", &endpoints)
        .await
        .unwrap();
    let discovery = discovered(cluster.config()).await;
    until_addresses(&discovery, "shop", "web", &["10.1.0.1:8080", "10.1.0.2:8080"]).await;

    cluster.proxy.refuse(true);
    cluster.proxy.reset_all();
    api.delete(&format!("{}/web", services_path("shop")))
        .await
        .unwrap();
    api.delete(&format!("{}/web-1", endpoint_slices_path("shop")))
        .await
        .unwrap();
    let new = labelled("two", json!([{ "name": "http", "port": 90 }]));
    api.create(&services_path("shop"), &new).await.unwrap();
    let endpoints = slice(&["10.1.0.2", "10.1.0.3"], 9090);
    api.endpoint_slice("shop", "web-1", "web", &endpoints)
        .await
        .unwrap();
    cluster.proxy.refuse(false);

    let wanted = ["10.1.0.2:9090", "10.1.0.3:9090"];
    let snapshot = until("the new service alone", &discovery, |snapshot| {
        let web = service(snapshot, "shop", "web");
        web.is_some_and(|web| {
            web.labels()
                .get("version")
                .is_some_and(|version| **version == *"two")
        }) && addresses(snapshot, "shop", "web").is_some_and(|found| found == wanted)
    })
    .await;
    let web = service(&snapshot, "shop", "web").unwrap();
    assert_eq!(web.labels().get("one"), None, "{:?}", web.labels());
    let ports: Vec<_> = web
        .ports()
        .iter()
        .map(|port| (&*port.name, port.number))
        .collect();
    assert_eq!(ports, [("http", Some(90))]);
}
