//! Consul's `/v1/health/state/any`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_consul::fuzzing::checks(bytes));
