//! A Service or a ServiceImport: all but the endpoints of its slices.

use std::sync::Arc;

use registry_core::{
    Address, Addresses, Endpoint, EndpointBuilder, Health, Interner, Labels, Resolution, ServiceId,
    ServiceMeta, ServicePort, SessionAffinity, Str, Timestamp, Traffic, Vip,
};

use super::{ports, text};
use crate::index::{Join, Mapping};
use crate::view::APP_PROTOCOL;
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
    /// By its slices. Where a pod has an address of each family, which one goes first; whether every endpoint has a name
    /// of its own; and what stands for endpoints as long as there is no slice at all.
    Slices {
        v6_first: bool,
        headless: bool,
        stand_in: Option<Arc<Endpoint>>,
    },
    /// It is a name for something outside: slices do not count. Empty where the name is none.
    External(Option<Address>),
}

/// Maps a Service, or where imports are joined, a ServiceImport.
pub(crate) fn service(service: &wire::Service<'_>, mapping: &Mapping, interner: &mut Interner) -> Mapped {
    let (metadata, spec) = (&service.metadata, &service.spec);
    let is_import = mapping.join == Join::Imports;
    let external = !is_import && &*spec.kind == "ExternalName";
    let first_ip = spec.cluster_ips.first().unwrap_or(&spec.cluster_ip);
    // An import without addresses says so by its type; Cilium has written `None` as an address as well.
    let headless = (is_import && &*spec.kind == "Headless")
        || (!external && (&**first_ip == "None" || &*spec.cluster_ip == "None"));
    let ports = ports::of_service(&spec.ports, &mapping.ports, interner);

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
        let stand_in = if is_import && !headless {
            stand_in(service, &ports, mapping, interner)
        } else {
            None
        };
        let terms = Terms::Slices {
            v6_first,
            headless,
            stand_in,
        };
        (resolution, terms)
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
    let meta = ServiceMeta::builder(id)
        .addresses(vips(service, mapping))
        .labels(labels)
        .metadata(raw(service, mapping, interner))
        .variables(variables(mapping, interner))
        .traffic(traffic)
        .created(created(&metadata.creation_timestamp))
        .resolution(resolution)
        .build();
    Mapped {
        meta,
        ports: ports.into(),
        terms,
    }
}

/// Values for variables of templates.
pub(super) fn variables(mapping: &Mapping, interner: &mut Interner) -> Labels {
    let variables = [("cluster", &mapping.cluster), ("network", &mapping.network)];
    variables
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (interner.text(key), value.clone()))
        .collect()
}

/// When an object was made.
pub(super) fn created(timestamp: &str) -> Option<Timestamp> {
    text::nanos(timestamp).map(|nanos| Timestamp::from_millis(nanos / 1_000_000))
}

/// The addresses of an import, as its one endpoint: implementations need not make slices. They are valid in the importing
/// cluster, and lead to any; whether that serves nobody says here.
fn stand_in(
    import: &wire::Service<'_>,
    ports: &[ServicePort],
    mapping: &Mapping,
    interner: &mut Interner,
) -> Option<Arc<Endpoint>> {
    let ips = import.spec.cluster_ips.iter();
    let mut addresses = ips.filter_map(|ip| text::ip(ip)).map(Address::from);
    let first = addresses.next()?;
    let builder = Endpoint::builder(Addresses::new(first.clone(), addresses))
        .id(first.to_string())
        .health(Health::Unknown)
        .network(mapping.network.clone());
    Some(Arc::new(with_numbers(builder, ports).build_in(interner)))
}

/// An endpoint at which ports have the numbers of the service.
fn with_numbers(mut builder: EndpointBuilder, ports: &[ServicePort]) -> EndpointBuilder {
    for port in ports {
        if let Some(number) = port.number {
            builder = builder.port(port.name.clone(), number);
        }
    }
    builder
}

/// Its virtual addresses: those valid in the cluster, which is the importing one where it is an import, and those that are valid wherever they can be reached.
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
fn raw(service: &wire::Service<'_>, mapping: &Mapping, interner: &mut Interner) -> Labels {
    let (metadata, spec) = (&service.metadata, &service.spec);
    let is_import = mapping.join == Join::Imports;
    let list = |texts: &[wire::Text<'_>]| {
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        texts.join(",")
    };
    let clusters = service.status.clusters.iter();
    let clusters: Vec<&str> = clusters.map(|source| &*source.cluster).collect();
    let ingress: Vec<String> = service.status.load_balancer.ingress.iter().map(ingress).collect();
    let timeout = spec.session_affinity_config.client_ip.timeout_seconds;
    let own = [
        ("uid", metadata.uid.to_string()),
        (
            if is_import { "ips" } else { "clusterIPs" },
            list(&spec.cluster_ips),
        ),
        ("clusters", clusters.join(",")),
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
    // Others can tell from the ports; only clusters of a clusterset compare what was declared.
    if mapping.join == Join::Exports {
        for (port, word) in ports::declared(&spec.ports, &mapping.ports, interner) {
            let key = interner.text(&format!("{APP_PROTOCOL}{port}"));
            pairs.push((key, interner.text(word)));
        }
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
    let builder = Endpoint::builder(address.clone())
        .id(address.to_string())
        .health(Health::Unknown);
    with_numbers(builder, ports).build_in(interner)
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
