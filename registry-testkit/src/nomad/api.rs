//! Calls to Nomad's own API, for tests that drive a server or look past what is under test.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use reqwest::Method;
use serde_json::Value;

use super::registration::Registration;
use crate::Error;
use crate::json::{Call, JsonClient};

/// A client of one server, real or played; cheap to clone.
#[derive(Debug, Clone)]
pub struct NomadApi {
    client: JsonClient,
    url: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The body as text.
    pub text: String,
    headers: HeaderMap,
}

/// The lines of an event stream, as they come.
pub struct Lines {
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    held: BytesMut,
}

impl NomadApi {
    /// A client that sends this token, if any.
    ///
    /// # Errors
    ///
    /// Where the HTTP client cannot be built.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, Error> {
        Ok(Self {
            client: JsonClient::new(url, JsonClient::options(None), credential(token))?,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// The same with another token.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            client: self.client.with_credential(credential(token)),
            url: self.url.clone(),
        }
    }

    /// The base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Any answer to a `GET`.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub async fn get(&self, path: &str) -> Result<Answered, Error> {
        let reply = self.client.send(&Call::new(Method::GET, path, None)).await?;
        Ok(Answered {
            status: reply.status,
            text: reply.body,
            headers: reply.headers,
        })
    }

    /// The JSON of a call that succeeds; `null` for no body, either way.
    ///
    /// # Errors
    ///
    /// Where it does not, or is answered with something else.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Error> {
        let unknown = |_| Error::Unexpected {
            what: format!("the method {method}"),
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(unknown)?;
        let text = self.client.succeed(&Call::new(method, path, Some(body))).await?;
        if text.trim().is_empty() {
            Ok(Value::Null)
        } else {
            self.client.parse(path, &text)
        }
    }

    /// The instances of a service.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub async fn instances(&self, namespace: &str, service: &str) -> Result<Vec<Registration>, Error> {
        let path = format!("/v1/service/{service}?namespace={namespace}");
        let body = self.call("GET", &path, &Value::Null).await?;
        serde_json::from_value(body).map_err(|source| Error::Json {
            url: self.client.url_of(&path),
            source,
        })
    }

    /// Begins an event stream, for at most a minute.
    ///
    /// # Errors
    ///
    /// Where there is no head.
    pub async fn events(&self, query: &str) -> Result<(u16, Lines), Error> {
        let path = format!("/v1/event/stream?{query}");
        let mut call = Call::new(Method::GET, &path, None);
        call.timeout = Duration::from_secs(60);
        let response = self.client.open(&call).await?;
        let status = response.status().as_u16();
        let lines = Lines {
            bytes: Box::pin(response.bytes_stream()),
            held: BytesMut::new(),
        };
        Ok((status, lines))
    }
}

fn credential(token: Option<&str>) -> Option<(&'static str, String)> {
    token.map(|token| ("X-Nomad-Token", token.to_owned()))
}

impl Answered {
    /// The index of the answer.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.header("X-Nomad-Index")?.parse().ok()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl Lines {
    /// The next line; `None` at the end of the stream, however it ends.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(end + 1);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.held.extend_from_slice(&self.bytes.next().await?.ok()?);
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}
