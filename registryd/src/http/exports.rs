//! `/v1/exports`: what clusters export to their clustersets, and what became of it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use registry_core::{RegistryId, Snapshot, Str};
use registry_mcs::{Condition, ExportStatus};
use serde::Serialize;

use super::Api;
use super::json::Text;
use super::problem::Problem;
use super::query::{self, Selection};
use super::registries::answer;

/// The kind of registries that tell of exports. What comes from another daemon says so as well, and was merged there.
const KIND: &str = "mcs";

/// All exports of one service, in order of precedence.
pub(super) struct Exported {
    pub(super) hostname: Str,
    pub(super) exports: Vec<ExportStatus>,
}

/// `GET /v1/exports`: the conditions of each export, by service.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct All<'a> {
        revision: u64,
        ready: bool,
        services: Vec<ExportedView<'a>>,
    }

    let query = query::exports(query.as_deref())?;
    // Asked before the snapshot is taken: readiness speaks of what is published already.
    let ready = api.discovery.readiness().ready;
    let snapshot = api.discovery.snapshot();
    let exported = select(&snapshot, &query.selection);
    Ok(answer(&All {
        revision: snapshot.revision(),
        ready,
        services: exported.iter().map(ExportedView::of).collect(),
    }))
}

/// The exports that are wanted, in the order of hostnames, also of services that are not served because none of their
/// exports can be.
pub(super) fn select(snapshot: &Snapshot, selection: &Selection) -> Vec<Exported> {
    let registries = snapshot.registries().iter();
    let telling = registries.filter(|registry| registry.kind() == KIND);
    let telling: Vec<&RegistryId> = telling.map(|registry| registry.id()).collect();
    if telling.is_empty() {
        return Vec::new();
    }
    let hostnames = registry_mcs::exported(snapshot).into_iter();
    let wanted = hostnames.filter(|hostname| selection.may_match(hostname));
    let exported = wanted.filter_map(|hostname| {
        let mut claims = snapshot.claims(hostname);
        if !claims.any(|(_, claim)| selection.in_namespace(claim.namespace())) {
            return None;
        }
        let mut exports = registry_mcs::exports(snapshot, hostname);
        exports
            .retain(|export| telling.contains(&&export.registry) && selection.of_registry(&export.registry));
        (!exports.is_empty()).then(|| Exported {
            hostname: hostname.clone(),
            exports,
        })
    });
    exported.collect()
}

#[derive(Serialize)]
struct ExportedView<'a> {
    hostname: &'a str,
    exports: Vec<ExportView<'a>>,
}

#[derive(Serialize)]
struct ExportView<'a> {
    registry: Text<&'a RegistryId>,
    cluster: &'a str,
    conditions: Vec<ConditionView<'a>>,
}

/// As the status of a ServiceExport has it.
#[derive(Serialize)]
struct ConditionView<'a> {
    r#type: &'static str,
    status: &'static str,
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

impl<'a> ExportedView<'a> {
    fn of(exported: &'a Exported) -> Self {
        Self {
            hostname: &exported.hostname,
            exports: exported.exports.iter().map(ExportView::of).collect(),
        }
    }
}

impl<'a> ExportView<'a> {
    fn of(export: &'a ExportStatus) -> Self {
        Self {
            registry: Text(&export.registry),
            cluster: &export.cluster,
            conditions: export.conditions.iter().map(ConditionView::of).collect(),
        }
    }
}

impl<'a> ConditionView<'a> {
    fn of(condition: &'a Condition) -> Self {
        Self {
            r#type: condition.kind,
            status: condition.status.as_str(),
            reason: &condition.reason,
            message: &condition.message,
        }
    }
}
