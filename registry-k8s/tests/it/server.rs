//! Against a real API server.

mod conformance;
mod life;
