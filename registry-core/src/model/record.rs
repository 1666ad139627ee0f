//! What one registry says of one service.

mod parts;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub(crate) use parts::MetaParts;

use super::{Address, Labels, ServiceId, Timestamp};
use crate::endpoint_set::EndpointSet;
use crate::hash::{ContentHash, Hasher};
use crate::text::Str;

/// The transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = String;

    /// Reads the word in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|transport| transport.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("transport {text:?}: expected tcp, udp or sctp"))
    }
}

/// The protocol spoken on a port, such as `http`, `http2`, `grpc`, `tcp`, `tls`, `mongo`, `redis`; empty where unknown.
pub type AppProtocol = Str;

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServicePort {
    /// The name by which endpoints refer to it.
    pub name: Str,
    /// The number of the service's own port, where the registry has one.
    pub number: Option<u16>,
    /// The transport.
    pub transport: Transport,
    /// What is spoken on it.
    pub app_protocol: AppProtocol,
    /// True where neither the registry nor the configuration gave the name. Such a port becomes the only named port
    /// of the service that it is merged into.
    pub implicit: bool,
}

impl ServicePort {
    /// The name of a port that nobody named.
    pub const DEFAULT_NAME: &'static str = "default";

    /// A TCP port with that name.
    pub fn new(name: impl Into<Str>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    fn feed(&self, hasher: &mut Hasher) {
        hasher.text(&self.name);
        hasher.number(self.number.map_or(0, u64::from));
        hasher.byte(self.transport as u8);
        hasher.text(&self.app_protocol);
    }
}

/// How a consumer turns a service into connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Resolution {
    /// By its endpoints, as listed.
    #[default]
    Static,
    /// By its endpoints, each with a name of its own; there is no address for the whole.
    Headless,
    /// By DNS: the endpoints are host names outside of the registries.
    Dns,
    /// There is nothing behind it: the record only says that the name is claimed. It takes part in no merge, whatever the
    /// policy, and is seen only as what its registry says by itself.
    Nothing,
}

impl Resolution {
    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Headless => "headless",
            Self::Dns => "dns",
            Self::Nothing => "nothing",
        }
    }
}

/// The virtual addresses of a service in one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vip {
    /// The cluster in which they are valid; empty where there is only one.
    pub cluster: Str,
    /// The addresses.
    pub addresses: Vec<Address>,
}

/// Whether requests of one client stay on one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SessionAffinity {
    /// They do not.
    #[default]
    None,
    /// By the client's IP address.
    ClientIp,
}

/// What a registry says of how traffic to a service should be distributed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Traffic {
    /// Whether requests of one client stay on one endpoint.
    pub session_affinity: SessionAffinity,
    /// A preference such as Kubernetes' `PreferClose`; empty where there is none.
    pub distribution: Str,
    /// True where traffic from within stays on the node it comes from.
    pub internal_local: bool,
}

/// All of a service but its endpoints. Immutable; made by [`ServiceMeta::builder`].
#[derive(Clone)]
pub struct ServiceMeta {
    id: ServiceId,
    aliases: Box<[Str]>,
    ports: Box<[ServicePort]>,
    addresses: Box<[Vip]>,
    labels: Labels,
    metadata: Labels,
    variables: Labels,
    origins: Box<[Str]>,
    traffic: Traffic,
    created: Option<Timestamp>,
    resolution: Resolution,
    digest: ContentHash,
}

impl ServiceMeta {
    /// Starts a service with that identity.
    pub fn builder(id: ServiceId) -> ServiceMetaBuilder {
        ServiceMetaBuilder {
            meta: Self {
                id,
                aliases: Box::default(),
                ports: Box::default(),
                addresses: Box::default(),
                labels: Labels::default(),
                metadata: Labels::default(),
                variables: Labels::default(),
                origins: Box::default(),
                traffic: Traffic::default(),
                created: None,
                resolution: Resolution::default(),
                digest: ContentHash::default(),
            },
        }
    }

    /// A builder that starts from this.
    pub fn to_builder(&self) -> ServiceMetaBuilder {
        ServiceMetaBuilder { meta: self.clone() }
    }

    /// What identifies it within its registry.
    pub fn id(&self) -> &ServiceId {
        &self.id
    }

    /// Its name: that of its identity, unless the registry gives it another by the variable `name`.
    pub fn name(&self) -> &Str {
        self.variables.get("name").unwrap_or(self.id.name())
    }

    /// Its namespace, empty where there is none: that of its identity, unless the registry gives it another by the
    /// variable `namespace`.
    pub fn namespace(&self) -> &Str {
        self.variables.get("namespace").unwrap_or(self.id.namespace())
    }

    /// Further names that look up the same service, as the registry gives them.
    pub fn aliases(&self) -> &[Str] {
        &self.aliases
    }

    /// Its ports, sorted by name.
    pub fn ports(&self) -> &[ServicePort] {
        &self.ports
    }

    /// Its virtual addresses, per cluster.
    pub fn addresses(&self) -> &[Vip] {
        &self.addresses
    }

    /// Its labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Raw metadata, as the registry has it.
    pub fn metadata(&self) -> &Labels {
        &self.metadata
    }

    /// Values for the variables of a hostname template beyond `name` and `namespace`, such as `datacenter`.
    pub fn variables(&self) -> &Labels {
        &self.variables
    }

    /// The ways to the registries that have it, where this one only passes on what they say: `consul-dc1`, or
    /// `parent/consul-dc1` (see [`Behind`](crate::Behind)); empty where the registry speaks for itself. No content.
    pub fn origins(&self) -> &[Str] {
        &self.origins
    }

    /// How traffic should be distributed.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// When the registry says it was created.
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// How it resolves to endpoints.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    pub(crate) fn digest(&self) -> ContentHash {
        self.digest
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || self.digest == other.digest
                && self.id == other.id
                && self.metadata == other.metadata
                && self.variables == other.variables
                && self.origins == other.origins
                && self.created == other.created
                && self.ports == other.ports
    }
}

impl fmt::Debug for ServiceMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceMeta")
            .field("id", &self.id)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// Builds a [`ServiceMeta`].
#[derive(Debug)]
pub struct ServiceMetaBuilder {
    meta: ServiceMeta,
}

impl ServiceMetaBuilder {
    /// Further names that look up the same service.
    #[must_use]
    pub fn aliases(mut self, aliases: impl IntoIterator<Item = Str>) -> Self {
        let mut aliases: Vec<Str> = aliases.into_iter().collect();
        aliases.sort();
        aliases.dedup();
        self.meta.aliases = aliases.into();
        self
    }

    /// Its ports; of those with the same name the first one counts.
    #[must_use]
    pub fn ports(mut self, ports: impl IntoIterator<Item = ServicePort>) -> Self {
        let mut ports: Vec<ServicePort> = ports.into_iter().collect();
        ports.sort_by(|a, b| a.name.cmp(&b.name));
        ports.dedup_by(|a, b| a.name == b.name);
        self.meta.ports = ports.into();
        self
    }

    /// Its virtual addresses.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = Vip>) -> Self {
        self.meta.addresses = addresses.into_iter().collect();
        self
    }

    /// Its labels.
    #[must_use]
    pub fn labels(mut self, labels: Labels) -> Self {
        self.meta.labels = labels;
        self
    }

    /// Raw metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Labels) -> Self {
        self.meta.metadata = metadata;
        self
    }

    /// Values for variables of hostname templates.
    #[must_use]
    pub fn variables(mut self, variables: Labels) -> Self {
        self.meta.variables = variables;
        self
    }

    /// The ways to the registries that have it, where this one only passes on what they say.
    #[must_use]
    pub fn origins(mut self, origins: impl IntoIterator<Item = Str>) -> Self {
        self.meta.origins = origins.into_iter().collect();
        self
    }

    /// How traffic should be distributed.
    #[must_use]
    pub fn traffic(mut self, traffic: Traffic) -> Self {
        self.meta.traffic = traffic;
        self
    }

    /// When it was created.
    #[must_use]
    pub fn created(mut self, created: Option<Timestamp>) -> Self {
        self.meta.created = created;
        self
    }

    /// How it resolves to endpoints.
    #[must_use]
    pub fn resolution(mut self, resolution: Resolution) -> Self {
        self.meta.resolution = resolution;
        self
    }

    /// The finished value.
    pub fn build(mut self) -> Arc<ServiceMeta> {
        let meta = &mut self.meta;
        let mut hasher = Hasher::new("service meta");
        hasher.text(meta.namespace());
        hasher.text(meta.name());
        hasher.number(meta.aliases.len() as u64);
        for alias in &meta.aliases {
            hasher.text(alias);
        }
        hasher.number(meta.ports.len() as u64);
        for port in &meta.ports {
            port.feed(&mut hasher);
        }
        hasher.number(meta.addresses.len() as u64);
        for vip in &meta.addresses {
            hasher.text(&vip.cluster);
            hasher.number(vip.addresses.len() as u64);
            for address in &vip.addresses {
                address.feed(&mut hasher);
            }
        }
        meta.labels.feed(&mut hasher);
        hasher.byte(meta.traffic.session_affinity as u8);
        hasher.text(&meta.traffic.distribution);
        hasher.byte(meta.traffic.internal_local.into());
        hasher.byte(meta.resolution as u8);
        meta.digest = hasher.finish();
        Arc::new(self.meta)
    }
}

/// What one registry says of one service: the full state, as of now.
///
/// ```
/// use registry_core::{Address, Endpoint, ServiceId, ServiceMeta, ServicePort, ServiceRecord};
///
/// let meta = ServiceMeta::builder(ServiceId::named("payments")).ports([ServicePort::new("http")]).build();
/// let endpoint = Endpoint::builder("10.0.0.7".parse::<Address>()?).port("http", 8080).build();
/// let record = ServiceRecord::new(meta, [endpoint]);
/// assert_eq!(record.endpoints().len(), 1);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone)]
pub struct ServiceRecord {
    meta: Arc<ServiceMeta>,
    endpoints: EndpointSet,
}

impl ServiceRecord {
    /// A record from a service and its endpoints: anything that yields endpoints, or an [`EndpointSet`] derived from
    /// the previous one, which is quicker where little has changed.
    pub fn new(meta: Arc<ServiceMeta>, endpoints: impl Into<EndpointSet>) -> Self {
        Self {
            meta,
            endpoints: endpoints.into(),
        }
    }

    /// All but the endpoints.
    pub fn meta(&self) -> &Arc<ServiceMeta> {
        &self.meta
    }

    /// What identifies the service within its registry.
    pub fn id(&self) -> &ServiceId {
        self.meta.id()
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &EndpointSet {
        &self.endpoints
    }

    /// Whether it only says that the name is [claimed](Resolution::Nothing).
    pub(crate) fn is_of_nothing(&self) -> bool {
        self.meta.resolution == Resolution::Nothing
    }
}
