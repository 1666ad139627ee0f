//! A server that hangs.

use std::time::Duration;

use registry_core::Phase;
use registry_testkit::consul::Consul;
use registry_testkit::wait;
use serde_json::json;
use tokio::time::Instant;

use crate::support::real::revisions;
use crate::support::{config, discover, phase, status, until_phase, until_statuses};

#[tokio::test(flavor = "multi_thread")]
async fn idea_17_a_frozen_server_turns_stale_keeps_its_data_and_catches_up() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    api.register_services(100, 1, 5).await.unwrap();
    let web = |tag: &str| json!({ "Node": "n1", "Address": "10.9.0.1", "Service": { "ID": "web-1", "Service": "web", "Port": 80, "Tags": [tag] } });
    api.catalog_register(&web("v1")).await.unwrap();
    let discovery = discover(config(consul.url()));
    until_statuses(&discovery, "web", &["web-1 passing"]).await;
    until_phase(&discovery, Phase::Synced).await;
    let (before, hash) = (revisions(&discovery.snapshot()), discovery.snapshot().root_hash());

    consul.pause().await.unwrap();
    let frozen = Instant::now();
    // wait + 10 s is the bound; five times that for a busy machine.
    let stale = wait::until("stale", Duration::from_secs(100), async || {
        (phase(&discovery) == Phase::Stale).then_some(())
    });
    stale.await.unwrap();
    println!("stale {:?} after the freeze (bound: 20 s)", frozen.elapsed());
    // Beyond the hard deadline of the polls that were parked, wait × 17/16 + 10 s: now they are repeated in vain.
    tokio::time::sleep_until(frozen + Duration::from_secs(45)).await;
    let frozen_status = status(&discovery);
    assert_eq!(frozen_status.phase, Phase::Stale);
    assert!(
        frozen_status.age.unwrap() >= Duration::from_secs(35),
        "{frozen_status:?}"
    );
    println!(
        "{} requests, {} of them failed, last: {:?}",
        frozen_status.requests, frozen_status.failures, frozen_status.last_error
    );
    assert_eq!(
        revisions(&discovery.snapshot()),
        before,
        "nothing was lost or touched"
    );
    assert_eq!(discovery.snapshot().root_hash(), hash);
    assert!(
        frozen_status.requests < 100 * 3 * 5,
        "no busy loop: {}",
        frozen_status.requests
    );

    consul.resume().unwrap();
    let thawed = Instant::now();
    let synced = wait::until("synced", Duration::from_secs(75), async || {
        (phase(&discovery) == Phase::Synced).then_some(())
    });
    if let Err(error) = synced.await {
        panic!("{error}: {:?}", discovery.status());
    }
    println!("synced {:?} after the thaw (bar: wait + 5 s)", thawed.elapsed());
    api.catalog_register(&json!({ "Node": "n2", "Address": "10.9.0.2", "Service": { "ID": "web-2", "Service": "web", "Port": 80 } }))
        .await
        .unwrap();
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    println!("a change was seen {:?} after the thaw", thawed.elapsed());
    discovery.shutdown().await;
}
