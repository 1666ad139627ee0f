//! From Consul's instances to the model: pure functions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use registry_core::{
    Address, Endpoint, Health, Interner, Labels, Locality, PortDefaults, ServiceId, ServiceMeta, ServicePort,
    ServiceRecord, short,
};

use super::wire::{Check, Instance};

/// How to read instances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapping<'a> {
    /// Which tagged address to take.
    pub(super) tagged_address: Option<&'a str>,
    /// Settings of ports that Consul does not name.
    pub(super) ports: &'a PortDefaults,
}

/// A service with those of its instances that can be used, and a word on each that cannot.
pub(super) fn record(
    name: &str,
    instances: &[Instance<'_>],
    mapping: Mapping<'_>,
    interner: &mut Interner,
) -> (ServiceRecord, Vec<String>) {
    let default_port = mapping.ports.port();
    let mut ports: BTreeMap<registry_core::Str, ServicePort> = BTreeMap::new();
    let mut skipped = Vec::new();
    let mut endpoints = Vec::with_capacity(instances.len());
    for instance in instances {
        match endpoint(instance, mapping, &default_port, interner) {
            Ok(endpoint) => {
                for port in endpoint.ports() {
                    ports.entry(port.name.clone()).or_insert_with(|| {
                        if port.name == default_port.name {
                            default_port.clone()
                        } else {
                            ServicePort::new(port.name.clone())
                        }
                    });
                }
                endpoints.push(endpoint);
            }
            Err(problem) => {
                let (node, id) = (&instance.node.node, &instance.service.id);
                let (node, id) = (short(node, 100), short(id, 100));
                skipped.push(format!("{node}/{id}: {}", short(&problem, 200)));
            }
        }
    }
    let mut tags: Vec<&str> = instances
        .iter()
        .flat_map(|instance| instance.service.tags.iter().map(Cow::as_ref))
        .collect();
    tags.sort_unstable();
    tags.dedup();
    let metadata: Labels = (!tags.is_empty())
        .then(|| ("tags", tags.join(",")))
        .into_iter()
        .map(|(k, v)| (interner.text(k), v))
        .collect();
    let first = instances
        .iter()
        .min_by_key(|instance| (&instance.node.node, &instance.service.id));
    let datacenter = first.map_or("", |instance| instance.node.datacenter.as_ref());
    let variables = (!datacenter.is_empty()).then_some(("datacenter", datacenter));
    let variables: Labels = variables
        .into_iter()
        .map(|(key, value)| (interner.text(key), interner.text(value)))
        .collect();
    let kind = first.map_or("", |instance| instance.service.kind.as_ref());
    let destination = first.map_or("", |instance| {
        instance.service.proxy.destination_service_name.as_ref()
    });
    let labels: Labels = [("consul.kind", kind), ("consul.destination", destination)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (interner.text(key), interner.text(value)))
        .collect();
    let meta = ServiceMeta::builder(ServiceId::named(name))
        .ports(ports.into_values())
        .labels(labels)
        .metadata(metadata)
        .variables(variables)
        .build();
    (ServiceRecord::new(meta, endpoints), skipped)
}

fn endpoint(
    instance: &Instance<'_>,
    mapping: Mapping<'_>,
    default_port: &ServicePort,
    interner: &mut Interner,
) -> Result<Endpoint, String> {
    let (node, service) = (&instance.node, &instance.service);
    let (address, tagged_port) = address(instance, mapping.tagged_address);
    if address.is_empty() {
        return Err("found no address of service or node, expected one of them".to_owned());
    }
    let address: Address = address.parse()?;
    let (status, health) = health(&instance.checks);
    let weight = if health == Health::Degraded {
        service.weights.warning
    } else {
        service.weights.passing
    };

    let mut builder = Endpoint::builder(address)
        .id(format!("{}/{}", node.node, service.id))
        .status(interner.text(status))
        .health(health)
        .weight(u32::try_from(weight).unwrap_or(1))
        .node(interner.text(&node.node))
        .cluster(interner.text(&node.datacenter))
        .locality(locality(instance, interner));
    if service.ports.is_empty() {
        let port = tagged_port.filter(|port| *port != 0).unwrap_or(service.port);
        if port != 0 {
            builder = builder.port(default_port.name.clone(), port_number(port)?);
        }
    }
    for port in &service.ports {
        builder = builder.port(interner.text(&port.name), port_number(port.port)?);
    }
    for (key, value) in &service.meta {
        builder = builder.label(interner.text(key), interner.text(value));
    }
    if !service.tags.is_empty() {
        // Consul's own order changes from one read to the next.
        let mut tags: Vec<&str> = service.tags.iter().map(Cow::as_ref).collect();
        tags.sort_unstable();
        builder = builder.label(interner.text("consul.tags"), interner.text(&tags.join(",")));
    }
    Ok(builder.build_in(interner))
}

fn port_number(port: i64) -> Result<u16, String> {
    match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("found port {port}, expected 1 to 65535")),
    }
}

/// The address to use, and the port that comes with it where it is a tagged one of the service.
fn address<'a>(instance: &'a Instance<'_>, tagged: Option<&str>) -> (&'a str, Option<i64>) {
    let (node, service) = (&instance.node, &instance.service);
    if let Some(tag) = tagged {
        if let Some(address) = service
            .tagged_addresses
            .get(tag)
            .filter(|address| !address.address.is_empty())
        {
            return (&address.address, Some(address.port));
        }
        // A service that states an address of its own is not at its node's, whichever is asked for: Consul itself
        // translates the two apart from each other.
        let nodes = node
            .tagged_addresses
            .get(tag)
            .filter(|address| !address.is_empty());
        if let (Some(address), true) = (nodes, service.address.is_empty()) {
            return (address, None);
        }
    }
    if service.address.is_empty() {
        (&node.address, None)
    } else {
        (&service.address, None)
    }
}

/// Maintenance before critical before warning before passing; no checks are passing.
fn health(checks: &[Check<'_>]) -> (&'static str, Health) {
    let maintenance =
        |check: &Check<'_>| check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:");
    let any = |status: &str| checks.iter().any(|check| check.status == status);
    if checks
        .iter()
        .any(|check| maintenance(check) && check.status == "critical")
    {
        ("maintenance", Health::Draining)
    } else if any("critical") {
        ("critical", Health::Unhealthy)
    } else if any("warning") {
        ("warning", Health::Degraded)
    } else {
        ("passing", Health::Healthy)
    }
}

fn locality(instance: &Instance<'_>, interner: &mut Interner) -> Locality {
    let said = instance
        .service
        .locality
        .as_ref()
        .or(instance.node.locality.as_ref());
    let meta = |key: &str| {
        let of_service = instance.service.meta.get(key);
        of_service
            .or_else(|| instance.node.meta.get(key))
            .map_or("", |value| value.as_ref())
    };
    let part = |said: Option<&str>, key: &str| {
        said.filter(|said| !said.is_empty())
            .unwrap_or_else(|| meta(key))
            .to_owned()
    };
    let region = part(said.map(|locality| locality.region.as_ref()), "region");
    let zone = part(said.map(|locality| locality.zone.as_ref()), "zone");
    let sub_zone = meta("sub_zone");
    Locality {
        region: interner.text(&region),
        zone: interner.text(&zone),
        sub_zone: interner.text(sub_zone),
    }
}

#[cfg(test)]
mod tests;
