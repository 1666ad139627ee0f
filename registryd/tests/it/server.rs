//! The daemon in front of a real Consul.

mod consul;
mod merged;
