//! Calls to Consul's HTTP API that tests make besides the code under test.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Method;
use serde_json::{Value, json};

use crate::Error;
use crate::json::{Call, JsonClient};

/// The address from which [`Consul::api`](super::Consul::api) calls its server.
///
/// Consul limits connections per client address. A test that fills the limit from 127.0.0.1 must still be able
/// to change what is registered, and its own connections must not count.
pub const ADMIN_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How many operations Consul takes in one transaction; a service and its check are always in the same one.
pub(super) const TRANSACTION: usize = 64;

/// A client of one Consul server, cheap to clone.
///
/// Names and identifiers go into paths as they are, so they have to be free of characters that a URL reserves.
/// Every call ends after 30 s. All fail with [`Error::Http`] when there is no answer, [`Error::Status`] when the
/// answer is no success and [`Error::Json`] when it is not JSON.
#[derive(Debug, Clone)]
pub struct ConsulApi {
    client: JsonClient,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header `X-Consul-Index`, where it is there and a number.
    pub index: Option<u64>,
    /// The body.
    pub body: String,
}

// === impl ConsulApi ===

impl ConsulApi {
    /// A client that calls from whatever address the system chooses, as any other program on the host does.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] when the client cannot be built.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, Error> {
        Self::from_address(url, token, None)
    }

    pub(super) fn administrator(url: &str, token: Option<&str>) -> Result<Self, Error> {
        Self::from_address(url, token, Some(IpAddr::V4(ADMIN_ADDRESS)))
    }

    fn from_address(url: &str, token: Option<&str>, address: Option<IpAddr>) -> Result<Self, Error> {
        let client = JsonClient::new(url, JsonClient::options(address), token.map(credential))?;
        Ok(Self { client })
    }

    /// The same client with another token, or with none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            client: self.client.with_credential(token.map(credential)),
        }
    }

    /// Reads a path such as `/v1/catalog/services?stale`.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.client.json(&Call::new(Method::GET, path, None)).await
    }

    /// Reads a path and returns the answer whatever its status, with Consul's index.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] when there is no answer.
    pub async fn answer(&self, path: &str) -> Result<Answer, Error> {
        let reply = self.client.send(&Call::new(Method::GET, path, None)).await?;
        let index = reply.headers.get("X-Consul-Index");
        Ok(Answer {
            status: reply.status,
            index: index.and_then(|index| index.to_str().ok()?.parse().ok()),
            body: reply.body,
        })
    }

    /// Writes to a path, for what has no method of its own here; returns the body.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<String, Error> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// Deletes what is at a path, for what has no method of its own here.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, path, None).await.map(drop)
    }

    /// Registers a service with the agent, as `/v1/agent/service/register` takes it; checks that it had before
    /// are replaced.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn register(&self, service: &Value) -> Result<(), Error> {
        self.put("/v1/agent/service/register?replace-existing-checks=true", service)
            .await
            .map(drop)
    }

    /// Deregisters a service of the agent by its id.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn deregister(&self, id: &str) -> Result<(), Error> {
        self.put(&format!("/v1/agent/service/deregister/{id}"), &Value::Null)
            .await
            .map(drop)
    }

    /// Sets a TTL check of the agent to `passing`, `warning` or `critical`.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn set_agent_check(&self, id: &str, status: &str, output: &str) -> Result<(), Error> {
        let update = json!({ "Status": status, "Output": output });
        self.put(&format!("/v1/agent/check/update/{id}"), &update)
            .await
            .map(drop)
    }

    /// Puts a service of the agent into maintenance mode, or takes it out.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn maintenance(&self, id: &str, enable: bool) -> Result<(), Error> {
        let path = format!("/v1/agent/service/maintenance/{id}?enable={enable}&reason=test");
        self.put(&path, &Value::Null).await.map(drop)
    }

    /// Puts the agent's node, and so all its services, into maintenance mode, or takes it out.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn node_maintenance(&self, enable: bool) -> Result<(), Error> {
        let path = format!("/v1/agent/maintenance?enable={enable}&reason=test");
        self.put(&path, &Value::Null).await.map(drop)
    }

    /// Registers a node, a service or a check in the catalogue, past any agent, as `/v1/catalog/register` takes
    /// it.
    ///
    /// The node must not be the server's own: its agent would remove what it does not know. Nor may a check be
    /// called `serfHealth`: the leader removes nodes that have one and are no members, a minute later.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn catalog_register(&self, registration: &Value) -> Result<(), Error> {
        self.put("/v1/catalog/register", registration).await.map(drop)
    }

    /// Removes a node, a service or a check from the catalogue, as `/v1/catalog/deregister` takes it.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn catalog_deregister(&self, what: &Value) -> Result<(), Error> {
        self.put("/v1/catalog/deregister", what).await.map(drop)
    }

    /// Sets a check of a catalogue's node to `passing`, `warning` or `critical`; of its service where one is
    /// named, else of the node itself.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn set_check(
        &self,
        node: &str,
        check_id: &str,
        service_id: Option<&str>,
        status: &str,
    ) -> Result<(), Error> {
        self.txn(&[check_operation(node, check_id, service_id, status)])
            .await
    }

    /// Applies operations as `/v1/txn` takes them, 64 (Consul's limit) in a transaction, one after the other.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`]; a transaction that is rolled back is an [`Error::Status`] of 409. Those before it stay.
    pub async fn txn(&self, operations: &[Value]) -> Result<(), Error> {
        for batch in operations.chunks(TRANSACTION) {
            self.call(Method::PUT, "/v1/txn", Some(&Value::from(batch)))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, Error> {
        self.client.succeed(&Call::new(method, path, body)).await
    }
}

fn credential(token: &str) -> (&'static str, String) {
    ("X-Consul-Token", token.to_owned())
}

pub(super) fn check_operation(node: &str, check_id: &str, service_id: Option<&str>, status: &str) -> Value {
    json!({ "Check": { "Verb": "set", "Check": {
        "Node": node,
        "CheckID": check_id,
        "Name": check_id,
        "ServiceID": service_id.unwrap_or_default(),
        "Status": status,
    } } })
}
