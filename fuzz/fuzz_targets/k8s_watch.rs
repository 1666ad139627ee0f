//! The body of a Kubernetes watch, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_k8s::fuzzing::watch(bytes));
