//! Black-box tests of the crate, through its public API: against real API servers, and fleets of clusters.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod fleet;
mod server;
mod slow;
mod stage;
mod support;
