//! The server answers anew again and again, and nothing changes.

use std::time::Duration;

use registry_core::Phase;
use registry_eureka::EurekaConfig;
use registry_testkit::FaultProxy;
use registry_testkit::eureka::{Eureka, Instance};

use crate::support::{DEADLINE, canonical, config, discover, patient, ready, status, until};

/// Polls that must publish nothing.
const POLLS: u64 = 100;

fn instance(number: u16) -> Instance {
    Instance::new("orders", format!("orders-{number}"))
        .port(8000 + number)
        .zone("zone-a")
        .metadata("version", "v1")
        .lease(1, 600)
}

/// 18. Meanwhile leases are renewed, instances register again as they are, changes leave the server's memory of them, and
/// everything is fetched from time to time.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_polls_without_a_change_publish_nothing() {
    let server = Eureka::war()
        .delta_retention(Duration::from_secs(2))
        .delta_retention_timer(Duration::from_millis(500))
        .cache_expiration(Duration::from_secs(1));
    let server = server.start().await.unwrap();
    let api = server.api();
    for number in 0..20 {
        api.register(&instance(number)).await.unwrap();
    }
    let proxy = FaultProxy::start_compressed(server.address().into())
        .await
        .unwrap();
    let discovery = discover(EurekaConfig {
        interval: Duration::from_millis(100),
        full_interval: Duration::from_secs(1),
        ..patient(config(&format!("{}{}", proxy.url(), server.base_path())))
    });
    ready(&discovery).await;
    let before = until("all instances", &discovery, |snapshot| {
        let registry = snapshot.registries().first();
        let synced = registry.is_some_and(|registry| registry.phase() == Phase::Synced);
        synced && snapshot.endpoint_count() == 20
    })
    .await;
    let before_revision = before.revision();
    let mut changes = discovery.changes();

    let polled = |path: &str| {
        let requests = proxy.requests();
        requests
            .iter()
            .filter(|request| request.path().ends_with(path))
            .count() as u64
    };
    let start = polled("/apps") + polled("/apps/delta");
    let (deltas, fulls) = (polled("/apps/delta"), polled("/apps"));
    let mut turn = 0;
    let wait = async {
        while polled("/apps") + polled("/apps/delta") < start + POLLS {
            // One that renews, and one that says once more what it said before.
            api.heartbeat("orders", &format!("orders-{}", turn % 20))
                .await
                .unwrap();
            api.register(&instance((turn + 7) % 20)).await.unwrap();
            turn += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(2 * DEADLINE, wait).await.unwrap();
    let (deltas, fulls) = (polled("/apps/delta") - deltas, polled("/apps") - fulls);
    println!("{deltas} deltas and {fulls} full fetches, {turn} registrations that change nothing");
    assert!(deltas > 0 && fulls > 0, "{deltas} deltas, {fulls} full fetches");

    let published = tokio::time::timeout(Duration::from_millis(100), changes.next()).await;
    assert!(published.is_err(), "{published:?}");
    let after = discovery.snapshot();
    assert_eq!(after.revision(), before_revision);
    assert_eq!(canonical(&after), canonical(&before));
    assert_eq!(status(&discovery).failures, 0);

    // And it was not deaf.
    api.set_metadata("orders", "orders-3", &[("version", "v2")])
        .await
        .unwrap();
    until("a change", &discovery, |snapshot| {
        snapshot.revision() > before_revision
    })
    .await;
    discovery.shutdown().await;
}
