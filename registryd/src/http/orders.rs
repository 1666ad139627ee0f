//! What an operator tells the daemon to do: calls that change something.
//!
//! They are POST with a JSON content type, which no page in a browser can send here without asking first.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use registry_core::{Error, HeldBack, RegistryId};
use serde::Serialize;
use serde_json::Value;

use super::json::Text;
use super::problem::Problem;
use super::registries::{answer, find};
use super::{Api, query};

/// How long a call waits for its effect to be published.
const PUBLISHED: Duration = Duration::from_secs(2);

/// `POST /v1/registries/{id}/ack`: lets go of what is held back.
pub(super) async fn acknowledge(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Released<'a> {
        registry: &'a str,
        endpoints: usize,
        services: usize,
        names: Vec<Text<registry_core::ServiceId>>,
    }

    let id = order(&api, id, query.as_deref(), &headers, body)?;
    let snapshot = api.discovery.snapshot();
    let held = snapshot.registry(&id).and_then(|registry| registry.status().held);
    let endpoints = api
        .discovery
        .acknowledge(id.clone())
        .await
        .map_err(|error| failed(&error))?;
    let held = held.filter(|_| endpoints > 0);
    if endpoints > 0 {
        // Whoever looks next should find them gone. Where that takes longer they go all the same.
        let _ = tokio::time::timeout(PUBLISHED, api.discovery.published()).await;
    }
    let (services, names) = held.map_or_else(Default::default, |HeldBack { services, names, .. }| {
        (services, names.into_iter().map(Text).collect())
    });
    Ok(answer(&Released {
        registry: id.as_str(),
        endpoints,
        services,
        names,
    }))
}

/// `POST /v1/registries/{id}/resync`: asks the registry for everything, to compare.
pub(super) async fn resync(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Asked<'a> {
        registry: &'a str,
        requested: bool,
    }

    let id = order(&api, id, query.as_deref(), &headers, body)?;
    api.discovery.resync(id.clone()).await;
    let asked = Asked {
        registry: id.as_str(),
        requested: true,
    };
    Ok((StatusCode::ACCEPTED, answer(&asked)).into_response())
}

/// What all of them have in common. Returns the registry that is meant.
fn order(
    api: &Api,
    id: Result<Path<String>, PathRejection>,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<RegistryId, Problem> {
    query::none(query)?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("header \"content-type\": found {kind:?}, expected application/json"),
        ));
    }
    let body = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    if !body.trim_ascii().is_empty() {
        let parsed: Value = serde_json::from_slice(&body)
            .map_err(|error| Problem::bad_request(format!("body: found no JSON ({error}), expected {{}}")))?;
        if parsed.as_object().is_none_or(|fields| !fields.is_empty()) {
            return Err(Problem::bad_request(
                "body: found more than an empty object, expected {}",
            ));
        }
    }
    let Path(id) = id.map_err(|error| Problem::bad_request(error.body_text()))?;
    let snapshot = api.discovery.snapshot();
    find(&snapshot, &id).map(|registry| registry.id().clone())
}

fn failed(error: &Error) -> Problem {
    match error {
        Error::UnknownRegistry { .. } => Problem::new(StatusCode::NOT_FOUND, error.to_string()),
        _ => Problem::unavailable(error.to_string()),
    }
}
