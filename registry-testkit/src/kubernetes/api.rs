//! Calls to the Kubernetes API that tests make besides the code under test.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{ClientBuilder, Method};
use serde_json::{Value, json};

use super::watching::Watching;
use crate::consul::ADMIN_ADDRESS;
use crate::json::{Call, JsonClient};
use crate::{Error, wait};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// How long a watch may last; whoever reads it has a deadline for each event.
const WATCH: Duration = Duration::from_secs(60 * 60);

/// How long a kind of custom resource may take to be served.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// A client of one API server, cheap to clone.
///
/// Names go into paths as they are. Every call but a watch ends after 30 s. All fail with [`Error::Http`] when
/// there is no answer, [`Error::Status`] when the answer is no success and [`Error::Json`] when it is not JSON.
#[derive(Debug, Clone)]
pub struct KubernetesApi {
    client: JsonClient,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The media type of the body.
    pub content_type: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON, or as a string where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| Value::String(self.body.clone()))
    }
}

/// The path of a resource of the core group in a namespace, such as `/api/v1/namespaces/demo/pods`.
#[must_use]
pub fn core_path(namespace: &str, resource: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}")
}

/// The path of a namespace's services.
#[must_use]
pub fn services_path(namespace: &str) -> String {
    core_path(namespace, "services")
}

/// The path of a namespace's endpoint slices.
#[must_use]
pub fn endpoint_slices_path(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

// === impl KubernetesApi ===

impl KubernetesApi {
    pub(super) fn new(url: &str, options: ClientBuilder, token: Option<&str>) -> Result<Self, Error> {
        let client = JsonClient::new(url, options, token.map(bearer))?;
        Ok(Self { client })
    }

    pub(super) fn administrator(url: &str, token: &str) -> Result<Self, Error> {
        // As with Consul: the calls of a test are not to be counted among those of the code under test.
        let address = Some(IpAddr::V4(ADMIN_ADDRESS));
        Self::new(url, JsonClient::options(address), Some(token))
    }

    /// The same client with another token, or with none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            client: self.client.with_credential(token.map(bearer)),
        }
    }

    /// Reads a path such as `/api/v1/services?limit=500`.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.client.json(&Call::new(Method::GET, path, None)).await
    }

    /// Reads the objects of a list; they have no `kind` and `apiVersion` of their own.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Error> {
        let mut list = self.get(path).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// The resource version of a list at this moment.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn resource_version(&self, path: &str) -> Result<String, Error> {
        let list = self.get(path).await?;
        let version = list["metadata"]["resourceVersion"].as_str();
        Ok(version.unwrap_or_default().to_owned())
    }

    /// Reads a path with headers and returns the answer whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] when there is no answer.
    pub async fn answer(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Answer, Error> {
        let mut call = Call::new(Method::GET, path, None);
        call.headers = headers;
        let reply = self.client.send(&call).await?;
        let content_type = reply.headers.get("Content-Type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: reply.status,
            content_type: content_type.unwrap_or_default().to_owned(),
            body: reply.body,
        })
    }

    /// Begins a watch, such as `/api/v1/services?watch=1&resourceVersion=5`.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn watch(&self, path: &str) -> Result<Watching, Error> {
        let mut call = Call::new(Method::GET, path, None);
        // From 1.37 on, streaming lists are a sequence of gzip streams, of which our client reads the first only.
        call.headers = &[("Accept-Encoding", "identity")];
        call.timeout = WATCH;
        let response = self.client.open(&call).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(Watching::new(response, self.client.url_of(path)));
        }
        let body = response.text().await.map_err(self.client.failed(&call))?;
        Err(Error::Status {
            method: "GET".to_owned(),
            url: self.client.url_of(path),
            status: status.as_u16(),
            body,
        })
    }

    /// Creates an object in a collection; returns it as it is stored.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`]; an object that exists is an [`Error::Status`] of 409.
    pub async fn create(&self, collection: &str, object: &Value) -> Result<Value, Error> {
        self.write(Method::POST, collection, JSON, object).await
    }

    /// Replaces an object at its own path.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn put(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.write(Method::PUT, path, JSON, object).await
    }

    /// Merges into an object at its own path, or into its status: `null` removes.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value, Error> {
        let merge = ("Content-Type", "application/merge-patch+json");
        self.write(Method::PATCH, path, merge, patch).await
    }

    /// Creates an object at its own path or makes it what is said, as `kubectl apply --server-side` does.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn apply(&self, path: &str, object: &Value) -> Result<Value, Error> {
        let apply = ("Content-Type", "application/apply-patch+yaml");
        let path = format!("{path}?fieldManager=test&force=true");
        self.write(Method::PATCH, &path, apply, object).await
    }

    /// Deletes an object, or all objects of a collection.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.client
            .succeed(&Call::new(Method::DELETE, path, None))
            .await
            .map(drop)
    }

    /// Creates a service with this `spec`, or gives it that `spec`.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn service(&self, namespace: &str, name: &str, spec: &Value) -> Result<Value, Error> {
        let object = json!({ "metadata": { "name": name }, "spec": spec });
        self.create_or_put(&services_path(namespace), name, &object).await
    }

    /// Creates an endpoint slice of a service, or replaces it. What is given is merged into an empty slice of
    /// IPv4 addresses: `{ "endpoints": [{ "addresses": ["10.0.0.1"] }], "ports": [{ "port": 8080 }] }`.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn endpoint_slice(
        &self,
        namespace: &str,
        name: &str,
        service: &str,
        slice: &Value,
    ) -> Result<Value, Error> {
        let mut object = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": service } },
            "addressType": "IPv4",
            "endpoints": [],
        });
        for (key, value) in slice.as_object().into_iter().flatten() {
            match (key.as_str(), value) {
                ("metadata", Value::Object(metadata)) => {
                    for (key, value) in metadata {
                        object["metadata"][key] = value.clone();
                    }
                }
                _ => object[key] = value.clone(),
            }
        }
        self.create_or_put(&endpoint_slices_path(namespace), name, &object)
            .await
    }

    /// Creates a node with these labels, or gives it them.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn node(&self, name: &str, labels: &Value) -> Result<Value, Error> {
        let object = json!({ "metadata": { "name": name, "labels": labels } });
        self.create_or_put("/api/v1/nodes", name, &object).await
    }

    /// Creates a namespace; one that exists is fine.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn namespace(&self, name: &str) -> Result<(), Error> {
        let object = json!({ "metadata": { "name": name } });
        match self.create("/api/v1/namespaces", &object).await {
            Ok(_) | Err(Error::Status { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates a kind of custom resource, or makes its definition what is said, and waits until it is served.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`]; [`Error::Deadline`] when the server has not taken it up after 60 s.
    pub async fn definition(&self, definition: &Value) -> Result<(), Error> {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        self.apply(&path, definition).await?;
        let (group, plural) = (
            &definition["spec"]["group"],
            &definition["spec"]["names"]["plural"],
        );
        let versions = definition["spec"]["versions"].as_array();
        let served = versions
            .into_iter()
            .flatten()
            .filter(|version| version["served"] == true);
        for version in served {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let list = format!(
                "/apis/{}/{}/{}",
                text(group),
                text(&version["name"]),
                text(plural)
            );
            let first = &format!("{list}?limit=1");
            let look = || async move { self.get(first).await.ok() };
            wait::until_some(format!("{list} to be served"), ESTABLISHED, look).await?;
        }
        Ok(())
    }

    /// As [`create`](Self::create), without a look at what was stored.
    pub(super) async fn create_unseen(&self, collection: &str, object: &Value) -> Result<(), Error> {
        let mut call = Call::new(Method::POST, collection, Some(object));
        call.headers = &[JSON];
        self.client.succeed(&call).await.map(drop)
    }

    /// Fails as long as the server is not ready.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let ready = Call::new(Method::GET, "/readyz", None);
        self.client.succeed(&ready).await.map(drop)
    }

    async fn create_or_put(&self, collection: &str, name: &str, object: &Value) -> Result<Value, Error> {
        match self.create(collection, object).await {
            Err(Error::Status { status: 409, .. }) => self.put(&format!("{collection}/{name}"), object).await,
            outcome => outcome,
        }
    }

    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        content_type: (&'static str, &str),
        body: &Value,
    ) -> Result<Value, Error> {
        let headers = [content_type];
        let mut call = Call::new(method, path, Some(body));
        call.headers = &headers;
        self.client.json(&call).await
    }
}

fn bearer(token: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {token}"))
}
