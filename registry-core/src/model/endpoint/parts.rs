//! An endpoint taken apart and put together again, with its history: for what is kept on disk.

use std::sync::Arc;

use super::super::{Addresses, Attributes, EndpointPorts, Health, Origins, Place, Timestamp};
use super::{Claim, Endpoint, Extra, Marks};
use crate::text::Str;

/// All that an endpoint consists of. Who names every field in a pattern is told by the compiler of any new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointParts<'a> {
    pub(crate) addresses: &'a Addresses,
    pub(crate) ports: &'a Arc<EndpointPorts>,
    pub(crate) attributes: &'a Arc<Attributes>,
    pub(crate) place: &'a Arc<Place>,
    pub(crate) id: &'a str,
    pub(crate) status: &'a Str,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_changed: Timestamp,
    /// None where it is empty.
    pub(crate) hostname: Option<&'a Str>,
    pub(crate) node_hints: &'a [Str],
    /// Those of the first claim.
    pub(crate) origins: &'a Origins,
    /// The claims after the first one, which `id`, `status`, the times, `source` and `origins` are.
    pub(crate) claims: &'a [Claim],
    pub(crate) weight: u32,
    pub(crate) source: u8,
    pub(crate) priority: u8,
    pub(crate) health: Health,
    pub(crate) administrative: bool,
}

impl Endpoint {
    /// What it consists of, but for the mark of being held back: that is for the guard to say, who begins anew with
    /// every start.
    pub(crate) fn parts(&self) -> EndpointParts<'_> {
        let Self {
            addresses,
            ports,
            attributes,
            place,
            id,
            status,
            first_seen,
            last_changed,
            extra,
            weight,
            source,
            priority,
            health,
            marks,
        } = self;
        let (hostname, node_hints, origins, claims) = match extra.as_deref() {
            Some(Extra {
                hostname,
                node_hints,
                origins,
                claims,
            }) => (Some(hostname), &**node_hints, origins, claims.as_slice()),
            None => (None, Default::default(), self.origins(), Default::default()),
        };
        EndpointParts {
            addresses,
            ports,
            attributes,
            place,
            id,
            status,
            first_seen: *first_seen,
            last_changed: *last_changed,
            hostname: hostname.filter(|hostname| !hostname.is_empty()),
            node_hints,
            origins,
            claims,
            weight: *weight,
            source: *source,
            priority: *priority,
            health: *health,
            administrative: marks.has(Marks::ADMINISTRATIVE),
        }
    }

    /// Says who said so to the registry of a claim, counted from 0. False where there is no such claim.
    pub(crate) fn set_origins(&mut self, claim: usize, origins: Origins) -> bool {
        let extra = self.extra.get_or_insert_default();
        let place = match claim.checked_sub(1) {
            None => Some(&mut extra.origins),
            Some(later) => extra.claims.get_mut(later).map(|claim| &mut claim.origins),
        };
        place.map(|place| *place = origins).is_some()
    }

    /// The endpoint that consists of these.
    pub(crate) fn from_parts(parts: &EndpointParts<'_>) -> Self {
        let EndpointParts {
            addresses,
            ports,
            attributes,
            place,
            id,
            status,
            first_seen,
            last_changed,
            hostname,
            node_hints,
            origins,
            claims,
            weight,
            source,
            priority,
            health,
            administrative,
        } = parts;
        let extra = Extra {
            hostname: hostname.cloned().unwrap_or_default(),
            node_hints: Box::from(*node_hints),
            origins: Origins::clone(origins),
            claims: claims.to_vec(),
        };
        Self {
            addresses: Addresses::clone(addresses),
            ports: Arc::clone(ports),
            attributes: Arc::clone(attributes),
            place: Arc::clone(place),
            id: Box::from(*id),
            status: Str::clone(status),
            first_seen: *first_seen,
            last_changed: *last_changed,
            extra: extra.boxed(),
            weight: *weight,
            source: *source,
            priority: *priority,
            health: *health,
            marks: Marks::default().with(Marks::ADMINISTRATIVE, *administrative),
        }
    }
}
