//! Kills, pauses, restarts, fresh data.

use std::time::Duration;

use registry_testkit::Error;
use registry_testkit::kubernetes::{Kubernetes, services_path};

use super::{DEADLINE, names, services};

async fn version(kubernetes: &Kubernetes) -> u64 {
    let version = kubernetes.api().resource_version("/api/v1/services").await;
    version.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_killed_server_has_its_data_again_and_everybody_knows_it() {
    let mut kubernetes = Kubernetes::builder().persistent().start().await.unwrap();
    let api = kubernetes.api().clone();
    services(&api, "default", &["web"]).await;
    let (before, pid) = (version(&kubernetes).await, kubernetes.pid());
    let certificate = std::fs::read(kubernetes.ca_file().unwrap()).unwrap();
    let mut watch = api
        .watch("/api/v1/services?watch=1&resourceVersion=0")
        .await
        .unwrap();
    watch.next(DEADLINE).await.unwrap();
    kubernetes.kill().await.unwrap();
    assert_eq!(kubernetes.pid(), None);
    // Cut, not ended.
    assert!(matches!(watch.next(DEADLINE).await, Err(Error::Http { .. })));
    assert!(matches!(api.get("/version").await, Err(Error::Http { .. })));
    kubernetes.restart().await.unwrap();
    assert_ne!(kubernetes.pid(), pid);
    assert_eq!(
        names(&api.list(&services_path("default")).await.unwrap()),
        ["web"]
    );
    assert!(version(&kubernetes).await >= before);
    assert_eq!(std::fs::read(kubernetes.ca_file().unwrap()).unwrap(), certificate);
}

#[tokio::test]
async fn a_server_ends_in_a_moment_although_it_is_watched() {
    let mut kubernetes = Kubernetes::builder().start().await.unwrap();
    let path = "/api/v1/services?watch=1&resourceVersion=0&timeoutSeconds=600";
    let mut watch = kubernetes.api().watch(path).await.unwrap();
    kubernetes.terminate().await.unwrap();
    assert!(!matches!(watch.next(DEADLINE).await, Ok(Some(_))));
}

#[tokio::test]
async fn wiped_data_take_the_resource_version_back() {
    let mut kubernetes = Kubernetes::builder().persistent().start().await.unwrap();
    let api = kubernetes.api().clone();
    let token = kubernetes.add_token("sd").unwrap();
    api.create_services("default", 20).await.unwrap();
    let before = version(&kubernetes).await;
    assert!(matches!(kubernetes.wipe(), Err(Error::State { .. })));
    kubernetes.kill().await.unwrap();
    kubernetes.wipe().unwrap();
    kubernetes.restart().await.unwrap();
    assert!(api.list(&services_path("default")).await.unwrap().is_empty());
    assert!(version(&kubernetes).await < before);
    // Users are no data.
    api.with_token(Some(&token)).get("/version").await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_persistent_forgets() {
    let mut kubernetes = Kubernetes::builder().start().await.unwrap();
    services(kubernetes.api(), "default", &["web"]).await;
    kubernetes.restart().await.unwrap();
    assert!(
        kubernetes
            .api()
            .list("/api/v1/services")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_paused_server_is_silent_and_goes_on() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    kubernetes.pause().await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(300), api.get("/version")).await;
    assert!(silence.is_err(), "{silence:?}");
    kubernetes.resume().unwrap();
    assert_eq!(api.get("/version").await.unwrap()["gitVersion"], "v1.37.2");
}
