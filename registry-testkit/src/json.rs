//! Calls to a server's JSON API, as all starters make them.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderMap;
use reqwest::{Client, ClientBuilder, Method, Response};
use serde_json::Value;

use crate::{Error, init_tls};

const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a refused request's answer goes into the error.
const EXCERPT: usize = 500;

/// A client of one server, cheap to clone. Every call ends after 30 s.
#[derive(Debug, Clone)]
pub(crate) struct JsonClient {
    client: Client,
    url: String,
    credential: Option<(&'static str, String)>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    /// `null` stands for no body.
    pub(crate) body: Option<&'a Value>,
    pub(crate) timeout: Duration,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: &'a str, body: Option<&'a Value>) -> Self {
        Self {
            method,
            path,
            headers: &[],
            body,
            timeout: TIMEOUT,
        }
    }
}

// === impl JsonClient ===

impl JsonClient {
    /// The options that all clients have in common.
    pub(crate) fn options(address: Option<IpAddr>) -> ClientBuilder {
        init_tls();
        Client::builder()
            .local_address(address)
            // Servers of tests are on this machine, whatever proxy the environment names.
            .no_proxy()
    }

    /// A client that sends the credential, a header, with each call.
    pub(crate) fn new(
        url: &str,
        options: ClientBuilder,
        credential: Option<(&'static str, String)>,
    ) -> Result<Self, Error> {
        let client = options.build().map_err(|source| Error::Client { source })?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            credential,
        })
    }

    /// The same client with another credential.
    pub(crate) fn with_credential(&self, credential: Option<(&'static str, String)>) -> Self {
        Self {
            credential,
            ..self.clone()
        }
    }

    pub(crate) fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The answer whatever its status, as soon as its head is there.
    pub(crate) async fn open(&self, call: &Call<'_>) -> Result<Response, Error> {
        let url = self.url_of(call.path);
        let mut request = self
            .client
            .request(call.method.clone(), &url)
            .timeout(call.timeout);
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        if let Some((name, value)) = &self.credential {
            request = request.header(*name, value);
        }
        if let Some(body) = call.body.filter(|body| !body.is_null()) {
            request = request.body(body.to_string());
        }
        request.send().await.map_err(self.failed(call))
    }

    /// The whole answer, whatever its status.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Reply, Error> {
        let response = self.open(call).await?;
        Ok(Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.map_err(self.failed(call))?,
        })
    }

    /// The body of an answer that is a success.
    pub(crate) async fn succeed(&self, call: &Call<'_>) -> Result<String, Error> {
        let reply = self.send(call).await?;
        if (200..300).contains(&reply.status) {
            return Ok(reply.body);
        }
        Err(Error::Status {
            method: call.method.to_string(),
            url: self.url_of(call.path),
            status: reply.status,
            body: reply.body.chars().take(EXCERPT).collect(),
        })
    }

    /// The JSON of an answer that is a success.
    pub(crate) async fn json(&self, call: &Call<'_>) -> Result<Value, Error> {
        let body = self.succeed(call).await?;
        self.parse(call.path, &body)
    }

    pub(crate) fn parse(&self, path: &str, text: &str) -> Result<Value, Error> {
        serde_json::from_str(text).map_err(|source| Error::Json {
            url: self.url_of(path),
            source,
        })
    }

    pub(crate) fn failed(&self, call: &Call<'_>) -> impl FnOnce(reqwest::Error) -> Error + use<> {
        let (method, url) = (call.method.to_string(), self.url_of(call.path));
        move |source| Error::Http { method, url, source }
    }
}
