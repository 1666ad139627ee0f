//! The xDS server on the wire: with scripted clients, which need nothing but this crate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod ends;
mod health;
mod stalled;
mod streams;
mod support;
mod tls;
