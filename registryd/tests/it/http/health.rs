//! Health, readiness, metrics, and the end.

use std::collections::BTreeMap;
use std::time::Duration;

use registry_core::Discovery;
use serde_json::json;
use tokio::time::Instant;

use super::client::{Watching, get};
use super::setup::{DEADLINE, Daemon, Down, Scripted, merging, one_registry, optional, service};

#[tokio::test]
async fn acceptance_6_a_required_registry_that_is_down_is_named_by_readiness() {
    let builder = Discovery::builder()
        .registry_with("consul-dc1", Down, merging())
        .unwrap()
        .start_deadline(Duration::ZERO);
    let daemon = Daemon::start(builder).await;
    daemon
        .until("an attempt", |s| {
            s.registries()[..].iter().any(|r| r.status().last_error.is_some())
        })
        .await;
    let answer = get(daemon.at, "/readyz").await;
    let detail = answer.problem(503);
    assert!(
        detail.contains("registry consul-dc1 (required) is connecting: GET http://10.9.9.9:8500: refused"),
        "{detail}"
    );
    assert_eq!(answer.header("retry-after"), "1");
    let awaited = &answer.json()["awaited"][0];
    assert_eq!(
        (&awaited["registry"], &awaited["required"]),
        (&json!("consul-dc1"), &json!(true))
    );
    assert_eq!(
        get(daemon.at, "/healthz").await.status,
        200,
        "restarting would mend nothing"
    );
}

#[tokio::test]
async fn acceptance_6_an_optional_registry_that_is_down_is_waited_for_until_the_deadline() {
    let (vms, script) = Scripted::new();
    script.list([service("a", "10.0.0.1")]);
    let builder = Discovery::builder()
        .registry_with("vms", vms, merging())
        .unwrap()
        .registry_with("consul-dc1", Down, optional())
        .unwrap()
        // Long enough for a slow machine to ask before it has passed.
        .start_deadline(Duration::from_secs(8));
    let daemon = Daemon::start(builder).await;
    daemon.until("a", |s| s.len() == 1).await;
    let early = get(daemon.at, "/readyz").await;
    assert!(early.problem(503).contains("consul-dc1 (optional)"));
    daemon.discovery.ready().await;
    let ready = get(daemon.at, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)));
    assert_eq!(
        ready.json()["awaited"][0]["registry"],
        "consul-dc1",
        "still said, though not waited for"
    );
    let list = get(daemon.at, "/v1/services").await.json();
    assert_eq!(list["services"][0]["name"], "a");
    let consul = &list["registries"]["consul-dc1"];
    assert_eq!(
        (&consul["phase"], &consul["age_s"]),
        (&json!("connecting"), &json!(null))
    );
    assert_eq!(consul["error"], "GET http://10.9.9.9:8500: refused");
}

/// All samples, and all types by family.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    assert!(text.ends_with("# EOF\n"));
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(
                types.insert(name.to_owned(), kind.to_owned()),
                None,
                "{name} twice"
            );
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let old = samples.insert(name.to_owned(), value.parse().unwrap());
            assert_eq!(old, None, "{name} twice");
        }
    }
    (samples, types)
}

#[tokio::test]
async fn metrics_are_openmetrics_and_say_what_is_known() {
    let (daemon, script) = one_registry([service("a", "10.0.0.1"), service("b", "10.0.0.2")]).await;
    let mut watching = Watching::open(daemon.at, "/v1/watch", &[]).await;
    watching.head().await;
    get(daemon.at, "/v1/services/nothing").await;
    get(daemon.at, "/v1/services/nothing-either").await;
    get(daemon.at, "/made/up").await;
    script.fail();
    daemon
        .until("stale", |s| s.registries()[0].phase().as_str() == "stale")
        .await;
    let answer = get(daemon.at, "/metrics").await;
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    let (samples, types) = parse(answer.text());
    let registry = "registry=\"vms\",kind=\"scripted\"";
    for (name, expected) in [
        (
            format!("registryd_registry_phase{{{registry},phase=\"stale\"}}"),
            1.0,
        ),
        (
            format!("registryd_registry_phase{{{registry},phase=\"synced\"}}"),
            0.0,
        ),
        (
            format!("registryd_registry_phase{{{registry},phase=\"connecting\"}}"),
            0.0,
        ),
        (format!("registryd_registry_attempts_total{{{registry}}}"), 1.0),
        (format!("registryd_registry_panics_total{{{registry}}}"), 0.0),
        (format!("registryd_registry_requests_total{{{registry}}}"), 0.0),
        (
            format!("registryd_registry_request_failures_total{{{registry}}}"),
            0.0,
        ),
        (
            format!("registryd_registry_skipped_objects_total{{{registry}}}"),
            0.0,
        ),
        (format!("registryd_registry_connections{{{registry}}}"), 0.0),
        (format!("registryd_registry_services{{{registry}}}"), 2.0),
        (format!("registryd_registry_endpoints{{{registry}}}"), 2.0),
        (format!("registryd_registry_degraded_scopes{{{registry}}}"), 1.0),
        ("registryd_services".to_owned(), 2.0),
        ("registryd_endpoints".to_owned(), 2.0),
        ("registryd_conflicts".to_owned(), 0.0),
        ("registryd_ready".to_owned(), 1.0),
        ("registryd_watch_clients".to_owned(), 1.0),
        (
            "registryd_http_requests_total{route=\"/v1/services/{hostname}\",status=\"404\"}".to_owned(),
            2.0,
        ),
        (
            "registryd_http_requests_total{route=\"other\",status=\"404\"}".to_owned(),
            1.0,
        ),
        (
            "registryd_http_requests_total{route=\"/v1/watch\",status=\"200\"}".to_owned(),
            1.0,
        ),
        (
            format!(
                "registryd_build_info{{version=\"{}\"}}",
                env!("CARGO_PKG_VERSION")
            ),
            1.0,
        ),
    ] {
        assert_eq!(
            samples.get(&name),
            Some(&expected),
            "{name} in\n{}",
            answer.text()
        );
    }
    let revision = samples["registryd_snapshot_revision"];
    assert_eq!(samples["registryd_publications_total"], revision);
    assert!(samples[&format!("registryd_registry_age_seconds{{{registry}}}")] < 60.0);
    let count = samples["registryd_update_latency_seconds_count"];
    assert!(count >= 1.0);
    assert_eq!(
        samples["registryd_update_latency_seconds_bucket{le=\"+Inf\"}"],
        count
    );
    assert_eq!(types["registryd_update_latency_seconds"], "histogram");
    assert_eq!(types["registryd_registry_attempts"], "counter");
}

#[tokio::test]
async fn watches_end_in_order_when_it_is_told_to_stop() {
    let (daemon, _script) = one_registry([service("a", "10.0.0.1")]).await;
    let mut watching = Watching::open(daemon.at, "/v1/watch", &[]).await;
    watching.head().await;
    assert_eq!(watching.next().await.unwrap().kind, "reset");
    let idle = tokio::net::TcpStream::connect(daemon.at).await.unwrap();
    daemon.stop.cancel();
    assert!(watching.next().await.is_none());
    assert!(watching.ended_in_order());
    tokio::time::timeout(DEADLINE, daemon.task)
        .await
        .expect("within its grace")
        .unwrap()
        .unwrap();
    drop(idle);
    assert!(tokio::net::TcpStream::connect(daemon.at).await.is_err());
}

#[tokio::test]
async fn a_reader_that_hangs_cannot_hold_up_the_end() {
    let (registry, script) = Scripted::new();
    script.list((0..2_000).map(|n| service(&format!("s{n}"), "10.0.0.1")));
    let builder = Discovery::builder()
        .registry_with("vms", registry, merging())
        .unwrap();
    let daemon = Daemon::narrow(builder).await;
    daemon.discovery.ready().await;
    let mut hanging = Watching::narrow(daemon.at, "/v1/services").await;
    hanging.head().await;
    daemon.stop.cancel();
    tokio::time::timeout(DEADLINE, daemon.task)
        .await
        .expect("cut off")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn health_tells_that_discovery_has_ended() {
    let (daemon, _script) = one_registry([service("a", "10.0.0.1")]).await;
    assert_eq!(get(daemon.at, "/healthz").await.status, 200);
    daemon.discovery.shutdown().await;
    let start = Instant::now();
    while get(daemon.at, "/healthz").await.status != 503 {
        assert!(start.elapsed() < DEADLINE, "still healthy");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    get(daemon.at, "/readyz").await.problem(503);
}
