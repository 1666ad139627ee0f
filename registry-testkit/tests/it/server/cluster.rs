//! Three servers.

use std::time::Duration;

use registry_testkit::consul::{Consul, ConsulApi, ConsulCluster};
use registry_testkit::wait;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(60);

/// Registers a node; an election under way makes servers refuse that.
async fn register(api: &ConsulApi) {
    let node = json!({ "Node": "ext-1", "Address": "192.0.2.1" });
    wait::until("a registration", DEADLINE, async || {
        api.catalog_register(&node).await.ok()
    })
    .await
    .unwrap();
}

/// Waits for a read of what was registered.
async fn until_registered(api: &ConsulApi) {
    wait::until("the node in the catalogue", DEADLINE, async || {
        let nodes = api.get("/v1/catalog/nodes").await.ok()?;
        nodes.to_string().contains("ext-1").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_cluster_elects_a_new_leader_when_the_first_is_killed() {
    let mut cluster = ConsulCluster::start(3).await.unwrap();
    assert_eq!((cluster.len(), cluster.urls().len()), (3, 3));
    let leader = cluster.await_leader(DEADLINE).await.unwrap();
    register(cluster.server(leader).api()).await;

    // Whoever leads by now: a busy machine may have seen another election.
    let leader = cluster.await_leader(DEADLINE).await.unwrap();
    cluster.kill(leader).await.unwrap();
    let next = cluster.await_leader(DEADLINE).await.unwrap();
    assert_ne!(next, leader);
    until_registered(cluster.server(next).api()).await;

    cluster.restart(leader).await.unwrap();
    cluster.await_leader(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_cluster_without_a_quorum_comes_back_with_its_data() {
    let mut cluster = ConsulCluster::start_with(Consul::builder().acl().tls().node("s"), 3)
        .await
        .unwrap();
    let server = cluster.server(0);
    assert_eq!(
        (server.node(), server.token()),
        ("s-0", cluster.server(1).token())
    );
    assert_eq!(server.ca_file(), cluster.server(2).ca_file());
    let api = server.api().clone();
    register(&api).await;
    for index in 0..3 {
        cluster.kill(index).await.unwrap();
    }
    assert_eq!(cluster.leader_index().await, None);
    cluster.restart_stopped().await.unwrap();
    cluster.await_leader(DEADLINE).await.unwrap();
    until_registered(&api).await;
}
