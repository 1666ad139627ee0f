//! From Nomad's instances to the model: pure functions.

use std::borrow::Cow;

use registry_core::{
    Address, Endpoint, Health, Interner, Labels, Locality, PortDefaults, ServiceId, ServiceMeta, ServicePort,
    ServiceRecord, short,
};

use super::wire::Instance;

/// How to read instances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapping<'a> {
    /// The region that is asked, where that is known.
    pub(super) region: &'a str,
    /// Settings of the port, which Nomad does not name.
    pub(super) ports: &'a PortDefaults,
}

/// What is known of an instance, in the words that are shown as its raw status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It is in the catalogue, and nothing more is known.
    Registered,
    /// All of its checks succeed.
    Success,
    /// Some check has no result yet.
    Pending,
    /// Some check fails.
    Failure,
    /// Its allocation is told to stop, and runs still.
    Stopping,
    /// The client that runs its allocation has not been heard of.
    Disconnected,
    /// Its allocation is over, or gone.
    Ghost,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Success => "success",
            Self::Pending => "pending",
            Self::Failure => "failure",
            Self::Stopping => "stopping",
            Self::Disconnected => "disconnected",
            Self::Ghost => "ghost",
        }
    }

    fn health(self) -> Health {
        match self {
            Self::Registered | Self::Pending | Self::Disconnected => Health::Unknown,
            Self::Success => Health::Healthy,
            Self::Failure | Self::Ghost => Health::Unhealthy,
            Self::Stopping => Health::Draining,
        }
    }
}

/// A service with those of its instances that can be used, and a word on each that cannot.
///
/// What `status` has no word for is left out as if it were not registered.
pub(super) fn record(
    service: &ServiceId,
    instances: &[Instance<'_>],
    mapping: Mapping<'_>,
    status: impl Fn(&Instance<'_>) -> Option<Status>,
    interner: &mut Interner,
) -> (ServiceRecord, Vec<String>) {
    let port = mapping.ports.port();
    let mut skipped = Vec::new();
    let mut endpoints = Vec::with_capacity(instances.len());
    for instance in instances {
        let Some(status) = status(instance) else { continue };
        match endpoint(instance, status, mapping, &port, interner) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(problem) => {
                let id = short(&instance.id, 100);
                skipped.push(format!("{id}: {}", short(&problem, 200)));
            }
        }
    }
    let has_ports = endpoints.iter().any(|endpoint| !endpoint.ports().is_empty());
    let mut tags: Vec<&str> = instances
        .iter()
        .flat_map(|instance| instance.tags.iter().map(Cow::as_ref))
        .collect();
    let tags = sorted(&mut tags);
    // One service may run in several data centres: the word of an instance that stays the same as long as that one is there.
    let first = instances.iter().min_by_key(|instance| &instance.id);
    let datacenter = first.map_or("", |instance| instance.datacenter.as_ref());
    let meta = ServiceMeta::builder(service.clone())
        .ports(has_ports.then_some(port))
        .metadata(labels([("tags", tags.as_str())], interner))
        .variables(labels(
            [("datacenter", datacenter), ("region", mapping.region)],
            interner,
        ))
        .build();
    (ServiceRecord::new(meta, endpoints), skipped)
}

fn endpoint(
    instance: &Instance<'_>,
    status: Status,
    mapping: Mapping<'_>,
    port: &ServicePort,
    interner: &mut Interner,
) -> Result<Endpoint, String> {
    if instance.address.is_empty() {
        return Err("found no address".to_owned());
    }
    let address: Address = instance.address.parse()?;
    let mut tags: Vec<&str> = instance.tags.iter().map(Cow::as_ref).collect();
    let tags = sorted(&mut tags);
    let mut builder = Endpoint::builder(address)
        .id(instance.id.as_ref())
        .status(interner.text(status.word()))
        .health(status.health())
        .node(interner.text(&instance.node))
        .cluster(interner.text(&instance.datacenter))
        .locality(Locality {
            region: interner.text(mapping.region),
            zone: interner.text(&instance.datacenter),
            ..Locality::default()
        });
    // A service without a port is registered with 0.
    if instance.port != 0 {
        let number = u16::try_from(instance.port)
            .map_err(|_| format!("found port {}, expected 1 to 65535", instance.port))?;
        builder = builder.port(port.name.clone(), number);
    }
    for (key, value) in [
        ("nomad.alloc", instance.allocation.as_ref()),
        ("nomad.job", instance.job.as_ref()),
        ("nomad.tags", tags.as_str()),
    ] {
        if !value.is_empty() {
            builder = builder.label(interner.text(key), interner.text(value));
        }
    }
    Ok(builder.build_in(interner))
}

/// The tags as one text: their order says nothing, and changes.
fn sorted(tags: &mut Vec<&str>) -> String {
    tags.sort_unstable();
    tags.dedup();
    tags.join(",")
}

fn labels<const N: usize>(pairs: [(&str, &str); N], interner: &mut Interner) -> Labels {
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (interner.text(key), interner.text(value)))
        .collect()
}

#[cfg(test)]
mod tests;
