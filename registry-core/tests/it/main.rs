//! The core from outside: registries that say what a test wants, and what readers see of it.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

mod behind;
mod engine;
mod guard;
mod listing;
mod merging;
mod names;
mod nothing;
mod policies;
mod properties;
mod restart;
mod running;
mod survival;
mod survival_properties;
