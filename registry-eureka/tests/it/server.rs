//! Against real Eureka servers.

mod identity;
mod mapping;
mod statuses;
