//! What one slice says: its endpoints, found by address and by id.

use std::collections::HashSet;
use std::sync::Arc;

use registry_core::{Address, Endpoint, EndpointPorts};

/// Endpoints in the order of their addresses; at one address, in the order in which the slice lists them. The same
/// allocations as in the set of the service, wherever an endpoint is said by one slice alone.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    by_place: Vec<Arc<Endpoint>>,
    /// Places in `by_place` in the order of ids, then addresses.
    by_id: Box<[u32]>,
}

impl Shelf {
    /// Keeps the order of endpoints at one address.
    pub(super) fn new(mut endpoints: Vec<Arc<Endpoint>>) -> Self {
        endpoints.sort_by(|a, b| a.address().cmp(b.address()));
        endpoints.shrink_to_fit();
        let by_id = index(&endpoints);
        Self {
            by_place: endpoints,
            by_id,
        }
    }

    pub(super) fn all(&self) -> &[Arc<Endpoint>] {
        &self.by_place
    }

    /// All at one address.
    pub(super) fn at(&self, address: &Address) -> &[Arc<Endpoint>] {
        let start = self
            .by_place
            .partition_point(|endpoint| endpoint.address() < address);
        let rest = &self.by_place[start..];
        let end = rest
            .iter()
            .take_while(|endpoint| endpoint.address() == address)
            .count();
        &rest[..end]
    }

    /// All with one id.
    pub(super) fn of_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        let endpoint = |at: &u32| &self.by_place[*at as usize];
        let start = self.by_id.partition_point(|at| endpoint(at).id() < id);
        let rest = self.by_id[start..].iter().map(endpoint);
        rest.take_while(move |endpoint| endpoint.id() == id)
    }

    /// Puts an endpoint in place of one with the same address and id.
    pub(super) fn replace(&mut self, at: usize, endpoint: Arc<Endpoint>) {
        self.by_place[at] = endpoint;
    }

    /// Adds endpoints.
    pub(super) fn extend(&mut self, endpoints: Vec<Arc<Endpoint>>) {
        let mut all = std::mem::take(&mut self.by_place);
        all.extend(endpoints);
        *self = Self::new(all);
    }

    /// Keeps only what is wanted; false where nothing was taken out.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Arc<Endpoint>) -> bool) -> bool {
        let before = self.by_place.len();
        self.by_place.retain(wanted);
        let changed = self.by_place.len() != before;
        if changed {
            self.by_id = index(&self.by_place);
        }
        changed
    }

    /// The addresses at which the two do not hold the very same allocations.
    pub(super) fn differing<'a>(&'a self, other: &'a Self, found: &mut HashSet<Address>) {
        let (mut ours, mut theirs) = (&self.by_place[..], &other.by_place[..]);
        let first = |shelf: &[Arc<Endpoint>]| shelf.first().map(|endpoint| endpoint.address().clone());
        loop {
            let address = match (first(ours), first(theirs)) {
                (Some(a), Some(b)) => a.min(b),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => return,
            };
            let at = |shelf: &[Arc<Endpoint>]| {
                shelf
                    .iter()
                    .take_while(|endpoint| *endpoint.address() == address)
                    .count()
            };
            let ((a, ours_left), (b, theirs_left)) = (ours.split_at(at(ours)), theirs.split_at(at(theirs)));
            let same = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b));
            (ours, theirs) = (ours_left, theirs_left);
            if !same {
                found.insert(address);
            }
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "no object that fits the limit of its size lists four thousand million endpoints"
)]
fn index(endpoints: &[Arc<Endpoint>]) -> Box<[u32]> {
    let mut by_id: Box<[u32]> = (0..endpoints.len() as u32).collect();
    by_id.sort_by(|a, b| {
        let [a, b] = [*a, *b].map(|at| &endpoints[at as usize]);
        (a.id(), a.address()).cmp(&(b.id(), b.address()))
    });
    by_id
}

/// True where two endpoints at one address cannot be told apart by their ports: they share a number, or one of them has
/// none at all.
pub(super) fn same_port(a: &EndpointPorts, b: &EndpointPorts) -> bool {
    a.is_empty()
        || b.is_empty()
        || a.iter()
            .any(|port| b.iter().any(|other| other.number == port.number))
}

/// True where the one takes the place of the other: the same thing, or something else where that was.
pub(super) fn takes_place(a: &Endpoint, b: &Endpoint) -> bool {
    a.address() == b.address() && (a.id() == b.id() || same_port(a.ports(), b.ports()))
}
