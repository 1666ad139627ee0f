//! Instances that nobody renews: whether they are gone is the server's word.

use std::time::Duration;

use registry_core::Timestamp;
use registry_testkit::eureka::{Eureka, Instance};
use registry_testkit::wait;
use registry_testkit::witness::Witness;

use crate::support::{DEADLINE, config, discover, status, statuses, until_statuses};

/// 8.
#[tokio::test]
async fn an_instance_leaves_when_twice_its_lease_has_passed_and_not_before() {
    const LEASE: u32 = 2;
    let eureka = Eureka::war().start().await.unwrap();
    let api = eureka.api();
    let lasting = Instance::new("web", "lasting").ip("10.0.0.1");
    api.register(&lasting).await.unwrap();
    let discovery = discover(config(eureka.base_url()));
    until_statuses(&discovery, "web", &["lasting UP"]).await;

    let brief = Instance::new("web", "brief").ip("10.0.0.2").lease(1, LEASE);
    // However long it takes until it is seen.
    let seen = wait::until("the instance", DEADLINE, async || {
        if !api.heartbeat("web", "brief").await.ok()? {
            api.register(&brief).await.ok()?;
        }
        let found = statuses(&discovery.snapshot(), "web")?;
        (found == ["brief UP", "lasting UP"]).then_some(())
    });
    seen.await.unwrap();
    let witness = Witness::call(&discovery);
    let renewed = Timestamp::now();
    assert!(api.heartbeat("web", "brief").await.unwrap());

    let missing = wait::until("the expiry", DEADLINE, async || witness.missing()).await;
    let missing = missing.unwrap();
    assert_eq!(missing.what, ["web.eureka 10.0.0.2:8080"]);
    let after = missing.published.as_millis() - renewed.as_millis();
    println!("gone {after} ms after its last heartbeat");
    // As this server counts, a lease that was renewed once lasts twice as long.
    assert!(after >= u64::from(2 * LEASE) * 1000, "after {after} ms");
    until_statuses(&discovery, "web", &["lasting UP"]).await;
    assert!(status(&discovery).held.is_none(), "it was announced");
    discovery.shutdown().await;
}

/// 9: nothing of what a server preserves is expired, for so long after all leases ran out.
pub(crate) async fn number_9(time: Duration) {
    const ALL: [&str; 3] = ["a UP", "b UP", "c UP"];
    let eureka = Eureka::war().self_preservation(true).start().await.unwrap();
    let api = eureka.api();
    for (id, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        let instance = Instance::new("web", id).ip(ip).lease(1, 1);
        api.register(&instance).await.unwrap();
        assert!(api.heartbeat("web", id).await.unwrap());
    }
    let discovery = discover(config(eureka.base_url()));
    until_statuses(&discovery, "web", &ALL).await;
    let witness = Witness::call(&discovery);
    let revision = discovery.snapshot().revision();
    let requests = status(&discovery).requests;

    tokio::time::sleep(time).await;
    assert_eq!(api.hash().await.unwrap(), "UP_3_", "the server preserves them");
    witness.saw_everything("while nothing was renewed", &discovery);
    assert_eq!(statuses(&discovery.snapshot(), "web").unwrap(), ALL);
    assert_eq!(discovery.snapshot().revision(), revision, "nothing was published");
    let status = status(&discovery);
    assert!(status.requests > requests && status.failures == 0, "{status:?}");
    discovery.shutdown().await;
}

/// 9.
#[tokio::test]
async fn what_nobody_renews_stays_while_the_server_preserves_it() {
    // Twice the lease, a sweep, and several polls.
    number_9(Duration::from_secs(6)).await;
}
