//! The merge: a pure function from what registries say of one hostname to the service that readers see.
//!
//! No I/O, no clock, no order of arrival: the same records, staleness and policy give the same content.

mod endpoints;
mod policy;

use std::sync::Arc;

pub use policy::{Claimant, Exclusive, Fallback, LabelRule, MergePolicy, PortRule, Union};

use crate::endpoint_set::EndpointSet;
use crate::model::{
    Conflict, ConflictField, Labels, RegistryId, Service, ServiceMeta, ServicePort, ServiceSource, Vip,
};
use crate::text::Str;
use endpoints::Input;

/// What a merge of several sources started from, kept so that the next one costs only what changed.
#[derive(Debug)]
pub(crate) struct Basis {
    inputs: Vec<Input>,
    endpoints: EndpointSet,
}

/// Merges what registries say of one hostname. `None` where the policy lets nobody take part.
///
/// `settled` are conflicts that were decided before, over who may claim the hostname at all.
pub(crate) fn merge(
    hostname: &Str,
    claimants: &[Claimant<'_>],
    policy: &dyn MergePolicy,
    settled: Vec<Conflict>,
    last: Option<&Basis>,
) -> Option<(Service, Option<Basis>)> {
    let mut ordered: Vec<&Claimant<'_>> = claimants.iter().collect();
    ordered.sort_by(|a, b| policy.precedence(a, b));
    let roles = policy.select(&ordered);
    let taking_part: Vec<(&Claimant<'_>, u8)> = ordered
        .into_iter()
        .zip(roles)
        .filter_map(|(claimant, role)| Some((claimant, role?)))
        .collect();
    let (first, _) = *taking_part.first()?;
    let sources: Arc<[ServiceSource]> = taking_part
        .iter()
        .map(|(claimant, _)| ServiceSource {
            registry: claimant.registry.clone(),
            meta: claimant.record.meta().clone(),
        })
        .collect();

    let alone = taking_part.len() == 1 && taking_part[0].1 == 0 && !first.degraded;
    let (meta, endpoints, conflicts, basis) = if alone && !first.record.endpoints().collides() {
        (
            first.record.meta().clone(),
            first.record.endpoints().clone(),
            settled,
            None,
        )
    } else {
        let (meta, bindings, mut conflicts) = merge_meta(&taking_part);
        conflicts.splice(0..0, settled);
        let inputs = taking_part
            .iter()
            .zip(bindings)
            .map(|((claimant, priority), binding)| Input {
                registry: claimant.registry.clone(),
                endpoints: claimant.record.endpoints().clone(),
                stale: claimant.stale,
                degraded: claimant.degraded,
                priority: *priority,
                binding,
            })
            .collect();
        let endpoints = endpoints::merge(&inputs, last.map(|last| (&last.inputs, &last.endpoints)));
        let basis = Basis {
            inputs,
            endpoints: endpoints.clone(),
        };
        (meta, endpoints, conflicts, Some(basis))
    };
    let hash = Service::content_hash(hostname, &meta, &sources, &endpoints);
    let service = Service {
        hostname: hostname.clone(),
        meta,
        endpoints,
        sources,
        conflicts: if conflicts.is_empty() {
            Arc::default()
        } else {
            conflicts.into()
        },
        hash,
        revision: 0,
    };
    Some((service, basis))
}

/// How the ports of one source's endpoints relate to those of the merged service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Binding {
    /// The implicit port, and what it is called in the merged service.
    rename: Option<(Str, Str)>,
    /// Ports that do not fit the service's and are left out.
    dropped: Vec<Str>,
}

fn merge_meta(taking_part: &[(&Claimant<'_>, u8)]) -> (Arc<ServiceMeta>, Vec<Binding>, Vec<Conflict>) {
    let mut conflicts = Vec::new();
    let (ports, bindings) = merge_ports(taking_part, &mut conflicts);
    let winner = taking_part[0].0;
    let metas = || taking_part.iter().map(|(claimant, _)| claimant.record.meta());

    for (claimant, _) in &taking_part[1..] {
        let (ours, theirs) = (
            winner.record.meta().resolution(),
            claimant.record.meta().resolution(),
        );
        if ours != theirs {
            note(
                &mut conflicts,
                ConflictField::Resolution,
                "",
                (winner.registry, ours.as_str()),
                (claimant.registry, theirs.as_str()),
            );
        }
    }
    let mut vips: Vec<Vip> = Vec::new();
    for vip in metas().flat_map(|meta| meta.addresses()) {
        match vips.iter_mut().find(|held| held.cluster == vip.cluster) {
            Some(held) => held.addresses.extend(
                vip.addresses
                    .iter()
                    .filter(|address| !held.addresses.contains(address))
                    .cloned()
                    .collect::<Vec<_>>(),
            ),
            None => vips.push(vip.clone()),
        }
    }
    let labels = metas().fold(Labels::default(), |labels, meta| labels.or(meta.labels()));
    let merged = winner
        .record
        .meta()
        .to_builder()
        .ports(ports)
        .aliases(metas().flat_map(|meta| meta.aliases().iter().cloned()))
        .addresses(vips)
        .labels(labels)
        .created(metas().find_map(|meta| meta.created()))
        .build();
    let meta = if merged.is_same(winner.record.meta()) {
        winner.record.meta().clone()
    } else {
        merged
    };
    (meta, bindings, conflicts)
}

fn merge_ports(
    taking_part: &[(&Claimant<'_>, u8)],
    conflicts: &mut Vec<Conflict>,
) -> (Vec<ServicePort>, Vec<Binding>) {
    let mut ports: Vec<(ServicePort, &RegistryId)> = Vec::new();
    let mut bindings = vec![Binding::default(); taking_part.len()];
    for ((claimant, _), binding) in taking_part.iter().zip(&mut bindings) {
        for port in claimant
            .record
            .meta()
            .ports()
            .iter()
            .filter(|port| !port.implicit)
        {
            if !add_port(&mut ports, port, claimant.registry, conflicts) {
                binding.dropped.push(port.name.clone());
            }
        }
    }
    // A port that nobody named is the service's only named one, if there is exactly one to be.
    let only = match ports.as_slice() {
        [(port, _)] => Some(port.clone()),
        _ => None,
    };
    for ((claimant, _), binding) in taking_part.iter().zip(&mut bindings) {
        for port in claimant.record.meta().ports().iter().filter(|port| port.implicit) {
            let mut bound = port.clone();
            if let Some(only) = &only {
                bound.name = only.name.clone();
                bound.transport = only.transport;
                binding.rename = Some((port.name.clone(), only.name.clone()));
            }
            if !add_port(&mut ports, &bound, claimant.registry, conflicts) {
                binding.dropped.push(port.name.clone());
            }
        }
    }
    (ports.into_iter().map(|(port, _)| port).collect(), bindings)
}

/// Adds a port, or checks it against the one of its name. False where it does not fit.
fn add_port<'a>(
    ports: &mut Vec<(ServicePort, &'a RegistryId)>,
    port: &ServicePort,
    registry: &'a RegistryId,
    conflicts: &mut Vec<Conflict>,
) -> bool {
    let Some((held, owner)) = ports.iter_mut().find(|(held, _)| held.name == port.name) else {
        ports.push((port.clone(), registry));
        return true;
    };
    let fits = held.transport == port.transport;
    if !fits {
        note(
            conflicts,
            ConflictField::PortTransport,
            &port.name,
            (owner, held.transport.as_str()),
            (registry, port.transport.as_str()),
        );
    }
    match (held.number, port.number) {
        (Some(ours), Some(theirs)) if ours != theirs => note(
            conflicts,
            ConflictField::PortNumber,
            &port.name,
            (owner, &ours.to_string()),
            (registry, &theirs.to_string()),
        ),
        (None, Some(_)) if fits => held.number = port.number,
        _ => {}
    }
    if held.app_protocol.is_empty() && fits {
        held.app_protocol = port.app_protocol.clone();
    } else if !port.app_protocol.is_empty() && held.app_protocol != port.app_protocol {
        note(
            conflicts,
            ConflictField::AppProtocol,
            &port.name,
            (owner, &held.app_protocol),
            (registry, &port.app_protocol),
        );
    }
    fits
}

fn note(
    conflicts: &mut Vec<Conflict>,
    field: ConflictField,
    item: &str,
    winner: (&RegistryId, &str),
    loser: (&RegistryId, &str),
) {
    let value = (loser.0.clone(), loser.1.to_owned());
    match conflicts
        .iter_mut()
        .find(|held| held.field == field && held.item == item)
    {
        Some(held) => held.values.push(value),
        None => conflicts.push(Conflict {
            field,
            item: item.into(),
            values: vec![(winner.0.clone(), winner.1.to_owned()), value],
        }),
    }
}

#[cfg(test)]
mod tests;
