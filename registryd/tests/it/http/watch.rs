//! Watches: a reset, then deltas.

use std::time::Duration;

use registry_core::{Discovery, Labels, ServiceId, ServiceMeta, ServiceRecord};
use registryd::http::HttpOptions;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Event, Watching, get};
use super::setup::{DEADLINE, Daemon, Scripted, endpoint, merging, one_registry, service};

fn names(services: &Value) -> Vec<&str> {
    let services = services.as_array().unwrap();
    services
        .iter()
        .map(|service| service["name"].as_str().unwrap())
        .collect()
}

fn revision(event: &Event) -> u64 {
    event.id.rsplit_once('.').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn a_watch_begins_with_everything_and_goes_on_with_deltas() {
    let (daemon, script) = one_registry([service("a", "10.0.0.1"), service("b", "10.0.0.2")]).await;
    let mut watching = Watching::open(daemon.at, "/v1/watch", &[]).await;
    let (status, headers) = watching.head().await;
    assert_eq!(
        (status, headers["content-type"].as_str()),
        (200, "text/event-stream")
    );
    let reset = watching.next().await.unwrap();
    assert_eq!(
        (reset.kind.as_str(), names(&reset.data["services"])),
        ("reset", vec!["a", "b"])
    );
    let list = get(daemon.at, "/v1/services").await.json();
    assert_eq!(reset.data["services"], list["services"]);
    assert_eq!(reset.data["registries"]["vms"]["phase"], "synced");

    script.apply(service("a", "10.0.0.9"));
    let delta = watching.next().await.unwrap();
    assert_eq!(delta.kind, "delta");
    assert_eq!(names(&delta.data["updated"]), ["a"]);
    assert_eq!(delta.data["updated"][0]["endpoints"][0]["address"], "10.0.0.9");
    assert_eq!(
        (&delta.data["removed"], &delta.data["phases"]),
        (&json!([]), &json!({}))
    );
    assert_eq!(delta.data["from"], revision(&reset));
    assert_eq!(delta.data["to"], revision(&delta));
    assert_eq!(
        delta.data["root_hash"],
        daemon.discovery.snapshot().root_hash().to_string()
    );

    script.delete(ServiceId::named("b"));
    let delta = watching.next().await.unwrap();
    assert_eq!(
        (&delta.data["updated"], &delta.data["removed"]),
        (&json!([]), &json!(["b.mesh.internal"]))
    );

    script.fail();
    let delta = watching.next().await.unwrap();
    assert_eq!(
        (&delta.data["removed"], &delta.data["phases"]),
        (&json!([]), &json!({ "vms": "stale" }))
    );

    daemon.discovery.remove("vms".parse().unwrap()).await.unwrap();
    let delta = watching.next().await.unwrap();
    assert_eq!(delta.data["phases"], json!({ "vms": null }));
    assert_eq!(delta.data["removed"], json!(["a.mesh.internal"]));
}

#[tokio::test]
async fn a_watch_waits_for_readiness_before_it_says_that_this_is_all() {
    let (registry, script) = Scripted::new();
    let builder = Discovery::builder()
        .registry_with("vms", registry, merging())
        .unwrap();
    let options = HttpOptions {
        keepalive: Duration::from_millis(20),
        ..HttpOptions::default()
    };
    let daemon = Daemon::with(builder, options).await;
    let mut watching = Watching::open(daemon.at, "/v1/watch", &[]).await;
    assert_eq!(watching.head().await.0, 200);
    watching.kept_alive().await;
    script.list([service("a", "10.0.0.1")]);
    let reset = watching.next().await.unwrap();
    assert_eq!(
        (reset.kind.as_str(), names(&reset.data["services"])),
        ("reset", vec!["a"])
    );
    watching.kept_alive().await;
}

#[tokio::test]
async fn a_service_that_leaves_the_filter_is_removed() {
    let record = |name: &str, team: &str| {
        let meta = ServiceMeta::builder(ServiceId::named(name)).labels(Labels::from_iter([("team", team)]));
        ServiceRecord::new(meta.build(), [endpoint("10.0.0.1", name).build()])
    };
    let (daemon, script) =
        one_registry([record("a", "money"), record("b", "goods"), record("c", "goods")]).await;
    let mut watching = Watching::open(daemon.at, "/v1/watch?label=team:money", &[]).await;
    watching.head().await;
    let reset = watching.next().await.unwrap();
    assert_eq!(names(&reset.data["services"]), ["a"]);

    script.apply(record("b", "money"));
    assert_eq!(names(&watching.next().await.unwrap().data["updated"]), ["b"]);
    script.apply(record("a", "goods"));
    let delta = watching.next().await.unwrap();
    assert_eq!(
        (&delta.data["updated"], &delta.data["removed"]),
        (&json!([]), &json!(["a.mesh.internal"]))
    );
    // Nothing of these is for this client.
    script.delete(ServiceId::named("a"));
    script.delete(ServiceId::named("c"));
    script.apply(record("d", "goods"));
    daemon.until("d", |s| s.get("d.mesh.internal").is_some()).await;
    script.delete(ServiceId::named("b"));
    let delta = watching.next().await.unwrap();
    assert_eq!(
        (&delta.data["updated"], &delta.data["removed"]),
        (&json!([]), &json!(["b.mesh.internal"]))
    );
}

#[tokio::test]
async fn a_watch_is_kept_alive_while_all_that_changes_is_not_for_it() {
    let (registry, script) = Scripted::new();
    script.list([service("a", "10.0.0.1")]);
    let builder = Discovery::builder()
        .registry_with("vms", registry, merging())
        .unwrap()
        .publish_interval(Duration::ZERO);
    let options = HttpOptions {
        keepalive: Duration::from_millis(500),
        ..HttpOptions::default()
    };
    let daemon = Daemon::with(builder, options).await;
    let mut watching = Watching::open(daemon.at, "/v1/watch?label=team:money", &[]).await;
    watching.head().await;
    assert_eq!(watching.next().await.unwrap().kind, "reset");
    let churn = tokio::spawn(async move {
        for turn in (0..=u8::MAX).cycle() {
            script.apply(service("a", &format!("10.0.1.{turn}")));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    watching.kept_alive().await;
    assert!(!churn.is_finished(), "nothing was quiet");
    churn.abort();
}

#[tokio::test]
async fn watches_beyond_the_bound_are_refused_until_one_ends() {
    let options = HttpOptions {
        watches: 2,
        ..HttpOptions::default()
    };
    let daemon = Daemon::with(Discovery::builder(), options).await;
    let mut first = Watching::open(daemon.at, "/v1/watch", &[]).await;
    let mut second = Watching::open(daemon.at, "/v1/watch", &[]).await;
    assert_eq!((first.head().await.0, second.head().await.0), (200, 200));
    let refused = get(daemon.at, "/v1/watch").await;
    assert!(refused.problem(503).contains("2 watches"));
    drop(first);
    let start = Instant::now();
    loop {
        let mut third = Watching::open(daemon.at, "/v1/watch", &[]).await;
        if third.head().await.0 == 200 {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "the place was not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The small form of acceptance 9; thousands of changes instead of a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_9_a_client_that_does_not_read_gets_one_delta_for_all_it_missed() {
    const SERVICES: usize = 200;
    const CHANGES: usize = 4_000;
    const PUBLICATIONS: usize = 100;
    let record = |n: usize, turn: usize| {
        let meta = ServiceMeta::builder(ServiceId::named(format!("s{n}"))).labels(Labels::from_iter([
            ("padding", "x".repeat(4_000)),
            ("turn", turn.to_string()),
        ]));
        ServiceRecord::new(meta.build(), [endpoint("10.0.0.1", "i").build()])
    };
    let (registry, script) = Scripted::new();
    script.list((0..SERVICES).map(|n| record(n, 0)));
    let builder = Discovery::builder()
        .registry_with("vms", registry, merging())
        .unwrap()
        .publish_interval(Duration::ZERO);
    let daemon = Daemon::narrow(builder).await;
    daemon.discovery.ready().await;
    let mut watching = Watching::narrow(daemon.at, "/v1/watch").await;
    let (status, _) = watching.head().await;
    assert_eq!(status, 200);

    let begin = daemon.discovery.snapshot().revision();
    for turn in 1..=CHANGES {
        script.apply(record(turn % SERVICES, turn));
        // What is said faster than it is published is published together, on a busy machine all of it.
        if turn.is_multiple_of(CHANGES / PUBLICATIONS) {
            let (hostname, said) = (format!("s{}.mesh.internal", turn % SERVICES), turn.to_string());
            let published = |s: &registry_core::Snapshot| {
                let service = s.get(&hostname).unwrap();
                service
                    .labels()
                    .get("turn")
                    .is_some_and(|turn| turn.as_str() == said)
            };
            daemon.until("a change", published).await;
        }
    }
    script.delete(ServiceId::named("s7"));
    daemon
        .until("all changes", |s| s.get("s7.mesh.internal").is_none())
        .await;
    let snapshot = daemon.discovery.snapshot();
    assert!(
        snapshot.revision() >= begin + PUBLICATIONS as u64,
        "published step by step"
    );

    let reset = watching.next().await.unwrap();
    assert_eq!((reset.kind.as_str(), revision(&reset)), ("reset", begin));
    assert_eq!(reset.data["services"].as_array().unwrap().len(), SERVICES);
    let delta = watching.next().await.unwrap();
    assert_eq!(
        (delta.kind.as_str(), revision(&delta)),
        ("delta", snapshot.revision())
    );
    assert_eq!(delta.data["from"], begin);
    assert_eq!(delta.data["root_hash"], snapshot.root_hash().to_string());
    assert_eq!(delta.data["updated"].as_array().unwrap().len(), SERVICES - 1);
    assert_eq!(delta.data["removed"], json!(["s7.mesh.internal"]));
    watching.nothing(Duration::from_millis(200)).await;
}
