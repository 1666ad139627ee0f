//! How long dead connections go unnoticed unless anything else is configured.

use std::time::Duration;

use registry_k8s::KubernetesConfig;

use crate::server::faults::time_of_dead_connections;

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_21_dead_connections_are_left_within_the_default_bound() {
    let time = time_of_dead_connections(KubernetesConfig::default().watch_timeout).await;
    // The watch may last 30 s, and 10 s more are allowed.
    assert!(time < Duration::from_secs(60), "{time:?}");
}
