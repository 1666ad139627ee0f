//! The HTTP output over a real listener, with registries that say what a test tells them to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod agreement;
mod client;
mod errors;
mod exports;
mod health;
mod orders;
mod services;
mod setup;
mod watch;
mod watch_resume;
