//! The bodies of state files, which hold what was last known of a registry.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_core::fuzzing::state(bytes));
