//! Services, EndpointSlices and Nodes, mapped to records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_k8s::fuzzing::object(bytes));
