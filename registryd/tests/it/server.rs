//! The daemon in front of real servers.

mod consul;
mod envoy;
mod eureka;
mod kubernetes;
mod mcs;
mod merged;
