//! Three servers of which the leader dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use registry_consul::ConsulConfig;
use registry_core::{Discovery, Phase};
use registry_testkit::consul::ConsulCluster;
use registry_testkit::{FaultProxy, wait};
use serde_json::json;
use tokio::time::Instant;

use crate::support::real::{revisions, until_true};
use crate::support::{DEADLINE, config, discover, status, until, until_phase, until_statuses};

/// Reads the snapshot five times a second and notes what it sees.
async fn read(discovery: Discovery, stop: Arc<AtomicBool>) -> (usize, usize, bool) {
    let hash = discovery.snapshot().root_hash();
    let (mut reads, mut fewest, mut same) = (0, usize::MAX, true);
    while !stop.load(Ordering::Relaxed) {
        let snapshot = discovery.snapshot();
        reads += 1;
        fewest = fewest.min(snapshot.endpoint_count());
        same &= snapshot.root_hash() == hash;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    (reads, fewest, same)
}

async fn until_well(discovery: &Discovery) {
    until_true("nothing in trouble", discovery, || {
        let status = status(discovery);
        status.phase == Phase::Synced && status.degraded.is_empty()
    })
    .await;
}

/// True where the catalogue's poll was sent so lately that it will stay parked for a while.
fn parked_lately(proxy: &FaultProxy) -> bool {
    let requests = proxy.requests();
    let mut catalogue = requests
        .iter()
        .filter(|request| request.path() == "/v1/catalog/services");
    catalogue.next_back().is_some_and(|last| {
        last.query("index").is_some() && last.status.is_none() && last.at.elapsed() < Duration::from_secs(5)
    })
}

/// Whom discovery asks.
#[derive(PartialEq)]
enum Asks {
    /// A server that stays.
    Follower,
    /// The one that dies, and the others after it.
    Leader,
}

async fn lose_the_leader(asks: Asks) {
    let mut cluster = ConsulCluster::start(3).await.unwrap();
    let leader = cluster.await_leader(DEADLINE).await.unwrap();
    let follower = (leader + 1) % 3;
    let api = cluster.server(leader).api();
    // Even this may meet an election on a busy machine.
    let registered = wait::until("services", DEADLINE, async || {
        api.register_services(20, 3, 6).await.ok()
    });
    registered.await.unwrap();
    let proxy = FaultProxy::start(cluster.server(follower).address().into())
        .await
        .unwrap();
    let url = |index: usize| cluster.server(index % 3).url().to_owned();
    let mut config = match asks {
        Asks::Follower => config(&proxy.url()),
        Asks::Leader => ConsulConfig {
            address: None,
            addresses: vec![url(leader), url(leader + 1), url(leader + 2)],
            ..config("")
        },
    };
    // Its instances are the servers themselves, and one of them is about to fail.
    config.exclude_services = vec!["consul".to_owned()];
    let discovery = discover(config);
    until("20 services", &discovery, |snapshot| {
        snapshot.endpoint_count() == 60
    })
    .await;
    until_phase(&discovery, Phase::Synced).await;
    if asks == Asks::Follower {
        // An election between two requests of the catalogue would go unnoticed.
        until_true("the catalogue's poll to be parked", &discovery, || {
            parked_lately(&proxy)
        })
        .await;
    }

    let before = revisions(&discovery.snapshot());
    let stop = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read(discovery.clone(), stop.clone()));
    let (killed, failures) = (Instant::now(), status(&discovery).failures);
    cluster.kill(leader).await.unwrap();
    // Requests that find another server at once leave no error behind.
    until_true("the loss to be noticed", &discovery, || {
        let status = status(&discovery);
        status.failures > failures || status.last_error.is_some()
    })
    .await;
    eprintln!(
        "noticed after {:?}: {:?}",
        killed.elapsed(),
        status(&discovery).last_error
    );
    cluster.await_leader(DEADLINE).await.unwrap();
    let elected = Instant::now();
    eprintln!("another leader after {:?}", killed.elapsed());
    until_well(&discovery).await;
    eprintln!(
        "well again {:?} after the kill, {:?} after the election (bar: 10 s)",
        killed.elapsed(),
        elected.elapsed()
    );
    // A whole wait of its polls longer, so that everything was read from the servers that are left.
    tokio::time::sleep(Duration::from_secs(11)).await;

    stop.store(true, Ordering::Relaxed);
    let (reads, fewest, same) = reader.await.unwrap();
    assert!(reads > 0);
    assert_eq!(fewest, 60, "nothing was missing at any time");
    assert!(same, "the content did not change");
    assert_eq!(revisions(&discovery.snapshot()), before, "no service was touched");

    let start = Instant::now();
    let node = json!({ "Node": "n9", "Address": "10.9.0.1", "Service": { "ID": "late-1", "Service": "late", "Port": 80 } });
    let api = cluster.server(follower).api();
    let registered = wait::until("a registration", DEADLINE, async || {
        api.catalog_register(&node).await.ok()
    });
    registered.await.unwrap();
    until_statuses(&discovery, "late", &["late-1 passing"]).await;
    eprintln!("a change after the election arrived after {:?}", start.elapsed());
    until_well(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_3_a_killed_leader_is_noticed_on_a_follower_and_changes_nothing() {
    lose_the_leader(Asks::Follower).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_3_a_killed_leader_is_left_for_another_address() {
    lose_the_leader(Asks::Leader).await;
}
