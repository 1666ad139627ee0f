//! `/metrics`: OpenMetrics, read from discovery when it is asked for. Nothing is counted twice.

#[cfg(feature = "mcs")]
mod exports;
#[cfg(feature = "xds")]
mod xds;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use registry_core::{Latency, Phase, RegistryStatus};

use super::problem::Problem;
use super::{Api, lock};

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// `GET /metrics`
pub(super) async fn scrape(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(api)));
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {error}")))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

struct Scrape(Arc<Api>);

impl Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.discovery.status();
        phases(&mut encoder, &status)?;
        for (name, help, value) in PER_REGISTRY {
            let kind = match value {
                Value::Gauge(_) => MetricType::Gauge,
                Value::Counter(_) => MetricType::Counter,
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for registry in &status {
                let labels = [("registry", registry.id.as_str()), ("kind", registry.kind)];
                match value {
                    Value::Gauge(value) => {
                        if let Some(value) = value(registry) {
                            family.encode_family(&labels)?.encode_gauge(&value)?;
                        }
                    }
                    Value::Counter(value) => {
                        let mut metric = family.encode_family(&labels)?;
                        metric.encode_counter::<NoLabelSet, _, u64>(&value(registry), None)?;
                    }
                }
            }
        }
        self.totals(&mut encoder)?;
        self.latency(&mut encoder)?;
        #[cfg(feature = "mcs")]
        exports::encode(&self.0.discovery.snapshot(), &mut encoder)?;
        #[cfg(feature = "xds")]
        if let Some(xds) = &self.0.options.xds {
            xds::encode(xds, &mut encoder)?;
        }
        self.requests(&mut encoder)
    }
}

/// How a value is read from a registry's status.
enum Value {
    Gauge(fn(&RegistryStatus) -> Option<f64>),
    Counter(fn(&RegistryStatus) -> u64),
}

/// The metrics that every registry has: name, help, value.
const PER_REGISTRY: [(&str, &str, Value); 18] = [
    (
        "registryd_registry_age_seconds",
        "Time since everything the registry has was last confirmed; absent before the first time.",
        Value::Gauge(|registry| registry.age.map(|age| age.as_secs_f64())),
    ),
    (
        "registryd_registry_attempts",
        "How often a watch was opened.",
        Value::Counter(|registry| registry.attempts),
    ),
    (
        "registryd_registry_panics",
        "How often the backend panicked.",
        Value::Counter(|registry| registry.panics),
    ),
    (
        "registryd_registry_requests",
        "Requests sent to the registry.",
        Value::Counter(|registry| registry.requests),
    ),
    (
        "registryd_registry_request_failures",
        "Requests to the registry that failed.",
        Value::Counter(|registry| registry.failures),
    ),
    (
        "registryd_registry_skipped_objects",
        "Objects of the registry that could not be read and were left out.",
        Value::Counter(|registry| registry.skipped),
    ),
    (
        "registryd_registry_connections",
        "Connections to the registry that are open.",
        Value::Gauge(|registry| Some(gauge(registry.connections))),
    ),
    (
        "registryd_registry_services",
        "Services of the registry that take part in the merge.",
        Value::Gauge(|registry| Some(gauge(registry.services as u64))),
    ),
    (
        "registryd_registry_endpoints",
        "Endpoints of the registry that take part in the merge.",
        Value::Gauge(|registry| Some(gauge(registry.endpoints as u64))),
    ),
    (
        "registryd_registry_degraded_scopes",
        "Parts of the registry that could not be read, counted up to 100.",
        Value::Gauge(|registry| Some(gauge(registry.degraded.len() as u64))),
    ),
    (
        "registryd_registry_held_endpoints",
        "Endpoints that the registry no longer lists and that are held back.",
        Value::Gauge(|registry| {
            Some(gauge(
                registry.held.as_ref().map_or(0, |held| held.endpoints as u64),
            ))
        }),
    ),
    (
        "registryd_registry_held_remaining_seconds",
        "Time until the registry is asked whether what is held back is gone; absent where nothing is.",
        Value::Gauge(|registry| Some(registry.held.as_ref()?.remaining.as_secs_f64())),
    ),
    (
        "registryd_registry_restored",
        "1 where what is served was read from disk and nothing was heard of the registry since.",
        Value::Gauge(|registry| Some(gauge(registry.restored.into()))),
    ),
    (
        "registryd_registry_outage_remaining_seconds",
        "Time until the endpoints of a stale registry are taken out; absent where they are not to be.",
        Value::Gauge(|registry| Some(registry.outage.remaining?.as_secs_f64())),
    ),
    (
        "registryd_registry_comparisons",
        "How often complete knowledge that was asked for was compared with what was held.",
        Value::Counter(|registry| registry.comparisons),
    ),
    (
        "registryd_registry_repaired_services",
        "Services that differed in a comparison and were put right.",
        Value::Counter(|registry| registry.repaired),
    ),
    (
        "registryd_registry_state_saved_timestamp_seconds",
        "When what is held was last written to disk; absent before the first time.",
        Value::Gauge(|registry| Some(gauge(registry.saved?.as_millis()) / 1000.0)),
    ),
    (
        "registryd_registry_state_save_failed",
        "1 where what is held could not be written to disk or read from it.",
        Value::Gauge(|registry| Some(gauge(registry.save_error.is_some().into()))),
    ),
];

#[allow(clippy::cast_precision_loss, reason = "there are not 2^53 of anything")]
fn gauge(value: u64) -> f64 {
    value as f64
}

fn phases(encoder: &mut DescriptorEncoder<'_>, status: &[RegistryStatus]) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "registryd_registry_phase",
        "1 for the phase that the registry is in, 0 for the others.",
        None,
        MetricType::Gauge,
    )?;
    for registry in status {
        for phase in Phase::ALL {
            let labels = [
                ("registry", registry.id.as_str()),
                ("kind", registry.kind),
                ("phase", phase.as_str()),
            ];
            let value = i64::from(registry.phase == phase);
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

impl Scrape {
    fn totals(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let api = &self.0;
        let snapshot = api.discovery.snapshot();
        let watches = api.watches.load(Ordering::Relaxed);
        let ready = u64::from(api.discovery.readiness().ready);
        for (name, help, value) in [
            (
                "registryd_snapshot_revision",
                "The revision of the published snapshot.",
                snapshot.revision(),
            ),
            (
                "registryd_services",
                "Services in the published snapshot.",
                snapshot.len() as u64,
            ),
            (
                "registryd_endpoints",
                "Endpoints in the published snapshot.",
                snapshot.endpoint_count() as u64,
            ),
            (
                "registryd_conflicts",
                "Conflicts between registries in the published snapshot.",
                snapshot.conflict_count() as u64,
            ),
            (
                "registryd_ready",
                "1 once consumers may rely on what is served.",
                ready,
            ),
            (
                "registryd_watch_clients",
                "Watches over HTTP that are open.",
                watches as u64,
            ),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&gauge(value))?;
        }
        // Revisions count publications.
        let help = "Snapshots that were published.";
        encoder
            .encode_descriptor("registryd_publications", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&snapshot.revision(), None)?;
        let help = "The version of the daemon.";
        encoder
            .encode_descriptor("registryd_build", help, None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let latency = self.0.discovery.latency();
        let counts = latency.counts();
        let bounds = Latency::BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        encoder
            .encode_descriptor(
                "registryd_update_latency_seconds",
                "Time from the arrival of an update to its publication.",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(latency.sum().as_secs_f64(), counts.iter().sum(), &buckets, None)
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let requests = lock(&self.0.requests).clone();
        let help = "Requests over HTTP that were answered.";
        let mut family =
            encoder.encode_descriptor("registryd_http_requests", help, None, MetricType::Counter)?;
        for ((route, status), count) in &requests {
            let labels = [("route", route.as_str()), ("status", &status.to_string())];
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        Ok(())
    }
}
