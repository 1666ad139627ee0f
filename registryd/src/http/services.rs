//! `/v1/services`: all services, and one of them.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use registry_core::{Lookup, RegistryId, Service, Snapshot};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::document::Document;
use super::etag::Tag;
use super::json::{self, Trust};
use super::problem::Problem;
use super::query::{self, Selection};
use super::{Api, nearest};

/// `GET /v1/services`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query::list(query.as_deref())?;
    // Asked before the snapshot is taken: readiness speaks of what is published already.
    let ready = api.discovery.readiness().ready;
    let snapshot = api.discovery.snapshot();
    let mut services = select(&snapshot, &query.selection);
    if let Some(after) = &query.after {
        let start = services.partition_point(|service| service.hostname().as_str() <= after.as_str());
        services.drain(..start);
    }
    let limit = query.limit.unwrap_or(usize::MAX);
    let more = services.len() > limit;
    services.truncate(limit);

    let mut tag = Tag::new(if ready { "ready" } else { "not ready" });
    for service in &services {
        tag.service(service);
    }
    for registry in snapshot.registries() {
        tag.registry(registry);
    }
    tag.text(if more { "more" } else { "all" });
    let tag = tag.finish();
    if tag.is_held(&headers) {
        return Ok(tag.not_modified());
    }
    let next = services
        .last()
        .filter(|_| more)
        .map(|last| last.hostname().clone());
    let mut document = full(&snapshot, services, ready);
    if let Some(next) = next {
        let mut text = b",\"next\":".to_vec();
        json::append(&mut text, &next.as_str());
        document = document.text(text);
    }
    Ok(tag.mark(answer(document.text("}"))))
}

/// `GET /v1/services/{hostname}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    query::none(query.as_deref())?;
    let Path(name) = name.map_err(|error| Problem::bad_request(error.body_text()))?;
    let ready = api.discovery.readiness().ready;
    let snapshot = api.discovery.snapshot();
    let service = match snapshot.lookup(&name) {
        Lookup::Found(service) => service.clone(),
        Lookup::Undecided(awaited) => return Err(undecided(&name, &awaited)),
        Lookup::NotFound if !ready => {
            let known = snapshot.registries().iter();
            let awaited: Vec<_> = known.filter(|r| !r.is_known()).map(|r| r.id()).collect();
            return Err(undecided(&name, &awaited));
        }
        Lookup::NotFound => return Err(not_found(&snapshot, &name)),
    };
    let sources: Vec<&RegistryId> = service.sources().iter().map(|source| &source.registry).collect();
    let mut tag = Tag::new("service");
    tag.service(&service);
    for id in &sources {
        if let Some(registry) = snapshot.registry(id) {
            tag.registry(registry);
        }
    }
    let tag = tag.finish();
    if tag.is_held(&headers) {
        return Ok(tag.not_modified());
    }
    let mut more = b",\"registries\":".to_vec();
    json::append(
        &mut more,
        &Registries {
            snapshot: &snapshot,
            only: Some(&sources),
        },
    );
    Ok(tag.mark(answer(Document::default().service(service, more))))
}

/// The services that are wanted, in the order of their hostnames.
pub(super) fn select(snapshot: &Snapshot, selection: &Selection) -> Vec<Arc<Service>> {
    let mut services: Vec<Arc<Service>> = snapshot
        .services()
        .filter(|service| selection.matches(service))
        .cloned()
        .collect();
    services.sort_unstable_by(|a, b| a.hostname().cmp(b.hostname()));
    services
}

/// The full state, without its closing brace.
pub(super) fn full(snapshot: &Snapshot, services: Vec<Arc<Service>>, ready: bool) -> Document {
    let (revision, root) = (snapshot.revision(), snapshot.root_hash());
    let mut registries = b"],\"registries\":".to_vec();
    json::append(&mut registries, &Registries { snapshot, only: None });
    Document::default()
        .text(format!(
            "{{\"revision\":{revision},\"root_hash\":\"{root}\",\"ready\":{ready},\"services\":["
        ))
        .services(services)
        .text(registries)
}

/// Phase and age by registry.
pub(super) struct Registries<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) only: Option<&'a [&'a RegistryId]>,
}

impl Serialize for Registries<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for registry in self.snapshot.registries() {
            if self.only.is_none_or(|only| only.contains(&registry.id())) {
                map.serialize_entry(registry.id().as_str(), &Trust::of(registry))?;
            }
        }
        map.end()
    }
}

fn answer(document: Document) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], document.into_body()).into_response()
}

fn undecided(name: &str, awaited: &[&RegistryId]) -> Problem {
    let awaited: Vec<String> = awaited.iter().map(ToString::to_string).collect();
    let detail = if awaited.is_empty() {
        format!("service {name:?}: not known, and the daemon is not ready yet")
    } else {
        format!(
            "service {name:?}: not known, but registries that may have it have not said anything yet: {}",
            awaited.join(", ")
        )
    };
    Problem::unavailable(detail).with("awaited", awaited)
}

fn not_found(snapshot: &Snapshot, name: &str) -> Problem {
    let registry = name.rsplit_once('@').map(|(_, registry)| registry);
    let unknown = registry.filter(|registry| {
        let known = |id: &RegistryId| id.as_str() == *registry;
        !snapshot.registries().iter().any(|held| known(held.id()))
    });
    let mut detail = match unknown {
        Some(registry) => format!("service {name:?}: there is no registry {registry:?}"),
        None => format!("service {name:?}: there is none of this name"),
    };
    let mut problem = Problem::new(StatusCode::NOT_FOUND, "");
    if let Some(nearest) = nearest::hostname(snapshot, name) {
        detail.push_str(&format!(", did you mean {:?}", nearest.as_str()));
        problem = problem.with("nearest", nearest.as_str());
    }
    problem.with_detail(detail)
}
