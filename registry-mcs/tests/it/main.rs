//! Tests of the crate as its users see it. Those in `server` need real servers.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

mod clocks;
mod clusterset;
mod model;
mod observer;
mod rules;
mod server;
mod slow;
mod stage;
mod statuses;
