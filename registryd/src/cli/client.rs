//! Asking a running daemon.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::ServerArgs;
use crate::error::Error;
use crate::token;

/// How long the daemon may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long it may take to answer in full.
const ANSWER: Duration = Duration::from_secs(60);

/// A client of one daemon.
pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    pub(super) fn new(args: &ServerArgs) -> Result<Self, Error> {
        let server = args.server.trim_end_matches('/').to_owned();
        if !["http://", "https://"]
            .iter()
            .any(|scheme| server.starts_with(scheme))
        {
            return Err(Error::Usage(format!(
                "--server: found {server:?}, expected a URL such as http://127.0.0.1:7380"
            )));
        }
        let mut authorization = None;
        if let Some(path) = &args.token_file {
            let wrong = |problem| {
                Error::Usage(format!(
                    "--token-file: found {problem}, expected a file with a token"
                ))
            };
            let token = token::read(path).map_err(wrong)?;
            let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut header = header.map_err(|error| wrong(error.to_string()))?;
            header.set_sensitive(true);
            authorization = Some(header);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .no_proxy()
            .build()
            .map_err(|error| Error::Usage(format!("no HTTP client: {}", report(&error))))?;
        Ok(Self {
            http,
            server,
            authorization,
        })
    }

    /// Asks for JSON.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Error> {
        let (status, value) = self.ask(path, query).await?;
        if status.is_success() {
            return Ok(value);
        }
        Err(self.refused(path, status, &value))
    }

    /// Gives an order.
    pub(super) async fn post(&self, path: &str) -> Result<Value, Error> {
        let request = self.http.post(format!("{}{path}", self.server));
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let (status, value) = self.send(path, self.authorized(request)).await?;
        if status.is_success() {
            return Ok(value);
        }
        Err(self.refused(path, status, &value))
    }

    /// Asks for JSON, whatever the status.
    pub(super) async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<(StatusCode, Value), Error> {
        self.send(path, self.request(path, query)).await
    }

    async fn send(&self, path: &str, request: RequestBuilder) -> Result<(StatusCode, Value), Error> {
        let failed = |error: reqwest::Error| self.failed(path, &error);
        let response = request.timeout(ANSWER).send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        let value = serde_json::from_slice(&body).map_err(|error| Error::Server {
            url: format!("{}{path}", self.server),
            problem: format!("{status}, found no JSON ({error}), expected a registryd to answer"),
        })?;
        Ok((status, value))
    }

    /// Opens a stream of events.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, Error> {
        let request = self.request(path, &[]).header(ACCEPT, "text/event-stream");
        let response = request.send().await.map_err(|error| self.failed(path, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(self.refused(path, status, &serde_json::from_slice(&body).unwrap_or_default()))
    }

    pub(super) fn failed(&self, path: &str, error: &reqwest::Error) -> Error {
        let hint = if error.is_connect() {
            "; does registryd run there?"
        } else {
            ""
        };
        Error::Server {
            url: format!("{}{path}", self.server),
            problem: format!("{}{hint}", report(error)),
        }
    }

    fn request(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        self.authorized(self.http.get(format!("{}{path}", self.server)).query(query))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.authorization {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        }
    }

    fn refused(&self, path: &str, status: StatusCode, value: &Value) -> Error {
        let detail = value["detail"].as_str().unwrap_or("no reason given");
        match status {
            // The daemon's own words; where it runs does not matter.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Error::Answer(detail.to_owned()),
            _ => Error::Server {
                url: format!("{}{path}", self.server),
                problem: format!("{status}: {detail}"),
            },
        }
    }
}

/// The innermost cause says what happened; the outer ones repeat the URL.
fn report(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
