//! What one document of a Eureka server after another makes of what is held of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_eureka::fuzzing::history(bytes));
