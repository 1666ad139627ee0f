//! The xDS server on the wire: with scripted clients.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod ends;
mod health;
mod rules;
mod stalled;
mod streams;
mod support;
mod tls;
