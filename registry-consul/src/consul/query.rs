//! The requests that the registry sends.

use std::sync::Arc;

use registry_core::{Control, duration};
use registry_http::{FailOver, HttpClient, Observation, Request, Response, encode_segment};

use super::answer;
use super::config::{Consistency, ConsulConfig};
use crate::error::Error;

/// Parameters that old versions ignore instead of refusing them, and since when they are known: to send them to an
/// older server would be to take local instances for those of a peer.
const SINCE: [(&str, (u32, u32)); 4] = [
    ("peer", (1, 13)),
    ("partition", (1, 11)),
    ("sg", (1, 17)),
    ("merge-central-config", (1, 12)),
];

/// A parameter that old versions ignore, and since when it is known, where one is used.
fn needed(config: &ConsulConfig) -> Option<&'static (&'static str, (u32, u32))> {
    SINCE.iter().find(|(key, _)| config.query.contains_key(*key))
}

impl ConsulConfig {
    /// True where the agent's version is asked for.
    pub(crate) fn needs_version(&self) -> bool {
        needed(self).is_some()
    }
}

/// Sends requests to one Consul. Cloning it shares the client.
#[derive(Debug, Clone)]
pub(super) struct Queries {
    client: HttpClient,
    config: Arc<ConsulConfig>,
}

impl Queries {
    pub(super) fn new(config: Arc<ConsulConfig>, control: Option<Control>) -> Result<Self, Error> {
        let mut builder = HttpClient::builder(&config.urls())
            .with_config(config.http.clone())
            .with_credential(config.credential());
        if let Some(control) = control {
            builder = builder.with_observer(Arc::new(move |observed: &Observation| {
                let failed =
                    observed.error.is_some() || observed.status.is_some_and(|status| !status.is_success());
                control.meter().count_request(failed);
            }));
        }
        Ok(Self {
            client: builder.build()?,
            config,
        })
    }

    pub(super) fn client(&self) -> &HttpClient {
        &self.client
    }

    /// Refuses parameters that the server would ignore.
    pub(super) async fn check_version(&self) -> Result<(), Error> {
        let Some((key, needed)) = needed(&self.config) else {
            return Ok(());
        };
        let response = self.send(Request::get("/v1/agent/self")).await?;
        let agent = answer::agent(&response)?;
        answer::check_version(&agent.version, key, *needed)
    }

    /// Reads the catalogue's names; parked where an index is given.
    pub(super) async fn catalog(&self, index: u64, consistency: Consistency) -> Result<Response, Error> {
        self.send(self.blocking(Request::get("/v1/catalog/services"), index, consistency))
            .await
    }

    /// Reads the instances of a service; parked where an index is given.
    pub(super) async fn service(
        &self,
        name: &str,
        index: u64,
        consistency: Consistency,
    ) -> Result<Response, Error> {
        let mut request = Request::get(format!("/v1/health/service/{}", encode_segment(name)));
        for tag in &self.config.tags {
            request = request.with_query("tag", tag.clone());
        }
        if let Some(filter) = &self.config.filter {
            request = request.with_query("filter", filter.clone());
        }
        self.send(self.blocking(request, index, consistency)).await
    }

    /// Reads the state of all checks; parked where an index is given.
    pub(super) async fn checks(&self, index: u64) -> Result<Response, Error> {
        self.send(self.blocking(
            Request::get("/v1/health/state/any"),
            index,
            self.config.consistency,
        ))
        .await
    }

    fn blocking(&self, mut request: Request, index: u64, consistency: Consistency) -> Request {
        match consistency {
            Consistency::Stale => request = request.with_query("stale", ""),
            Consistency::Default => {}
            Consistency::Consistent => request = request.with_query("consistent", ""),
        }
        if let Some(datacenter) = &self.config.datacenter {
            request = request.with_query("dc", datacenter.clone());
        }
        for (key, value) in &self.config.query {
            request = request.with_query(key.clone(), value.clone());
        }
        if self.config.urls().len() > 1 {
            request = request.with_fail_over(FailOver::always());
        }
        if index == 0 {
            return request;
        }
        request
            .with_query("index", index.to_string())
            .with_query("wait", duration::format(self.config.wait))
            .with_wait(self.config.wait)
    }

    async fn send(&self, request: Request) -> Result<Response, Error> {
        let response = self.client.send(&request).await?;
        if response.status().as_u16() == 200 {
            Ok(response)
        } else {
            Err(Error::status(&response))
        }
    }
}
