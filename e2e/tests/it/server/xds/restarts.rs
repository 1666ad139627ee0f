//! The daemon ends, the world changes, and it is started again (acceptance 3).

use registry_testkit::consul::Consul;
use registry_testkit::envoy::Version;
use tokio::time::Instant;

use super::backends::{Backends, cluster, fill, registry};
use super::fleet::{Api, BOTH_SWAPPED, Fleet};
use super::storm::Storm;
use super::warmth::Warmth;
use crate::variable;

/// How often, for those who want it more often.
const RESTARTS: &str = "REGISTRY_XDS_RESTARTS";

/// Each cluster is another one than in the round before, and every other round some requests have a cluster of their own.
fn config(fleet: &Fleet, round: usize, url: &str) -> String {
    let mut xds = format!("  connect_timeout: {}s\n", 1 + round / 2 % 2);
    if round.is_multiple_of(2) {
        xds.push_str(
            "  subsets: [{ hosts: web.mesh.internal, subsets: [{ name: v1, labels: { version: v1 } }] }]\n  routes: [{ hosts: web.mesh.internal, routes: [{ path: { prefix: /canary }, to: [{ subset: v1, weight: 1 }] }] }]\n",
        );
    }
    format!("{}registries:\n{}", fleet.head(&xds), registry("consul", url, ""))
}

/// Kills the daemon, or tells it to end, in turns, and keeps what it knew or not, in turns of two.
async fn restarts(proxies: &[(Api, Version)], rounds: usize) {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    fill(api, 30).await;
    let mut web = Backends::start(api, "web", 3).await;
    let mut fleet = Fleet::new();
    fleet.start(&config(&fleet, 0, consul.url())).await;
    fleet.add(proxies).await;
    fleet.ready().await;

    let host = web.host();
    let storm = Storm::start(&fleet, &[(&host, "/"), (&host, "/canary")]);
    let warmth = Warmth::watch(&fleet);
    for round in 1..=rounds {
        // It goes while the daemon is away.
        let brief = Backends::start(api, "brief", 2).await;
        fleet.until_hosts(&brief.cluster(), &brief.addresses()).await;
        fleet.until_served(&brief.host()).await;

        let (kill, keep) = (round % 2 == 1, round % 4 < 2);
        if kill {
            fleet.daemon.kill();
        } else {
            fleet.daemon.terminate().await;
        }
        if !keep {
            std::fs::remove_dir_all(fleet.daemon.path("state")).unwrap();
        }
        brief.deregister(api).await;
        web.replace(api, round % 3).await;
        fleet
            .daemon
            .write("registryd.yaml", &config(&fleet, round, consul.url()));
        fleet.daemon.start();
        let start = Instant::now();
        fleet.until_connected().await;
        let connected = start.elapsed();
        fleet.until_gone(&cluster("", "brief")).await;
        let gone = start.elapsed() - connected;
        fleet.until_hosts(&web.cluster(), &web.addresses()).await;
        fleet.until_warm().await;
        println!(
            "{}, {}: connected after {connected:.1?}, the deleted service is gone {gone:.1?} later",
            if kill { "killed" } else { "told to end" },
            if keep {
                "what it knew is kept"
            } else {
                "what it knew is lost"
            },
        );
        // Nobody has it any more, so nobody finds it.
        for proxy in &fleet.proxies {
            assert_eq!(proxy.ask(&brief.host()).await, Some(404), "{}", proxy.name);
        }
        web.reap(&fleet).await;
    }
    let requests = storm.assert_calm(&fleet).await;
    let longest = warmth.assert_brief().await;
    println!("{rounds} restarts: {requests} requests; clusters were warming for {longest:.1?} at most");
    fleet.assert_content().await;
    fleet.daemon.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_3_nobody_notices_that_the_daemon_is_restarted() {
    restarts(&BOTH_SWAPPED, variable(RESTARTS).unwrap_or(4)).await;
}
