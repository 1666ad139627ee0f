//! What is read from an answer of any registry over HTTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_http::fuzzing::answer(bytes));
