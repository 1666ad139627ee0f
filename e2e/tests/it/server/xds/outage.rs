//! A registry is away, or answers as if nothing had ever been there (acceptance 4).
//!
//! Istio 0.2 lost its configuration when its registry restarted, or answered with nothing.

use std::time::Duration;

use registry_testkit::FaultProxy;
use registry_testkit::consul::Consul;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::backends::{Backends, fill, registry};
use super::fleet::{BOTH, BOTH_SWAPPED, Fleet};
use super::storm::Storm;
use crate::api::held_endpoints;
use crate::variable;

/// Instances of the service that is asked for, and of one that is not.
const INSTANCES: (usize, usize) = (3, 9);

/// For how many seconds nothing may happen, for those who have the time.
const AWAY: &str = "REGISTRY_XDS_AWAY_SECONDS";

fn away() -> Duration {
    Duration::from_secs(variable(AWAY).unwrap_or(3))
}

fn config(fleet: &Fleet, url: &str) -> String {
    format!("{}registries:\n{}", fleet.head(""), registry("consul", url, ""))
}

/// Looks at the proxies for so long: nothing of what they have goes.
async fn watch(fleet: &Fleet, web: &Backends, time: Duration) {
    let mut wanted = web.addresses();
    wanted.sort();
    let mut removed = Vec::new();
    for proxy in &fleet.proxies {
        removed.push(proxy.removed().await);
    }
    let start = Instant::now();
    while start.elapsed() < time {
        for (proxy, removed) in fleet.proxies.iter().zip(&removed) {
            let hosts = proxy.hosts().await.unwrap();
            assert_eq!(hosts.get(&web.cluster()), Some(&wanted), "{}", proxy.name);
            assert_eq!(
                hosts["outbound|http||still.mesh.internal"].len(),
                INSTANCES.1,
                "{}",
                proxy.name
            );
            assert_eq!(&proxy.removed().await, removed, "{}", proxy.name);
            assert_eq!(proxy.ask(&web.host()).await, Some(200), "{}", proxy.name);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The daemon is restarted while its registry is away for so long, with what it knew and without.
async fn unreachable(time: Duration) {
    let consul = Consul::builder().start().await.unwrap();
    let way = FaultProxy::start(consul.address().into()).await.unwrap();
    fill(consul.api(), INSTANCES.1).await;
    let mut web = Backends::start(consul.api(), "web", INSTANCES.0).await;
    let mut fleet = Fleet::new();
    fleet.start(&config(&fleet, &way.url())).await;
    fleet.add(&BOTH).await;
    fleet.ready().await;

    let host = web.host();
    let storm = Storm::start(&fleet, &[(&host, "/")]);
    for keep in [true, false] {
        way.refuse(true);
        way.reset_all();
        fleet.daemon.terminate().await;
        if !keep {
            std::fs::remove_dir_all(fleet.daemon.path("state")).unwrap();
        }
        fleet.daemon.start();
        if keep {
            fleet.daemon.ready().await;
        }
        fleet.until_connected().await;
        watch(&fleet, &web, time).await;
        let clients = fleet.clients().await;
        assert_eq!(clients.len(), fleet.proxies.len(), "{clients:?}");
        for client in clients {
            for (type_, channel) in client["types"].as_object().unwrap() {
                // What is not known cannot be answered.
                assert!(keep || channel["responses"] == 0, "{type_} of {client}");
            }
        }
        let ready = fleet.daemon.get("/readyz").await.0;
        assert_eq!(ready, if keep { 200 } else { 503 });

        // It is back, and all goes on.
        way.refuse(false);
        fleet.daemon.ready().await;
        web.replace(consul.api(), 0).await;
        fleet.until_hosts(&web.cluster(), &web.addresses()).await;
    }
    println!("{} requests", storm.assert_calm(&fleet).await);
    fleet.assert_content().await;
    fleet.daemon.assert_no_panic();
}

/// Consul is killed and comes back with nothing, while the daemon runs and once more while it is restarted.
async fn empty(time: Duration) {
    let mut consul = Consul::builder().start().await.unwrap();
    fill(consul.api(), INSTANCES.1).await;
    let mut web = Backends::start(consul.api(), "web", INSTANCES.0).await;
    let mut fleet = Fleet::new();
    fleet.start(&config(&fleet, consul.url())).await;
    fleet.add(&BOTH_SWAPPED).await;
    fleet.ready().await;

    let host = web.host();
    let storm = Storm::start(&fleet, &[(&host, "/")]);
    for restart in [false, true] {
        if restart {
            // What it knows has to be on disk.
            fleet.daemon.terminate().await;
        }
        consul.kill().await.unwrap();
        consul.restart().await.unwrap();
        if restart {
            fleet.daemon.start();
            fleet.daemon.ready().await;
            fleet.until_connected().await;
        }
        let all = INSTANCES.0 + INSTANCES.1;
        let held = async || (held_endpoints(&fleet.daemon.registry("consul").await)? == all).then_some(());
        fleet.daemon.wait("everything held", held).await;
        watch(&fleet, &web, time).await;

        // Instances come back one by one, as their agents notice.
        web.register(consul.api()).await;
        fill(consul.api(), INSTANCES.1).await;
        let free = async || {
            let consul: Value = fleet.daemon.registry("consul").await;
            held_endpoints(&consul).is_none_or(|held| held == 0).then_some(())
        };
        fleet.daemon.wait("nothing held", free).await;
        web.replace(consul.api(), 1).await;
        fleet.until_hosts(&web.cluster(), &web.addresses()).await;
    }
    println!("{} requests", storm.assert_calm(&fleet).await);
    fleet.assert_content().await;
    fleet.daemon.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_4_proxies_keep_all_they_have_while_the_registry_of_a_restarted_daemon_is_away() {
    unreachable(away()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_comes_back_empty_takes_nothing_from_proxies() {
    empty(away()).await;
}
