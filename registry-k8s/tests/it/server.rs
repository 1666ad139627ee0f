//! Against a real API server.

mod conformance;
mod expiry;
pub(crate) mod faults;
mod life;
mod restart;
pub(crate) mod rights;
mod slices;
