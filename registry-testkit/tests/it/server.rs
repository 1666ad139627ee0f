//! Tests that need an installed server.

mod bulk;
mod cluster;
mod consul;
mod kubernetes;
mod security;
