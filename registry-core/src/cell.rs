//! The published snapshot: one cell that readers load from and one writer stores to.

use std::sync::{Arc, RwLock};

use arc_swap::ArcSwapAny;

/// Holds the newest of a series of values. Guards never leave it, and it uses `arc-swap`'s lock-based strategy: a
/// load is a lock and a reference count, which control planes never notice, and nothing about it is subtle.
pub(crate) struct Cell<T>(ArcSwapAny<Arc<T>, RwLock<()>>);

impl<T> Cell<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(ArcSwapAny::with_strategy(value, RwLock::default()))
    }

    pub(crate) fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        self.0.store(value);
    }
}
