//! What the tests read of the daemon's answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::truth::Claim;

/// All services: the answer for a list, and a watch's `reset`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Listing {
    pub(crate) revision: u64,
    pub(crate) ready: bool,
    pub(crate) root_hash: String,
    pub(crate) services: Vec<Service>,
    pub(crate) registries: BTreeMap<String, Trust>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Trust {
    pub(crate) phase: String,
}

/// What changed: a watch's `delta`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Delta {
    pub(crate) to: u64,
    pub(crate) root_hash: String,
    pub(crate) updated: Vec<Service>,
    pub(crate) removed: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Service {
    pub(crate) hostname: String,
    pub(crate) hash: String,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) health: String,
    pub(crate) weight: u32,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) sources: Vec<Source>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Source {
    pub(crate) registry: String,
}

/// What registries say of which endpoints exist.
pub(crate) fn claims<'a>(services: impl IntoIterator<Item = &'a Service>) -> BTreeSet<Claim> {
    let mut claims = BTreeSet::new();
    for service in services {
        for endpoint in &service.endpoints {
            claims.extend(endpoint.sources.iter().map(|source| Claim {
                registry: source.registry.clone(),
                hostname: service.hostname.clone(),
                address: endpoint.address.clone(),
            }));
        }
    }
    claims
}

/// How many endpoints a registry's status says are held.
pub(crate) fn held_endpoints(registry: &Value) -> Option<usize> {
    registry["held"]["endpoints"].as_u64()?.try_into().ok()
}
