//! Fleets of Envoy that a daemon keeps up to date: no answer of theirs may be worse for it.
//!
//! ```text
//!  storm: wrk, keep-alive clients ──▶ Envoy (state of the world) ─┐
//!                                 ──▶ Envoy (delta) ──────────────┼─▶ upstream servers
//!                                        │ xDS                    │
//!                                     daemon ◀── Consul, files ◀──┘ who is there
//! ```

pub(crate) mod backends;
mod bootstrap;
pub(crate) mod churn;
pub(crate) mod fleet;
mod outage;
mod restarts;
mod sequence;
mod start;
mod storm;
mod warmth;
