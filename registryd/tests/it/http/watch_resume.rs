//! Watches that resume where they broke off.

use std::time::Duration;

use registry_core::{Discovery, ServiceId};
use registryd::http::HttpOptions;
use serde_json::json;

use super::client::{Event, Watching};
use super::setup::{Daemon, Script, Scripted, merging, one_registry, service};

async fn first_event(daemon: &Daemon, path: &str, id: &str) -> Event {
    let mut watching = Watching::open(daemon.at, path, &[("last-event-id", id)]).await;
    assert_eq!(watching.head().await.0, 200);
    watching.next().await.unwrap()
}

/// The id of the newest state.
async fn newest(daemon: &Daemon) -> String {
    let mut watching = Watching::open(daemon.at, "/v1/watch", &[]).await;
    watching.head().await;
    watching.next().await.unwrap().id
}

/// Applies, and waits until it is published.
async fn moved(daemon: &Daemon, script: &Script, name: &str, address: &str) {
    script.apply(service(name, address));
    let hostname = format!("{name}.mesh.internal");
    let there = |s: &registry_core::Snapshot| {
        let service = s.get(&hostname);
        service.is_some_and(|s| s.endpoints().iter().any(|e| e.address().to_string() == address))
    };
    daemon.until(name, there).await;
}

async fn gone(daemon: &Daemon, script: &Script, name: &str) {
    script.delete(ServiceId::named(name));
    let hostname = format!("{name}.mesh.internal");
    daemon.until(name, |s| s.get(&hostname).is_none()).await;
}

#[tokio::test]
async fn a_watch_that_resumes_gets_only_what_it_missed() {
    let names = ["a", "b", "c", "d"];
    let (daemon, script) = one_registry(names.map(|name| service(name, "10.0.0.1"))).await;
    let id = newest(&daemon).await;
    moved(&daemon, &script, "a", "10.0.0.2").await;
    gone(&daemon, &script, "b").await;
    gone(&daemon, &script, "c").await;
    moved(&daemon, &script, "c", "10.0.0.1").await;
    moved(&daemon, &script, "e", "10.0.0.5").await;
    gone(&daemon, &script, "e").await;
    for path in ["/v1/watch".to_owned(), format!("/v1/watch?last_event_id={id}")] {
        let header = if path.contains('?') { "" } else { id.as_str() };
        let mut headers = vec![("last-event-id", header)];
        headers.retain(|(_, id)| !id.is_empty());
        let mut watching = Watching::open(daemon.at, &path, &headers).await;
        watching.head().await;
        let delta = watching.next().await.unwrap();
        assert_eq!(delta.kind, "delta");
        let updated = delta.data["updated"].as_array().unwrap();
        let updated: Vec<&str> = updated.iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(updated, ["a", "c"], "d is as it was");
        assert_eq!(
            delta.data["removed"],
            json!(["b.mesh.internal", "e.mesh.internal"])
        );
        assert_eq!(delta.data["phases"], json!({ "vms": "synced" }));
        assert!(id.ends_with(&format!(".{}", delta.data["from"])));
        let snapshot = daemon.discovery.snapshot();
        assert_eq!(delta.data["to"], snapshot.revision());
        assert_eq!(delta.data["root_hash"], snapshot.root_hash().to_string());
    }
}

#[tokio::test]
async fn a_watch_that_missed_nothing_waits_for_the_next_delta() {
    let (daemon, script) = one_registry([service("a", "10.0.0.1")]).await;
    let id = newest(&daemon).await;
    let mut watching = Watching::open(daemon.at, "/v1/watch", &[("last-event-id", &id)]).await;
    watching.head().await;
    watching.nothing(Duration::from_millis(100)).await;
    moved(&daemon, &script, "a", "10.0.0.2").await;
    assert_eq!(watching.next().await.unwrap().kind, "delta");
}

#[tokio::test]
async fn an_id_that_is_not_known_gets_a_reset() {
    let (daemon, script) = one_registry([service("a", "10.0.0.1")]).await;
    let id = newest(&daemon).await;
    moved(&daemon, &script, "a", "10.0.0.2").await;
    let (epoch, revision) = id.split_once('.').unwrap();
    for unknown in [
        format!("0123456789abcdef.{revision}"),
        format!("{epoch}.999999"),
        format!("{epoch}.x"),
        "nonsense".to_owned(),
    ] {
        let event = first_event(&daemon, "/v1/watch", &unknown).await;
        assert_eq!(event.kind, "reset", "{unknown}");
    }
    assert_eq!(first_event(&daemon, "/v1/watch", &id).await.kind, "delta");
}

#[tokio::test]
async fn removals_that_are_forgotten_make_a_reset() {
    let (registry, script) = Scripted::new();
    script.list((0..10).map(|n| service(&format!("s{n}"), "10.0.0.1")));
    let builder = Discovery::builder()
        .registry_with("vms", registry, merging())
        .unwrap();
    let options = HttpOptions {
        tombstones: 3,
        ..HttpOptions::default()
    };
    let daemon = Daemon::with(builder, options).await;
    daemon.discovery.ready().await;
    let old = newest(&daemon).await;
    gone(&daemon, &script, "s0").await;
    let recent = newest(&daemon).await;
    for n in 1..4 {
        gone(&daemon, &script, &format!("s{n}")).await;
    }
    assert_eq!(first_event(&daemon, "/v1/watch", &old).await.kind, "reset");
    let delta = first_event(&daemon, "/v1/watch", &recent).await;
    assert_eq!(
        (
            delta.kind.as_str(),
            delta.data["removed"].as_array().unwrap().len()
        ),
        ("delta", 3)
    );
}

#[tokio::test]
async fn a_filtered_watch_that_resumes_hears_of_what_left_the_filter() {
    let (daemon, script) = one_registry(["a", "b", "x"].map(|name| service(name, "10.0.0.1"))).await;
    let id = newest(&daemon).await;
    gone(&daemon, &script, "a").await;
    gone(&daemon, &script, "x").await;
    moved(&daemon, &script, "b", "10.0.0.2").await;
    let delta = first_event(&daemon, "/v1/watch?host=a.*&host=b.*&registry=other", &id).await;
    assert_eq!(delta.data["updated"], json!([]));
    assert_eq!(
        delta.data["removed"],
        json!(["a.mesh.internal", "b.mesh.internal"]),
        "b may have been told of"
    );
}
