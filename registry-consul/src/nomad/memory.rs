//! What is kept from one watch to the next.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use registry_core::ServiceId;

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Services that had instances.
    pub(super) known: HashSet<ServiceId>,
    /// The highest index that a leader told of.
    pub(super) high: u64,
    /// Complete knowledge is wanted in earnest, and was not given yet.
    pub(super) strong: bool,
}

/// Its holders never panic half-way through a change: what a poisoned lock guards is still whole.
pub(super) fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
