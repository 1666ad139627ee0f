//! Services and slices of one cluster, joined to records. Synchronous, and without a clock of its own.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{PortDefaults, RegistryError, ServiceId, ServiceRecord, Str};
use tokio::time::Instant;

/// The kinds of object that are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Service,
    Slice,
    /// Metadata alone.
    Node,
}

/// A kind of object in a namespace, or in all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    /// `None` for all namespaces, and for nodes.
    pub(crate) namespace: Option<Str>,
}

/// Settings of the mapping.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    pub(crate) cluster: Str,
    pub(crate) network: Str,
    pub(crate) fqdn: bool,
    pub(crate) removal_delay: Duration,
    pub(crate) ports: PortDefaults,
}

/// How an object came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Listed,
    Watched,
}

/// What has changed for one service.
#[derive(Debug)]
pub(crate) enum Change {
    Apply { record: ServiceRecord, explicit: bool },
    Delete { id: ServiceId, explicit: bool },
}

/// An object that cannot be read. What was known of it stays.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The service that it belongs to, as far as that can be told.
    pub(crate) service: Option<ServiceId>,
    /// Names the object and the field, what was found and what was expected.
    pub(crate) error: Arc<RegistryError>,
}

/// All that is known of one cluster.
#[derive(Debug)]
pub(crate) struct Index {}

impl Index {
    pub(crate) fn new(_mapping: Mapping) -> Self {
        unimplemented!()
    }

    /// A complete listing of the part begins; one under way is forgotten. What is applied from now on is true at once,
    /// and marked as listed.
    pub(crate) fn begin(&mut self, _part: &Part) {
        unimplemented!()
    }

    /// An object is as given. `now` is what removals are delayed from.
    pub(crate) fn apply(
        &mut self,
        _kind: Kind,
        _object: &[u8],
        _source: Source,
        _now: Instant,
    ) -> Result<(), Unreadable> {
        unimplemented!()
    }

    /// An object was removed, and was like this at the end.
    pub(crate) fn remove(&mut self, _kind: Kind, _object: &[u8], _now: Instant) -> Result<(), Unreadable> {
        unimplemented!()
    }

    /// The listing is complete: what of the part was not listed since `begin` is gone, without having been announced.
    pub(crate) fn complete(&mut self, _part: &Part, _now: Instant) {
        unimplemented!()
    }

    /// Everything of a namespace is gone at once, because it is not watched any more; `explicit` where that was announced.
    pub(crate) fn forget(&mut self, _namespace: &str, _explicit: bool) {
        unimplemented!()
    }

    /// What changed since the last call, removals that are due by now included, each service at most once.
    pub(crate) fn take_changes(&mut self, _now: Instant) -> Vec<Change> {
        unimplemented!()
    }

    /// When the next delayed removal is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// All services of a namespace, or of all of them, as last taken or changed since.
    pub(crate) fn records<'a>(
        &'a self,
        _namespace: Option<&'a str>,
    ) -> impl Iterator<Item = ServiceRecord> + 'a {
        std::iter::empty()
    }

    /// Services of which an object cannot be read now, each with the last such error.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = (&ServiceId, &Arc<RegistryError>)> {
        std::iter::empty()
    }
}
