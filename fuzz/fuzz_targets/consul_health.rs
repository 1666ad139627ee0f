//! Consul's `/v1/health/service/NAME`, mapped to records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_consul::fuzzing::health(bytes));
