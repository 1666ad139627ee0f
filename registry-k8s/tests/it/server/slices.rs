//! Slices come, go and change, and what subscribers see of that: every publication is looked at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use registry_core::Service;
use serde_json::{Value, json};

use crate::stage::{Stage, addresses, pod, slice_of};
use crate::support::{slice, spec};

/// So long that two writes come within it.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_1_of_three_slices_one_goes_and_all_others_were_there_all_the_time() {
    let stage = Stage::open().await;
    let of = |slice_at: usize, count: usize| -> (String, Value) {
        let pods: Vec<Value> = (0..count)
            .map(|at| pod(&format!("10.0.{slice_at}.{at}"), &format!("web-{slice_at}-{at}")))
            .collect();
        (format!("web-{slice_at}"), slice_of(&pods, 8080))
    };
    for (name, slice) in [of(1, 100), of(2, 100), of(3, 50)] {
        stage.slice(&name, "web", &slice).await;
    }
    stage.service("web", &spec()).await;
    let before = stage
        .until("250 endpoints", "web", |web| web.endpoints().len() == 250)
        .await;
    let recording = stage.record();

    stage.delete_slice("web-2").await;
    let after = stage
        .until("150 endpoints", "web", |web| web.endpoints().len() == 150)
        .await;
    let kept = |service: &Service| -> BTreeSet<String> {
        let all = addresses(service).into_iter();
        all.filter(|address| !address.starts_with("10.0.2.")).collect()
    };
    assert_eq!(kept(&before).len(), 150);
    assert_eq!(kept(&before), addresses(&after).into_iter().collect());
    let sizes: Vec<usize> = recording
        .of(&stage, "web")
        .await
        .into_iter()
        .map(|seen| seen.expect("it is always there").endpoints().len())
        .collect();
    assert_eq!(sizes, [250, 150]);
    // What stayed is not even a new copy.
    assert!(after.endpoints().iter().all(|endpoint| {
        let mut held = before.endpoints().iter();
        held.any(|held| Arc::ptr_eq(held, endpoint))
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_2_a_move_between_slices_is_never_seen_in_either_order() {
    // What controllers write within 50 ms is within the default; here the delay is so long that no machine is too slow.
    assert!(registry_k8s::KubernetesConfig::default().removal_delay > Duration::from_millis(50));
    let stage = Stage::open_with(|config| config.removal_delay = PATIENCE).await;
    let moving = slice_of(&[pod("10.0.0.1", "moving")], 8080);
    let none = slice_of(&[], 8080);
    let services = ["add-first", "remove-first"];
    for service in services {
        stage.service(service, &spec()).await;
        stage.slice(&format!("{service}-a"), service, &moving).await;
        stage.slice(&format!("{service}-b"), service, &none).await;
        stage.until_at(service, &["10.0.0.1:8080"]).await;
    }
    stage.settle().await;
    let before = services.map(|service| stage.get(service));
    let recording = stage.record();

    stage.slice("add-first-b", "add-first", &moving).await;
    stage.slice("add-first-a", "add-first", &none).await;
    stage.slice("remove-first-a", "remove-first", &none).await;
    stage.slice("remove-first-b", "remove-first", &moving).await;
    stage.settle().await;
    tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
    for (service, before) in services.into_iter().zip(before) {
        for seen in recording.of(&stage, service).await {
            assert_eq!(addresses(&seen.unwrap()), ["10.0.0.1"], "{service}");
        }
        // No publication at all changed it: not one that the recording may have missed either.
        assert_eq!(stage.get(service).revision(), before.revision(), "{service}");
    }

    // It is in the other slice now, and in no other.
    for service in services {
        stage.delete_slice(&format!("{service}-b")).await;
    }
    for service in services {
        stage.until_at(service, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_11_a_relabelled_slice_moves_in_a_single_snapshot() {
    let stage = Stage::open().await;
    for service in ["svc-a", "svc-b"] {
        stage.service(service, &spec()).await;
        let own = slice_of(&[pod("10.0.9.9", service)], 8080);
        stage.slice(&format!("{service}-own"), service, &own).await;
    }
    let moving = slice_of(&[pod("10.0.0.1", "p"), pod("10.0.0.2", "q")], 8080);
    stage.slice("moving", "svc-a", &moving).await;
    stage
        .until_at("svc-a", &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.9.9:8080"])
        .await;
    stage.until_at("svc-b", &["10.0.9.9:8080"]).await;
    let recording = stage.record();

    for target in ["svc-b", "svc-a"] {
        let label = json!({ "metadata": { "labels": { "kubernetes.io/service-name": target } } });
        stage.patch_slice("moving", &label).await;
        stage
            .until_at(target, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.9.9:8080"])
            .await;
        let [a, b] = ["svc-a", "svc-b"].map(|service| stage.get(service));
        assert_eq!(a.endpoints().len() + b.endpoints().len(), 4, "{target}");
        // One publication was the last to change either of them.
        assert_eq!(a.revision(), b.revision(), "{target}");
    }
    for pair in recording.of_all(&stage, ["svc-a", "svc-b"]).await {
        let mut sizes = pair.map(|service| service.unwrap().endpoints().len());
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_12_slices_wait_for_their_service_and_outlive_it() {
    let stage = Stage::open().await;
    let recording = stage.record();
    stage.slice("web-1", "web", &slice(&["10.0.0.1"], 8080)).await;
    stage.slice("web-2", "web", &slice(&["10.0.0.2"], 8080)).await;
    stage.settle().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(stage.find("web").is_none(), "slices alone are no service");

    let both = ["10.0.0.1:8080", "10.0.0.2:8080"];
    stage.service("web", &spec()).await;
    stage.until_at("web", &both).await;
    stage.delete_service("web").await;
    stage.until_gone("web").await;
    // Slices change and go while nobody asks for them.
    stage.slice("web-2", "web", &slice(&["10.0.0.3"], 8080)).await;
    stage.settle().await;
    assert!(stage.find("web").is_none());
    stage.service("web", &spec()).await;
    let again = stage.until_at("web", &["10.0.0.1:8080", "10.0.0.3:8080"]).await;
    for seen in recording.of(&stage, "web").await.into_iter().flatten() {
        assert_eq!(seen.endpoints().len(), 2, "it comes and goes as a whole");
    }

    stage.delete_service("web").await;
    stage.until_gone("web").await;
    for slice in ["web-1", "web-2"] {
        stage.delete_slice(slice).await;
    }
    stage.service("web", &spec()).await;
    let empty = stage.until_at("web", &[]).await;
    assert_eq!(empty.hostname(), again.hostname());
    assert!(stage.discovery.is_running());
}
