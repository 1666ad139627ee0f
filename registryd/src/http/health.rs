//! `/healthz` and `/readyz`, for those who start, restart and route to the daemon.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use registry_core::{RegistryId, RegistryStatus};
use serde_json::{Value, json};

use super::Api;
use super::problem::Problem;

/// `GET /healthz`: whether the process does its work. It says nothing about registries: restarting the daemon mends
/// none of them.
pub(super) async fn alive(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    if !api.discovery.is_running() && !api.stop.is_cancelled() {
        return Err(Problem::unavailable(
            "discovery has ended, nothing is followed any more",
        ));
    }
    Ok(answer(&json!({ "healthy": true })))
}

/// `GET /readyz`: whether consumers may rely on what is served, and what is awaited.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let readiness = api.discovery.readiness();
    let status = api.discovery.status();
    let awaited: Vec<Value> = readiness.awaited.iter().map(|id| awaited(id, &status)).collect();
    // Served as it was last known, and not heard of since.
    let restored = status.iter().filter(|status| status.restored);
    let restored: Vec<&str> = restored.map(|status| status.id.as_str()).collect();
    if api.closing.is_cancelled() {
        return Err(Problem::unavailable("shutting down").with("ready", false));
    }
    if readiness.ready {
        return Ok(answer(
            &json!({ "ready": true, "awaited": awaited, "restored": restored }),
        ));
    }
    let detail = if awaited.is_empty() {
        "not ready: nothing is published yet".to_owned()
    } else {
        let reasons: Vec<String> = readiness.awaited.iter().map(|id| reason(id, &status)).collect();
        format!("not ready: {}", reasons.join("; "))
    };
    Err(Problem::unavailable(detail)
        .with("ready", false)
        .with("awaited", awaited)
        .with("restored", restored))
}

fn find<'a>(id: &RegistryId, status: &'a [RegistryStatus]) -> Option<&'a RegistryStatus> {
    status.iter().find(|status| status.id == *id)
}

fn awaited(id: &RegistryId, status: &[RegistryStatus]) -> Value {
    let Some(status) = find(id, status) else {
        return json!({ "registry": id.as_str() });
    };
    json!({
        "registry": id.as_str(),
        "kind": status.kind,
        "required": status.required,
        "phase": status.phase.as_str(),
        "attempts": status.attempts,
        "last_error": status.last_error.as_ref().map(|error| &error.message),
    })
}

fn reason(id: &RegistryId, status: &[RegistryStatus]) -> String {
    let Some(status) = find(id, status) else {
        return format!("registry {id}");
    };
    let required = if status.required { "required" } else { "optional" };
    let phase = status.phase.as_str();
    match &status.last_error {
        Some(error) => format!("registry {id} ({required}) is {phase}: {}", error.message),
        None => format!("registry {id} ({required}) is {phase}"),
    }
}

fn answer(value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, value.to_string()).into_response()
}
