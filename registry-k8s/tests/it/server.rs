//! Against a real API server.

mod clusters;
mod conditions;
mod conformance;
mod credentials;
mod expiry;
pub(crate) mod faults;
mod headless;
mod life;
mod load;
mod locality;
mod multicluster;
mod ports;
pub(crate) mod restart;
pub(crate) mod rights;
mod services;
mod slices;
