//! Several addresses of one data centre.

use futures_util::future::join_all;
use registry_core::Phase;
use registry_testkit::{Fault, Match, Rule};

use super::{Door, FakeConsul, instances, short, until_healthy, until_passing};
use crate::support::{discover, phase, statuses, until_phase};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_address_that_is_dead_at_the_start_is_passed_over() {
    let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
    let dead = Door::new(fake.server.addr());
    let mut config = short("");
    config.address = None;
    config.addresses = vec![dead.url(), fake.url()];
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    until_passing(&discovery, "api", 1).await;
    fake.put("web", &instances("web", 3));
    until_passing(&discovery, "web", 3).await;
    assert_eq!(phase(&discovery), Phase::Synced);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_first_address_dies_the_second_takes_over() {
    let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
    let mut first = Door::new(fake.server.addr());
    let mut second = Door::new(fake.server.addr());
    first.open().await;
    second.open().await;
    let mut config = short("");
    config.address = None;
    config.addresses = vec![first.url(), second.url()];
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    until_phase(&discovery, Phase::Synced).await;
    let mut changes = discovery.changes();

    first.close().await;
    for count in [3, 1] {
        fake.put("web", &instances("web", count));
        until_passing(&discovery, "web", count).await;
    }
    until_healthy(&discovery).await;
    // And back, when the other dies.
    first.open().await;
    second.close().await;
    fake.put("web", &instances("web", 5));
    until_passing(&discovery, "web", 5).await;
    until_healthy(&discovery).await;
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(statuses(&discovery.snapshot(), "api").unwrap().len(), 1);
    while let Ok(Some(delta)) =
        tokio::time::timeout(std::time::Duration::from_millis(300), changes.next()).await
    {
        assert!(delta.removed.is_empty(), "{:?}", delta.removed);
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_address_that_is_sick_is_left() {
    let sick = [
        Fault::respond(500, &[("X-Consul-Index", "1")], "No cluster leader"),
        Fault::ConnectClose,
        Fault::Reset,
    ];
    join_all(sick.map(async |sick| {
        let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
        let proxy = fake.proxy().await;
        let mut config = short("");
        config.address = None;
        config.addresses = vec![proxy.url(), fake.url()];
        let discovery = discover(config);
        until_passing(&discovery, "web", 2).await;
        proxy.inject(Rule::new(Match::any(), sick));
        proxy.reset_all();
        fake.put("web", &instances("web", 3));
        until_passing(&discovery, "web", 3).await;
        until_healthy(&discovery).await;
        discovery.shutdown().await;
    }))
    .await;
}
