//! The API server: each test asserts what a real kube-apiserver does. Those that kill nothing run against any
//! cluster.

mod access;
mod expiry;
mod kinds;
mod lifetime;
mod mcs;
mod reading;

use std::time::Duration;

use registry_testkit::kubernetes::KubernetesApi;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// The body of a refusal.
fn status(body: &str) -> Value {
    let status: Value = serde_json::from_str(body).unwrap();
    assert_eq!(status["kind"], "Status", "{status}");
    status
}

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

async fn services(api: &KubernetesApi, namespace: &str, names: &[&str]) {
    for name in names {
        api.service(namespace, name, &spec()).await.unwrap();
    }
}
