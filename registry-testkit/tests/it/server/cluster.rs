//! Three servers.

use std::time::Duration;

use registry_testkit::consul::{Consul, ConsulCluster};
use registry_testkit::wait;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_cluster_elects_a_new_leader_when_the_first_is_killed() {
    let mut cluster = ConsulCluster::start(3).await.unwrap();
    assert_eq!((cluster.len(), cluster.urls().len()), (3, 3));
    let leader = cluster.await_leader(DEADLINE).await.unwrap();
    cluster
        .server(leader)
        .api()
        .catalog_register(&json!({ "Node": "ext-1", "Address": "192.0.2.1" }))
        .await
        .unwrap();

    cluster.kill(leader).await.unwrap();
    let next = cluster.await_leader(DEADLINE).await.unwrap();
    assert_ne!(next, leader);
    let api = cluster.server(next).api();
    let nodes = wait::until("a read from the new leader", DEADLINE, async || {
        api.get("/v1/catalog/nodes").await.ok()
    });
    assert!(nodes.await.unwrap().to_string().contains("ext-1"));

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
    api.catalog_register(&json!({ "Node": "ext-1", "Address": "192.0.2.1" }))
        .await
        .unwrap();
    for index in 0..3 {
        cluster.kill(index).await.unwrap();
    }
    assert_eq!(cluster.leader_index().await, None);
    cluster.restart_stopped().await.unwrap();
    cluster.await_leader(DEADLINE).await.unwrap();
    let nodes = wait::until("a read", DEADLINE, async || {
        api.get("/v1/catalog/nodes").await.ok()
    })
    .await
    .unwrap();
    assert!(nodes.to_string().contains("ext-1"));
}
