//! What an operator may set, below `xds`.

mod check;
mod local_port;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use registry_core::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{Fault, FaultStep};

/// The xDS server, for fleets of Envoy and gRPC clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct XdsConfig {
    /// Where it listens. Beyond this host it needs `tls` with `client_ca`, or `insecure`.
    pub listen: SocketAddr,
    /// Whether anybody who can reach the listener may get everything.
    pub insecure: bool,
    /// Certificates of the server, and who may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Whether to serve everything at the start deadline, though an optional registry has not said anything yet. Unless
    /// set, answers in which an absence means a removal wait for every registry.
    pub serve_partial: bool,
    /// The longest life of a connection, give or take a tenth, so that clients spread over servers again.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub max_connection_age: Duration,
    /// Patterns of the hostnames that are served; all unless set. A node may want fewer by its metadata
    /// (`registryd.services`).
    pub services: Vec<String>,
    /// Patterns of hostnames that are not served.
    pub exclude_services: Vec<String>,
    /// Where Envoys listen for outgoing requests.
    pub outbound: OutboundConfig,
    /// Ports of this host (`16379`) or addresses (`127.0.0.5:6379`) at which Envoys listen for TCP services, by
    /// hostname, or `hostname:port` with a port's number or name. Where nothing is set the service's label or metadata
    /// `registryd.local_port` counts.
    pub local_ports: BTreeMap<String, LocalPort>,
    /// What is spoken, where registries do not say it or are wrong; the first that matches counts.
    pub protocols: Vec<ProtocolRule>,
    /// Subsets of services by labels of their endpoints; the first rule that matches a hostname counts.
    pub subsets: Vec<SubsetRule>,
    /// Routes within services, for HTTP and gRPC; the first rule that matches a hostname counts. What none matches goes to
    /// all endpoints.
    pub routes: Vec<RouteRule>,
    /// What becomes of endpoints that their registry says are not healthy.
    pub unhealthy: UnhealthyMode,
    /// What an endpoint's locality means.
    pub locality: LocalityMode,
    /// Networks whose endpoints are reached through a gateway by nodes of other networks, by name.
    pub networks: BTreeMap<String, GatewayConfig>,
    /// When Envoy stops to use an endpoint that fails; `null` for never.
    pub outlier_detection: Option<OutlierDetection>,
    /// How much one Envoy has open to one service.
    pub circuit_breakers: CircuitBreakers,
    /// How long a connection to an endpoint may take.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub connect_timeout: Duration,
    /// TLS from proxies to endpoints; the first that matches a hostname counts, without one it is plain.
    pub upstream_tls: Vec<UpstreamTls>,
}

/// Certificates of the server, and who may connect. All files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The file with the server's certificates, in PEM.
    pub certificate: PathBuf,
    /// The file with its key, in PEM.
    pub key: PathBuf,
    /// The file with the authorities of clients' certificates, in PEM. Where set, clients have to show one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Patterns for the alternative names (URI or DNS) of which a client's certificate has to have one; empty for any
    /// client of `client_ca`.
    #[serde(default)]
    pub clients: Vec<String>,
}

/// Where Envoys listen for outgoing requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundConfig {
    /// The shared listener for HTTP, which goes by the name of the host.
    pub listen: SocketAddr,
    /// How services are listened for.
    pub layout: Layout,
}

/// How services are listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// HTTP on one listener, by host; each port of a TCP service on a listener of its own, at its virtual address or local
    /// port.
    #[default]
    Shared,
    /// The same, and each port of an HTTP service that has virtual addresses there as well.
    Vips,
}

/// A port of this host, or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LocalPort {
    /// A port of 127.0.0.1.
    Port(u16),
    /// An address.
    Address(SocketAddr),
}

/// What is spoken on some ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProtocolRule {
    /// A pattern for the hostname.
    pub hosts: String,
    /// The number or name of the port; all ports unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// `http`, `http2`, `grpc`, `tcp`, `tls`, `mongo`, `redis` or `udp`.
    pub protocol: String,
}

/// The subsets of some services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubsetRule {
    /// A pattern for the hostname.
    pub hosts: String,
    /// The subsets.
    pub subsets: Vec<SubsetConfig>,
}

/// A subset: a cluster of its own, with the endpoints that have all of these labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubsetConfig {
    /// Its name.
    pub name: String,
    /// Labels and their values.
    pub labels: BTreeMap<String, String>,
}

/// The routes of some services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// A pattern for the hostname.
    pub hosts: String,
    /// The routes, in order.
    pub routes: Vec<RouteConfig>,
}

/// A route: which requests, and where they go.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// The path; any unless set.
    pub path: Option<PathMatch>,
    /// Headers and their exact values, all of which have to match.
    pub headers: BTreeMap<String, String>,
    /// Where requests go, by weight; to all endpoints unless set.
    pub to: Vec<Destination>,
    /// The longest time that a request may take; without end for `0s`. Unless set 15 s for HTTP and no end for gRPC.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::Text>")]
    pub timeout: Option<Duration>,
    /// How often a request is tried again where its connection failed or was refused.
    pub retries: u32,
}

/// Which paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PathMatch {
    /// Those that begin so.
    Prefix(String),
    /// This one.
    Exact(String),
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The subset; all endpoints where empty.
    #[serde(default)]
    pub subset: String,
    /// Its share relative to the others.
    pub weight: u32,
}

/// What becomes of endpoints that are not routable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnhealthyMode {
    /// They are left out: a service without any other answers 503 (Envoy) or `UNAVAILABLE` (gRPC).
    #[default]
    Omit,
    /// They are sent with their status, and Envoy's panic mode is switched off, so that the answers are the same.
    Send,
}

/// What an endpoint's locality means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LocalityMode {
    /// Endpoints are grouped by it, and each group gets traffic by the sum of its weights: wherever the client is.
    #[default]
    Weighted,
    /// Endpoints in the client's zone come first, then those in its region, then all others.
    Nearest,
}

/// How a network is reached from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The gateway's addresses: IP address and port.
    pub gateways: Vec<SocketAddr>,
}

/// When Envoy stops to use an endpoint that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierDetection {
    /// After so many server errors in a row.
    pub consecutive_5xx: u32,
    /// How often they are looked at.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub interval: Duration,
    /// For how long, times how often it happened.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub base_ejection_time: Duration,
    /// At most this share of endpoints, in percent. With `unhealthy: omit` it is one of them at least, unless this is 0.
    pub max_ejection_percent: u32,
}

/// How much one Envoy has open to one service. Beyond it requests fail with 503.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreakers {
    /// Connections.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending_requests: u32,
    /// Requests at a time.
    pub requests: u32,
    /// Retries at a time.
    pub retries: u32,
}

/// TLS from proxies to the endpoints of some services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// A pattern for the hostname.
    pub hosts: String,
    /// Where the client's certificate and the authorities come from.
    pub source: UpstreamTlsSource,
    /// Patterns of identities (SPIFFE ids, URIs or DNS names) of which an endpoint has to prove one; those that registries
    /// give its endpoints unless set. Where neither is known any certificate of the authorities is good.
    #[serde(default)]
    pub identities: Vec<String>,
    /// The server name that is sent; the hostname unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UpstreamTlsSource {
    /// Envoy: from an agent beside it, such as SPIRE's, by SDS.
    Sds {
        /// The cluster in Envoy's bootstrap that leads to the agent.
        cluster: String,
        /// The name of the secret with the node's certificate, such as `default` or a SPIFFE id.
        certificate: String,
        /// The name of the secret with the authorities, such as `ROOTCA` or a trust domain's id.
        validation: String,
    },
    /// Envoy: from files on its machine. It reads them when it gets the cluster, and not again when they change.
    Files {
        /// The node's certificate.
        certificate: PathBuf,
        /// The node's key.
        key: PathBuf,
        /// The authorities.
        ca: PathBuf,
    },
    /// gRPC: from providers that its bootstrap names.
    Provider {
        /// The provider instance.
        instance: String,
    },
}

// === impl XdsConfig ===

impl Default for XdsConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(LOOPBACK, 7381),
            insecure: false,
            tls: None,
            serve_partial: false,
            max_connection_age: Duration::from_secs(30 * 60),
            services: Vec::new(),
            exclude_services: Vec::new(),
            outbound: OutboundConfig::default(),
            local_ports: BTreeMap::new(),
            protocols: Vec::new(),
            subsets: Vec::new(),
            routes: Vec::new(),
            unhealthy: UnhealthyMode::default(),
            locality: LocalityMode::default(),
            networks: BTreeMap::new(),
            outlier_detection: Some(OutlierDetection::default()),
            circuit_breakers: CircuitBreakers::default(),
            connect_timeout: Duration::from_secs(1),
            upstream_tls: Vec::new(),
        }
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(LOOPBACK, 15001),
            layout: Layout::default(),
        }
    }
}

impl LocalPort {
    /// The address.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Port(port) => SocketAddr::new(LOOPBACK, port),
            Self::Address(address) => address,
        }
    }
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 10,
        }
    }
}

impl Default for CircuitBreakers {
    fn default() -> Self {
        Self {
            connections: 100_000,
            pending_requests: 100_000,
            requests: 100_000,
            retries: 100,
        }
    }
}
