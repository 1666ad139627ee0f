//! How what is registered in a real server comes out.

use registry_core::Health;
use registry_testkit::consul::Consul;
use serde_json::json;

use crate::support::{config, discover, service, until_statuses};

#[tokio::test(flavor = "multi_thread")]
async fn idea_12_health_is_the_worst_of_the_checks_of_service_and_node_and_maintenance() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    let node = |name: &str, status: &str| json!({ "Node": name, "Address": "10.9.0.1", "Check": { "CheckID": "node-alive", "Name": "alive", "Status": status } });
    let instance = |node: &str, id: &str, status: Option<&str>| {
        let service = json!({ "ID": id, "Service": "web", "Address": "10.9.1.1", "Port": 8000 + id.len() });
        let mut registration = json!({ "Node": node, "Address": "10.9.0.1", "Service": service });
        if let Some(status) = status {
            registration["Check"] = json!({ "CheckID": format!("check-{id}"), "Name": "check", "ServiceID": id, "Status": status });
        }
        registration
    };
    for (name, status) in [
        ("node-good", "passing"),
        ("node-bad", "critical"),
        ("node-so-so", "warning"),
    ] {
        api.catalog_register(&node(name, status)).await.unwrap();
    }
    for (node, id, status) in [
        ("node-good", "all-passing", Some("passing")),
        ("node-good", "service-warning", Some("warning")),
        ("node-good", "service-critical", Some("critical")),
        ("node-good", "no-check-of-its-own", None),
        ("node-bad", "node-critical", Some("passing")),
        ("node-so-so", "node-warning", Some("passing")),
        ("node-so-so", "node-warning-service-critical", Some("critical")),
        ("node-without-checks", "no-checks", None),
    ] {
        api.catalog_register(&instance(node, id, status)).await.unwrap();
    }
    let discovery = discover(config(consul.url()));
    let expected = [
        "all-passing passing",
        "no-check-of-its-own passing",
        "no-checks passing",
        "node-critical critical",
        "node-warning warning",
        "node-warning-service-critical critical",
        "service-critical critical",
        "service-warning warning",
    ];
    let snapshot = until_statuses(&discovery, "web", &expected).await;
    let web = service(&snapshot, "web").unwrap();
    for endpoint in web.endpoints().iter() {
        let status = endpoint.claims().next().unwrap().status;
        let wanted = match status.as_str() {
            "passing" => Health::Healthy,
            "warning" => Health::Degraded,
            _ => Health::Unhealthy,
        };
        assert_eq!(endpoint.health(), wanted, "{}", endpoint.id());
    }
    assert_eq!(web.routable_endpoints().count(), 5, "passing and warning ones");

    // A node that recovers lifts all of its instances.
    api.set_check("node-bad", "node-alive", None, "passing")
        .await
        .unwrap();
    let mut recovered = expected.map(str::to_owned);
    recovered[3] = "node-critical passing".to_owned();
    until_statuses(&discovery, "web", &recovered.each_ref().map(String::as_str)).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_12_maintenance_of_a_service_or_its_node_drains() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    for id in ["a", "b"] {
        let check = json!({ "CheckID": format!("check-{id}"), "TTL": "10m", "Status": "critical" });
        let port = if id == "a" { 80 } else { 81 };
        api.register(
            &json!({ "ID": id, "Name": "web", "Address": "10.9.0.1", "Port": port, "Check": check }),
        )
        .await
        .unwrap();
    }
    let discovery = discover(config(consul.url()));
    until_statuses(&discovery, "web", &["a critical", "b critical"]).await;
    api.maintenance("a", true).await.unwrap();
    let snapshot = until_statuses(&discovery, "web", &["a maintenance", "b critical"]).await;
    let draining = service(&snapshot, "web").unwrap();
    let draining = draining
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.health() == Health::Draining);
    assert_eq!(draining.count(), 1);
    api.node_maintenance(true).await.unwrap();
    until_statuses(&discovery, "web", &["a maintenance", "b maintenance"]).await;
    api.maintenance("a", false).await.unwrap();
    api.set_agent_check("check-b", "passing", "").await.unwrap();
    until_statuses(&discovery, "web", &["a maintenance", "b maintenance"]).await;
    api.node_maintenance(false).await.unwrap();
    until_statuses(&discovery, "web", &["a critical", "b passing"]).await;
    discovery.shutdown().await;
}
