//! Against real Eureka servers.

mod auth;
mod churn;
mod conformance;
mod identity;
mod interop;
mod mapping;
mod paths;
mod quiet;
mod statuses;
mod xml;
