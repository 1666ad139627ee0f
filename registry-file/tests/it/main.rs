//! The file registry from outside: what its watch tells, and what a discovery makes of it.
#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in what its cases share"
)]

mod check;
mod conformance;
mod degraded;
mod discovery;
mod reload;
mod support;
