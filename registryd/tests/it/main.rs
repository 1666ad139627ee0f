//! The daemon from outside.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

mod acl_policy;
mod cli;
mod config;
mod daemon;
mod docs;
mod fleets;
mod http;
mod malformed;
mod mcs;
mod rbac;
mod reload;
mod server;
mod slow;
mod stream;
mod survival;
mod xds;
