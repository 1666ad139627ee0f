//! Against a real API server.

mod clusters;
mod conditions;
mod conformance;
mod credentials;
mod expiry;
mod headless;
mod life;
mod load;
mod locality;
mod ports;
mod restart;
mod services;
mod slices;
