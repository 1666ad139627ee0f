//! Daemon processes in front of real servers: what no crate can promise alone.

#![allow(clippy::print_stdout, reason = "a run that fails has to show what it did")]
#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

mod api;
mod client;
mod daemon;
mod figures;
mod plan;
mod random;
mod server;
mod slow;
mod stage;
mod truth;
