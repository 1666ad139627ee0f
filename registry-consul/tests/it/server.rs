//! Against a real Consul.

mod acl;
mod cluster;
mod conformance;
mod life;
mod load;
mod mapping;
mod membership;
mod offsets;
mod options;
mod pains;
mod quiet;
mod restart;
mod resync;
mod survival;
