//! Metrics of clustersets.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use registry_core::Snapshot;
use registry_mcs::{Exported, Standing};

use super::gauge;
use crate::http::exports;

/// What may be said of an export, the worst first. Every registry has all of them, so that none is missing where it is 0.
const STANDINGS: [(Standing, &str); 4] = [
    (Standing::Invalid, "invalid"),
    (Standing::LeftOut, "left_out"),
    (Standing::Conflict, "conflict"),
    (Standing::Fine, "fine"),
];

pub(super) fn encode(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let telling = exports::telling(snapshot);
    if telling.is_empty() {
        return Ok(());
    }
    let mut counts = BTreeMap::<&str, HashMap<Standing, u64>>::new();
    for service in &Exported::all(snapshot) {
        let exports = service.exports().iter();
        for export in exports.filter(|export| telling.contains(export.registry)) {
            let of_registry = counts.entry(export.registry.as_str()).or_default();
            *of_registry.entry(service.standing(export)).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return Ok(());
    }
    let help = "Exports of a cluster to its clusterset: invalid ones are not served, others may be left out by a policy or lose \
                in a conflict.";
    let mut family = encoder.encode_descriptor("registryd_exports", help, None, MetricType::Gauge)?;
    for (registry, counts) in counts {
        for (standing, state) in STANDINGS {
            let labels = [("registry", registry), ("state", state)];
            let count = counts.get(&standing).copied().unwrap_or_default();
            family.encode_family(&labels)?.encode_gauge(&gauge(count))?;
        }
    }
    Ok(())
}
