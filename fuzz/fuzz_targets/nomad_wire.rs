//! What Nomad answers: lists, services, allocations, checks and events, mapped to records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_consul::fuzzing::nomad(bytes));
