//! Servers that answer in another format than was asked for, or as servers did years ago.

use std::path::Path;

use registry_core::{Discovery, ErrorKind};
use registry_testkit::{Exchange, ReplayServer};
use serde_json::{Value, json};

use super::watching::{config, discover, until_statuses, until_true};
use super::{APPS, DELTA, FakeEureka};
use crate::support::{service, status, statuses};

/// The head's content type and the body of a capture.
fn capture(name: &str) -> (String, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Type: "))
        .unwrap();
    (line.trim().to_owned(), bytes[at + 4..].to_vec())
}

async fn serving(full: &str, delta: Option<&str>) -> ReplayServer {
    let server = ReplayServer::start().await.unwrap();
    for (path, name) in [(APPS, Some(full)), (DELTA, delta)] {
        let Some(name) = name else { continue };
        let (kind, body) = capture(name);
        let exchange = Exchange::get(path)
            .without_header("Content-Type")
            .with_header("Content-Type", kind);
        server.set(exchange.with_body(body));
    }
    server
}

/// All that is published of the applications of the captures, but what tells when.
fn published(discovery: &Discovery) -> Vec<Value> {
    let snapshot = discovery.snapshot();
    let mut found: Vec<Value> = snapshot
        .services()
        .map(|service| {
            let endpoints = service.endpoints().iter().map(|endpoint| {
                let claim = endpoint.claims().next().unwrap();
                json!({
                    "id": claim.id.to_string(), "status": claim.status.to_string(),
                    "address": endpoint.address().to_string(), "health": format!("{:?}", endpoint.health()),
                    "ports": format!("{:?}", endpoint.ports()), "weight": endpoint.weight(),
                    "locality": format!("{:?}", endpoint.locality()), "labels": format!("{:?}", endpoint.labels()),
                })
            });
            let mut endpoints: Vec<Value> = endpoints.collect();
            endpoints.sort_by_key(Value::to_string);
            json!({ "hostname": service.hostname().to_string(), "aliases": format!("{:?}", service.aliases()), "endpoints": endpoints })
        })
        .collect();
    found.sort_by_key(Value::to_string);
    found
}

async fn of_server(server: &ReplayServer) -> Vec<Value> {
    let discovery = discover(config(&[format!("{}/eureka", server.url())]));
    until_true("services", &discovery, || {
        discovery.snapshot().services().count() > 0
    })
    .await;
    let total = server.requests_total() + 3;
    tokio::time::timeout(crate::support::DEADLINE, server.wait_for_requests(total))
        .await
        .unwrap();
    let found = published(&discovery);
    assert_eq!(status(&discovery).failures, 0);
    discovery.shutdown().await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn number_14_xml_whatever_is_asked_for_gives_the_same_snapshot() {
    let json = of_server(&serving("apps-full.json.http", Some("apps-delta.json.http")).await).await;
    assert!(
        json.len() >= 2
            && json
                .iter()
                .any(|service| service.to_string().contains("10.0.0.1")),
        "{json:#?}"
    );
    let xml = of_server(&serving("apps-full.xml.http", Some("apps-delta.xml.http")).await).await;
    assert_eq!(xml, json);
    // One format for everything, the other one for changes.
    let mixed = of_server(&serving("apps-full.xml.http", Some("apps-delta.json.http")).await).await;
    assert_eq!(mixed, json);
}

#[tokio::test(flavor = "multi_thread")]
async fn number_15_old_shapes_give_the_same_snapshot() {
    let modern = serving("apps-full.json.http", Some("apps-delta.json.http")).await;
    let modern = of_server(&modern).await;
    for (number, old) in [old_ports, old_override, old_single].into_iter().enumerate() {
        let server = ReplayServer::start().await.unwrap();
        for (path, name) in [(APPS, "apps-full.json.http"), (DELTA, "apps-delta.json.http")] {
            let mut document: Value = serde_json::from_slice(&capture(name).1).unwrap();
            let before = document.clone();
            for app in document["applications"]["application"].as_array_mut().unwrap() {
                for instance in app["instance"].as_array_mut().unwrap() {
                    old(instance);
                }
                single(app, number == 2);
            }
            assert_ne!(document, before);
            server.set(Exchange::get(path).with_body(document.to_string()));
        }
        assert_eq!(of_server(&server).await, modern);
    }
}

fn old_ports(instance: &mut Value) {
    for port in ["port", "securePort"] {
        let number = instance[port]["$"].to_string();
        let enabled = instance[port]["@enabled"] == "true";
        instance[port] = json!({ "@enabled": enabled, "$": number });
    }
}

fn old_override(instance: &mut Value) {
    let said = instance
        .as_object_mut()
        .unwrap()
        .remove("overriddenStatus")
        .unwrap();
    instance["overriddenstatus"] = said;
}

/// Beside it a single instance stands for itself, see [`single`].
fn old_single(instance: &mut Value) {
    instance
        .as_object_mut()
        .unwrap()
        .remove("isCoordinatingDiscoveryServer");
}

/// One instance is no list.
fn single(app: &mut Value, wanted: bool) {
    if let Some([one]) = app["instance"].as_array().map(Vec::as_slice)
        && wanted
    {
        app["instance"] = one.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn number_23_instances_of_the_same_id_and_odd_ids_do_not_collide() {
    let ids = ["same", "with space", "ünïcode", "a/b", "a%2Fb", "SAME"];
    let fake = FakeEureka::start().await;
    for app in ["ORDERS", "USERS"] {
        for id in ids {
            fake.put(app, id);
        }
    }
    let discovery = discover(config(&[fake.url()]));
    let mut wanted: Vec<String> = ids.map(|id| format!("{id} UP")).into();
    wanted.sort();
    for app in ["ORDERS", "USERS"] {
        until_true(app, &discovery, || {
            statuses(&discovery.snapshot(), app).as_ref() == Some(&wanted)
        })
        .await;
    }
    // By a delta as well, under the name in another case.
    fake.cancel("ORDERS", "same");
    fake.put_as("USERS", "a/b", json!({ "status": "DOWN", "app": "users" }));
    wanted.retain(|line| line != "same UP");
    until_true("one less", &discovery, || {
        statuses(&discovery.snapshot(), "ORDERS").as_ref() == Some(&wanted)
    })
    .await;
    until_true("one down", &discovery, || {
        statuses(&discovery.snapshot(), "USERS").is_some_and(|found| found.contains(&"a/b DOWN".to_owned()))
    })
    .await;
    assert_eq!(statuses(&discovery.snapshot(), "USERS").unwrap().len(), 6);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_instance_is_left_out_and_its_service_named() {
    let fake = FakeEureka::holding(&[("ORDERS", "a"), ("USERS", "u")]).await;
    fake.put_as("ORDERS", "bad", json!({ "ipAddr": "", "hostName": "" }));
    fake.put_as(
        "ORDERS",
        "bare",
        json!({ "vipAddress": null, "port": null, "securePort": null }),
    );
    fake.forget();
    let discovery = discover(config(&[fake.url()]));
    until_statuses(&discovery, "USERS", &["u UP"]).await;
    until_statuses(&discovery, "ORDERS", &["a UP", "bare UP"]).await;
    let found = status(&discovery);
    assert!(found.skipped > 0, "{found:?}");
    let [degraded] = found.degraded.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (degraded.scope.to_string().contains("orders"), degraded.kind),
        (true, ErrorKind::Malformed)
    );
    fake.put("ORDERS", "bad");
    until_statuses(&discovery, "ORDERS", &["a UP", "bad UP", "bare UP"]).await;
    super::watching::until_healthy(&discovery).await;
    assert!(service(&discovery.snapshot(), "USERS").is_some());
    discovery.shutdown().await;
}
