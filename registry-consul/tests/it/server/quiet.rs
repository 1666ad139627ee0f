//! Much is written to the server, and nothing changes.

use std::time::Duration;

use registry_core::Phase;
use registry_testkit::consul::Consul;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::real::{https_config, revisions};
use crate::support::{discover, status, until, until_phase};

const SERVICES: usize = 100;
const TAGS: [&str; 4] = ["blue", "canary", "eu", "v1"];

fn registration(index: usize, turn: usize) -> Value {
    let mut tags = TAGS;
    tags.rotate_left(turn % TAGS.len());
    let check = json!({ "CheckID": format!("check-{index}"), "TTL": "10m", "Status": "passing" });
    json!({ "ID": format!("quiet-{index}"), "Name": format!("quiet-{index}"), "Address": "10.9.0.1", "Port": 80, "Tags": tags, "Check": check })
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_14_heartbeats_repeated_registrations_and_shuffled_tags_publish_nothing() {
    let consul = Consul::builder().tls().start().await.unwrap();
    let api = consul.api();
    for index in 0..SERVICES {
        api.register(&registration(index, 0)).await.unwrap();
    }
    // Over HTTP/2 all are parked, so the requests can be counted out.
    let config = https_config(&consul);
    let wait = config.wait;
    let discovery = discover(config);
    until("all services", &discovery, |snapshot| {
        snapshot.len() == SERVICES + 1
    })
    .await;
    until_phase(&discovery, Phase::Synced).await;
    // The agent's own check of the first moments, and the last answers, have passed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = revisions(&discovery.snapshot());
    let mut changes = discovery.changes();
    let (requests, start) = (status(&discovery).requests, Instant::now());

    let mut beats = 0;
    while start.elapsed() < Duration::from_secs(10) {
        let next = Instant::now() + Duration::from_millis(100);
        for index in 0..SERVICES {
            api.set_agent_check(&format!("check-{index}"), "passing", &format!("beat {beats}"))
                .await
                .unwrap();
        }
        // The same again, word for word.
        api.register(&registration(beats % SERVICES, 0)).await.unwrap();
        beats += 1;
        tokio::time::sleep_until(next).await;
    }
    let elapsed = start.elapsed();
    let asked = status(&discovery).requests - requests;
    let turns = elapsed.as_secs_f64() / wait.as_secs_f64();
    println!("{beats} rounds of heartbeats in {elapsed:?}: {asked} requests");
    // One per service and wait, as many again for a wait that just ended, the catalogue's, and the agent's own.
    assert!(
        (asked as f64) <= (SERVICES as f64 + 2.0) * (turns + 1.0) + 30.0,
        "{asked} in {elapsed:?}"
    );

    // Each of these is a change to the server, and wakes the poll; to us it is none.
    let requests = status(&discovery).requests;
    for turn in 1..4 {
        for index in 0..SERVICES {
            api.register(&registration(index, turn)).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = status(&discovery).requests - requests;
    println!(
        "{} registrations with shuffled tags: {asked} requests",
        3 * SERVICES
    );
    assert!(asked <= 12 * SERVICES as u64, "{asked}");

    let published = tokio::time::timeout(Duration::from_millis(100), changes.next()).await;
    assert!(published.is_err(), "{published:?}");
    assert_eq!(revisions(&discovery.snapshot()), before);
    assert_eq!(status(&discovery).failures, 0);
    discovery.shutdown().await;
}
