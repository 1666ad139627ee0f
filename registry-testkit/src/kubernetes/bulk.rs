//! Many services at once.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{KubernetesApi, endpoint_slices_path, services_path};
use crate::Error;

/// How many requests are on their way at a time.
const CONCURRENT: usize = 32;

/// Every so many services one is headless.
const HEADLESS: usize = 5;

/// How many zones and nodes endpoints are spread over.
const ZONES: usize = 3;
const NODES: usize = 100;

/// The name of the `index`-th service of [`KubernetesApi::create_services`].
#[must_use]
pub fn bulk_service(index: usize) -> String {
    format!("svc-{index:05}")
}

/// The name of that service's endpoint slice.
#[must_use]
pub fn bulk_slice(index: usize) -> String {
    format!("{}-a", bulk_service(index))
}

/// How many endpoints that service has: 5 or 10 by turns.
#[must_use]
pub fn bulk_endpoints(index: usize) -> usize {
    if index.is_multiple_of(2) { 5 } else { 10 }
}

// === impl KubernetesApi ===

impl KubernetesApi {
    /// Creates `count` services in a namespace, each with two ports and one slice of [`bulk_endpoints`] endpoints
    /// as a controller would write them; every fifth is headless.
    ///
    /// [`bulk_service`] and [`bulk_slice`] tell what they are called. 5 000 of them have 37 500 endpoints and cost the
    /// server about 11 s of CPU time.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn create_services(&self, namespace: &str, count: usize) -> Result<(), Error> {
        let services = services_path(namespace);
        let slices = endpoint_slices_path(namespace);
        let objects = (0..count).flat_map(|index| {
            [
                (services.clone(), service(index)),
                (slices.clone(), slice(namespace, index)),
            ]
        });
        self.create_all(objects).await
    }

    /// Creates objects in their collections, many at a time and in no order.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`]; the first one ends it.
    pub async fn create_all(&self, objects: impl IntoIterator<Item = (String, Value)>) -> Result<(), Error> {
        let mut running = JoinSet::new();
        for (collection, object) in objects {
            if running.len() == CONCURRENT {
                finish_one(&mut running).await?;
            }
            let api = self.clone();
            running.spawn(async move { api.create_unseen(&collection, &object).await });
        }
        while !running.is_empty() {
            finish_one(&mut running).await?;
        }
        Ok(())
    }
}

async fn finish_one(running: &mut JoinSet<Result<(), Error>>) -> Result<(), Error> {
    match running.join_next().await {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Error::Io {
            what: "an object was not created".to_owned(),
            source: error.into(),
        }),
    }
}

fn service(index: usize) -> Value {
    let name = bulk_service(index);
    let mut spec = json!({
        "selector": { "app": name },
        "ports": [
            { "name": "http", "port": 80, "targetPort": 8080 },
            { "name": "metrics", "port": 9090 },
        ],
    });
    if is_headless(index) {
        spec["clusterIP"] = json!("None");
    }
    json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": spec })
}

fn slice(namespace: &str, index: usize) -> Value {
    let name = bulk_service(index);
    let endpoints: Vec<Value> = (0..bulk_endpoints(index))
        .map(|endpoint| {
            let number = index * 10 + endpoint;
            let pod = format!("{name}-{endpoint}");
            let mut object = json!({
                "addresses": [address(number)],
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "nodeName": format!("node-{:03}", number % NODES),
                "zone": format!("zone-{}", number % ZONES),
                "targetRef": {
                    "kind": "Pod",
                    "namespace": namespace,
                    "name": pod,
                    "uid": format!("00000000-0000-4000-8000-{number:012}"),
                },
            });
            if is_headless(index) {
                object["hostname"] = json!(pod);
            }
            object
        })
        .collect();
    json!({
        "metadata": {
            "name": bulk_slice(index),
            "labels": {
                "app": name,
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9090 }],
    })
}

fn is_headless(index: usize) -> bool {
    index.is_multiple_of(HEADLESS)
}

/// A private address; there is room for 16 million.
fn address(number: usize) -> String {
    format!(
        "10.{}.{}.{}",
        number >> 16 & 0xff,
        number >> 8 & 0xff,
        number & 0xff
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn five_thousand_services_have_the_endpoints_of_the_reference_cluster() {
        let all: Vec<Value> = (0..5000).map(|index| slice("demo", index)).collect();
        let addresses: BTreeSet<&str> = all
            .iter()
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
            .filter_map(|endpoint| endpoint["addresses"][0].as_str())
            .collect();
        assert_eq!(addresses.len(), 37_500);
        let headless = (0..5000).filter(|index| is_headless(*index)).count();
        assert_eq!(headless, 1000);
    }
}
