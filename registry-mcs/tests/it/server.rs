//! Against real API servers.

mod conflicts;
mod conformance;
mod exports;
mod identity;
mod imports;
mod lost;
mod names;
pub(crate) mod offered;
mod winners;
