//! Tests of the crate as its users see it. Those in `server` need real servers.

mod server;
