//! The merge: a pure function from what registries say of one hostname to the service that readers see.
//!
//! No I/O, no clock, no order of arrival: the same records, staleness and policy give the same content.

mod endpoints;
mod policy;
mod ports;

use std::sync::Arc;

pub use policy::{Claimant, Exclusive, Fallback, LabelRule, MergePolicy, PortRule, Union};

use crate::endpoint_set::EndpointSet;
use crate::model::{Conflict, ConflictField, Labels, RegistryId, Service, ServiceMeta, ServiceSource, Vip};
use crate::text::Str;
use endpoints::Input;
use ports::Binding;

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
        let (meta, bindings, mut conflicts) = merge_meta(&taking_part, policy);
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

fn merge_meta(
    taking_part: &[(&Claimant<'_>, u8)],
    policy: &dyn MergePolicy,
) -> (Arc<ServiceMeta>, Vec<Binding>, Vec<Conflict>) {
    let mut conflicts = Vec::new();
    let claimants: Vec<&Claimant<'_>> = taking_part.iter().map(|(claimant, _)| *claimant).collect();
    let (ports, bindings) = ports::merge(&claimants, policy, &mut conflicts);
    let winner = claimants[0];
    let metas = || claimants.iter().map(|claimant| claimant.record.meta());

    for claimant in &claimants[1..] {
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
    conflicts.extend(policy.conflicts(&claimants));
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
    let labels = match policy.labels() {
        LabelRule::PerKey => metas().fold(Labels::default(), |labels, meta| labels.or(meta.labels())),
        LabelRule::First => winner.record.meta().labels().clone(),
    };
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
