//! Files of services that are JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_file::fuzzing::json(bytes));
