//! Against a real API server.

mod clusters;
mod conformance;
mod credentials;
mod expiry;
pub(crate) mod faults;
mod life;
mod load;
mod restart;
pub(crate) mod rights;
mod slices;
