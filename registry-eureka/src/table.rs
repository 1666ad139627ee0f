//! What the server holds, as far as we know: every instance of every application, and what follows from them.
//!
//! A delta changes single instances, a full fetch is staged beside the table and takes its place when it is complete.
//! Instances that did not change keep their endpoints, whichever of the two told of them.

use std::sync::Arc;

use registry_core::{PortDefaults, ServiceId, ServiceRecord};

use crate::config::EurekaConfig;
use crate::wire::Application;

/// The registry as held.
#[derive(Debug)]
pub(crate) struct Table {
    config: Arc<EurekaConfig>,
    ports: PortDefaults,
}

/// A full fetch under way.
#[derive(Debug)]
pub(crate) struct Staged {}

/// What a delta, or a full fetch, made of the table.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Services whose record is another one now.
    pub(crate) applied: Vec<ServiceRecord>,
    /// Services without an instance now.
    pub(crate) deleted: Vec<ServiceId>,
    /// Services of which something could not be read this time, and what: they keep what they had.
    pub(crate) troubles: Vec<(ServiceId, String)>,
    /// Instances that could not be read.
    pub(crate) skipped: u64,
}

impl Table {
    pub(crate) fn new(config: Arc<EurekaConfig>, ports: PortDefaults) -> Self {
        Self { config, ports }
    }

    /// Begins a full fetch.
    pub(crate) fn stage(&self) -> Staged {
        unimplemented!("table")
    }

    /// Takes in an application of a full fetch. The table itself stays as it is.
    pub(crate) fn stage_application(&mut self, staged: &mut Staged, application: Application<'_>) {
        let _ = (staged, application);
        unimplemented!("table")
    }

    /// Puts a complete full fetch in place of what was held, and says what became different.
    pub(crate) fn replace(&mut self, staged: Staged) -> Changes {
        let _ = staged;
        unimplemented!("table")
    }

    /// Takes in an application of a delta. Idempotent: the same change comes again in every delta for minutes.
    pub(crate) fn apply(&mut self, application: Application<'_>) {
        let _ = application;
        unimplemented!("table")
    }

    /// What was changed by [`apply`](Self::apply) since the last call.
    pub(crate) fn changes(&mut self) -> Changes {
        unimplemented!("table")
    }

    /// Every service as it is held.
    pub(crate) fn records(&self) -> impl Iterator<Item = ServiceRecord> {
        std::iter::empty()
    }

    /// The number of instances of each status, as a server writes it: over all applications, watched or not, and all
    /// instances, readable or not.
    pub(crate) fn hash(&self) -> String {
        let _ = (&self.config, &self.ports);
        unimplemented!("table")
    }
}
