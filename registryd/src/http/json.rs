//! The JSON of services: the same shape in lists, single answers and deltas. What is empty is left out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    Address, Behind, Endpoint, EndpointPorts, InstanceId, Labels, Locality, Origin, Phase, RegistryId,
    RegistrySummary, Resolution, Service, ServicePort, SessionAffinity, Str, Timestamp, Traffic, Transport,
};
use serde::{Serialize, Serializer};

/// Appends a value. It cannot fail: memory takes everything, and all keys of maps are texts.
pub(super) fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        tracing::error!(%error, "a value has no JSON");
        out.extend_from_slice(b"null");
    }
}

/// What is printed, as a JSON text.
pub(super) struct Text<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Pairs<'a>(&'a Labels);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

fn is_empty(text: &&str) -> bool {
    text.is_empty()
}

fn pairs(labels: &Labels) -> Option<Pairs<'_>> {
    (!labels.is_empty()).then_some(Pairs(labels))
}

/// Seconds with three decimals: more is noise.
pub(super) fn seconds(age: Option<Duration>) -> Option<f64> {
    age.map(|age| (age.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// How far a registry can be trusted, and those behind it in turn.
#[derive(Serialize)]
pub(super) struct Trust {
    kind: Text<Str>,
    phase: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partly: bool,
    age_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Text<Str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Text<InstanceId>>,
    #[serde(skip_serializing_if = "AllBehind::is_empty")]
    behind: AllBehind,
}

impl Trust {
    pub(super) fn of(registry: &RegistrySummary) -> Self {
        let error = registry.trouble().filter(|_| registry.phase() != Phase::Synced);
        Self {
            kind: Text(registry.kind().into()),
            phase: registry.phase().as_str(),
            partly: registry.is_partly_stale(),
            age_s: seconds(registry.age()),
            error: error.map(|error| Text(error.into())),
            instance: registry.instance().map(Text),
            behind: AllBehind(registry.behind()),
        }
    }

    fn behind(behind: &Behind) -> Self {
        Self {
            kind: Text(behind.kind.clone()),
            phase: behind.phase.as_str(),
            partly: behind.partly,
            age_s: seconds(behind.age()),
            error: behind.error.clone().map(Text),
            instance: behind.instance.map(Text),
            behind: AllBehind(behind.behind.clone()),
        }
    }
}

/// The registries behind another, by their names there.
pub(super) struct AllBehind(pub(super) Arc<[Behind]>);

impl AllBehind {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for AllBehind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let registries = self.0.iter();
        serializer.collect_map(registries.map(|behind| (behind.id.as_str(), Trust::behind(behind))))
    }
}

/// Phases by registry; `null` where it is gone.
pub(super) struct Phases<'a>(pub(super) &'a [(RegistryId, Option<Phase>)]);

impl Serialize for Phases<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(id, phase)| (id.as_str(), phase.map(Phase::as_str))),
        )
    }
}

#[derive(Serialize)]
struct Port<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "is_empty")]
    protocol: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    implicit: bool,
}

impl<'a> From<&'a ServicePort> for Port<'a> {
    fn from(port: &'a ServicePort) -> Self {
        Self {
            name: &port.name,
            number: port.number,
            transport: (port.transport != Transport::Tcp).then(|| port.transport.as_str()),
            protocol: &port.app_protocol,
            implicit: port.implicit,
        }
    }
}

#[derive(Serialize)]
struct VipView<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    cluster: &'a str,
    addresses: Vec<Text<&'a Address>>,
}

#[derive(Serialize)]
struct TrafficView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_affinity: Option<&'static str>,
    #[serde(skip_serializing_if = "is_empty")]
    distribution: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_policy: Option<&'static str>,
}

impl<'a> TrafficView<'a> {
    fn of(traffic: &'a Traffic) -> Option<Self> {
        (*traffic != Traffic::default()).then(|| Self {
            session_affinity: (traffic.session_affinity == SessionAffinity::ClientIp).then_some("client_ip"),
            distribution: &traffic.distribution,
            internal_policy: traffic.internal_local.then_some("local"),
        })
    }
}

/// A service up to its endpoints.
#[derive(Serialize)]
struct Head<'a> {
    hostname: &'a str,
    revision: u64,
    hash: Text<registry_core::ContentHash>,
    #[serde(skip_serializing_if = "is_empty")]
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<&'a str>,
    ports: Vec<Port<'a>>,
    resolution: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<VipView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Pairs<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<TrafficView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Text<Timestamp>>,
}

impl<'a> Head<'a> {
    fn of(service: &'a Service) -> Self {
        let resolution: Resolution = service.resolution();
        let vips = service.addresses().iter().map(|vip| VipView {
            cluster: &vip.cluster,
            addresses: vip.addresses.iter().map(Text).collect(),
        });
        Self {
            hostname: service.hostname(),
            revision: service.revision(),
            hash: Text(service.hash()),
            namespace: service.namespace(),
            name: service.name(),
            aliases: service.aliases().iter().map(Str::as_str).collect(),
            ports: service.ports().iter().map(Port::from).collect(),
            resolution: resolution.as_str(),
            addresses: vips.collect(),
            labels: pairs(service.labels()),
            traffic: TrafficView::of(service.traffic()),
            created: service.created().map(Text),
        }
    }
}

#[derive(Serialize)]
struct ConflictView<'a> {
    field: &'static str,
    #[serde(skip_serializing_if = "is_empty")]
    item: &'a str,
    values: Vec<ConflictValue<'a>>,
    text: Text<&'a registry_core::Conflict>,
}

#[derive(Serialize)]
struct ConflictValue<'a> {
    registry: &'a str,
    value: &'a str,
}

struct Metadata<'a>(&'a Service);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = self
            .0
            .sources()
            .iter()
            .filter(|source| !source.meta.metadata().is_empty());
        serializer.collect_map(told.map(|source| (source.registry.as_str(), Pairs(source.meta.metadata()))))
    }
}

/// By registry the ways to those behind it that have the service.
struct Ways<'a>(&'a Service);

impl Serialize for Ways<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sources = self.0.sources().iter();
        let passed_on = sources.filter(|source| !source.meta.origins().is_empty());
        serializer.collect_map(passed_on.map(|source| {
            let ways = source.meta.origins().iter().map(Str::as_str);
            (source.registry.as_str(), ways.collect::<Vec<_>>())
        }))
    }
}

/// A service after its endpoints.
#[derive(Serialize)]
struct Tail<'a> {
    sources: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origins: Option<Ways<'a>>,
    conflicts: Vec<ConflictView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

impl<'a> Tail<'a> {
    fn of(service: &'a Service) -> Self {
        let conflicts = service.conflicts().iter().map(|conflict| ConflictView {
            field: conflict.field.as_str(),
            item: &conflict.item,
            values: conflict
                .values
                .iter()
                .map(|(registry, value)| ConflictValue {
                    registry: registry.as_str(),
                    value,
                })
                .collect(),
            text: Text(conflict),
        });
        let any = service
            .sources()
            .iter()
            .any(|source| !source.meta.metadata().is_empty());
        Self {
            sources: service
                .sources()
                .iter()
                .map(|source| source.registry.as_str())
                .collect(),
            origins: service
                .sources()
                .iter()
                .any(|source| !source.meta.origins().is_empty())
                .then_some(Ways(service)),
            conflicts: conflicts.collect(),
            metadata: any.then_some(Metadata(service)),
        }
    }
}

struct Ports<'a>(&'a EndpointPorts);

impl Serialize for Ports<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|port| (port.name.as_str(), port.number)))
    }
}

#[derive(Serialize)]
pub(super) struct LocalityView<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    region: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    zone: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    sub_zone: &'a str,
}

impl<'a> LocalityView<'a> {
    pub(super) fn of(locality: &'a Locality) -> Option<Self> {
        (!locality.is_empty()).then(|| Self {
            region: &locality.region,
            zone: &locality.zone,
            sub_zone: &locality.sub_zone,
        })
    }
}

#[derive(Serialize)]
struct ClaimView<'a> {
    registry: &'a str,
    id: Text<Str>,
    status: Text<Str>,
    first_seen: Text<Timestamp>,
    last_changed: Text<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    origins: Vec<OriginView>,
}

#[derive(Serialize)]
struct OriginView {
    registry: Text<Str>,
    id: Text<Str>,
    status: Text<Str>,
    first_seen: Text<Timestamp>,
    last_changed: Text<Timestamp>,
}

impl From<&Origin> for OriginView {
    fn from(origin: &Origin) -> Self {
        Self {
            registry: Text(origin.registry.clone()),
            id: Text(origin.id.clone()),
            status: Text(origin.status.clone()),
            first_seen: Text(origin.first_seen),
            last_changed: Text(origin.last_changed),
        }
    }
}

#[derive(Serialize)]
struct EndpointView<'a> {
    address: Text<&'a Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Text<&'a Address>>,
    ports: Ports<'a>,
    health: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    administrative: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    weight: u32,
    priority: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<LocalityView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Pairs<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    node: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    cluster: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    network: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_name: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    identity: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_hints: Vec<&'a str>,
    sources: Vec<ClaimView<'a>>,
}

impl<'a> EndpointView<'a> {
    fn of(service: &'a Service, endpoint: &'a Endpoint) -> Self {
        let addresses = endpoint.addresses();
        let several = if addresses.len() > 1 { addresses } else { &[] };
        let claims = endpoint.claims().map(|claim| ClaimView {
            registry: service.registry_of(&claim).map_or("", RegistryId::as_str),
            id: Text(claim.id),
            status: Text(claim.status),
            first_seen: Text(claim.first_seen),
            last_changed: Text(claim.last_changed),
            origins: claim.origins.iter().map(OriginView::from).collect(),
        });
        Self {
            address: Text(endpoint.address()),
            addresses: several.iter().map(Text).collect(),
            ports: Ports(endpoint.ports()),
            health: endpoint.health().as_str(),
            administrative: endpoint.administrative(),
            held: endpoint.held(),
            weight: endpoint.weight(),
            priority: endpoint.priority(),
            locality: LocalityView::of(endpoint.locality()),
            labels: pairs(endpoint.labels()),
            node: endpoint.node(),
            cluster: endpoint.cluster(),
            network: endpoint.network(),
            hostname: endpoint.hostname(),
            dns_name: service.endpoint_dns_name(endpoint),
            identity: endpoint.identity(),
            hints: endpoint.hints().iter().map(Str::as_str).collect(),
            node_hints: endpoint.node_hints().iter().map(Str::as_str).collect(),
            sources: claims.collect(),
        }
    }
}

/// Appends all of a service before its endpoints, whose list is open then.
pub(super) fn open_service(out: &mut Vec<u8>, service: &Service) {
    append(out, &Head::of(service));
    // The object goes on.
    out.pop();
    out.extend_from_slice(b",\"endpoints\":[");
}

/// Appends one endpoint.
pub(super) fn endpoint(out: &mut Vec<u8>, service: &Service, endpoint: &Endpoint) {
    append(out, &EndpointView::of(service, endpoint));
}

/// Appends all of a service after its endpoints. The object stays open for more members.
pub(super) fn rest_of_service(out: &mut Vec<u8>, service: &Service) {
    out.extend_from_slice(b"],");
    let start = out.len();
    append(out, &Tail::of(service));
    // Its members belong to the object that is open already.
    out.remove(start);
    out.pop();
}
