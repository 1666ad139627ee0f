//! A document at a URL, asked for as Prometheus does.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use registry_core::short;
use registry_http::{HttpClient, Request, Response};

use super::{Closely, Look};
use crate::error::Error;
use crate::http_sd::config::{HttpSdConfig, split_url};
use crate::http_sd::document::Format;
use crate::http_sd::map::{Group, Reading};

/// JSON is what everybody has to offer.
const ACCEPT: &str = "application/json, application/yaml;q=0.5";

/// Tells the server how often it is asked, as Prometheus does.
const REFRESH_INTERVAL: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// One document at a URL, and what it last said.
#[derive(Debug)]
pub(crate) struct Page {
    client: HttpClient,
    request: Request,
    groups: Vec<Group>,
    /// Of the document that was last understood.
    digest: Option<u128>,
    /// By which the server tells that document from others. Its date does not: a file that is put back is older, and one
    /// that is written twice in a second has the same.
    etag: Option<HeaderValue>,
}

impl Page {
    pub(super) fn try_new(config: &HttpSdConfig) -> Result<Self, Error> {
        let (server, path) = split_url(&config.url);
        let client = HttpClient::builder(&[server])
            .with_config(config.http.clone())
            .with_credential(config.credential()?)
            .build()?;
        let request = Request::get(path).with_accept(ACCEPT);
        let seconds = config.interval.as_secs_f64().to_string();
        let request = match HeaderValue::from_str(&seconds) {
            Ok(seconds) => request.with_header(REFRESH_INTERVAL, seconds),
            Err(_) => request,
        };
        Ok(Self {
            client,
            request,
            groups: Vec::new(),
            digest: None,
            etag: None,
        })
    }

    pub(super) async fn look(&mut self, closely: Closely, reading: &mut Reading) -> Look {
        let (changed, trouble) = match self.ask(closely, reading).await {
            Ok(changed) => (changed, None),
            Err(error) => (false, Some(Arc::new(error.into()))),
        };
        Look {
            changed,
            complete: self.digest.is_some(),
            trouble,
        }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn connections(&self) -> u64 {
        self.client.connections_in_use() as u64
    }

    /// True where the document says something else than before.
    async fn ask(&mut self, closely: Closely, reading: &mut Reading) -> Result<bool, Error> {
        let mut request = self.request.clone();
        if closely == Closely::Anew {
            request = request.with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        // Whoever wants to know everything does not trust the tag either.
        let etag = self.etag.clone().filter(|_| closely == Closely::Glance);
        let is_conditional = etag.is_some();
        if let Some(etag) = etag {
            request = request.with_header(IF_NONE_MATCH, etag);
        }
        let response = self.client.send(&request).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(false),
            StatusCode::OK => {}
            status if status.is_redirection() && response.headers().contains_key(LOCATION) => {
                let to = response.header_str(LOCATION.as_str()).unwrap_or_default();
                let to = short(to.split('?').next().unwrap_or_default(), 200);
                return Err(document(
                    &response,
                    format!("found {status} to {to:?}, expected the document: redirects are not followed"),
                ));
            }
            _ => return Err(Error::status(&response)),
        }
        let format = format(&response)?;
        let digest = xxhash_rust::xxh3::xxh3_128_with_seed(response.body(), format as u64);
        let changed = self.digest != Some(digest);
        if changed {
            let groups = reading.document(response.body(), format);
            self.groups = groups.map_err(|problem| document(&response, problem))?;
            self.digest = Some(digest);
        }
        // Only now: of a document that was refused the server is not to say that it has not changed since.
        self.etag = response.headers().get(ETAG).cloned();
        Ok(changed)
    }
}

/// How an answer is written, by its own word: whatever else comes, a page of a proxy say, does not call itself JSON.
fn format(response: &Response) -> Result<Format, Error> {
    let content_type = response.header_str(CONTENT_TYPE.as_str());
    let format = content_type.and_then(Format::of_type);
    format.ok_or_else(|| {
        let found = match content_type {
            Some(text) => format!("the Content-Type {:?}", short(text, 100)),
            None => "no Content-Type".to_owned(),
        };
        document(
            response,
            format!("found {found}, expected \"application/json\" (or \"application/yaml\")"),
        )
    })
}

fn document(response: &Response, problem: String) -> Error {
    Error::Document {
        url: response.url().clone(),
        problem,
    }
}
