//! What a ServiceImport of a merged service says, as data: for a controller that writes imports.

use registry_core::{Labels, Resolution, Service, ServiceMeta, ServicePort, SessionAffinity, Str};

use crate::policy;

/// How an imported service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportType {
    /// By an address for the whole.
    ClusterSetIp,
    /// By the addresses of its endpoints.
    Headless,
}

impl ImportType {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterSetIp => "ClusterSetIP",
            Self::Headless => "Headless",
        }
    }
}

/// A port of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportPort {
    /// Its name; empty where it is the only one and nobody named it.
    pub name: Str,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
    /// What is spoken on it, as the Service says of the oldest export that has the port; empty where that does not.
    pub app_protocol: Str,
    /// Its number.
    pub port: u16,
}

/// What a ServiceImport of a service says but for its addresses, which are for whoever assigns them. Fields are those of
/// `multicluster.x-k8s.io/v1beta1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSpec {
    /// `type`.
    pub kind: ImportType,
    /// `ports`: those of all exports, each once. A headless service has its ports in its slices, and none here.
    pub ports: Vec<ImportPort>,
    /// `ipFamilies`: those that all exports have, else those of the oldest one; empty where they are unknown.
    pub ip_families: Vec<Str>,
    /// `sessionAffinity`: `ClientIP` or `None`.
    pub session_affinity: &'static str,
    /// `sessionAffinityConfig.clientIP.timeoutSeconds`, where there is session affinity.
    pub session_affinity_timeout: Option<u32>,
    /// `internalTrafficPolicy`: `Cluster` or `Local`.
    pub internal_traffic_policy: Str,
    /// `trafficDistribution`, where there is a preference.
    pub traffic_distribution: Option<Str>,
    /// Labels of the import itself: the exported ones.
    pub labels: Labels,
    /// Annotations of the import itself: the exported ones.
    pub annotations: Labels,
    /// The clusters in its status, the one with the oldest export first.
    pub clusters: Vec<Str>,
}

/// What a ServiceImport of that service says; `None` where no cluster exports it, or what is exported is nothing.
///
/// It is a function of the service alone. What is of one export as a whole is of that with precedence, as in the service
/// itself.
pub fn import_spec(service: &Service) -> Option<ImportSpec> {
    let sources = service.sources().iter().map(|source| &*source.meta);
    // Where the hostname has another policy than that of clustersets, the first need not be an export.
    let first = sources.clone().next()?;
    let exports: Vec<&ServiceMeta> = sources.filter(|meta| policy::is_export(meta)).collect();
    let oldest = *exports.first()?;
    let kind = match first.resolution() {
        Resolution::Headless => ImportType::Headless,
        Resolution::Static | Resolution::Dns => ImportType::ClusterSetIp,
        Resolution::Nothing => return None,
    };
    let ports = match kind {
        ImportType::Headless => Vec::new(),
        ImportType::ClusterSetIp => ports(service),
    };
    let mut ip_families = policy::common_families(exports.iter().copied());
    if ip_families.is_empty() {
        ip_families = policy::common_families([oldest]);
    }
    let traffic = first.traffic();
    let stays = traffic.session_affinity == SessionAffinity::ClientIp;
    let mut clusters: Vec<Str> = Vec::with_capacity(exports.len());
    for cluster in exports.iter().map(|meta| Str::from(policy::cluster(meta))) {
        if !clusters.contains(&cluster) {
            clusters.push(cluster);
        }
    }
    Some(ImportSpec {
        kind,
        ports,
        ip_families: ip_families.into_iter().map(Str::from).collect(),
        session_affinity: policy::affinity(traffic.session_affinity),
        session_affinity_timeout: stays
            .then(|| policy::affinity_timeout(first).parse().ok())
            .flatten(),
        internal_traffic_policy: policy::internal_traffic_policy(first).into(),
        traffic_distribution: Some(traffic.distribution.clone()).filter(|word| !word.is_empty()),
        labels: first.labels().clone(),
        annotations: policy::annotations(first)
            .map(|(key, value)| (key, value.clone()))
            .collect(),
        clusters,
    })
}

fn ports(service: &Service) -> Vec<ImportPort> {
    let ports = service.ports();
    // Of several ports each needs a name.
    let nameless = |port: &ServicePort| port.implicit && ports.len() == 1;
    let mapped = ports.iter().filter_map(|port| {
        Some(ImportPort {
            name: if nameless(port) {
                Str::default()
            } else {
                port.name.clone()
            },
            protocol: match port.transport {
                registry_core::Transport::Tcp => "TCP",
                registry_core::Transport::Udp => "UDP",
                registry_core::Transport::Sctp => "SCTP",
            },
            app_protocol: app_protocol(service, port),
            port: port.number?,
        })
    });
    mapped.collect()
}

/// What is spoken on a port of the service, in the words of whoever has it: the first of that number and transport, for
/// others of that name lost it.
fn app_protocol(service: &Service, port: &ServicePort) -> Str {
    let is_that = |held: &&ServicePort| {
        held.name == port.name && held.number == port.number && held.transport == port.transport
    };
    let owner = service
        .sources()
        .iter()
        .find(|source| source.meta.ports().iter().any(|held| is_that(&held)));
    match owner {
        Some(owner) if policy::is_export(&owner.meta) => policy::app_protocol(&owner.meta, &port.name).into(),
        // Others do not use the words of Kubernetes.
        _ if port.app_protocol.as_str() == "http2" => "kubernetes.io/h2c".into(),
        _ => port.app_protocol.clone(),
    }
}
