//! What happens in Consul, as the daemon's clients see it.

use std::time::Duration;

use registry_testkit::consul::Consul;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::stream::{Event, Stream, statuses};

pub(super) fn config(url: &str) -> String {
    format!(
        "http: {{ listen: \"127.0.0.1:0\" }}\nregistries:\n  - name: consul\n    consul: {{ address: \"{url}\", wait: 10s }}\n"
    )
}

/// Waits until the registry is in that phase, and returns its status.
pub(super) async fn phase(daemon: &Daemon, wanted: &str) -> Value {
    daemon
        .wait(wanted, async || {
            let (_, registry) = daemon.get("/v1/registries/consul").await;
            (registry["phase"] == wanted).then_some(registry)
        })
        .await
}

#[tokio::test]
async fn acceptance_2_every_step_shows_in_the_api_and_on_the_watch_in_order() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    // Not Consul's own entry: the agent adds to that in its first moments.
    let other = json!({ "Node": "n1", "Address": "10.9.0.1", "Service": { "ID": "other-1", "Service": "other", "Port": 80 } });
    api.catalog_register(&other).await.unwrap();
    let daemon = Daemon::start(&[("registryd.yaml", &config(consul.url()))]).await;
    phase(&daemon, "synced").await;
    let quiet = daemon.service("other.service.consul").await["revision"].clone();
    let mut watch = Stream::open(daemon.url()).await;
    let web = "web.service.consul";

    let registration = |tag: &str| {
        json!({ "ID": "web-1", "Name": "web", "Address": "10.0.0.7", "Port": 8080, "Tags": [tag],
                "Check": { "CheckID": "check", "TTL": "10m", "Status": "passing" } })
    };
    api.register(&registration("v1")).await.unwrap();
    let shown = watch.until(web, |service| statuses(service) == ["passing"]).await;
    let endpoint = &shown["endpoints"][0];
    assert_eq!(endpoint["address"], "10.0.0.7");
    assert_eq!(endpoint["ports"], json!({ "default": 8080 }));
    assert_eq!(endpoint["health"], "healthy");
    let source = &endpoint["sources"][0];
    assert_eq!(source["registry"], "consul");
    assert!(source["id"].as_str().unwrap().ends_with("web-1"), "{source}");
    let first_seen = source["first_seen"].clone();
    assert_eq!(
        daemon.service(web).await["hash"],
        shown["hash"],
        "the API agrees with the watch"
    );

    api.set_agent_check("check", "critical", "down").await.unwrap();
    let shown = watch
        .until(web, |service| statuses(service) == ["critical"])
        .await;
    assert_eq!(
        shown["endpoints"][0]["health"], "unhealthy",
        "failing is not absent"
    );
    assert_eq!(shown["endpoints"][0]["sources"][0]["first_seen"], first_seen);
    api.set_agent_check("check", "passing", "up").await.unwrap();
    watch.until(web, |service| statuses(service) == ["passing"]).await;

    api.register(&registration("v2")).await.unwrap();
    watch
        .until(web, |service| {
            service["endpoints"][0]["labels"]["consul.tags"] == "v2"
        })
        .await;

    api.maintenance("web-1", true).await.unwrap();
    let shown = watch
        .until(web, |service| statuses(service) == ["maintenance"])
        .await;
    assert_eq!(shown["endpoints"][0]["health"], "draining");
    api.maintenance("web-1", false).await.unwrap();
    watch.until(web, |service| statuses(service) == ["passing"]).await;

    api.deregister("web-1").await.unwrap();
    loop {
        let event = watch.next().await;
        if event.data["removed"] == json!([web]) {
            break;
        }
    }
    daemon.gone(web).await;
    assert_eq!(
        daemon.service("other.service.consul").await["revision"],
        quiet,
        "nothing else changed"
    );
}

#[tokio::test]
async fn acceptance_3_a_killed_consul_takes_nothing_from_a_watching_client() {
    let mut consul = Consul::builder().persistent().start().await.unwrap();
    let service = json!({ "ID": "web-1", "Name": "web", "Address": "10.0.0.7", "Port": 80 });
    consul.api().register(&service).await.unwrap();
    let daemon = Daemon::start(&[("registryd.yaml", &config(consul.url()))]).await;
    // The agent brings its registration into the catalogue in its own time.
    let before = daemon.service("web.service.consul").await;
    phase(&daemon, "synced").await;
    let mut watch = Stream::open(daemon.url()).await;

    consul.kill().await.unwrap();
    let stale = phase(&daemon, "stale").await;
    let why = stale["last_error"]["message"].as_str().unwrap();
    assert!(why.contains(consul.url()), "{why}");
    let during = daemon.service("web.service.consul").await;
    assert_eq!(during["endpoints"], before["endpoints"]);
    assert_eq!(during["registries"]["consul"]["phase"], "stale");
    assert_eq!(daemon.get("/readyz").await.0, 200, "readiness never goes back");

    consul.restart().await.unwrap();
    phase(&daemon, "synced").await;
    assert_eq!(
        daemon.service("web.service.consul").await["revision"],
        before["revision"],
        "no flap"
    );
    let mut phases = Vec::new();
    let mut take = |event: &Event| {
        assert_eq!(event.data["removed"], json!([]));
        assert!(
            !event.data["updated"].to_string().contains("web.service.consul"),
            "{}",
            event.data["updated"]
        );
        phases.extend(event.data["phases"]["consul"].as_str().map(ToOwned::to_owned));
        phases.last().is_some_and(|phase| phase == "synced")
    };
    while !take(&watch.next().await) {}
    while let Some(event) = watch.within(Duration::from_millis(300)).await {
        take(&event);
    }
    assert_eq!(phases, ["stale", "synced"]);
}
