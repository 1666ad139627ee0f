//! Services whose endpoints have names of their own, and pods with an address of each family.

use registry_core::{Address, Endpoint, Resolution, Service};
use serde_json::{Value, json};

use crate::stage::{Stage, pod, pod_as, slice_of};
use crate::support::{slice, spec};

/// A headless service.
fn headless() -> Value {
    json!({ "clusterIP": "None", "ports": [{ "name": "sql", "port": 5432 }] })
}

/// A pod of a StatefulSet, in its so-manyth life.
fn member(address: &str, name: &str, life: usize) -> Value {
    let mut pod = pod(address, name);
    pod["hostname"] = json!(name);
    pod["targetRef"]["uid"] = json!(format!("life-{life}-of-{name}"));
    pod
}

/// All addresses of an endpoint, the first first.
fn addresses(endpoint: &Endpoint) -> String {
    let all: Vec<String> = endpoint.addresses().iter().map(Address::to_string).collect();
    all.join("+")
}

/// `name id address` of each endpoint, sorted.
fn members(service: &Service) -> Vec<String> {
    let line = |endpoint: &Endpoint| {
        let (name, id) = (endpoint.hostname(), endpoint.id());
        format!("{name} {id} {}", addresses(endpoint))
    };
    let mut lines: Vec<String> = service
        .endpoints()
        .iter()
        .map(|endpoint| line(endpoint))
        .collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_8_both_families_of_a_pod_are_one_endpoint_in_the_order_of_the_service() {
    let stage = Stage::open().await;
    let recording = stage.record();
    let cases = [
        ("v4-first", ["IPv4", "IPv6"], "10.0.0.1+fd00::1", "10.0.0.1"),
        ("v6-first", ["IPv6", "IPv4"], "fd00::1+10.0.0.1", "10.0.0.1"),
    ];
    for (name, families, both, rest) in cases {
        // Without a selector both families are fine in any cluster.
        let mut dual = headless();
        dual["ipFamilies"] = json!(families);
        dual["ipFamilyPolicy"] = json!("RequireDualStack");
        stage.service(name, &dual).await;
        for (kind, address) in [("IPv4", "10.0.0.1"), ("IPv6", "fd00::1")] {
            let mut slice = slice_of(&[pod(address, "p")], 5432);
            slice["addressType"] = json!(kind);
            let of = format!("{name}-{}", kind.to_lowercase());
            stage.slice(&of, name, &slice).await;
        }
        let is_both = |service: &Service| service.endpoints().iter().any(|one| addresses(one) == both);
        stage.until(both, name, is_both).await;
        stage.delete_slice(&format!("{name}-ipv6")).await;
        let is_rest = |service: &Service| service.endpoints().iter().any(|one| addresses(one) == rest);
        stage.until(rest, name, is_rest).await;
        let mut was_there = false;
        for seen in recording.of(&stage, name).await.into_iter().flatten() {
            let count = seen.endpoints().len();
            assert!(count == 1 || !was_there && count == 0, "{seen:?}");
            was_there |= count == 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_headless_service_names_each_endpoint_with_and_without_ports() {
    let stage = Stage::open().await;
    stage.service("bare", &json!({ "clusterIP": "None" })).await;
    stage.service("db", &headless()).await;
    let bare = json!({ "endpoints": [{ "addresses": ["10.0.0.9"] }], "ports": [] });
    stage.slice("bare-1", "bare", &bare).await;
    let pods = [member("10.0.0.1", "db-0", 1), pod("10.0.0.2", "other")];
    stage.slice("db-1", "db", &slice_of(&pods, 5432)).await;
    stage.until_at("bare", &["10.0.0.9:"]).await;
    stage.until_at("db", &["10.0.0.1:5432", "10.0.0.2:5432"]).await;
    let names = |service: &Service| -> Vec<Option<String>> {
        let all = service.endpoints().iter();
        all.map(|endpoint| service.endpoint_dns_name(endpoint)).collect()
    };
    let below = |service: &str, host: &str| {
        Some(format!(
            "{host}.{service}.{}.svc.cluster.local",
            stage.namespace()
        ))
    };
    let (db, bare) = (stage.get("db"), stage.get("bare"));
    assert_eq!([db.resolution(), bare.resolution()], [Resolution::Headless; 2]);
    assert!(db.addresses().is_empty() && bare.addresses().is_empty());
    assert_eq!(names(&db), [below("db", "db-0"), below("db", "10-0-0-2")]);
    assert_eq!(names(&bare), [below("bare", "10-0-0-9")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_stateful_set_that_is_made_anew_replaces_the_one_before_it() {
    let stage = Stage::open().await;
    stage.service("db", &headless()).await;
    let first = member("10.0.0.1", "db-0", 1);
    let of = |second: Option<Value>| {
        let pods: Vec<Value> = [Some(first.clone()), second].into_iter().flatten().collect();
        slice_of(&pods, 5432)
    };
    stage
        .slice("db-1", "db", &of(Some(member("10.0.0.2", "db-1", 1))))
        .await;
    let db_0 = "db-0 db-0/life-1-of-db-0 10.0.0.1";
    let until = async |life: &str| {
        let wanted: Vec<&str> = [db_0, life].into_iter().filter(|line| !line.is_empty()).collect();
        let is_so = |db: &Service| members(db) == wanted;
        stage.until(life, "db", is_so).await;
    };
    until("db-1 db-1/life-1-of-db-1 10.0.0.2").await;
    let recording = stage.record();

    // It terminates, it goes, and another one of its name comes.
    let mut going = member("10.0.0.2", "db-1", 1);
    going["conditions"] = json!({ "ready": false, "serving": true, "terminating": true });
    stage.slice("db-1", "db", &of(Some(going))).await;
    stage.slice("db-1", "db", &of(None)).await;
    until("").await;
    let second = member("10.0.0.3", "db-1", 2);
    stage.slice("db-1", "db", &of(Some(second))).await;
    until("db-1 db-1/life-2-of-db-1 10.0.0.3").await;
    // The next time all of that is told at once, in one write, and then in two, one right after the other.
    let third = member("10.0.0.4", "db-1", 3);
    stage.slice("db-1", "db", &of(Some(third))).await;
    until("db-1 db-1/life-3-of-db-1 10.0.0.4").await;
    let fourth = slice_of(&[member("10.0.0.5", "db-1", 4)], 5432);
    stage.slice("db-1", "db", &of(None)).await;
    stage.slice("db-2", "db", &fourth).await;
    until("db-1 db-1/life-4-of-db-1 10.0.0.5").await;

    let mut lives = Vec::new();
    for seen in recording.of(&stage, "db").await {
        let seen = members(&seen.unwrap());
        // Never two of one name: no two of them live at the same time.
        let of_db_1: Vec<&String> = seen.iter().filter(|line| line.starts_with("db-1 ")).collect();
        assert!(of_db_1.len() <= 1, "{seen:?}");
        assert!(seen.iter().any(|line| line == db_0), "{seen:?}");
        lives.extend(of_db_1.into_iter().cloned());
    }
    lives.dedup();
    assert!(lives.is_sorted(), "{lives:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_of_one_pod_is_one_delta_of_one_service() {
    let stage = Stage::open().await;
    let names: Vec<String> = (0..5).map(|at| format!("set-{at}")).collect();
    for (at, name) in names.iter().enumerate() {
        stage.service(name, &headless()).await;
        let pods: Vec<Value> = (0..20)
            .map(|pod| member(&format!("10.0.{at}.{pod}"), &format!("{name}-{pod}"), 1))
            .collect();
        stage
            .slice(&format!("{name}-a"), name, &slice_of(&pods, 5432))
            .await;
        stage.until(name, name, |set| set.endpoints().len() == 20).await;
    }
    stage.service("web", &spec()).await;
    stage.slice("web-1", "web", &slice(&["10.1.0.1"], 8080)).await;
    stage.until_at("web", &["10.1.0.1:8080"]).await;
    let (before, recording) = (stage.settle().await, stage.record());
    let mut changes = stage.discovery.changes();

    let mut pods: Vec<Value> = (0..20)
        .map(|pod| member(&format!("10.0.3.{pod}"), &format!("set-3-{pod}"), 1))
        .collect();
    let mut ill = pod_as("10.0.3.7", "set-3-7", [Some(false), Some(false), Some(false)]);
    ill["hostname"] = json!("set-3-7");
    ill["targetRef"]["uid"] = json!("life-1-of-set-3-7");
    pods[7] = ill;
    stage.slice("set-3-a", "set-3", &slice_of(&pods, 5432)).await;
    let delta = changes.next().await.unwrap();
    let updated: Vec<&str> = delta.updated.iter().map(|service| &**service.name()).collect();
    assert_eq!(updated, ["set-3"]);
    assert!(delta.removed.is_empty() && delta.phases.is_empty(), "{delta:?}");
    let states = recording.of(&stage, "set-3").await;
    assert_eq!(states.len(), 2, "before and after");

    // Of its endpoints one is another, all others are the same as before.
    let old = &states[0].clone().unwrap();
    let new = &delta.updated[0];
    let changed: Vec<&str> = old
        .endpoints()
        .iter()
        .zip(new.endpoints().iter())
        .filter(|(old, new)| !std::sync::Arc::ptr_eq(old, new))
        .map(|(_, new)| new.hostname())
        .collect();
    assert_eq!(changed, ["set-3-7"]);
    for name in names.iter().filter(|name| *name != "set-3") {
        let held = crate::support::service(&before, stage.namespace(), name).unwrap();
        assert_eq!(held.revision(), stage.get(name).revision(), "{name}");
    }
}
