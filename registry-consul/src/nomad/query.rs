//! The requests that the registry sends.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, ServiceId, duration};
use registry_http::{
    FailOver, HttpClient, Lane, Lines, Observation, Opened, Protocol, Request, Response, encode_segment,
};

use super::answer::Headers;
use super::config::{ALL, NomadConfig};
use crate::error::Error;

/// Reads under way at once, over HTTP/1.1 and over HTTP/2.
const READS: (usize, usize) = (4, 16);

/// What time a parked list has beyond its wait and the sixteenth of it that servers add.
const SLACK: Duration = Duration::from_secs(8);

/// Allocations on one page.
const PAGE: &str = "500";

/// Sends requests to one Nomad. Cloning it shares the client.
#[derive(Debug, Clone)]
pub(super) struct Queries {
    client: HttpClient,
    config: Arc<NomadConfig>,
}

impl Queries {
    pub(super) fn new(config: Arc<NomadConfig>, control: Option<Control>) -> Result<Self, Error> {
        let mut builder = HttpClient::builder(&config.urls())
            .with_config(config.http())
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

    /// Most reads at once.
    pub(super) fn reads(&self) -> usize {
        match self.client.protocol() {
            Some(Protocol::Http2) => READS.1,
            _ => READS.0,
        }
    }

    /// Reads which services a namespace has, or all namespaces; parked where an index is given. The leader answers, so that
    /// a lost one shows.
    pub(super) async fn list(&self, namespace: &str, index: u64) -> Result<Response, Error> {
        let response = self.names(namespace, index).await?;
        // What is hidden is left out of a list of all namespaces in silence, and refused in a list of one: a list without an
        // index is that of a token without rights, unless it may read the namespace that every region has.
        if namespace == ALL && Headers::of(&response).index == 0 {
            self.names("default", 0).await.map_err(|error| match error {
                Error::Status { status: 401 | 403, url, .. } => Error::Filtered {
                    url,
                    problem: "a list of all namespaces shows nothing, and this one is refused: the token lacks `read-job`, or there is none",
                },
                other => other,
            })?;
        }
        Ok(response)
    }

    async fn names(&self, namespace: &str, index: u64) -> Result<Response, Error> {
        let request = self.get("/v1/services", namespace);
        if index == 0 {
            return self.send(request).await;
        }
        let wait = self.config.wait;
        let request = request
            .with_query("index", index.to_string())
            .with_query("wait", duration::format(wait))
            .with_wait(wait)
            // A server that says nothing is noticed before what is known by it has become too old.
            .with_deadline(wait + wait / 16 + SLACK);
        self.send(request).await
    }

    /// Reads the instances of a service; from the leader, or from any server.
    pub(super) async fn service(&self, service: &ServiceId, leader: bool) -> Result<Response, Error> {
        let path = format!("/v1/service/{}", encode_segment(service.name()));
        let mut request = self.get(path, service.namespace());
        if !leader {
            request = request.with_query("stale", "");
        }
        self.send(request).await
    }

    /// Reads the results of the checks of an allocation.
    pub(super) async fn checks(&self, allocation: &str, namespace: &str) -> Result<Response, Error> {
        let path = format!("/v1/allocation/{}/checks", encode_segment(allocation));
        self.send(self.get(path, namespace)).await
    }

    /// Reads a page of the allocations of a namespace, or of all namespaces.
    pub(super) async fn allocations(&self, namespace: &str, page: Option<&str>) -> Result<Response, Error> {
        let mut request = self
            .get("/v1/allocations", namespace)
            .with_query("task_states", "false")
            .with_query("per_page", PAGE);
        if let Some(page) = page {
            request = request.with_query("next_token", page.to_owned());
        }
        self.send(request).await
    }

    /// Opens the stream of what happens to services of a namespace, or of all, after that index.
    pub(super) async fn events(&self, namespace: &str, index: u64) -> Result<Box<Lines>, Error> {
        let request = self
            .get("/v1/event/stream", namespace)
            .with_query("topic", "Service")
            .with_query("index", index.to_string())
            .with_lane(Lane::Watch);
        match self.client.open(&request).await? {
            Opened::Lines(lines) => Ok(lines),
            Opened::Refused(response) => Err(Error::status(&response)),
        }
    }

    fn get(&self, path: impl Into<String>, namespace: &str) -> Request {
        let mut request = Request::get(path).with_query("namespace", namespace.to_owned());
        if let Some(region) = &self.config.region {
            request = request.with_query("region", region.clone());
        }
        if self.config.urls().len() > 1 {
            request = request.with_fail_over(FailOver::always());
        }
        request
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
