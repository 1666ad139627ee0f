//! What becomes of endpoints while their registry is stale: the operator's choice.

use std::time::Duration;

use serde_json::{Value, json};

use super::{endpoints, services, shows};
use crate::daemon::Daemon;

/// As for the other tests, with a bound that passes soon.
fn config(more: &str) -> String {
    super::config(more).replace("debounce: 10ms", "debounce: 10ms, poll_interval: 500ms")
}

/// A daemon whose registry went stale: its file is gone.
async fn stale(outage: &str) -> Daemon {
    let config = config(&format!("    outage: {outage}\n"));
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", &services(3))]).await;
    shows(&daemon, "payments.vms", 3, 0).await;
    assert_eq!(daemon.registry("vms").await["outage"]["remaining_s"], json!(null));
    std::fs::remove_file(daemon.path("vms.yaml")).expect("a file");
    daemon
        .registry_that("vms", "an outage", |registry| {
            registry["phase"] == "stale" && registry["outage"]["since"].is_string()
        })
        .await;
    daemon
}

async fn back(daemon: &Daemon) {
    daemon.write("vms.yaml", &services(3));
    let registry = daemon
        .registry_that("vms", "the end of it", |registry| {
            registry["phase"] == "synced" && registry["outage"]["since"].is_null()
        })
        .await;
    assert_eq!(registry["held"], json!(null));
    assert_eq!(registry["attempts"], 1, "the same watch all the time");
    daemon
        .wait("healthy endpoints", async || {
            let (_, service) = daemon.get("/v1/services/payments.vms").await;
            (healths(&service) == ["healthy"; 3]).then_some(())
        })
        .await;
}

fn healths(service: &Value) -> Vec<String> {
    let endpoints = service["endpoints"].as_array().into_iter().flatten();
    let healths = endpoints.filter_map(|endpoint| endpoint["health"].as_str());
    healths.map(ToOwned::to_owned).collect()
}

/// The part of the status that the table shows of it.
fn shown(daemon: &Daemon) -> String {
    let (_, table) = daemon.ask(&["status"]);
    table.lines().nth(3).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn pain_14_keep_leaves_endpoints_as_they_are() {
    let daemon = stale("keep").await;
    let (status, service) = daemon.get("/v1/services/payments.vms").await;
    assert_eq!((status, endpoints(&service).len()), (200, 3));
    assert!(healths(&service).iter().all(|health| health == "healthy"));
    assert_eq!(service["registries"]["vms"]["phase"], "stale");
    let outage = daemon.registry("vms").await["outage"].clone();
    assert_eq!(
        (&outage["policy"], &outage["remaining_s"]),
        (&json!("keep"), &json!(null))
    );
    assert!(shown(&daemon).ends_with(" keep"), "{}", shown(&daemon));
    // The age is that of the last word, and only ever grows.
    let metric = "registryd_registry_age_seconds{registry=\"vms\",kind=\"file\"}";
    let mut ages = Vec::new();
    for _ in 0..4 {
        ages.push(daemon.metric(metric).await.expect("an age"));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(ages.is_sorted_by(|a, b| a < b), "{ages:?}");
    back(&daemon).await;
}

#[tokio::test]
async fn pain_14_degrade_marks_healthy_endpoints() {
    let daemon = stale("degrade").await;
    daemon
        .wait("degraded endpoints", async || {
            let (_, service) = daemon.get("/v1/services/payments.vms").await;
            (healths(&service) == ["degraded"; 3]).then_some(())
        })
        .await;
    assert!(
        shown(&daemon).ends_with(" degrade, degraded"),
        "{}",
        shown(&daemon)
    );
    back(&daemon).await;
}

#[tokio::test]
async fn pain_14_drop_takes_endpoints_out_at_once_whatever_the_guard() {
    let daemon = stale("drop").await;
    out(&daemon).await;
    assert_eq!(daemon.registry("vms").await["held"], json!(null));
    assert!(shown(&daemon).ends_with(" drop, taken out"), "{}", shown(&daemon));
    back(&daemon).await;
}

#[tokio::test]
async fn pain_14_keep_for_takes_endpoints_out_when_its_time_is_over_and_shows_the_timer() {
    let daemon = stale("{ keep_for: 1h }").await;
    let outage = daemon.registry("vms").await["outage"].clone();
    assert_eq!(
        (&outage["policy"], &outage["keep_for_s"]),
        (&json!("keep_for"), &json!(3600.0))
    );
    let left = outage["remaining_s"].as_f64().unwrap();
    assert!((3000.0..=3600.0).contains(&left), "{outage}");
    let metric = "registryd_registry_outage_remaining_seconds{registry=\"vms\",kind=\"file\"}";
    let left = daemon.metric(metric).await;
    assert!(
        left.is_some_and(|left| (3000.0..=3600.0).contains(&left)),
        "{left:?}"
    );
    assert!(
        shown(&daemon).contains(" keep_for 1h, ") && shown(&daemon).ends_with(" left"),
        "{}",
        shown(&daemon)
    );
    assert_eq!(daemon.get("/v1/services/payments.vms").await.0, 200);

    // Another time counts from the same moment, and needs no new watch.
    daemon.reload(&config("    outage: { keep_for: 1s }\n")).await;
    out(&daemon).await;
    let over = async || (daemon.metric(metric).await? == 0.0).then_some(());
    daemon.wait("the end of its time", over).await;
    assert!(
        shown(&daemon).ends_with(" keep_for 1s, taken out"),
        "{}",
        shown(&daemon)
    );

    // And back again before the registry is heard.
    daemon.reload(&config("    outage: keep\n")).await;
    shows(&daemon, "payments.vms", 3, 0).await;
    back(&daemon).await;
}

/// Waits until no endpoint is left of the service.
async fn out(daemon: &Daemon) {
    daemon
        .wait("no endpoint", async || {
            let (_, service) = daemon.get("/v1/services/payments.vms").await;
            endpoints(&service).is_empty().then_some(())
        })
        .await;
}
