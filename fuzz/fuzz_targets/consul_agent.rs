//! Consul's `/v1/agent/self`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_consul::fuzzing::agent(bytes));
