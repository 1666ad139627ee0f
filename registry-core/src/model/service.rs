//! A merged service: what readers see.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Endpoint, Labels, RegistryId, Resolution, ServiceMeta, ServicePort, Timestamp, Traffic, Vip};
use crate::endpoint_set::EndpointSet;
use crate::hash::{ContentHash, Hasher};
use crate::text::Str;

/// One registry that takes part in a service, and what it said of it before merging.
#[derive(Debug, Clone)]
pub struct ServiceSource {
    /// The registry.
    pub registry: RegistryId,
    /// Its own view of the service, raw metadata included.
    pub meta: Arc<ServiceMeta>,
}

/// Which field of a service registries disagree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConflictField {
    /// Several services claim the hostname, and may not merge.
    Hostname,
    /// The number of a port.
    PortNumber,
    /// Which ports there are; the service has those of all.
    Ports,
    /// The transport of a port; the losing endpoints' port is left out.
    PortTransport,
    /// What is spoken on a port.
    AppProtocol,
    /// How the service resolves.
    Resolution,
    /// What a port is called: ports of one number and transport have different names.
    PortName,
    /// Whether requests of one client stay on one endpoint.
    SessionAffinity,
    /// For how long they do.
    SessionAffinityTimeout,
    /// Where traffic from within stays.
    InternalTrafficPolicy,
    /// The preferred distribution of traffic.
    TrafficDistribution,
    /// The labels as a whole.
    Labels,
    /// The annotations as a whole.
    Annotations,
    /// The IP families.
    IpFamilies,
    /// Which cluster it is: several have the same name.
    Cluster,
}

impl ConflictField {
    /// The name of the field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hostname => "hostname",
            Self::Ports => "ports",
            Self::PortNumber => "port.number",
            Self::PortTransport => "port.transport",
            Self::AppProtocol => "port.protocol",
            Self::Resolution => "resolution",
            Self::PortName => "port.name",
            Self::SessionAffinity => "session_affinity",
            Self::SessionAffinityTimeout => "session_affinity.timeout",
            Self::InternalTrafficPolicy => "internal_traffic_policy",
            Self::TrafficDistribution => "traffic_distribution",
            Self::Labels => "labels",
            Self::Annotations => "annotations",
            Self::IpFamilies => "ip_families",
            Self::Cluster => "cluster",
        }
    }
}

/// A disagreement between registries that merging settled by precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What they disagree about.
    pub field: ConflictField,
    /// Which one of several, for instance the name of the port; else empty.
    pub item: Str,
    /// Who says what, the winner first: registry and value.
    pub values: Vec<(RegistryId, String)>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.field.as_str())?;
        if !self.item.is_empty() {
            write!(f, " {}", self.item)?;
        }
        for (i, (registry, value)) in self.values.iter().enumerate() {
            write!(f, "{} {registry} says {value}", if i == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

/// A service as all registries together describe it. Immutable; shared between snapshots until it changes.
#[derive(Clone)]
pub struct Service {
    pub(crate) hostname: Str,
    pub(crate) meta: Arc<ServiceMeta>,
    pub(crate) endpoints: EndpointSet,
    pub(crate) sources: Arc<[ServiceSource]>,
    pub(crate) conflicts: Arc<[Conflict]>,
    pub(crate) hash: ContentHash,
    pub(crate) revision: u64,
}

impl Service {
    /// The hostname, which is its identity.
    pub fn hostname(&self) -> &Str {
        &self.hostname
    }

    /// Further names that look up the same service.
    pub fn aliases(&self) -> &[Str] {
        self.meta.aliases()
    }

    /// The namespace in the registry first in precedence.
    pub fn namespace(&self) -> &Str {
        self.meta.namespace()
    }

    /// The name in the registry first in precedence.
    pub fn name(&self) -> &Str {
        self.meta.name()
    }

    /// Its ports, sorted by name.
    pub fn ports(&self) -> &[ServicePort] {
        self.meta.ports()
    }

    /// How it resolves to endpoints.
    pub fn resolution(&self) -> Resolution {
        self.meta.resolution()
    }

    /// Its virtual addresses, per cluster.
    pub fn addresses(&self) -> &[Vip] {
        self.meta.addresses()
    }

    /// Its labels.
    pub fn labels(&self) -> &Labels {
        self.meta.labels()
    }

    /// How traffic should be distributed.
    pub fn traffic(&self) -> &Traffic {
        self.meta.traffic()
    }

    /// When it was created, by the registry first in precedence that knows.
    pub fn created(&self) -> Option<Timestamp> {
        self.meta.created()
    }

    /// Its endpoints, of any health.
    pub fn endpoints(&self) -> &EndpointSet {
        &self.endpoints
    }

    /// The endpoints that may get new traffic: the routable ones, or where there are none the draining ones.
    pub fn routable_endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let any = self.endpoints.iter().any(|endpoint| endpoint.health().routable());
        self.endpoints.iter().filter(move |endpoint| {
            if any {
                endpoint.health().routable()
            } else {
                endpoint.health() == super::Health::Draining
            }
        })
    }

    /// The name of one of its endpoints in DNS, `payments-0.payments.mesh.internal` for instance; `None` where the
    /// endpoint has no [hostname](Endpoint::hostname) or the service is not [headless](Resolution::Headless): only
    /// headless services have names for single endpoints.
    ///
    /// Several endpoints may share a name; whoever asks for it wants any of them.
    ///
    /// ```
    /// # use registry_core::Service;
    /// # fn show(service: &Service) {
    /// for endpoint in service.routable_endpoints() {
    ///     if let Some(name) = service.endpoint_dns_name(endpoint) {
    ///         println!("{name} {}", endpoint.address());
    ///     }
    /// }
    /// # }
    /// ```
    pub fn endpoint_dns_name(&self, endpoint: &Endpoint) -> Option<String> {
        let hostname = endpoint.hostname();
        let is_named = self.resolution() == Resolution::Headless && !hostname.is_empty();
        is_named.then(|| format!("{hostname}.{}", self.hostname))
    }

    /// The registries that take part, first in precedence first, each with its own view.
    pub fn sources(&self) -> &[ServiceSource] {
        &self.sources
    }

    /// The registry behind a claim of one of its endpoints.
    pub fn registry_of(&self, claim: &super::Claim) -> Option<&RegistryId> {
        self.sources
            .get(usize::from(claim.source))
            .map(|source| &source.registry)
    }

    /// What registries disagree about.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// The hash of its content.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// The publication that last changed it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All of its virtual IP addresses.
    pub(crate) fn vips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses()
            .iter()
            .flat_map(|vip| vip.addresses.iter().filter_map(super::Address::ip))
    }

    pub(crate) fn content_hash(
        hostname: &str,
        meta: &ServiceMeta,
        sources: &[ServiceSource],
        endpoints: &EndpointSet,
    ) -> ContentHash {
        let mut hasher = Hasher::new("service");
        hasher.text(hostname);
        hasher.hash(meta.digest());
        for source in sources {
            hasher.text(source.registry.as_str());
        }
        hasher.number(endpoints.len() as u64);
        hasher.hash(endpoints.content_hash());
        hasher.finish()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("hostname", &self.hostname)
            .field("endpoints", &self.endpoints.len())
            .field("hash", &self.hash)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
