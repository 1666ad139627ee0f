//! What is spoken on a port.

use registry_core::{Service, ServicePort};

use crate::config::XdsConfig;

/// A protocol, as far as proxies handle it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1, upgrades to WebSocket included.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
    /// Anything on TCP: what is not known.
    Tcp,
    /// TLS that ends at the endpoint; told apart by its server name.
    Tls,
    /// MongoDB.
    Mongo,
    /// Redis.
    Redis,
    /// Datagrams: nothing is made of them.
    Udp,
}

/// The protocol of a service's port: what the configuration says, else what the registry says, else what the port's name
/// says; else TCP.
pub(crate) fn protocol_of(_service: &Service, _port: &ServicePort, _config: &XdsConfig) -> Protocol {
    unimplemented!("translate")
}
