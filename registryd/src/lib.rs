//! The daemon and command line of the project: where registries, the merge and outputs meet.
//!
//! ```text
//!  configuration ──► registries ──► registry_core::Discovery ──► HTTP API ◄── commands (get, status, watch)
//!        ▲                 ▲
//!        └── reload ───────┘  a changed file or SIGHUP: what is unchanged notices nothing
//! ```
//!
//! The crate is a binary; it is a library as well so that its parts can be tested from outside.

pub mod cli;
pub mod config;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod registries;
pub mod run;
pub mod sample;
pub mod token;

pub use error::Error;
