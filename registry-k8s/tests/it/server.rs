//! Against a real API server.

mod conformance;
mod expiry;
mod life;
mod restart;
mod slices;
