//! Daemons in front of several real servers.

mod clusters;
mod eureka;
mod kubernetes;
mod mcs;
mod nomad;
mod recorder;
mod tiers;
pub(crate) mod xds;
mod xds_envoy;
