//! Documents of HTTP service discovery, in JSON and YAML, read to services.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_remote::fuzzing::http_sd(bytes));
