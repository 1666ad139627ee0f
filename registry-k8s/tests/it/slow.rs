//! Against a real API server, in tests that take longer than the others.

mod grant;
mod silence;
mod swap;
