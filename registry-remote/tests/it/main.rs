//! Tests of what others publish, as registries.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod daemon;
mod http_sd;
