//! Against real Eureka servers.

mod auth;
mod churn;
mod conformance;
mod grid;
mod identity;
mod interop;
mod mapping;
mod paths;
mod quiet;
mod spring;
mod statuses;
mod xml;
