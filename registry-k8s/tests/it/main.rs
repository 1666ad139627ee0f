//! Black-box tests of the crate, through its public API.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in what its cases share"
)]

mod fleet;
