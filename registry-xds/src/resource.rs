//! One resource, encoded once for all clients, and sets of them.

mod set;

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use registry_core::{Entry, Str};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use set::Doubt;
pub use set::ResourceSet;

/// The types of resources that are served, in the order in which additions reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Endpoints,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`
    Route,
}

impl ResourceType {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Endpoints, Self::Listener, Self::Route];

    /// Its type URL.
    pub fn url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The type of that URL.
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|type_| type_.url() == url)
    }

    /// The short name: `cds`, `eds`, `lds` or `rds`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoints => "eds",
            Self::Listener => "lds",
            Self::Route => "rds",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An encoded resource. Immutable; its version is a function of its content.
#[derive(Clone)]
pub struct Resource {
    type_: ResourceType,
    name: Str,
    version: u64,
    /// An `envoy.service.discovery.v3.Resource`, whose `resource` comes last.
    encoded: Bytes,
    /// Where the bytes of the `google.protobuf.Any` begin in it, and where those of its value.
    any: u32,
    body: u32,
}

impl Resource {
    /// Encodes a message.
    pub fn new(type_: ResourceType, name: impl Into<Str>, message: &impl Message) -> Self {
        Self::from_body(type_, name, &message.encode_to_vec())
    }

    /// A resource whose message is encoded already.
    #[allow(clippy::cast_possible_truncation, reason = "no resource has 4 GiB")]
    pub fn from_body(type_: ResourceType, name: impl Into<Str>, body: &[u8]) -> Self {
        let name = name.into();
        let version = xxh3_64(body);
        let text = format!("{version:016x}");
        let url = type_.url();
        let any_length = field_length(url.len()) + field_length(body.len());
        let length = field_length(text.len()) + field_length(name.len()) + field_length(any_length);
        let mut encoded = BytesMut::with_capacity(length);
        put_field(&mut encoded, 1, text.as_bytes());
        put_field(&mut encoded, 3, name.as_bytes());
        put_head(&mut encoded, 2, any_length);
        let any = encoded.len() as u32;
        put_field(&mut encoded, 1, url.as_bytes());
        put_head(&mut encoded, 2, body.len());
        let at = encoded.len() as u32;
        encoded.put_slice(body);
        Self {
            type_,
            name,
            version,
            encoded: encoded.freeze(),
            any,
            body: at,
        }
    }

    /// Its type.
    pub fn type_(&self) -> ResourceType {
        self.type_
    }

    /// Its name, unique within its type.
    pub fn name(&self) -> &Str {
        &self.name
    }

    /// Its version: 16 hexadecimal digits, a function of its content alone.
    pub fn version(&self) -> String {
        format!("{:016x}", self.version)
    }

    /// The version as a number.
    pub fn version_number(&self) -> u64 {
        self.version
    }

    /// The message, encoded.
    pub fn body(&self) -> &[u8] {
        &self.encoded[self.body as usize..]
    }

    /// The message as an encoded `google.protobuf.Any`, as state-of-the-world responses list it.
    pub fn any(&self) -> &[u8] {
        &self.encoded[self.any as usize..]
    }

    /// The message as an encoded `envoy.service.discovery.v3.Resource`, as delta responses list it.
    pub fn delta(&self) -> &[u8] {
        &self.encoded
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.type_ == other.type_ && self.encoded == other.encoded
    }
}

impl Eq for Resource {}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:016x}", self.type_, self.name, self.version)
    }
}

/// A resource in a [`ResourceSet`].
#[derive(Clone, Debug)]
pub(crate) struct Held(pub(crate) Arc<Resource>);

impl Entry for Held {
    fn key(&self) -> &str {
        &self.0.name
    }

    fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl registry_core::Counted for Held {
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// The bytes of a length-delimited field with a number below 16, its tag and length included.
pub(crate) fn field_length(length: usize) -> usize {
    1 + prost::length_delimiter_len(length) + length
}

/// Begins a length-delimited field with a number below 16.
#[allow(clippy::cast_possible_truncation, reason = "numbers below 16")]
pub(crate) fn put_head(into: &mut impl BufMut, number: u32, length: usize) {
    into.put_u8((number << 3 | 2) as u8);
    prost::encoding::encode_varint(length as u64, into);
}

/// Writes a length-delimited field with a number below 16.
pub(crate) fn put_field(into: &mut impl BufMut, number: u32, value: &[u8]) {
    put_head(into, number, value.len());
    into.put_slice(value);
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use envoy_types::pb::envoy::service::discovery::v3::Resource as DeltaResource;
    use envoy_types::pb::google::protobuf::Any;

    use super::*;

    #[test]
    fn one_encoding_serves_both_protocols() {
        let message = ClusterLoadAssignment {
            cluster_name: "outbound|80||web.mesh.internal".repeat(9),
            ..ClusterLoadAssignment::default()
        };
        let resource = Resource::new(ResourceType::Endpoints, "outbound|80||web", &message);
        let delta = DeltaResource::decode(resource.delta()).unwrap();
        let any = Any::decode(resource.any()).unwrap();
        assert_eq!(
            (delta.name.as_str(), &delta.version),
            ("outbound|80||web", &resource.version())
        );
        assert_eq!(delta.resource.as_ref(), Some(&any));
        assert_eq!(any.type_url, ResourceType::Endpoints.url());
        assert_eq!(any.value, resource.body());
        assert_eq!(ClusterLoadAssignment::decode(resource.body()).unwrap(), message);
        assert_eq!(
            resource,
            Resource::new(ResourceType::Endpoints, "outbound|80||web", &message)
        );
    }
}
