//! More services than the budget has room for.

use std::collections::HashMap;
use std::time::Duration;

use registry_testkit::{Exchange, Fault, FaultProxy, Match, Rule};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{FakeConsul, current, health_path, instances, pause, short, until_healthy, until_passing};
use crate::support::real::until_true;
use crate::support::{discover, status};

const SERVICES: usize = 60;
const CONNECTIONS: usize = 8;

/// Connections beyond that which a machine can cause that stops a thread at the wrong moment: one that is on its way
/// back into the pool is not found there, and another one is dialled. Without a budget there would be sixty.
const LOST_DIALS: usize = 4;

fn names() -> Vec<String> {
    (0..SERVICES).map(|number| format!("service-{number}")).collect()
}

async fn fake(names: &[String]) -> FakeConsul {
    let services: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 2)).collect();
    FakeConsul::start(&services).await
}

/// What the detector sees: one check of each service, changed at these indexes.
fn checks(fake: &FakeConsul, names: &[String], changed: &HashMap<&str, u64>) {
    let check = |name: &String| {
        json!({ "Node": "n1", "CheckID": format!("check:{name}"), "Name": "", "Status": "passing", "Notes": "",
                "Output": "", "ServiceID": format!("{name}-1"), "ServiceName": name, "ServiceTags": [],
                "CreateIndex": 1, "ModifyIndex": changed.get(name.as_str()).copied().unwrap_or(1) })
    };
    let body = Value::Array(names.iter().map(check).collect());
    let index = fake.next_index();
    fake.server
        .set(current(Exchange::get("/v1/health/state/any"), &body).with_index(index));
}

/// Services about which no poll was ever parked: read, but never with an index.
fn swept(proxy: &FaultProxy, names: &[String]) -> Vec<String> {
    let requests = proxy.requests();
    let parked = |name: &str| {
        let path = health_path(name);
        requests
            .iter()
            .any(|logged| logged.path() == path && logged.query("index").is_some())
    };
    names.iter().filter(|name| !parked(name)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_budget_all_services_are_in_sync_within_it() {
    let names = names();
    let fake = fake(&names).await;
    checks(&fake, &names, &HashMap::new());
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.wait = Duration::from_secs(20);
    config.http.max_connections = CONNECTIONS;
    let discovery = discover(config);
    for name in &names {
        until_passing(&discovery, name, 2).await;
    }
    let note = status(&discovery).note.unwrap();
    assert!(
        note.contains("61 services") && note.contains("every 6 s"),
        "{note}"
    );

    // The sweep sees it: the detector has nothing to go by.
    pause(3.0).await;
    let swept = swept(&proxy, &names);
    assert!(swept.len() > SERVICES - CONNECTIONS, "{swept:?}");
    let changed = Instant::now();
    fake.health(&swept[0], &instances(&swept[0], 3));
    until_passing(&discovery, &swept[0], 3).await;
    assert!(
        changed.elapsed() < 5 * Duration::from_secs(6),
        "{:?}, five times a turn",
        changed.elapsed()
    );

    println!(
        "{} connections, at most {}",
        proxy.connections_total(),
        proxy.connections_max()
    );
    // The budget is kept, and by keeping connections: a cut poll stays parked at the server.
    assert!(
        proxy.connections_max() <= CONNECTIONS + LOST_DIALS,
        "{}",
        proxy.connections_max()
    );
    assert!(
        proxy.connections_total() <= 2 * CONNECTIONS as u64,
        "{} connections to keep {CONNECTIONS}",
        proxy.connections_total()
    );
    assert!(status(&discovery).last_error.is_none());
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_detector_sees_a_swept_service_change_before_its_turn() {
    let names = names();
    let fake = fake(&names).await;
    checks(&fake, &names, &HashMap::new());
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.wait = Duration::from_secs(20);
    config.http.max_connections = CONNECTIONS;
    // A turn takes a minute.
    config.sweep_reads_per_second = 1;
    let discovery = discover(config);
    for name in &names {
        until_passing(&discovery, name, 2).await;
    }
    // The first look of the detector has nothing to compare with; at the second it is parked.
    until_true("the detector to be parked", &discovery, || {
        let requests = proxy.requests();
        requests
            .iter()
            .any(|logged| logged.path() == "/v1/health/state/any" && logged.query("index").is_some())
    })
    .await;
    let mut changed = HashMap::new();
    for name in swept(&proxy, &names).iter().take(3) {
        let start = Instant::now();
        fake.health(name, &instances(name, 3));
        changed.insert(names.iter().find(|held| *held == name).unwrap().as_str(), 200);
        checks(&fake, &names, &changed);
        until_passing(&discovery, name, 3).await;
        assert!(
            start.elapsed() < 5 * Duration::from_secs(5),
            "{:?}, five times the detector's rest",
            start.elapsed()
        );
    }
    assert_eq!(changed.len(), 3);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_goes_on_without_the_detector() {
    let names = names();
    let fake = fake(&names).await;
    checks(&fake, &names, &HashMap::new());
    let proxy = fake.proxy().await;
    let detector = || Match::path("/v1/health/state/any");
    let mut config = short(&proxy.url());
    config.http.max_connections = CONNECTIONS;
    let discovery = discover(config);
    for name in &names {
        until_passing(&discovery, name, 2).await;
    }
    for (round, fault) in [
        Fault::replace_body("not JSON"),
        Fault::replace_body("null"),
        Fault::respond(403, &[], "Permission denied"),
        Fault::replace_body("[]"),
    ]
    .into_iter()
    .enumerate()
    {
        let rule = proxy.inject(Rule::new(detector(), fault));
        let count = 3 + round % 2;
        for name in &names {
            fake.health(name, &instances(name, count));
        }
        for name in &names {
            until_passing(&discovery, name, count).await;
        }
        proxy.remove(rule);
    }
    until_healthy(&discovery).await;
    assert!(
        proxy.connections_max() <= CONNECTIONS + LOST_DIALS,
        "{}",
        proxy.connections_max()
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_change_take_places_without_cutting_polls() {
    let names = names();
    let fake = fake(&names).await;
    checks(&fake, &names, &HashMap::new());
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.wait = Duration::from_secs(4);
    config.http.max_connections = CONNECTIONS;
    let discovery = discover(config);
    for name in &names {
        until_passing(&discovery, name, 2).await;
    }
    let before = proxy.connections_total();
    for count in [3, 2, 4, 1] {
        for name in &names {
            fake.health(name, &instances(name, count));
        }
        for name in &names {
            until_passing(&discovery, name, count).await;
        }
    }
    let new = proxy.connections_total() - before;
    println!("{new} new connections, at most {}", proxy.connections_max());
    assert!(new <= 8, "{new} new connections for 240 changes");
    discovery.shutdown().await;
}
