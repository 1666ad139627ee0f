//! `/v1/registries`: all about each registry, as of now.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use registry_core::{
    DegradedScope, HeldBack, InstanceId, LastError, Outage, OutageStatus, RegistryStatus, RegistrySummary,
    Scope, ServiceId, Snapshot, Timestamp,
};
use serde::Serialize;

use super::json::{self, AllBehind, Text};
use super::problem::Problem;
use super::{Api, nearest, query};

/// `GET /v1/registries`, in order of precedence.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct All<'a> {
        instance: Text<InstanceId>,
        revision: u64,
        ready: bool,
        registries: Vec<StatusView<'a>>,
    }

    query::none(query.as_deref())?;
    let status = api.discovery.status();
    Ok(answer(&All {
        instance: Text(api.discovery.instance()),
        revision: api.discovery.snapshot().revision(),
        ready: api.discovery.readiness().ready,
        registries: status.iter().map(StatusView::of).collect(),
    }))
}

/// `GET /v1/registries/{id}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref())?;
    let Path(id) = id.map_err(|error| Problem::bad_request(error.body_text()))?;
    let snapshot = api.discovery.snapshot();
    let status = find(&snapshot, &id)?.status();
    Ok(answer(&StatusView::of(&status)))
}

/// The registry of that name, or a problem that names the nearest one.
pub(super) fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Result<&'a RegistrySummary, Problem> {
    let mut registries = snapshot.registries().iter();
    if let Some(registry) = registries.find(|registry| registry.id().as_str() == id) {
        return Ok(registry);
    }
    let ids = snapshot
        .registries()
        .iter()
        .map(|registry| registry.id().as_str());
    let mut problem = Problem::new(StatusCode::NOT_FOUND, "");
    let mut detail = format!("registry {id:?}: there is none of this name");
    if let Some(nearest) = nearest::among(id, ids) {
        detail.push_str(&format!(", did you mean {nearest:?}"));
        problem = problem.with("nearest", nearest);
    }
    Err(problem.with_detail(detail))
}

pub(super) fn answer(value: &impl Serialize) -> Response {
    let mut body = Vec::new();
    json::append(&mut body, value);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}

#[derive(Serialize)]
struct StatusView<'a> {
    id: &'a str,
    kind: &'static str,
    required: bool,
    phase: &'static str,
    since: Text<Timestamp>,
    age_s: Option<f64>,
    last_confirmed: Option<Text<Timestamp>>,
    attempts: u64,
    panics: u64,
    last_error: Option<ErrorView<'a>>,
    degraded: Vec<DegradedView<'a>>,
    services: usize,
    endpoints: usize,
    warnings: &'a [String],
    requests: u64,
    failures: u64,
    skipped: u64,
    connections: u64,
    note: Option<&'a str>,
    restored: bool,
    held: Option<HeldView<'a>>,
    outage: OutageView,
    comparisons: u64,
    repaired: u64,
    saved: Option<Text<Timestamp>>,
    save_error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Text<InstanceId>>,
    #[serde(skip_serializing_if = "AllBehind::is_empty")]
    behind: AllBehind,
}

#[derive(Serialize)]
struct HeldView<'a> {
    endpoints: usize,
    services: usize,
    names: Vec<Text<&'a ServiceId>>,
    since: Text<Timestamp>,
    remaining_s: Option<f64>,
}

#[derive(Serialize)]
struct OutageView {
    policy: &'static str,
    keep_for_s: Option<f64>,
    since: Option<Text<Timestamp>>,
    remaining_s: Option<f64>,
}

#[derive(Serialize)]
struct ErrorView<'a> {
    at: Text<Timestamp>,
    kind: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct DegradedView<'a> {
    scope: Text<&'a Scope>,
    stale: bool,
    failures: u32,
    kind: &'static str,
    error: &'a str,
}

impl<'a> StatusView<'a> {
    fn of(status: &'a RegistryStatus) -> Self {
        Self {
            id: status.id.as_str(),
            kind: status.kind,
            required: status.required,
            phase: status.phase.as_str(),
            since: Text(status.since),
            age_s: json::seconds(status.age),
            last_confirmed: status.last_confirmed.map(Text),
            attempts: status.attempts,
            panics: status.panics,
            last_error: status.last_error.as_ref().map(ErrorView::of),
            degraded: status.degraded.iter().map(DegradedView::of).collect(),
            services: status.services,
            endpoints: status.endpoints,
            warnings: &status.warnings,
            requests: status.requests,
            failures: status.failures,
            skipped: status.skipped,
            connections: status.connections,
            note: status.note.as_deref(),
            restored: status.restored,
            held: status.held.as_ref().map(HeldView::of),
            outage: OutageView::of(status.outage),
            comparisons: status.comparisons,
            repaired: status.repaired,
            saved: status.saved.map(Text),
            save_error: status.save_error.as_deref(),
            instance: status.instance.map(Text),
            behind: AllBehind(status.behind.as_slice().into()),
        }
    }
}

impl<'a> HeldView<'a> {
    fn of(held: &'a HeldBack) -> Self {
        Self {
            endpoints: held.endpoints,
            services: held.services,
            names: held.names.iter().map(Text).collect(),
            since: Text(held.since),
            remaining_s: json::seconds(Some(held.remaining)),
        }
    }
}

impl OutageView {
    fn of(outage: OutageStatus) -> Self {
        let keep_for = match outage.policy {
            Outage::KeepFor(time) => Some(time),
            _ => None,
        };
        Self {
            policy: outage.policy.as_str(),
            keep_for_s: json::seconds(keep_for),
            since: outage.since.map(Text),
            remaining_s: json::seconds(outage.remaining),
        }
    }
}

impl<'a> ErrorView<'a> {
    fn of(error: &'a LastError) -> Self {
        Self {
            at: Text(error.at),
            kind: error.kind.as_str(),
            message: &error.message,
        }
    }
}

impl<'a> DegradedView<'a> {
    fn of(degraded: &'a DegradedScope) -> Self {
        Self {
            scope: Text(&degraded.scope),
            stale: degraded.stale,
            failures: degraded.failures,
            kind: degraded.kind.as_str(),
            error: &degraded.error,
        }
    }
}
