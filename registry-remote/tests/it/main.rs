//! Tests of what others publish, as registries.
