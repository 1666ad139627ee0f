//! Against real Eureka servers.

mod auth;
mod churn;
mod conformance;
pub(crate) mod expiry;
mod faults;
mod front;
mod grid;
mod identity;
mod interop;
mod mapping;
mod no_delta;
mod paths;
mod peers;
mod quiet;
mod restart;
mod spring;
mod statuses;
mod swap;
mod xml;
