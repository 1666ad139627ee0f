//! The Consul registry against real servers, and against captured answers with faults.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod faults;
mod nomad;
mod server;
mod slow;
mod support;
