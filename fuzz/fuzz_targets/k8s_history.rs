//! What one object after another makes of the Kubernetes index, and their removal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_k8s::fuzzing::history(bytes));
