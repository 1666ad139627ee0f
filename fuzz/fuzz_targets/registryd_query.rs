//! Query parameters of the daemon's API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registryd::fuzzing::query(bytes));
