//! Kubernetes as a registry of `registry-core`: Services and EndpointSlices of a cluster, joined and kept up to date.

mod access;
mod config;
mod error;
mod index;
mod registry;
mod session;
mod transport;
mod watch;

pub use config::{KubernetesConfig, SecretsConfig};
pub use error::Error;
pub use registry::KubernetesRegistry;
