//! Service discovery for control planes that live outside Kubernetes: any number of registries in, one merged,
//! immutable, explainable picture of every service out.
//!
//! ```text
//!  ServiceRegistry::watch      batches of events: complete, partial or no knowledge        (a backend's only duty)
//!    ▼
//!  supervisor                  one task per registry: backoff, panic isolation
//!    ▼
//!  shard                       one registry's records and its freshness clock
//!    ▼  dirty hostnames
//!  merge                       pure: what registries say of one hostname -> Service
//!    ▼
//!  Snapshot                    immutable, structurally shared, published with a revision
//!    ▼
//!  Discovery::snapshot(), Discovery::changes()
//! ```
//!
//! A control plane embeds it in ten lines. Real backends live in crates of their own (`registry-consul`,
//! `registry-file`, …); here one states its services itself:
//!
//! ```
//! use registry_core::{Address, Discovery, Endpoint, Health, ServiceId, ServiceMeta, ServiceRecord, StaticRegistry};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let payments = ServiceRecord::new(
//!         ServiceMeta::builder(ServiceId::named("payments")).build(),
//!         [Endpoint::builder("10.0.0.7".parse::<Address>()?).port("http", 8080).health(Health::Healthy).build()],
//!     );
//!     let discovery = Discovery::builder().registry("vms", StaticRegistry::new([payments]))?.start()?;
//!     discovery.ready().await;
//!
//!     let snapshot = discovery.snapshot();
//!     for service in snapshot.services() {
//!         for endpoint in service.routable_endpoints() {
//!             println!("{} {} {:?}", service.hostname(), endpoint.address(), endpoint.ports());
//!         }
//!     }
//!     discovery.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! To follow changes, loop over [`Discovery::changes`]; to add a kind of registry, implement [`ServiceRegistry`].
//!
//! # What it promises
//!
//! - **An error is not an empty answer.** Only a complete listing, or a word on a single service, removes anything; and
//!   where that takes implausibly much at once, it is [held back](Guard) until it is confirmed.
//! - **No start is empty.** With a [state directory](DiscoveryBuilder::state_dir) what was known last is served from the
//!   first moment on, marked stale, and what registries say then is measured by it.
//! - **An outage is visible, and a choice.** [`Outage`] says what becomes of endpoints that nothing is heard of.
//! - **Readers never wait.** A snapshot is one load away, and never changes under its reader.
//! - **A change costs what changed**: the bucket of about 64 endpoints around it and a path in the map of services.
//! - **The result is a pure function** of what the registries say: any order of arrival gives the same hashes.

mod backoff;
mod behind;
mod cell;
mod counted;
mod discovery;
#[cfg(feature = "config")]
pub mod duration;
mod endpoint_set;
pub mod engine;
mod error;
mod event;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod hostname;
mod merge;
mod model;
mod name_hasher;
mod options;
mod registry;
mod snapshot;
mod state;
mod static_registry;
mod status;
mod store;
mod supervisor;
mod text;
mod trie;

pub use async_trait::async_trait;

pub use backoff::{Backoff, LONGEST_REST};
pub use behind::{Behind, InstanceId};
pub use counted::Counted;
pub use discovery::{Changes, Discovery, DiscoveryBuilder, Latency};
pub use endpoint_set::EndpointSet;
pub use engine::Readiness;
pub use error::{Error, ErrorKind, RegistryError};
pub use event::{Event, Scope};
pub use filter::{Cidr, Filter, Selector};
pub use hash::ContentHash;
pub use hostname::{HostnameTemplate, Pattern, TemplateError};
pub use merge::{Claimant, Exclusive, Fallback, LabelRule, MergePolicy, PortRule, Union};
pub use model::{
    Address, Addresses, AppProtocol, Attributes, Claim, Conflict, ConflictField, Endpoint, EndpointBuilder,
    EndpointPort, EndpointPorts, Health, Labels, Locality, Origin, Origins, Place, RegistryId,
    RegistryIdError, Resolution, Service, ServiceId, ServiceMeta, ServiceMetaBuilder, ServicePort,
    ServiceRecord, ServiceSource, SessionAffinity, Timestamp, Traffic, Transport, Vip,
};
pub use name_hasher::{NameHash, NameHasher};
pub use options::{Guard, Limits, Outage, RegistryOptions};
pub use registry::{Control, EventStream, Meter, PortDefaults, Resync, ServiceRegistry, Wish};
pub use snapshot::{Delta, Lookup, Snapshot};
pub use static_registry::{StaticHandle, StaticRegistry};
pub use status::{DegradedScope, HeldBack, LastError, OutageStatus, Phase, RegistryStatus, RegistrySummary};
pub use text::{Interner, Str, short};
pub use trie::{Entry, NameMap};
