//! Files of services, mapped to records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_file::fuzzing::yaml(bytes));
