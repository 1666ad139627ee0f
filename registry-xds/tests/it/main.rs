//! The xDS server on the wire: with scripted clients, and with real ones.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod ends;
mod health;
mod rules;
mod server;
mod stalled;
mod streams;
mod support;
mod tls;
