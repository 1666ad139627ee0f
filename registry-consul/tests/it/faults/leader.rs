//! Servers without a leader, or behind it.

use std::time::Duration;

use registry_core::{ErrorKind, Phase};
use registry_testkit::{Fault, Match, Rule};

use super::{FakeConsul, instances, pause, short, until_degraded, until_healthy, until_passing};
use crate::support::{discover, phase, status, statuses, until_phase};

fn set(name: &str, value: &str) -> Rule {
    Rule::new(Match::any(), Fault::set_header(name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_9_the_streaming_backend_is_healthy_although_it_knows_no_leader() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let streaming = || Match::contains("index=");
    for (name, value) in [
        ("X-Consul-Knownleader", "false"),
        ("X-Consul-Query-Backend", "streaming"),
        ("X-Consul-Lastcontact", "0"),
    ] {
        proxy.inject(Rule::new(streaming(), Fault::set_header(name, value)));
    }
    let mut config = short(&proxy.url());
    config.max_stale = Duration::from_millis(500);
    let discovery = discover(config);
    until_phase(&discovery, Phase::Synced).await;
    for count in [3, 1, 2] {
        pause(2.5).await;
        assert_eq!(phase(&discovery), Phase::Synced);
        assert!(
            status(&discovery).last_error.is_none(),
            "{:?}",
            status(&discovery).last_error
        );
        fake.put("web", &instances("web", count));
        until_passing(&discovery, "web", count).await;
    }
    discovery.shutdown().await;
}

async fn turns_stale(rules: &[Rule]) {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    // A long wait, beyond the deadline of what follows: it is not its end that tells.
    config.wait = Duration::from_secs(600);
    config.max_stale = Duration::from_secs(1);
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    until_phase(&discovery, Phase::Synced).await;
    for rule in rules {
        proxy.inject(rule.clone());
    }
    // Wakes the catalogue's poll.
    fake.put("api", &instances("api", 1));
    until_degraded(&discovery, "registry", ErrorKind::Unavailable).await;
    until_phase(&discovery, Phase::Stale).await;
    assert_eq!(statuses(&discovery.snapshot(), "web").unwrap().len(), 2);
    // Old news is better than none.
    until_passing(&discovery, "api", 1).await;

    proxy.clear();
    until_phase(&discovery, Phase::Synced).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_9_a_server_without_a_leader_is_stale_beyond_the_bound() {
    turns_stale(&[set("X-Consul-Knownleader", "false")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_9_a_server_behind_its_leader_is_stale_beyond_the_bound() {
    turns_stale(&[set("X-Consul-Lastcontact", "15000")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_9_a_short_election_is_no_failure() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    // However long the election takes on this machine, it is shorter.
    config.max_stale = Duration::from_secs(120);
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    proxy.inject(set("X-Consul-Knownleader", "false"));
    proxy.inject(set("X-Consul-Lastcontact", "2445"));
    fake.put("web", &instances("web", 3));
    until_passing(&discovery, "web", 3).await;
    pause(3.0).await;
    proxy.clear();
    pause(3.0).await;
    assert_eq!(phase(&discovery), Phase::Synced);
    assert!(status(&discovery).last_error.is_none());
    discovery.shutdown().await;
}
