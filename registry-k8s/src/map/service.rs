//! A Service: all but its endpoints.

use std::sync::Arc;

use registry_core::{
    Address, Endpoint, Health, Interner, Labels, Resolution, ServiceId, ServiceMeta, ServicePort,
    SessionAffinity, Str, Timestamp, Traffic, Vip,
};

use super::{ports, text};
use crate::index::Mapping;
use crate::wire;

/// A Service, mapped.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// Still without the ports that its slices add.
    pub(crate) meta: Arc<ServiceMeta>,
    /// The ports that it declares itself.
    pub(crate) ports: Box<[ServicePort]>,
    pub(crate) terms: Terms,
}

/// On what terms slices become the endpoints of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Terms {
    /// By its slices. Where a pod has an address of each family, which one goes first; and whether every endpoint
    /// has a name of its own.
    Slices { v6_first: bool, headless: bool },
    /// It is a name for something outside: slices do not count. Empty where the name is none.
    External(Option<Address>),
}

/// Maps a Service.
pub(crate) fn service(service: &wire::Service<'_>, mapping: &Mapping, interner: &mut Interner) -> Mapped {
    let (metadata, spec) = (&service.metadata, &service.spec);
    let external = &*spec.kind == "ExternalName";
    let first_ip = spec.cluster_ips.first().unwrap_or(&spec.cluster_ip);
    let headless = !external && (&**first_ip == "None" || &*spec.cluster_ip == "None");

    let (resolution, terms) = if external {
        let address = spec.external_name.parse().ok();
        (Resolution::Dns, Terms::External(address))
    } else {
        let v6_first = spec.ip_families.first().is_some_and(|family| &**family == "IPv6");
        let resolution = if headless {
            Resolution::Headless
        } else {
            Resolution::Static
        };
        (resolution, Terms::Slices { v6_first, headless })
    };
    let traffic = Traffic {
        session_affinity: if &*spec.session_affinity == "ClientIP" {
            SessionAffinity::ClientIp
        } else {
            SessionAffinity::None
        },
        distribution: interner.text(&spec.traffic_distribution),
        internal_local: &*spec.internal_traffic_policy == "Local",
    };
    let namespace = interner.text(&metadata.namespace);
    let id = ServiceId::new(namespace.clone(), namespace, &*metadata.name);
    let labels: Labels = metadata
        .labels
        .iter()
        .map(|(key, value)| (interner.text(key), interner.text(value)))
        .collect();
    let variables = [("cluster", &mapping.cluster), ("network", &mapping.network)];
    let variables: Labels = variables
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (interner.text(key), value.clone()))
        .collect();
    let created = text::nanos(&metadata.creation_timestamp);
    let ports = ports::of_service(&spec.ports, &mapping.ports, interner);
    let meta = ServiceMeta::builder(id)
        .addresses(vips(service, mapping))
        .labels(labels)
        .metadata(raw(service, interner))
        .variables(variables)
        .traffic(traffic)
        .created(created.map(|nanos| Timestamp::from_millis(nanos / 1_000_000)))
        .resolution(resolution)
        .build();
    Mapped {
        meta,
        ports: ports.into(),
        terms,
    }
}

/// Its virtual addresses: those valid in the cluster, and those that are valid wherever they can be reached.
fn vips(service: &wire::Service<'_>, mapping: &Mapping) -> Vec<Vip> {
    let spec = &service.spec;
    let ip = |text: &str| text::ip(text).map(Address::from);
    let mut inside: Vec<Address> = spec.cluster_ips.iter().filter_map(|text| ip(text)).collect();
    if spec.cluster_ips.is_empty() {
        inside.extend(ip(&spec.cluster_ip));
    }
    let mut outside: Vec<Address> = spec.external_ips.iter().filter_map(|text| ip(text)).collect();
    for ingress in &service.status.load_balancer.ingress {
        outside.extend(ip(&ingress.ip));
        outside.extend(ingress.hostname.parse::<Address>());
    }
    let mut vips = Vec::new();
    for (cluster, addresses) in [(mapping.cluster.clone(), inside), (Str::default(), outside)] {
        let mut distinct: Vec<Address> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if !distinct.contains(&address) {
                distinct.push(address);
            }
        }
        if !distinct.is_empty() {
            vips.push(Vip {
                cluster,
                addresses: distinct,
            });
        }
    }
    vips
}

/// What else is set, in the words of Kubernetes.
fn raw(service: &wire::Service<'_>, interner: &mut Interner) -> Labels {
    let (metadata, spec) = (&service.metadata, &service.spec);
    let list = |texts: &[wire::Text<'_>]| {
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        texts.join(",")
    };
    let ingress: Vec<String> = service.status.load_balancer.ingress.iter().map(ingress).collect();
    let timeout = spec.session_affinity_config.client_ip.timeout_seconds;
    let own = [
        ("uid", metadata.uid.to_string()),
        ("clusterIPs", list(&spec.cluster_ips)),
        ("externalIPs", list(&spec.external_ips)),
        ("externalName", spec.external_name.to_string()),
        ("loadBalancer", ingress.join(",")),
    ];
    let publish = spec.publish_not_ready_addresses;
    let shared = [
        ("type", spec.kind.to_string()),
        ("ipFamilies", list(&spec.ip_families)),
        ("ipFamilyPolicy", spec.ip_family_policy.to_string()),
        ("externalTrafficPolicy", spec.external_traffic_policy.to_string()),
        ("internalTrafficPolicy", spec.internal_traffic_policy.to_string()),
        ("topologyMode", metadata.annotations.topology_mode.to_string()),
        (
            "sessionAffinityTimeoutSeconds",
            timeout.map(|seconds| seconds.to_string()).unwrap_or_default(),
        ),
        (
            "publishNotReadyAddresses",
            if publish { "true".to_owned() } else { String::new() },
        ),
    ];
    let mut pairs: Vec<(Str, Str)> = Vec::with_capacity(own.len() + shared.len());
    for (key, value) in own {
        pairs.push((interner.text(key), Str::from(value)));
    }
    for (key, value) in shared {
        pairs.push((interner.text(key), interner.text(&value)));
    }
    pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// One address of a load balancer: `203.0.113.5`, `203.0.113.5 (Proxy)`, `lb.example.com`.
fn ingress(ingress: &wire::Ingress<'_>) -> String {
    let mut text = String::new();
    for part in [&ingress.ip, &ingress.hostname] {
        if !part.is_empty() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(part);
        }
    }
    if !ingress.ip_mode.is_empty() {
        text.push_str(&format!(" ({})", &*ingress.ip_mode));
    }
    text
}

/// The one endpoint of a service that is a name for something outside. Whether that serves nobody says here, and it is
/// in no network and no cluster.
pub(crate) fn outside(address: &Address, ports: &[ServicePort], interner: &mut Interner) -> Endpoint {
    let mut builder = Endpoint::builder(address.clone())
        .id(address.to_string())
        .health(Health::Unknown);
    for port in ports {
        if let Some(number) = port.number {
            builder = builder.port(port.name.clone(), number);
        }
    }
    builder.build_in(interner)
}

/// True where both say the same in all that anybody can see.
pub(crate) fn same(a: &Arc<ServiceMeta>, b: &Arc<ServiceMeta>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.ports() == b.ports()
            && a.id() == b.id()
            && a.addresses() == b.addresses()
            && a.labels() == b.labels()
            && a.metadata() == b.metadata()
            && a.variables() == b.variables()
            && a.traffic() == b.traffic()
            && a.created() == b.created()
            && a.resolution() == b.resolution()
            && a.aliases() == b.aliases())
}
