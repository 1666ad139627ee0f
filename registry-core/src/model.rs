//! The vocabulary: services, their endpoints, and what a registry says of them.

mod address;
mod attributes;
mod endpoint;
mod health;
mod id;
mod labels;
mod origin;
mod ports;
mod record;
mod service;

pub use address::{Address, Addresses};
pub use attributes::{Attributes, Locality, Place};
pub use endpoint::{Claim, Endpoint, EndpointBuilder};
pub(crate) use endpoint::{EndpointParts, Merged};
pub use health::Health;
pub use id::{RegistryId, RegistryIdError, ServiceId, Timestamp};
pub use labels::Labels;
pub use origin::{Origin, Origins};
pub use ports::{EndpointPort, EndpointPorts};
pub(crate) use record::MetaParts;
pub use record::{
    AppProtocol, Resolution, ServiceMeta, ServiceMetaBuilder, ServicePort, ServiceRecord, SessionAffinity,
    Traffic, Transport, Vip,
};
pub use service::{Conflict, ConflictField, Service, ServiceSource};
