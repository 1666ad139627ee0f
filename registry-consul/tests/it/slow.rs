//! Against a real Consul, in tests that take longer than the others.

mod freeze;
mod many;
