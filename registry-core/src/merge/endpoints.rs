//! Merging endpoints: what several registries say of one place is one endpoint.
//!
//! Works place by place (a network and an address), so a change costs the places that it touches.

use std::sync::Arc;

use super::ports::Binding;
use crate::endpoint_set::EndpointSet;
use crate::model::{Claim, Endpoint, EndpointPorts, Health, Labels, Merged, RegistryId};
use crate::text::Str;

/// One source of a merge.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) registry: RegistryId,
    pub(super) endpoints: EndpointSet,
    pub(super) stale: bool,
    pub(super) degraded: bool,
    pub(super) priority: u8,
    pub(super) binding: Binding,
}

impl Input {
    /// True where only the endpoints can differ, so that the last result still holds for all that did not change.
    fn same_terms(&self, other: &Self) -> bool {
        self.registry == other.registry
            && self.stale == other.stale
            && self.degraded == other.degraded
            && self.priority == other.priority
            && self.binding == other.binding
    }
}

impl Input {
    /// False where the endpoint has ports, and none of them is a port of the service.
    fn fits(&self, endpoint: &Endpoint) -> bool {
        let (ports, dropped) = (endpoint.ports(), &self.binding.dropped);
        dropped.is_empty() || ports.is_empty() || ports.iter().any(|port| !dropped.contains(&port.name))
    }

    /// What this source says of the health of one of its endpoints.
    fn opinion(&self, endpoint: &Endpoint) -> Health {
        match endpoint.health() {
            Health::Healthy if self.degraded && !endpoint.administrative() => Health::Degraded,
            health => health,
        }
    }
}

/// The endpoints of all inputs, which are in order of precedence.
pub(super) fn merge(inputs: &Vec<Input>, last: Option<(&Vec<Input>, &EndpointSet)>) -> EndpointSet {
    if let Some((before, result)) = last
        && before.len() == inputs.len()
        && before
            .iter()
            .zip(inputs)
            .all(|(before, now)| before.same_terms(now))
    {
        let mut result = result.clone();
        for (before, now) in before.iter().zip(inputs) {
            for place in now.endpoints.changed_places(&before.endpoints) {
                result.replace_place(place, at_place(inputs, place));
            }
        }
        return result;
    }
    let mut merged = Vec::new();
    for (at, input) in inputs.iter().enumerate() {
        let mut previous: Option<&Arc<Endpoint>> = None;
        for place in input.endpoints.iter() {
            // Endpoints of one address stand together, and the first source that has a place brings all of it.
            let done = previous.is_some_and(|previous| previous.same_address(place))
                || inputs[..at]
                    .iter()
                    .any(|earlier| earlier.endpoints.at_address_of(place).next().is_some());
            if !done {
                merged.extend(at_place(inputs, place));
            }
            previous = Some(place);
        }
    }
    let merged: EndpointSet = merged.into_iter().collect();
    match last {
        Some((_, result)) => merged.rebased_on(result),
        None => merged,
    }
}

/// The endpoints at one address: one for each group of claims that have a port in common. Claims without a port of the
/// service are nobody's.
fn at_place(inputs: &[Input], place: &Endpoint) -> Vec<Arc<Endpoint>> {
    let mut groups: Vec<Vec<(usize, &Arc<Endpoint>)>> = Vec::new();
    for (at, input) in inputs.iter().enumerate() {
        let endpoints = input.endpoints.at_address_of(place);
        for endpoint in endpoints.filter(|endpoint| input.fits(endpoint)) {
            let mut group = vec![(at, endpoint)];
            groups.retain_mut(|held| {
                let joins = held.iter().any(|(_, other)| other.same_place(endpoint));
                if joins {
                    let joined = std::mem::take(held);
                    group.splice(0..0, joined);
                }
                !joins
            });
            groups.push(group);
        }
    }
    // Of one registry what it lists goes before what it lists no longer.
    let key = |(at, endpoint): &(usize, &Arc<Endpoint>)| (*at, endpoint.held());
    groups
        .iter_mut()
        .for_each(|group| group.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.1.order(b.1))));
    groups.iter().map(|group| one(inputs, group)).collect()
}

/// One endpoint of all claims to it, in order of precedence.
fn one(inputs: &[Input], group: &[(usize, &Arc<Endpoint>)]) -> Arc<Endpoint> {
    let (first_at, first) = group[0];
    let input = &inputs[first_at];
    let as_said = first_at == 0 && input.priority == 0 && input.binding == Binding::default();
    if group.len() == 1 && as_said && input.opinion(first) == first.health() {
        return first.clone();
    }
    let fresh = |(at, endpoint): &&(usize, &Arc<Endpoint>)| {
        (!inputs[*at].stale && !endpoint.held()) || endpoint.administrative()
    };
    let worst = |health: Health, (at, endpoint): &(usize, &Arc<Endpoint>)| {
        health.worse(inputs[*at].opinion(endpoint))
    };
    // Stale sources are heard where no fresh one has an opinion: an outage alone must not undrain an endpoint.
    let health = match group.iter().filter(fresh).fold(Health::Unknown, worst) {
        Health::Unknown => group.iter().fold(Health::Unknown, worst),
        known => known,
    };
    let mut claims: Vec<Claim> = Vec::with_capacity(group.len());
    for (at, endpoint) in group {
        let source = u8::try_from(*at).unwrap_or(u8::MAX);
        claims.extend(endpoint.claims().map(|claim| Claim { source, ..claim }));
    }
    let text = |of: fn(&Endpoint) -> &str| -> Str {
        group
            .iter()
            .map(|(_, e)| of(e))
            .find(|text| !text.is_empty())
            .unwrap_or_default()
            .into()
    };
    Arc::new(
        first.merged(Merged {
            ports: merge_ports(inputs, group),
            health,
            administrative: group.iter().any(|(_, endpoint)| endpoint.administrative()),
            held: group.iter().all(|(_, endpoint)| endpoint.held()),
            priority: group
                .iter()
                .map(|(at, endpoint)| inputs[*at].priority.saturating_add(endpoint.priority()))
                .min()
                .unwrap_or_default(),
            labels: group.iter().fold(Labels::default(), |labels, (_, endpoint)| {
                if labels.is_empty() {
                    endpoint.labels().clone()
                } else {
                    labels.or(endpoint.labels())
                }
            }),
            locality: group
                .iter()
                .map(|(_, endpoint)| endpoint.locality())
                .find(|locality| !locality.is_empty())
                .cloned()
                .unwrap_or_default(),
            identity: text(|endpoint| endpoint.identity()),
            hostname: text(Endpoint::hostname),
            node_hints: group
                .iter()
                .map(|(_, endpoint)| endpoint.node_hints())
                .find(|hints| !hints.is_empty())
                .unwrap_or_default()
                .into(),
            node: text(|endpoint| endpoint.node()),
            claims,
        }),
    )
}

fn merge_ports(inputs: &[Input], group: &[(usize, &Arc<Endpoint>)]) -> Arc<EndpointPorts> {
    let plain = |at: usize| inputs[at].binding == Binding::default();
    if let [(at, endpoint)] = group
        && plain(*at)
    {
        return endpoint.shared_ports().clone();
    }
    Arc::new(
        group
            .iter()
            .flat_map(|(at, endpoint)| {
                let binding = &inputs[*at].binding;
                endpoint
                    .ports()
                    .iter()
                    .filter(|port| !binding.dropped.contains(&port.name))
                    .map(|port| match &binding.rename {
                        Some((from, to)) if *from == port.name => (to.clone(), port.number),
                        _ => (port.name.clone(), port.number),
                    })
            })
            .collect::<EndpointPorts>(),
    )
}
