//! Against real API servers.

mod conflicts;
mod conformance;
mod exports;
mod identity;
mod imports;
mod lost;
mod names;
mod winners;
