//! Against real Eureka servers.
