//! Against real API servers.
