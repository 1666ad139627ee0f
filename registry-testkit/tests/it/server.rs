//! Tests that need an installed server.

mod bulk;
mod cluster;
mod consul;
mod envoy;
mod eureka;
mod grpc;
mod kubernetes;
mod redis;
mod security;
