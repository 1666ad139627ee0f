//! Kubeconfigs, from files and from Secrets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_k8s::fuzzing::kubeconfig(bytes));
