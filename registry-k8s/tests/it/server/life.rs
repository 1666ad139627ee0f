//! A service from its first slice to its end, and connections that break in between.

use registry_core::{Guard, Phase};
use registry_k8s::KubernetesConfig;
use registry_testkit::kubernetes::{endpoint_slices_path, services_path};
use registry_testkit::witness::Witness;
use registry_testkit::{Fault, Match, Rule};
use serde_json::json;

use crate::support::{
    Cluster, any_cluster, discover_guarded, discovered, endpoints, ready, service, slice, spec, status,
    until, until_addresses, until_phase,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_followed_from_its_creation_to_its_removal() {
    let (kubernetes, config) = any_cluster().await;
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("life").await.unwrap();
    let namespace = namespace.name();
    let discovery = discovered(KubernetesConfig {
        namespaces: vec![namespace.to_owned()],
        ..config
    })
    .await;

    let one = slice(&["10.1.0.1", "10.1.0.2"], 8080);
    api.endpoint_slice(namespace, "web-1", "web", &one).await.unwrap();
    api.service(namespace, "web", &spec()).await.unwrap();
    let snapshot = until_addresses(&discovery, namespace, "web", &["10.1.0.1:8080", "10.1.0.2:8080"]).await;
    let web = service(&snapshot, namespace, "web").unwrap();
    assert_eq!(
        web.ports().iter().map(|port| port.number).collect::<Vec<_>>(),
        [Some(80)]
    );

    let other = json!({
        "endpoints": [{ "addresses": ["10.1.0.3"], "conditions": { "ready": false, "serving": true, "terminating": true } }],
        "ports": [{ "name": "http", "port": 9090 }],
    });
    api.endpoint_slice(namespace, "web-2", "web", &other)
        .await
        .unwrap();
    let wanted = [
        "10.1.0.1:8080 healthy ready=true serving=unset terminating=unset",
        "10.1.0.2:8080 healthy ready=true serving=unset terminating=unset",
        "10.1.0.3:9090 draining ready=false serving=true terminating=true",
    ];
    until("a draining endpoint", &discovery, |snapshot| {
        endpoints(snapshot, namespace, "web").is_some_and(|found| found == wanted)
    })
    .await;

    let slices = endpoint_slices_path(namespace);
    api.delete(&format!("{slices}/web-1")).await.unwrap();
    until_addresses(&discovery, namespace, "web", &["10.1.0.3:9090"]).await;

    api.delete(&format!("{}/web", services_path(namespace)))
        .await
        .unwrap();
    until("the end of the service", &discovery, |snapshot| {
        service(snapshot, namespace, "web").is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_and_fall_silent_take_nothing_away() {
    let cluster = Cluster::start().await;
    let api = cluster.api();
    api.namespace("shop").await.unwrap();
    let before = slice(&["10.1.0.1", "10.1.0.2"], 8080);
    api.endpoint_slice("shop", "web-1", "web", &before).await.unwrap();
    api.service("shop", "web", &spec()).await.unwrap();
    let discovery = discover_guarded(cluster.config(), Some(Guard::default()));
    ready(&discovery).await;
    let witness = Witness::call(&discovery);

    cluster.proxy.reset_all();
    let more = slice(&["10.1.0.1", "10.1.0.2", "10.1.0.3"], 8080);
    api.endpoint_slice("shop", "web-1", "web", &more).await.unwrap();
    let three = ["10.1.0.1:8080", "10.1.0.2:8080", "10.1.0.3:8080"];
    until_addresses(&discovery, "shop", "web", &three).await;
    witness.saw_everything("after a reset", &discovery);

    // Watches stall in the middle, and what is asked for anew is never answered.
    let stall = cluster.proxy.inject(Rule::always(Fault::StallAfter(0)));
    let silence = cluster.proxy.inject(Rule::new(Match::any(), Fault::BlackHole));
    until_phase(&discovery, Phase::Stale).await;
    assert!(
        status(&discovery).last_error.is_some(),
        "{:?}",
        status(&discovery)
    );
    witness.saw_everything("while nobody answered", &discovery);
    assert!(cluster.proxy.remove(silence) && cluster.proxy.remove(stall));
    until_phase(&discovery, Phase::Synced).await;
    witness.saw_everything("when it was over", &discovery);
}
