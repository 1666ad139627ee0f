//! Metrics of the xDS server.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use registry_xds::{ResourceType, Xds};

use super::gauge;
use crate::http::xds::status::{kind, variant};

pub(super) fn encode(xds: &Xds, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let metrics = xds.clients().metrics();
    let help = "Streams of xDS that are open; the kind is unknown until the client has said it.";
    let mut family = encoder.encode_descriptor("registryd_xds_streams", help, None, MetricType::Gauge)?;
    for ((protocol, of), streams) in &metrics.streams {
        let labels = [
            ("protocol", variant(*protocol)),
            ("kind", of.map_or("unknown", kind)),
        ];
        family.encode_family(&labels)?.encode_gauge(&gauge(*streams))?;
    }
    for (name, help, counts) in [
        (
            "registryd_xds_responses",
            "Responses of xDS that were sent.",
            &metrics.responses,
        ),
        (
            "registryd_xds_nacks",
            "Responses of xDS that clients refused.",
            &metrics.nacks,
        ),
        (
            "registryd_xds_resources_sent",
            "Resources in responses of xDS.",
            &metrics.resources,
        ),
    ] {
        by_type(encoder, name, help, counts)?;
    }
    for (name, help, count) in [
        (
            "registryd_xds_sent_bytes",
            "Bytes in responses of xDS.",
            metrics.bytes,
        ),
        (
            "registryd_xds_refused",
            "Streams of xDS that were refused for want of a permitted identity.",
            metrics.refused,
        ),
    ] {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    let help = "Services that cannot be served over xDS as their registries have them.";
    let warnings = xds.views().warnings().len() as u64;
    encoder
        .encode_descriptor("registryd_xds_warnings", help, None, MetricType::Gauge)?
        .encode_gauge(&gauge(warnings))
}

/// All types, those without anything as well: a counter that appears with its first count hides that count.
fn by_type(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: &BTreeMap<ResourceType, u64>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for type_ in ResourceType::ALL {
        let count = counts.get(&type_).copied().unwrap_or(0);
        let labels = [("type", type_.as_str())];
        let mut metric = family.encode_family(&labels)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}
