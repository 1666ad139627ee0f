//! Consul's `/v1/catalog/services`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_consul::fuzzing::catalog(bytes));
