//! What another daemon sends to those that watch it, read to services and to the registries behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_remote::fuzzing::daemon_events(bytes));
