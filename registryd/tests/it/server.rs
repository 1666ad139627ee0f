//! The daemon in front of real servers.

mod consul;
mod kubernetes;
mod merged;
