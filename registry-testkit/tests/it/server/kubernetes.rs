//! The API server: each test asserts what a real kube-apiserver does.

use std::time::Duration;

use registry_testkit::kubernetes::{Kubernetes, endpoint_slices_path, services_path};
use registry_testkit::{Error, wait};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// A service as short as can be.
fn spec() -> Value {
    json!({ "ports": [{ "name": "http", "port": 80 }], "selector": { "app": "web" } })
}

fn names(objects: &[Value]) -> Vec<&str> {
    objects
        .iter()
        .filter_map(|object| object["metadata"]["name"].as_str())
        .collect()
}

#[tokio::test]
async fn an_object_goes_through_its_life() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let (api, namespace) = (kubernetes.api(), kubernetes.new_namespace("life").await.unwrap());
    let services = services_path(namespace.name());
    let web = api.service(namespace.name(), "web", &spec()).await.unwrap();
    assert_eq!(names(&api.list(&services).await.unwrap()), ["web"]);
    let path = format!("{services}/web");
    let labelled = api
        .patch(&path, &json!({ "metadata": { "labels": { "team": "blue" } } }))
        .await
        .unwrap();
    assert_eq!(labelled["metadata"]["uid"], web["metadata"]["uid"]);
    api.delete(&path).await.unwrap();
    let gone = api.get(&path).await;
    assert!(matches!(gone, Err(Error::Status { status: 404, .. })), "{gone:?}");
}

#[tokio::test]
async fn bulk() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let start = tokio::time::Instant::now();
    kubernetes.api().create_services("default", 5000).await.unwrap();
    eprintln!("{:?}", start.elapsed());
}
