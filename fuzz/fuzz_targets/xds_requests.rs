//! What a client says on a stream while services change: nothing breaks, and it ends up with what there is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_xds::fuzzing::requests(bytes));
