//! A fleet of Envoys through all that can happen to those who tell it, and for as long as it is told to.
//!
//! Istio 0.2 answered 404 now and then, and lost its configuration when its registry restarted or answered with nothing.

use crate::api::held_endpoints;
use crate::server::xds::backends::fill;
use crate::server::xds::churn::{Churn, SLOTS, STILL};
use crate::server::xds::fleet::ALL;
use crate::variable;

/// How many endpoints are replaced.
const UPDATES: &str = "REGISTRY_XDS_UPDATES";

/// The daemon ends, at once or in order, and is started again while everything goes on.
async fn restart(churn: &mut Churn, kill: bool, keep: bool, updates: usize) {
    if kill {
        churn.fleet.daemon.kill();
    } else {
        churn.fleet.daemon.terminate().await;
    }
    if !keep {
        std::fs::remove_dir_all(churn.fleet.daemon.path("state")).unwrap();
    }
    churn.burst(updates / 4).await;
    churn.fleet.daemon.start();
    churn.fleet.daemon.ready().await;
    churn.burst(updates - updates / 4).await;
    churn.settle().await;
}

/// Consul is killed, and comes back with nothing.
async fn wipe(churn: &mut Churn) {
    churn.consul.kill().await.unwrap();
    churn.consul.restart().await.unwrap();
    let daemon = &churn.fleet.daemon;
    let held = async || {
        let held = held_endpoints(&daemon.registry("consul").await)?;
        (held >= STILL + SLOTS).then_some(())
    };
    daemon.wait("everything held", held).await;
    churn.web.register(churn.consul.api()).await;
    fill(churn.consul.api(), STILL).await;
    churn.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_worse_for_churn_restarts_of_the_daemon_and_an_empty_registry() {
    let updates = variable(UPDATES).unwrap_or(400) / 5;
    let mut churn = Churn::set(&ALL).await;
    churn.burst(updates).await;
    for (kill, keep) in [(true, true), (false, false), (true, false)] {
        restart(&mut churn, kill, keep, updates).await;
    }
    wipe(&mut churn).await;
    churn.burst(updates).await;
    churn.finish().await;
}
