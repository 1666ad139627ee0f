//! Another daemon as a registry: the real API of daemons in this process, over real connections.

mod conformance;
mod loops;
mod parents;
mod passing;
mod stage;
mod troubles;
