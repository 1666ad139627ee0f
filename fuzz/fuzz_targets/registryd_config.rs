//! The daemon's configuration, with all its checks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registryd::fuzzing::config(bytes));
