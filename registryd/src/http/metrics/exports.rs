//! Metrics of clustersets.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use registry_core::Snapshot;
use registry_mcs::{ExportStatus, Truth};

use super::gauge;
use crate::http::exports;
use crate::http::query::Selection;

/// What may be said of an export, the worst first. Every registry has all of them, so that none is missing where it is 0.
const STATES: [&str; 3] = ["invalid", "conflict", "fine"];

pub(super) fn encode(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let exported = exports::select(snapshot, &Selection::default());
    if exported.is_empty() {
        return Ok(());
    }
    let mut counts = BTreeMap::<&str, [u64; STATES.len()]>::new();
    for export in exported.iter().flat_map(|service| &service.exports) {
        counts.entry(export.registry.as_str()).or_default()[state(export)] += 1;
    }
    let help = "Exports of a cluster to its clusterset: invalid ones are not served, in a conflict others may have won.";
    let mut family = encoder.encode_descriptor("registryd_exports", help, None, MetricType::Gauge)?;
    for (registry, counts) in counts {
        for (state, count) in STATES.iter().zip(counts) {
            let labels = [("registry", registry), ("state", state)];
            family.encode_family(&labels)?.encode_gauge(&gauge(count))?;
        }
    }
    Ok(())
}

fn state(export: &ExportStatus) -> usize {
    let [valid, _, conflict] = &export.conditions;
    match (valid.status, conflict.status) {
        (Truth::False, _) => 0,
        (_, Truth::True) => 1,
        _ => 2,
    }
}
