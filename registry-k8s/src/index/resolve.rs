//! What slices say of the same places, made one: which of several endpoints at one address are there, and which of two
//! addresses belong to one pod. Pure, and the same in whatever order slices came.
//!
//! ```text
//!   candidates at one address, in order of rank ──accept──▶ accepted ──join, by id──▶ endpoints of the service
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use registry_core::{Address, Endpoint, EndpointPorts, Interner, Str};

use super::shelf::same_port;
use crate::map;
use crate::map::endpoints::{is_unique, rebuilt, rebuilt_at};

/// What somebody says of a place, and how much that counts: the least rank counts most.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) source: Source,
    /// Its place in its source.
    pub(super) position: usize,
}

/// Who says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// No slice says so any more.
    pub(super) leaving: bool,
    /// When what the slice tells of happened, in nanoseconds.
    pub(super) trigger: u64,
    /// Its place in the order of names.
    pub(super) number: usize,
}

type Rank = (bool, bool, bool, bool, Reverse<u64>, usize, usize);

impl Candidate<'_> {
    /// Not terminating goes before terminating, serving before not serving, ready before not ready, then newer before
    /// older. Two pods seem to have one address where it was given to the second before the first was cleared away.
    pub(super) fn rank(&self) -> Rank {
        let claim = self.endpoint.claims().next();
        let conditions = map::conditions(claim.as_ref().map_or("", |claim| &claim.status));
        (
            self.source.leaving,
            conditions.terminating.unwrap_or(false),
            !conditions.serving.unwrap_or(true),
            !conditions.ready.unwrap_or(true),
            Reverse(self.source.trigger),
            self.source.number,
            self.position,
        )
    }
}

/// An endpoint that is there.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    endpoint: Arc<Endpoint>,
    leaving: bool,
    /// Its ports, where others at its address added some.
    ports: Option<Vec<(Str, u16)>>,
    /// Its id, where it needs one of its own.
    id: Option<String>,
}

/// Which of the candidates at one address are there. Of two that share a port number only one can be; the other one adds
/// its ports where it is the same thing, and is left out where it is not: its address was given away.
pub(super) fn accept(mut candidates: Vec<Candidate<'_>>) -> Vec<Accepted> {
    if candidates.len() > 1 {
        candidates.sort_by_cached_key(Candidate::rank);
    }
    let mut accepted: Vec<Accepted> = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        let new = candidate.endpoint;
        let overlaps = |held: &Accepted| held.overlaps(new.ports());
        let same = |held: &Accepted| held.endpoint.id() == new.id();
        let into = if accepted.iter().any(overlaps) {
            let Some(into) = accepted.iter().position(|held| overlaps(held) && same(held)) else {
                continue;
            };
            Some(into)
        } else {
            accepted
                .iter()
                .position(|held| same(held) && !held.clashes(new.ports()))
        };
        match into {
            None => accepted.push(Accepted {
                endpoint: new.clone(),
                leaving: candidate.source.leaving,
                ports: None,
                id: None,
            }),
            Some(into) => {
                let taken = |name: &str, number: u16| {
                    accepted.iter().enumerate().any(|(at, held)| {
                        held.ports().any(|port| {
                            if at == into {
                                *port.0 == *name
                            } else {
                                port.1 == number
                            }
                        })
                    })
                };
                let more: Vec<(Str, u16)> = new
                    .ports()
                    .iter()
                    .filter(|port| !taken(&port.name, port.number))
                    .map(|port| (port.name.clone(), port.number))
                    .collect();
                accepted[into].add(more);
            }
        }
    }
    if accepted.len() > 1 {
        tell_apart(&mut accepted);
    }
    accepted
}

/// Gives those that have one id at one address ids of their own, by what is theirs alone: no two share a port number.
fn tell_apart(accepted: &mut [Accepted]) {
    let mut order: Vec<usize> = (0..accepted.len()).collect();
    let lowest = |one: &Accepted| one.ports().map(|port| port.1).min().unwrap_or(0);
    order.sort_by_key(|at| lowest(&accepted[*at]));
    for (place, at) in order.iter().enumerate() {
        let plain = accepted[*at].endpoint.id();
        let clashes = order[..place]
            .iter()
            .any(|earlier| accepted[*earlier].endpoint.id() == plain);
        if !clashes {
            continue;
        }
        let mut id = format!("{plain}:{}", lowest(&accepted[*at]));
        while accepted
            .iter()
            .any(|other| other.endpoint.id() == id || other.id.as_ref() == Some(&id))
        {
            id.push(':');
        }
        accepted[*at].id = Some(id);
    }
}

impl Accepted {
    /// Its first word on it.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn ports(&self) -> impl Iterator<Item = (&Str, u16)> {
        let own = self.endpoint.ports().iter().map(|port| (&port.name, port.number));
        let added = self.ports.iter().flatten().map(|(name, number)| (name, *number));
        own.chain(added)
    }

    fn overlaps(&self, ports: &EndpointPorts) -> bool {
        let shared = |(_, number): &(Str, u16)| ports.iter().any(|port| port.number == *number);
        same_port(self.endpoint.ports(), ports) || self.ports.iter().flatten().any(shared)
    }

    /// Some port has another number there.
    fn clashes(&self, ports: &EndpointPorts) -> bool {
        self.ports().any(|(name, _)| ports.get(name).is_some())
    }

    fn add(&mut self, ports: Vec<(Str, u16)>) {
        if !ports.is_empty() {
            self.ports.get_or_insert_default().extend(ports);
        }
    }

    fn same_ports(&self, other: &Self) -> bool {
        let sorted = |one: &Self| {
            let mut ports: Vec<(Str, u16)> =
                one.ports().map(|(name, number)| (name.clone(), number)).collect();
            ports.sort();
            ports
        };
        match (&self.ports, &other.ports) {
            (None, None) => self.endpoint.ports() == other.endpoint.ports(),
            _ => sorted(self) == sorted(other),
        }
    }

    /// The endpoint, with a further address.
    fn finish(self, other: Option<Address>, interner: &mut Interner) -> Arc<Endpoint> {
        if other.is_none() && self.ports.is_none() && self.id.is_none() {
            return self.endpoint;
        }
        let mut builder = match other {
            Some(other) => rebuilt_at(&self.endpoint, [other]),
            None => rebuilt(&self.endpoint),
        };
        for (name, number) in self.ports.into_iter().flatten() {
            builder = builder.port(name, number);
        }
        if let Some(id) = self.id {
            builder = builder.id(id);
        }
        Arc::new(builder.build_in(interner))
    }
}

/// The endpoints of one id: where there is one of each family with the same ports, the two are one with two addresses. The
/// state of that one is what is said of the first.
fn join(accepted: Vec<Accepted>, v6_first: bool, interner: &mut Interner) -> Vec<Arc<Endpoint>> {
    let mut first = Vec::new();
    let mut second = Vec::new();
    let mut rest = Vec::new();
    for one in accepted {
        match one.endpoint.address() {
            Address::V4(_) if v6_first => second.push(one),
            Address::V6(_) if !v6_first => second.push(one),
            Address::V4(_) | Address::V6(_) => first.push(one),
            Address::Host(_) | Address::Unix(_) => rest.push(one),
        }
    }
    for list in [&mut first, &mut second] {
        list.sort_by(|a, b| (a.leaving, a.endpoint.address()).cmp(&(b.leaving, b.endpoint.address())));
    }
    let mut joined = Vec::with_capacity(first.len() + second.len() + rest.len());
    for one in first {
        let other = second.iter().position(|other| other.same_ports(&one));
        let other = other.map(|at| second.remove(at).endpoint.address().clone());
        joined.push(one.finish(other, interner));
    }
    for one in second.into_iter().chain(rest) {
        joined.push(one.finish(None, interner));
    }
    joined
}

/// All endpoints of a service, of all that is accepted.
pub(super) fn endpoints(
    accepted: Vec<Accepted>,
    v6_first: bool,
    interner: &mut Interner,
) -> Vec<Arc<Endpoint>> {
    let mut endpoints = Vec::with_capacity(accepted.len());
    let is = |family: fn(&Address) -> bool| accepted.iter().any(|one| family(one.endpoint.address()));
    let dual =
        is(|address| matches!(address, Address::V4(_))) && is(|address| matches!(address, Address::V6(_)));
    let mut by_id: BTreeMap<Box<str>, Vec<Accepted>> = BTreeMap::new();
    for one in accepted {
        if dual && is_unique(one.endpoint.id()) {
            by_id.entry(one.endpoint.id().into()).or_default().push(one);
        } else {
            endpoints.push(one.finish(None, interner));
        }
    }
    for (_, of_id) in by_id {
        endpoints.extend(join(of_id, v6_first, interner));
    }
    endpoints
}
