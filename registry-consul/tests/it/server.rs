//! Against a real Consul.

mod acl;
mod cluster;
mod life;
mod load;
mod mapping;
mod membership;
mod options;
mod quiet;
mod restart;
mod resync;
