//! Eureka's `/apps` and `/apps/delta` in JSON, read to instances.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_eureka::fuzzing::json(bytes));
