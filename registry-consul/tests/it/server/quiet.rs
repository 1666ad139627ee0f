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
async fn idea_14_pain_7_heartbeats_repeated_registrations_and_shuffled_tags_publish_nothing() {
    let consul = Consul::builder().tls().start().await.unwrap();
    let api = consul.api();
    for index in 0..SERVICES {
        api.register(&registration(index, 0)).await.unwrap();
    }
    // Over HTTP/2 all are parked, so the requests can be counted out.
    let mut config = https_config(&consul);
    // The agent adds to its own entry in its first moments.
    config.exclude_services = vec!["consul".to_owned()];
    let wait = config.wait;
    let discovery = discover(config);
    until("all services", &discovery, |snapshot| snapshot.len() == SERVICES).await;
    until_phase(&discovery, Phase::Synced).await;
    // The last answers have passed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = revisions(&discovery.snapshot());
    let mut changes = discovery.changes();
    // The time spans the counts, not the other way round: a pause of the machine between them must not count.
    let (start, requests) = (Instant::now(), status(&discovery).requests);

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
    let asked = status(&discovery).requests - requests;
    let elapsed = start.elapsed();
    // One per service and wait, as many again for a wait that just ended, and the catalogue's.
    let by_time =
        |elapsed: Duration| (SERVICES as f64 + 2.0) * (elapsed.as_secs_f64() / wait.as_secs_f64() + 1.0);
    println!("{beats} rounds of heartbeats in {elapsed:?}: {asked} requests");
    assert!(
        (asked as f64) <= by_time(elapsed) + 30.0,
        "{asked} in {elapsed:?}"
    );

    // Each of these is a change to the server, and wakes the poll; to us it is none.
    let (start, requests) = (Instant::now(), status(&discovery).requests);
    for turn in 1..4 {
        for index in 0..SERVICES {
            api.register(&registration(index, turn)).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = status(&discovery).requests - requests;
    let elapsed = start.elapsed();
    println!(
        "{} registrations with shuffled tags: {asked} requests",
        3 * SERVICES
    );
    assert!(
        (asked as f64) <= 11.0 * SERVICES as f64 + by_time(elapsed),
        "{asked} in {elapsed:?}"
    );

    let published = tokio::time::timeout(Duration::from_millis(100), changes.next()).await;
    assert!(published.is_err(), "{published:?}");
    assert_eq!(revisions(&discovery.snapshot()), before);
    assert_eq!(status(&discovery).failures, 0);
    discovery.shutdown().await;
}
