//! Servers that restart with their data or without, and daemons that do.

use std::collections::HashSet;
use std::time::Duration;

use registry_core::{Discovery, Phase};
use registry_testkit::consul::{Consul, service_name};
use registry_testkit::{Fault, FaultProxy, Logged, Match, Rule, wait};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::real::{BUDGET, LOST_DIALS, Sampler, established, patient, revisions, until_true};
use crate::support::{DEADLINE, config, discover, service, status, until, until_phase, until_statuses};

/// An instance on a node of its own, with the last character of its id for an address.
fn instance(name: &str, id: &str) -> Value {
    let address = format!("10.9.0.{}", &id[id.len() - 1..]);
    json!({ "Node": format!("node-of-{id}"), "Address": address, "Service": { "ID": id, "Service": name, "Port": 80 } })
}

/// A server with two services and so many raft entries that an empty one's index is far below.
async fn aged_server() -> Consul {
    let consul = Consul::builder().persistent().start().await.unwrap();
    for entry in 0..250 {
        consul
            .api()
            .put(&format!("/v1/kv/entry-{entry}"), &json!("x"))
            .await
            .unwrap();
    }
    for (name, id) in [("web", "web-1"), ("web", "web-2"), ("old", "old-1")] {
        consul.api().catalog_register(&instance(name, id)).await.unwrap();
    }
    consul
}

/// Replaces a killed server by an empty one with other instances.
async fn replace(consul: &mut Consul) {
    consul.wipe().unwrap();
    consul.restart().await.unwrap();
    for (name, id) in [("web", "web-9"), ("new", "new-1")] {
        consul.api().catalog_register(&instance(name, id)).await.unwrap();
    }
}

async fn until_replaced(discovery: &Discovery) {
    until_statuses(discovery, "web", &["web-9 passing"]).await;
    until_statuses(discovery, "new", &["new-1 passing"]).await;
    until("the old service gone", discovery, |snapshot| {
        service(snapshot, "old").is_none()
    })
    .await;
    until_phase(discovery, Phase::Synced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_4_the_new_content_of_a_wiped_server_is_seen() {
    let mut consul = aged_server().await;
    let discovery = discover(config(consul.url()));
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    until_statuses(&discovery, "old", &["old-1 passing"]).await;

    consul.kill().await.unwrap();
    replace(&mut consul).await;
    let registered = Instant::now();
    until_replaced(&discovery).await;
    println!(
        "the new content was complete after {:?} (bar: 12 s)",
        registered.elapsed()
    );
    discovery.shutdown().await;
}

/// A server that was started again answers while it still plays its log, and says of nothing that it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_plays_its_log_is_not_believed_before_the_end_of_it() {
    let mut consul = Consul::builder().persistent().start().await.unwrap();
    let api = consul.api().clone();
    // The longer the log, the longer it takes; what counts is at its end.
    for name in ["web", "web", "old"] {
        api.catalog_register(&instance(name, "any-1")).await.unwrap();
        let node = json!({ "Node": "node-of-any-1" });
        api.catalog_deregister(&node).await.unwrap();
    }
    for round in 0..40 {
        let entry = |entry: u32| json!({ "KV": { "Verb": "set", "Key": format!("{round}/{entry}"), "Value": "eA==" } });
        let entries: Vec<Value> = (0..64).map(entry).collect();
        api.txn(&entries).await.unwrap();
        api.catalog_register(&instance("other", "other-1")).await.unwrap();
    }
    for id in ["web-1", "web-2", "web-3"] {
        api.catalog_register(&instance("web", id)).await.unwrap();
    }
    for _ in 0..3 {
        consul.kill().await.unwrap();
        consul.launch().unwrap();
        // Each begins at another moment of the start.
        let mut readers = Vec::new();
        while consul.ready(Duration::ZERO).await.is_err() && readers.len() < 100 {
            readers.push(discover(config(consul.url())));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{} readers", readers.len());
        for discovery in readers {
            crate::support::ready(&discovery).await;
            let snapshot = discovery.snapshot();
            let web = service(&snapshot, "web").map_or(0, |web| web.endpoints().len());
            assert_eq!(web, 3, "{:?}", status(&discovery));
            discovery.shutdown().await;
        }
        consul.ready(crate::support::DEADLINE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_4_a_wiped_server_is_asked_twice_before_its_word_removes_anything() {
    let mut consul = aged_server().await;
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let discovery = discover(config(&proxy.url()));
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    until_statuses(&discovery, "old", &["old-1 passing"]).await;
    let mut changes = discovery.changes();

    consul.kill().await.unwrap();
    let killed = proxy.requests().len();
    replace(&mut consul).await;
    let registered = Instant::now();
    until_replaced(&discovery).await;
    println!(
        "the new content was complete after {:?} (bar: 12 s)",
        registered.elapsed()
    );
    let answered = |name: &str| {
        let path = format!("/v1/health/service/{name}");
        proxy.requests()[killed..]
            .iter()
            .filter(|request| request.path() == path && request.status == Some(200))
            .count()
    };
    assert!(answered("old") >= 2, "{:?}", proxy.requests());
    let mut removed = Vec::new();
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(300), changes.next()).await {
        removed.extend(delta.removed);
    }
    assert_eq!(
        removed,
        ["old.service.consul"],
        "once, and nothing else for a moment"
    );
    discovery.shutdown().await;
}

/// Asserts that reads came neither too many at once nor too many in a second, where each answer took `latency`: requests
/// at once show as requests within that time.
fn assert_measured(requests: &[Logged], latency: Duration) {
    /// Reads at once that the registry allows itself, and those of the catalogue and of all checks.
    const READS: usize = 32 + 2;
    let reads: Vec<Instant> = requests
        .iter()
        .filter(|request| request.query("index").is_none() && request.status == Some(200))
        .map(|request| request.at)
        .collect();
    let most_within = |span: Duration| {
        let within = |start: &Instant| {
            reads
                .iter()
                .filter(|at| **at >= *start && **at - *start < span)
                .count()
        };
        reads.iter().map(within).max().unwrap_or(0)
    };
    let (at_once, in_a_second) = (most_within(latency), most_within(Duration::from_secs(1)));
    eprintln!(
        "{} reads, at most {at_once} within {latency:?} and {in_a_second} within a second",
        reads.len()
    );
    assert!(at_once <= READS, "{at_once}");
    assert!(in_a_second <= 1100, "{in_a_second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_5_a_restart_with_data_publishes_nothing_and_is_met_by_a_measured_number_of_reads() {
    const SERVICES: usize = 300;
    let mut consul = Consul::builder().persistent().start().await.unwrap();
    consul.api().register_services(SERVICES, 1, 20).await.unwrap();
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let discovery = discover(config(&proxy.url()));
    until("all services", &discovery, |snapshot| {
        snapshot.len() == SERVICES + 1
    })
    .await;
    let before = revisions(&discovery.snapshot());
    let hash = discovery.snapshot().root_hash();

    consul.terminate().await.unwrap();
    until_phase(&discovery, Phase::Stale).await;
    let latency = Duration::from_millis(50);
    proxy.inject(Rule::new(Match::any(), Fault::Latency(latency)));
    let total = proxy.requests().len();
    consul.restart().await.unwrap();
    let restarted = Instant::now();
    until_phase(&discovery, Phase::Synced).await;
    println!("synced {:?} after the restart", restarted.elapsed());
    let calm = Duration::from_secs(2);
    tokio::time::sleep(calm).await;

    assert_eq!(revisions(&discovery.snapshot()), before, "no service was touched");
    assert_eq!(discovery.snapshot().root_hash(), hash);
    assert_measured(&proxy.requests()[total..], latency);
    until_true("every service to be asked for", &discovery, || {
        let answered = proxy.requests().split_off(total);
        let answered = answered.iter().filter(|request| request.status == Some(200));
        answered
            .map(|request| request.path().to_owned())
            .collect::<HashSet<_>>()
            .len()
            > SERVICES
    })
    .await;
    discovery.shutdown().await;

    // A daemon that starts asks for everything at once, and in the same measure.
    let total = proxy.requests().len();
    let discovery = discover(config(&proxy.url()));
    until("all services", &discovery, |snapshot| {
        snapshot.len() == SERVICES + 1
    })
    .await;
    assert_measured(&proxy.requests()[total..], latency);
    discovery.shutdown().await;
}

/// Long polls that a killed process left behind: the server keeps each connection's place until its wait ends.
async fn abandon_polls(consul: &Consul, count: usize, wait: Duration) {
    let index = consul
        .api()
        .answer("/v1/catalog/services")
        .await
        .unwrap()
        .index
        .unwrap();
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(consul.address()).await.unwrap();
        let poll = format!(
            "GET /v1/catalog/services?index={index}&wait={}s HTTP/1.1\r\nHost: consul\r\n\r\n",
            wait.as_secs()
        );
        stream.write_all(poll.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // Until the server has read them all; nothing tells.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(established(consul.address()), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_21_a_killed_daemons_polls_do_not_lock_its_successor_out() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(300, 1, 20).await.unwrap();
    abandon_polls(&consul, BUDGET, Duration::from_secs(10)).await;

    let (start, sampler) = (Instant::now(), Sampler::start(consul.address()));
    let discovery = discover(patient(config(consul.url())));
    until("all services", &discovery, |snapshot| snapshot.len() == 301).await;
    let status = status(&discovery);
    println!(
        "300 services beside 80 dead polls after {:?} (bar: 15.6 s), {} requests, {} failures",
        start.elapsed(),
        status.requests,
        status.failures
    );
    assert_eq!(status.failures, 0, "{:?}", status.last_error);
    assert!(sampler.most() <= BUDGET + LOST_DIALS, "{}", sampler.most());
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_21_beside_so_many_dead_polls_that_the_limit_is_reached_it_waits_without_hurry() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(300, 1, 20).await.unwrap();
    abandon_polls(&consul, 180, Duration::from_secs(10)).await;

    let start = Instant::now();
    let discovery = discover(config(consul.url()));
    until("all services", &discovery, |snapshot| snapshot.len() == 301).await;
    println!(
        "300 services beside 180 dead polls after {:?} (bar: 15.6 s)",
        start.elapsed()
    );
    let quiet = wait::until("nothing in trouble", DEADLINE, async || {
        let status = status(&discovery);
        (status.phase == Phase::Synced && status.degraded.is_empty()).then_some(status)
    });
    let status = quiet.await.unwrap();
    println!(
        "all well after {:?}: {} requests, {} failures",
        start.elapsed(),
        status.requests,
        status.failures
    );
    assert!(service(&discovery.snapshot(), &service_name(299)).is_some());
    // A refusal is followed by a pause of a tenth of a second, and what was under way with it is refused as well.
    let most = 40 * (start.elapsed().as_secs() + 1);
    assert!(
        status.failures < most,
        "no busy loop: {} of {most}",
        status.failures
    );
    discovery.shutdown().await;
}
