//! Multi-Cluster Services ([KEP-1645]) as registries of `registry-core`: services that clusters of Kubernetes share.
//!
//! ```text
//!  provide: no controller needed                              consume: what a controller made
//!  cluster a ── ServiceExport, Service, slices ─▶ McsRegistry ─┐
//!  cluster b ── ServiceExport, Service, slices ─▶ McsRegistry ─┼─▶ merge by ClusterSet ─▶ snapshot
//!  cluster c ── …                                              │
//!                                          ServiceImport, imported slices ─▶ McsRegistry ─▶ snapshot
//! ```
//!
//! - **Provide**: each cluster is a registry of its exports ([`McsRegistry::exports`]), and the policy [`ClusterSet`] merges
//!   them by the rules of the KEP. Nothing is written to any cluster, and none needs a controller, only the definitions
//!   of the custom resources.
//! - **Consume**: one cluster's ServiceImports and the slices that were imported for them ([`McsRegistry::imports`]).
//!
//! Services are called `<service>.<namespace>.svc.clusterset.local`; endpoints of headless ones
//! `<hostname>.<cluster>.<service>.<namespace>.svc.clusterset.local`.
//!
//! [KEP-1645]: https://github.com/kubernetes/enhancements/tree/master/keps/sig-multicluster/1645-multi-cluster-services-api
//!
//! ```no_run
//! use registry_core::{Discovery, RegistryOptions};
//! use registry_k8s::{Cluster, KubernetesConfig};
//! use registry_mcs::{ClusterSet, McsRegistry, McsSettings};
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let mut builder = Discovery::builder().policy("*.svc.clusterset.local", ClusterSet);
//! for context in ["a", "b"] {
//!     let config = KubernetesConfig { context: Some(context.to_owned()), ..KubernetesConfig::default() };
//!     let registry = McsRegistry::exports(Cluster::try_new(config)?, None, McsSettings::default());
//!     // Registries that set a hostname merge their services.
//!     let options = RegistryOptions {
//!         hostname: Some("{name}.{namespace}.svc.clusterset.local".parse()?),
//!         ..RegistryOptions::default()
//!     };
//!     builder = builder.registry_with(context, registry, options)?;
//! }
//! let discovery = builder.start()?;
//! discovery.ready().await;
//! # Ok(()) }
//! ```

mod build;
mod config;
mod error;
mod exports;
mod identity;
mod import;
mod policy;
mod registry;
mod status;

pub use build::Registries;
pub use config::{ClusterConfig, McsConfig, Mode};
pub use error::Error;
pub use exports::{Exported, Standing, exported, exports};
pub use import::{ImportPort, ImportSpec, ImportType, import_spec};
pub use policy::ClusterSet;
pub use registry::{McsRegistry, McsSettings};
pub use status::{Condition, Export, ExportStatus, Truth, statuses};
