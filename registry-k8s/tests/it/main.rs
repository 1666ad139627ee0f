//! Black-box tests of the crate, through its public API.

mod fleet;
