//! The daemon in front of real servers.

mod consul;
mod eureka;
mod kubernetes;
mod merged;
