//! A record taken apart, for what is kept on disk. Put together again it is by the builder.

use std::sync::Arc;

use super::{Resolution, ServiceMeta, ServicePort, ServiceRecord, Traffic, Vip};
use crate::endpoint_set::EndpointSet;
use crate::model::{Labels, ServiceId, Timestamp};
use crate::text::Str;

/// All that a service consists of beside its endpoints. Who names every field in a pattern is told by the compiler of
/// any new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetaParts<'a> {
    pub(crate) id: &'a ServiceId,
    pub(crate) aliases: &'a [Str],
    pub(crate) ports: &'a [ServicePort],
    pub(crate) addresses: &'a [Vip],
    pub(crate) labels: &'a Labels,
    pub(crate) metadata: &'a Labels,
    pub(crate) variables: &'a Labels,
    pub(crate) origins: &'a [Str],
    pub(crate) traffic: &'a Traffic,
    pub(crate) created: Option<Timestamp>,
    pub(crate) resolution: Resolution,
}

impl ServiceMeta {
    /// What it consists of.
    pub(crate) fn parts(&self) -> MetaParts<'_> {
        let Self {
            id,
            aliases,
            ports,
            addresses,
            labels,
            metadata,
            variables,
            origins,
            traffic,
            created,
            resolution,
            digest: _,
        } = self;
        MetaParts {
            id,
            aliases,
            ports,
            addresses,
            labels,
            metadata,
            variables,
            origins,
            traffic,
            created: *created,
            resolution: *resolution,
        }
    }
}

impl ServiceRecord {
    /// What it consists of.
    pub(crate) fn parts(&self) -> (&Arc<ServiceMeta>, &EndpointSet) {
        let Self { meta, endpoints } = self;
        (meta, endpoints)
    }
}
