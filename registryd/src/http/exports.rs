//! `/v1/exports`: what clusters export to their clustersets, and what became of it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use registry_core::{RegistryId, Snapshot, Str};
use registry_mcs::{Condition, ExportStatus, Exported};
use serde::Serialize;

use super::Api;
use super::json::Text;
use super::problem::Problem;
use super::query;
use super::registries::answer;

/// The kind of registries that tell of exports. What comes from another daemon says so as well, and was merged there.
const KIND: &str = "mcs";

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
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a str>,
    }

    let query = query::exports(query.as_deref())?;
    // Asked before the snapshot is taken: readiness speaks of what is published already.
    let ready = api.discovery.readiness().ready;
    let snapshot = api.discovery.snapshot();
    let registries = telling(&snapshot);
    // Most daemons have none, and claims may be many.
    let mut exported = match registries.is_empty() {
        true => Vec::new(),
        false => Exported::all(&snapshot),
    };
    if let Some(after) = &query.after {
        let start = exported.partition_point(|service| service.hostname().as_str() <= after.as_str());
        exported.drain(..start);
    }
    let selection = &query.selection;
    exported.retain(|service| {
        let mut exports = service.exports().iter();
        selection.may_match(service.hostname())
            && exports.any(|export| {
                registries.contains(export.registry)
                    && selection.of_registry(export.registry)
                    && selection.in_namespace(export.meta.namespace())
            })
    });
    let limit = query.limit.unwrap_or(usize::MAX);
    let more = exported.len() > limit;
    exported.truncate(limit);
    // Messages are made of what is shown alone.
    let shown: Vec<(&Str, Vec<ExportStatus>)> = exported
        .iter()
        .map(|service| {
            let mut exports = service.statuses();
            exports.retain(|export| {
                registries.contains(&export.registry) && selection.of_registry(&export.registry)
            });
            (service.hostname(), exports)
        })
        .collect();
    Ok(answer(&All {
        revision: snapshot.revision(),
        ready,
        services: shown.iter().map(ExportedView::of).collect(),
        next: shown
            .last()
            .filter(|_| more)
            .map(|(hostname, _)| hostname.as_str()),
    }))
}

/// The registries that tell of exports themselves.
pub(super) fn telling(snapshot: &Snapshot) -> HashSet<&RegistryId> {
    let registries = snapshot.registries().iter();
    let telling = registries.filter(|registry| registry.kind() == KIND);
    telling.map(|registry| registry.id()).collect()
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
    fn of((hostname, exports): &'a (&Str, Vec<ExportStatus>)) -> Self {
        Self {
            hostname,
            exports: exports.iter().map(ExportView::of).collect(),
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
