//! Kubernetes as a registry of `registry-core`: the Services and EndpointSlices of a cluster, joined and kept up to date,
//! from inside or outside of it.
//!
//! ```text
//!  API server ── list, watch ──▶ feed of services ─┐
//!             ── list, watch ──▶ feed of slices ───┼─▶ index ─▶ session ─▶ Init, Apply, Delete, Confirmed, Degraded
//!             ── metadata ─────▶ feed of nodes ────┘   joins by label, buckets shared with the snapshot
//! ```
//!
//! - **A feed never wedges**: watches end every 30 s and go on where they were, so a dead connection is found within 40 s
//!   whatever stands in between; `410 Gone` in any place, a wiped etcd, half a listing, a server without streaming lists
//!   all lead to a new list, which is told as its difference.
//! - **Slices become buckets** of the one `EndpointSet` that snapshots share: no second copy, no cache of pods.
//! - **An object that cannot be read** is passed over, counted and named; what was known of it stays.
//! - **A move between slices is no gap**: removals wait 100 ms for the endpoint to turn up in another slice. What is known to
//!   be gone does not wait: another pod has its address, or its name.
//!
//! - **Exports and imports** of Multi-Cluster Services go the same way: a [`Cluster`] can be watched by other [views](View).
//!
//! See [`KubernetesRegistry`] for what becomes what. A `Fleet` watches a directory of kubeconfigs, or Secrets that hold
//! them: a registry for each cluster.
//!
//! # Set-up
//!
//! It needs a rustls provider to be installed at the start of `main`:
//! `rustls::crypto::ring::default_provider().install_default()`. And the crate `k8s-openapi`, on which `kube` builds, wants
//! *the program* to choose one version of the API. Which one makes no difference here; any will do:
//!
//! ```toml
//! [dependencies]
//! k8s-openapi = { version = "0.29", features = ["v1_33"] }
//! rustls = { version = "0.23", default-features = false, features = ["ring"] }
//! ```
//!
//! The credentials need `list` and `watch` on `services` and on `endpointslices` of `discovery.k8s.io`; for regions also on
//! `nodes`; for other views on what these read.
//!
//! ```no_run
//! use registry_core::Discovery;
//! use registry_k8s::{KubernetesConfig, KubernetesRegistry};
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let config = KubernetesConfig { context: Some("cluster-a".to_owned()), ..KubernetesConfig::default() };
//! let discovery = Discovery::builder().registry("cluster-a", KubernetesRegistry::try_new(config)?)?.start()?;
//! discovery.ready().await;
//! if let Some(web) = discovery.snapshot().get("web.default.svc.cluster.local") {
//!     println!("{} endpoints", web.routable_endpoints().count());
//! }
//! # Ok(()) }
//! ```

mod access;
mod base64;
mod cluster;
mod config;
mod error;
mod fleet;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod map;
mod registry;
mod session;
mod transport;
mod view;
mod watch;
mod wire;

pub use cluster::{Answer, Cluster};
pub use config::{KubernetesConfig, SecretsConfig};
pub use error::Error;
pub use fleet::{Fleet, Member, MemberSet, Members};
pub use registry::KubernetesRegistry;
pub use view::{ANNOTATION, APP_PROTOCOL, EXPORT, INVALID_SERVICE_TYPE, McsApi, NO_SERVICE, VALID, View};
