//! The life of a service, and of the server behind it.

use std::time::Duration;

use registry_consul::ConsulConfig;
use registry_core::{Health, Phase};
use registry_testkit::consul::Consul;
use serde_json::json;

use crate::support::{
    config, discover, phase, ready, service, status, statuses, until, until_phase, until_statuses,
};

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_2_every_step_of_a_services_life_shows_in_order() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    let other = json!({ "Node": "n1", "Address": "10.9.0.1", "Service": { "ID": "other-1", "Service": "other", "Port": 80 } });
    api.catalog_register(&other).await.unwrap();
    let discovery = discover(ConsulConfig {
        // The agent adds to its own entry in its first moments.
        exclude_services: vec!["consul".to_owned()],
        ..config(consul.url())
    });
    ready(&discovery).await;
    until_phase(&discovery, Phase::Synced).await;
    let mut changes = discovery.changes();
    let quiet = service(&discovery.snapshot(), "other").unwrap().revision();
    assert!(service(&discovery.snapshot(), "web").is_none());

    let check = json!({ "CheckID": "web-check", "TTL": "10m", "Status": "passing" });
    let registration = |tags: &[&str]| json!({ "ID": "web-1", "Name": "web", "Address": "10.0.0.7", "Port": 8080, "Tags": tags, "Check": check });
    api.register(&registration(&["v1"])).await.unwrap();
    let snapshot = until_statuses(&discovery, "web", &["web-1 passing"]).await;
    let web = service(&snapshot, "web").unwrap();
    let endpoint = web.endpoints().iter().next().unwrap().clone();
    let claim = endpoint.claims().next().unwrap();
    assert_eq!(web.registry_of(&claim).unwrap().as_str(), "consul");
    assert_eq!(
        (endpoint.health(), endpoint.ports().get("default")),
        (Health::Healthy, Some(8080))
    );

    api.set_agent_check("web-check", "critical", "down")
        .await
        .unwrap();
    let snapshot = until_statuses(&discovery, "web", &["web-1 critical"]).await;
    let changed = service(&snapshot, "web")
        .unwrap()
        .endpoints()
        .iter()
        .next()
        .unwrap()
        .clone();
    assert_eq!(changed.health(), Health::Unhealthy, "failing is not absent");
    assert_eq!(changed.claims().next().unwrap().first_seen, claim.first_seen);

    api.set_agent_check("web-check", "passing", "up").await.unwrap();
    until_statuses(&discovery, "web", &["web-1 passing"]).await;
    api.register(&registration(&["v2"])).await.unwrap();
    until("the new tag", &discovery, |snapshot| {
        let web = service(snapshot, "web");
        web.is_some_and(|web| {
            web.endpoints()
                .iter()
                .any(|e| e.labels().get("consul.tags").is_some_and(|tags| *tags == "v2"))
        })
    })
    .await;

    api.maintenance("web-1", true).await.unwrap();
    let snapshot = until_statuses(&discovery, "web", &["web-1 maintenance"]).await;
    let draining = service(&snapshot, "web").unwrap();
    assert_eq!(
        draining.endpoints().iter().next().unwrap().health(),
        Health::Draining
    );
    api.maintenance("web-1", false).await.unwrap();
    until_statuses(&discovery, "web", &["web-1 passing"]).await;

    api.deregister("web-1").await.unwrap();
    until("web gone", &discovery, |snapshot| {
        service(snapshot, "web").is_none()
    })
    .await;
    assert_eq!(
        service(&discovery.snapshot(), "other").unwrap().revision(),
        quiet,
        "nothing else changed"
    );

    let mut seen = Vec::new();
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(200), changes.next()).await {
        seen.extend(delta.updated.iter().map(|service| service.hostname().to_string()));
        seen.extend(delta.removed.iter().map(|hostname| format!("-{hostname}")));
    }
    assert!(
        seen.iter().all(|name| name.contains("web.service.consul")),
        "{seen:?}"
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_3_a_killed_server_takes_nothing_away_and_comes_back() {
    let mut consul = Consul::builder().persistent().start().await.unwrap();
    consul
        .api()
        .register(&json!({ "ID": "web-1", "Name": "web", "Address": "10.0.0.7", "Port": 80 }))
        .await
        .unwrap();
    let discovery = discover(config(consul.url()));
    until_statuses(&discovery, "web", &["web-1 passing"]).await;
    until_phase(&discovery, Phase::Synced).await;
    let before = discovery.snapshot();
    let mut changes = discovery.changes();

    consul.kill().await.unwrap();
    until_phase(&discovery, Phase::Stale).await;
    let stale = status(&discovery);
    assert!(
        stale
            .last_error
            .is_some_and(|error| error.message.contains("127.0.0.1")),
        "it says why"
    );
    assert_eq!(statuses(&discovery.snapshot(), "web").unwrap(), ["web-1 passing"]);

    consul.restart().await.unwrap();
    until_phase(&discovery, Phase::Synced).await;
    until_statuses(&discovery, "web", &["web-1 passing"]).await;
    assert_eq!(
        service(&before, "web").unwrap().revision(),
        service(&discovery.snapshot(), "web").unwrap().revision(),
        "the same registration, never touched",
    );
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(200), changes.next()).await {
        assert!(delta.removed.is_empty(), "{:?}", delta.removed);
    }
    assert_eq!(phase(&discovery), Phase::Synced);
    discovery.shutdown().await;
}
