//! Against real Eureka servers.

mod auth;
mod churn;
mod conformance;
mod grid;
pub(crate) mod expiry;
mod faults;
mod front;
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
