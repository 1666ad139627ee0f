//! The testkit against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conformance;
mod log;
mod nomad;
mod proxy;
mod replay;
mod scripted;
mod server;
mod upstream;
mod xds;
