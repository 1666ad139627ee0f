//! The stream of events that `registryd watch` reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registryd::fuzzing::watch(bytes));
