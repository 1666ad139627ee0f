//! Calls to Eureka's HTTP API that tests make besides the code under test.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Instance;
use crate::Error;
use crate::consul::ADMIN_ADDRESS;
use crate::json::{Call, JsonClient};

const JSON: &str = "application/json";

/// What peers send along, so that a server does not tell its peers in turn.
pub(super) const REPLICATION: (&str, &str) = ("x-netflix-discovery-replication", "true");

/// A client of one Eureka server, cheap to clone.
///
/// Every call ends after 30 s. All fail with [`Error::Http`] when there is no answer, [`Error::Status`] when the answer
/// is no success and [`Error::Json`] when it is not JSON.
#[derive(Debug, Clone)]
pub struct EurekaApi {
    client: JsonClient,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header `Content-Type`, or nothing.
    pub content_type: String,
    /// The body, unpacked where it was compressed.
    pub body: String,
}

// === impl EurekaApi ===

impl EurekaApi {
    /// A client of the server with this base URL, such as `http://127.0.0.1:8761/eureka`, that calls from whatever
    /// address the system chooses.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] when the client cannot be built.
    pub fn new(base_url: &str) -> Result<Self, Error> {
        Self::from_address(base_url, None)
    }

    pub(super) fn administrator(base_url: &str) -> Result<Self, Error> {
        Self::from_address(base_url, Some(IpAddr::V4(ADMIN_ADDRESS)))
    }

    fn from_address(base_url: &str, address: Option<IpAddr>) -> Result<Self, Error> {
        let client = JsonClient::new(base_url, JsonClient::options(address), None)?;
        Ok(Self { client })
    }

    /// Registers an instance, or registers it anew.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn register(&self, instance: &Instance) -> Result<(), Error> {
        self.register_json(&instance.app, &instance.json(now())).await
    }

    /// Registers with a body of one's own, see [`Instance::json`].
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn register_json(&self, app: &str, body: &Value) -> Result<(), Error> {
        let path = format!("/apps/{}", segment(&app.to_uppercase()));
        self.call(Method::POST, &path, Some(body)).await.map(drop)
    }

    /// Renews a lease; `false` says that the server wants the instance to register again.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn heartbeat(&self, app: &str, id: &str) -> Result<bool, Error> {
        match self.call(Method::PUT, &instance_path(app, id), None).await {
            Ok(_) => Ok(true),
            Err(Error::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Cancels a registration.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`]; a server that does not know the instance answers 404.
    pub async fn cancel(&self, app: &str, id: &str) -> Result<(), Error> {
        self.call(Method::DELETE, &instance_path(app, id), None)
            .await
            .map(drop)
    }

    /// Overrides the status, as an operator does: `OUT_OF_SERVICE`, `UP`, `DOWN`, `STARTING` or `UNKNOWN`.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn set_status(&self, app: &str, id: &str, status: &str) -> Result<(), Error> {
        let path = format!("{}/status?value={}", instance_path(app, id), segment(status));
        self.call(Method::PUT, &path, None).await.map(drop)
    }

    /// Takes the override back. Without a status to go on with the instance is `UNKNOWN` until it registers again,
    /// which its next heartbeat is told.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn delete_status(&self, app: &str, id: &str, status: Option<&str>) -> Result<(), Error> {
        let mut path = format!("{}/status", instance_path(app, id));
        if let Some(status) = status {
            path.push_str(&format!("?value={}", segment(status)));
        }
        self.call(Method::DELETE, &path, None).await.map(drop)
    }

    /// Adds to the metadata, or changes it.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn set_metadata(&self, app: &str, id: &str, metadata: &[(&str, &str)]) -> Result<(), Error> {
        let pairs: Vec<String> = metadata
            .iter()
            .map(|(key, value)| format!("{}={}", segment(key), segment(value)))
            .collect();
        let path = format!("{}/metadata?{}", instance_path(app, id), pairs.join("&"));
        self.call(Method::PUT, &path, None).await.map(drop)
    }

    /// All instances, as JSON.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn apps(&self) -> Result<Value, Error> {
        self.get("/apps").await
    }

    /// What changed lately, as JSON.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn delta(&self) -> Result<Value, Error> {
        self.get("/apps/delta").await
    }

    /// One instance, from the registry itself and no cache; `None` when it is not registered.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn instance(&self, app: &str, id: &str) -> Result<Option<Value>, Error> {
        match self.get(&instance_path(app, id)).await {
            Ok(mut body) => Ok(Some(body["instance"].take())),
            Err(Error::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The status of each instance, under `APP/id`, as lists show it.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn statuses(&self) -> Result<BTreeMap<String, String>, Error> {
        let body = self.apps().await?;
        let apps = body["applications"]["application"].as_array();
        let instances = apps
            .into_iter()
            .flatten()
            .flat_map(|app| app["instance"].as_array().into_iter().flatten());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(instances
            .map(|instance| {
                let id = [&instance["instanceId"], &instance["hostName"]];
                let id = id.into_iter().find(|id| id.is_string()).unwrap_or(&Value::Null);
                let key = format!("{}/{}", text(&instance["app"]), text(id));
                (key, text(&instance["status"]))
            })
            .collect())
    }

    /// The server's own count of instances by status, such as `DOWN_1_UP_7_`.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn hash(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Body {
            applications: Applications,
        }
        #[derive(Deserialize)]
        struct Applications {
            #[serde(rename = "apps__hashcode")]
            hash: String,
        }
        // Not as a tree: there may be 50 000 instances.
        let headers = [("Accept", JSON)];
        let call = Call {
            headers: &headers,
            ..Call::new(Method::GET, "/apps", None)
        };
        let text = self.client.succeed(&call).await?;
        let body: Body = serde_json::from_str(&text).map_err(|source| Error::Json {
            url: self.client.url_of("/apps"),
            source,
        })?;
        Ok(body.applications.hash)
    }

    /// Reads a path as JSON, for what has no method of its own here.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        let text = self.call(Method::GET, path, None).await?;
        self.client.parse(path, &text)
    }

    /// Reads a path and returns the answer whatever its status; `accept` is the kind that is asked for, such as
    /// `application/xml`.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] when there is no answer.
    pub async fn answer(&self, path: &str, accept: &str) -> Result<Answer, Error> {
        let reply = self
            .client
            .send(&Call {
                headers: &[("Accept", accept)],
                ..Call::new(Method::GET, path, None)
            })
            .await?;
        let content_type = reply.headers.get("Content-Type");
        Ok(Answer {
            status: reply.status,
            content_type: content_type
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            body: reply.body,
        })
    }

    /// Sends what one peer tells another, as `/peerreplication/batch/` takes it; returns how each was answered.
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn replicate(&self, items: &[Value]) -> Result<Vec<u16>, Error> {
        let path = "/peerreplication/batch/";
        let headers = [("Accept", JSON), ("Content-Type", JSON), REPLICATION];
        let body = json!({ "replicationList": items });
        let answer = self
            .client
            .json(&Call {
                headers: &headers,
                ..Call::new(Method::POST, path, Some(&body))
            })
            .await?;
        let items = answer["responseList"].as_array().into_iter().flatten();
        let status = |item: &Value| {
            item["statusCode"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok())
        };
        Ok(items.map(|item| status(item).unwrap_or_default()).collect())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String, Error> {
        let headers = [("Accept", JSON), ("Content-Type", JSON)];
        self.client
            .succeed(&Call {
                headers: &headers,
                ..Call::new(method, path, body)
            })
            .await
    }
}

fn instance_path(app: &str, id: &str) -> String {
    format!("/apps/{}/{}", segment(&app.to_uppercase()), segment(id))
}

/// A text as it goes into a URL's path or query.
fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                segment.push(char::from(byte));
            }
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// Milliseconds since 1970, as servers count.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_kind_make_one_segment() {
        assert_eq!(instance_path("orders", "h:o:8080"), "/apps/ORDERS/h:o:8080");
        assert_eq!(instance_path("orders", "a b/ü"), "/apps/ORDERS/a%20b%2F%C3%BC");
    }
}
