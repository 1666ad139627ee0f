//! A page of a Kubernetes list.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_k8s::fuzzing::page(bytes));
