//! Tests that need an installed server.

mod bulk;
mod cluster;
mod consul;
mod eureka;
mod kubernetes;
mod security;
