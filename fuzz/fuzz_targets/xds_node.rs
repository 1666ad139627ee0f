//! A node, as clients describe themselves and as users write it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_xds::fuzzing::node(bytes));
