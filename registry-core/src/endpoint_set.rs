//! The endpoints of one service, in shared buckets of about 64.
//!
//! A change costs its bucket, whatever the size of the service: the next set shares all other buckets with the last
//! one, and comparing the two skips every bucket that is the same allocation.
//!
//! ```text
//!   hash(network, first address) ──linear hashing──▶ bucket   0      1      2
//!   number of buckets = size / 64, rounded up:               Arc    Arc    Arc ──▶ [endpoint, endpoint, …]
//!   one bucket splits (or two join) at a time
//! ```
//!
//! The layout is a function of the content alone, not of the order in which endpoints came.

use std::fmt;
use std::sync::Arc;

use crate::counted::fetch;
use crate::hash::{ContentHash, Hasher};
use crate::model::{Address, Endpoint};

/// How many endpoints a bucket holds on average at most.
const BUCKET: usize = 64;

/// An immutable set of endpoints. Cloning copies a pointer.
///
/// Within a set an endpoint is identified by its network, its first address and its id.
///
/// ```
/// use registry_core::{Address, Endpoint, EndpointSet};
///
/// let endpoint = |n: u8| Endpoint::builder(Address::V4([10, 0, 0, n].into())).id(format!("i-{n}")).build();
/// let first: EndpointSet = (1..=3).map(endpoint).collect();
/// let next = first.with(endpoint(4)).without(&endpoint(1));
/// assert_eq!((first.len(), next.len()), (3, 3));
/// ```
#[derive(Clone, Default)]
pub struct EndpointSet(Arc<Buckets>);

#[derive(Clone, Default)]
struct Buckets {
    buckets: Vec<Arc<Bucket>>,
    len: usize,
    digest: ContentHash,
}

#[derive(Default)]
struct Bucket {
    // Sorted by `Endpoint::order`.
    endpoints: Vec<Arc<Endpoint>>,
    digest: ContentHash,
    // Some two of them occupy the same place: an address and a port in common.
    collides: bool,
}

/// Where an endpoint goes: by network and first address alone, so that all that is said of one place is together.
fn place_hash(endpoint: &Endpoint) -> u64 {
    let mut hasher = Hasher::new("place");
    hasher.text(endpoint.network());
    endpoint.address().feed(&mut hasher);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "half of the hash is enough to choose a bucket"
    )]
    let hash = hasher.finish().as_u128() as u64;
    hash
}

fn bucket_count(len: usize) -> usize {
    len.div_ceil(BUCKET).max(1)
}

/// Linear hashing: of `count` buckets, those that have no number of their own at this level share the one of the
/// level below.
fn bucket_of(hash: u64, count: usize) -> usize {
    let level = count.next_power_of_two();
    #[allow(clippy::cast_possible_truncation, reason = "only the low bits count")]
    let at = hash as usize & (level - 1);
    if at < count { at } else { at & (level / 2 - 1) }
}

impl Clone for Bucket {
    fn clone(&self) -> Self {
        fetch(self.endpoints.iter());
        Self {
            endpoints: self.endpoints.clone(),
            digest: self.digest,
            collides: self.collides,
        }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        fetch(self.endpoints.iter());
    }
}

impl Bucket {
    fn new(mut endpoints: Vec<Arc<Endpoint>>) -> Self {
        endpoints.sort_by(|a, b| a.order(b));
        // Of several with one identity the last one said counts; sorting is stable.
        endpoints.reverse();
        endpoints.dedup_by(|a, b| a.order(b).is_eq());
        endpoints.reverse();
        endpoints.shrink_to_fit();
        Self::sorted(endpoints)
    }

    fn sorted(endpoints: Vec<Arc<Endpoint>>) -> Self {
        let digest = endpoints.iter().fold(ContentHash::default(), |sum, endpoint| {
            sum.plus(endpoint.content_hash())
        });
        let mut bucket = Self {
            endpoints,
            digest,
            collides: false,
        };
        bucket.collides = bucket.has_collision();
        bucket
    }

    fn has_collision(&self) -> bool {
        self.endpoints.chunk_by(|a, b| a.same_address(b)).any(|group| {
            group
                .iter()
                .enumerate()
                .any(|(i, a)| group[i + 1..].iter().any(|b| a.same_place(b)))
        })
    }

    fn find(&self, endpoint: &Endpoint) -> Result<usize, usize> {
        self.endpoints.binary_search_by(|held| held.order(endpoint))
    }

    fn replace(&mut self, at: usize, endpoint: Arc<Endpoint>) {
        let old = std::mem::replace(&mut self.endpoints[at], endpoint);
        self.digest = self
            .digest
            .minus(old.content_hash())
            .plus(self.endpoints[at].content_hash());
        self.note_collision(at);
    }

    fn insert(&mut self, at: usize, endpoint: Arc<Endpoint>) {
        self.digest = self.digest.plus(endpoint.content_hash());
        self.endpoints.insert(at, endpoint);
        self.note_collision(at);
    }

    fn remove(&mut self, at: usize) {
        let old = self.endpoints.remove(at);
        self.digest = self.digest.minus(old.content_hash());
        self.collides = self.collides && self.has_collision();
    }

    /// Neighbours in the order are the only ones that can occupy the place of the endpoint at `at`.
    fn note_collision(&mut self, at: usize) {
        self.collides = if self.collides {
            self.has_collision()
        } else {
            let this = &self.endpoints[at];
            let near = |other: &&Arc<Endpoint>| other.address() == this.address();
            let before = self.endpoints[..at].iter().rev().take_while(near);
            let after = self.endpoints[at + 1..].iter().take_while(near);
            before.chain(after).any(|other| other.same_place(this))
        };
    }
}

impl EndpointSet {
    /// How many endpoints there are.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// All endpoints, in an order that depends on nothing but the content.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.buckets.iter().flat_map(|bucket| bucket.endpoints.iter())
    }

    /// The sum of the hashes of the endpoints' content.
    pub fn content_hash(&self) -> ContentHash {
        self.0.digest
    }

    /// True where both are the very same allocation.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The set with this endpoint added, or put in place of the one with its identity. An equal endpoint is kept as
    /// it is, and one that is replaced hands on when it was first seen.
    #[must_use]
    pub fn with(&self, endpoint: impl Into<Arc<Endpoint>>) -> Self {
        let mut next = self.clone();
        next.insert(endpoint);
        next
    }

    /// The set without the endpoint of that identity.
    #[must_use]
    pub fn without(&self, endpoint: &Endpoint) -> Self {
        let mut next = self.clone();
        next.remove(endpoint);
        next
    }

    /// As [`with`](Self::with), in place. Clones of this set do not change.
    pub fn insert(&mut self, endpoint: impl Into<Arc<Endpoint>>) {
        let mut endpoint = endpoint.into();
        let hash = place_hash(&endpoint);
        if self.0.buckets.is_empty() {
            *self = std::iter::once(endpoint).collect();
            return;
        }
        let at = bucket_of(hash, self.0.buckets.len());
        match self.0.buckets[at].find(&endpoint) {
            Ok(found) => {
                let held = &self.0.buckets[at].endpoints[found];
                if Arc::ptr_eq(held, &endpoint) || **held == *endpoint {
                    return;
                }
                hand_on_first_seen(held, &mut endpoint);
                self.change_bucket(at, |bucket| bucket.replace(found, endpoint));
            }
            Err(place) => {
                self.change_bucket(at, |bucket| bucket.insert(place, endpoint));
                let inner = Arc::make_mut(&mut self.0);
                inner.len += 1;
                inner.split();
            }
        }
    }

    /// As [`without`](Self::without), in place. True where there was one.
    pub fn remove(&mut self, endpoint: &Endpoint) -> bool {
        if self.0.buckets.is_empty() {
            return false;
        }
        let at = bucket_of(place_hash(endpoint), self.0.buckets.len());
        let Ok(found) = self.0.buckets[at].find(endpoint) else {
            return false;
        };
        self.change_bucket(at, |bucket| bucket.remove(found));
        let inner = Arc::make_mut(&mut self.0);
        inner.len -= 1;
        inner.join();
        true
    }

    fn change_bucket(&mut self, at: usize, change: impl FnOnce(&mut Bucket)) {
        let inner = Arc::make_mut(&mut self.0);
        let before = inner.buckets[at].digest;
        let bucket = Arc::make_mut(&mut inner.buckets[at]);
        change(bucket);
        inner.digest = inner.digest.minus(before).plus(bucket.digest);
    }

    /// True where some two endpoints of the set occupy the same place.
    pub(crate) fn collides(&self) -> bool {
        self.0.buckets.iter().any(|bucket| bucket.collides)
    }

    /// All endpoints at the network and first address of this one.
    pub(crate) fn at_address_of<'a>(
        &'a self,
        endpoint: &'a Endpoint,
    ) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        let count = self.0.buckets.len();
        let bucket = (count > 0).then(|| &self.0.buckets[bucket_of(place_hash(endpoint), count)]);
        bucket.into_iter().flat_map(move |bucket| {
            let at_address = |held: &&Arc<Endpoint>| held.address() == endpoint.address();
            let start = bucket
                .endpoints
                .partition_point(|held| held.address() < endpoint.address());
            bucket.endpoints[start..]
                .iter()
                .take_while(at_address)
                .filter(|held| held.network() == endpoint.network())
        })
    }

    /// This set, as what a registry says now, made of as much of the set that it said before as is still true:
    /// equal endpoints and buckets are the old allocations, and changed endpoints keep when they were first seen.
    #[must_use]
    pub(crate) fn rebased_on(mut self, old: &Self) -> Self {
        if self.ptr_eq(old) || old.is_empty() {
            return self;
        }
        let same_layout = self.0.buckets.len() == old.0.buckets.len();
        for at in 0..self.0.buckets.len() {
            let counterpart = same_layout.then(|| &old.0.buckets[at]);
            if counterpart.is_some_and(|counterpart| Arc::ptr_eq(counterpart, &self.0.buckets[at])) {
                continue;
            }
            if let Some(bucket) = rebased_bucket(&self.0.buckets[at], counterpart, old) {
                Arc::make_mut(&mut self.0).buckets[at] = bucket;
            }
        }
        let same_buckets = same_layout
            && self
                .0
                .buckets
                .iter()
                .zip(&old.0.buckets)
                .all(|(new, old)| Arc::ptr_eq(new, old));
        if same_buckets { old.clone() } else { self }
    }

    /// Puts these endpoints in place of all that are at the address of `place`, where they belong as well.
    pub(crate) fn replace_place(&mut self, place: &Endpoint, endpoints: Vec<Arc<Endpoint>>) {
        let gone: Vec<Arc<Endpoint>> = self
            .at_address_of(place)
            .filter(|held| !endpoints.iter().any(|endpoint| endpoint.order(held).is_eq()))
            .cloned()
            .collect();
        for endpoint in gone {
            self.remove(&endpoint);
        }
        for endpoint in endpoints {
            self.insert(endpoint);
        }
    }

    /// The endpoint of the set with the identity of this one.
    pub(crate) fn get(&self, endpoint: &Endpoint) -> Option<&Arc<Endpoint>> {
        let bucket = self
            .0
            .buckets
            .get(bucket_of(place_hash(endpoint), self.0.buckets.len().max(1)))?;
        bucket.find(endpoint).ok().map(|at| &bucket.endpoints[at])
    }

    /// One endpoint for each network and address at which the two sets may differ. Buckets that both share are
    /// skipped.
    pub(crate) fn changed_places<'a>(&'a self, old: &'a Self) -> Vec<&'a Arc<Endpoint>> {
        let mut changed = Vec::new();
        if self.ptr_eq(old) {
            return changed;
        }
        if self.0.buckets.len() == old.0.buckets.len() {
            for (new, old) in self.0.buckets.iter().zip(&old.0.buckets) {
                if !Arc::ptr_eq(new, old) {
                    changed_in_bucket(&new.endpoints, &old.endpoints, &mut changed);
                }
            }
        } else {
            // A set grew or shrank past a multiple of the bucket size: the buckets of both no longer correspond.
            for endpoint in self.iter() {
                if !old.get(endpoint).is_some_and(|held| Arc::ptr_eq(held, endpoint)) {
                    changed.push(endpoint);
                }
            }
            changed.extend(old.iter().filter(|endpoint| self.get(endpoint).is_none()));
        }
        changed.sort_by(|a, b| (a.address(), a.network()).cmp(&(b.address(), b.network())));
        changed.dedup_by(|a, b| a.same_address(b));
        changed
    }

    #[cfg(test)]
    fn check(&self) {
        let from_scratch: Self = self.iter().cloned().collect();
        assert_eq!(from_scratch.len(), self.len());
        assert_eq!(from_scratch.content_hash(), self.content_hash());
        assert_eq!(from_scratch.collides(), self.collides());
        let ids = |set: &Self| set.iter().map(|e| e.id().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&from_scratch), ids(self), "the layout depends on history");
    }
}

fn hand_on_first_seen(held: &Endpoint, endpoint: &mut Arc<Endpoint>) {
    let first_seen = held.first_seen();
    if endpoint.first_seen() != first_seen {
        Arc::make_mut(endpoint).set_first_seen(first_seen);
    }
}

fn rebased_bucket(
    bucket: &Arc<Bucket>,
    counterpart: Option<&Arc<Bucket>>,
    old: &EndpointSet,
) -> Option<Arc<Bucket>> {
    if let Some(counterpart) = counterpart
        && counterpart.digest == bucket.digest
        && counterpart.endpoints == bucket.endpoints
    {
        return Some(counterpart.clone());
    }
    let mut rebased: Option<Vec<Arc<Endpoint>>> = None;
    let mut counterparts = counterpart.map(|counterpart| counterpart.endpoints.iter().peekable());
    for (at, endpoint) in bucket.endpoints.iter().enumerate() {
        let held = match &mut counterparts {
            // Both are in order: what is less than this one has no counterpart.
            Some(held) => {
                if held.next_if(|held| Arc::ptr_eq(held, endpoint)).is_some() {
                    continue;
                }
                while held.next_if(|held| held.order(endpoint).is_lt()).is_some() {}
                held.next_if(|held| held.order(endpoint).is_eq())
            }
            None => old.get(endpoint),
        };
        let Some(held) = held else { continue };
        if Arc::ptr_eq(held, endpoint) {
            continue;
        }
        if **held == **endpoint {
            rebased.get_or_insert_with(|| bucket.endpoints.clone())[at] = held.clone();
        } else if held.first_seen() != endpoint.first_seen() {
            let endpoints = rebased.get_or_insert_with(|| bucket.endpoints.clone());
            hand_on_first_seen(held, &mut endpoints[at]);
        }
    }
    // Times are no content: digest and collisions stay.
    rebased.map(|endpoints| {
        Arc::new(Bucket {
            endpoints,
            digest: bucket.digest,
            collides: bucket.collides,
        })
    })
}

fn changed_in_bucket<'a>(
    new: &'a [Arc<Endpoint>],
    old: &'a [Arc<Endpoint>],
    changed: &mut Vec<&'a Arc<Endpoint>>,
) {
    let (mut new, mut old) = (new.iter().peekable(), old.iter().peekable());
    loop {
        match (new.peek(), old.peek()) {
            // Asked first: a look at the endpoints themselves would bring all of them into the cache.
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => {
                new.next();
                old.next();
            }
            (Some(a), Some(b)) => match a.order(b) {
                std::cmp::Ordering::Equal => {
                    changed.push(a);
                    new.next();
                    old.next();
                }
                std::cmp::Ordering::Less => changed.extend(new.next()),
                std::cmp::Ordering::Greater => changed.extend(old.next()),
            },
            (Some(_), None) => changed.extend(new.next()),
            (None, Some(_)) => changed.extend(old.next()),
            (None, None) => return,
        }
    }
}

impl Buckets {
    /// Splits buckets until there are as many as the size asks for.
    fn split(&mut self) {
        while self.buckets.len() < bucket_count(self.len) {
            let count = self.buckets.len() + 1;
            let source = bucket_of((count - 1) as u64, count - 1);
            let (stay, go) = self.buckets[source]
                .endpoints
                .iter()
                .cloned()
                .partition(|endpoint| bucket_of(place_hash(endpoint), count) == source);
            self.buckets[source] = Arc::new(Bucket::sorted(stay));
            self.buckets.push(Arc::new(Bucket::sorted(go)));
        }
    }

    /// Joins buckets until there are as few as the size asks for.
    fn join(&mut self) {
        while self.buckets.len() > bucket_count(self.len) {
            let Some(last) = self.buckets.pop() else { return };
            let target = bucket_of(self.buckets.len() as u64, self.buckets.len());
            let endpoints = self.buckets[target]
                .endpoints
                .iter()
                .chain(&last.endpoints)
                .cloned()
                .collect();
            self.buckets[target] = Arc::new(Bucket::new(endpoints));
        }
    }
}

impl FromIterator<Arc<Endpoint>> for EndpointSet {
    fn from_iter<I: IntoIterator<Item = Arc<Endpoint>>>(endpoints: I) -> Self {
        let endpoints: Vec<Arc<Endpoint>> = endpoints.into_iter().collect();
        if endpoints.is_empty() {
            return Self::default();
        }
        let mut set = Self::laid_out(endpoints);
        // Duplicates were dropped: fewer buckets may do.
        Arc::make_mut(&mut set.0).join();
        set
    }
}

impl EndpointSet {
    fn laid_out(endpoints: Vec<Arc<Endpoint>>) -> Self {
        let count = bucket_count(endpoints.len());
        let mut lists: Vec<Vec<Arc<Endpoint>>> = vec![Vec::new(); count];
        if count == 1 {
            lists[0] = endpoints;
        } else {
            for endpoint in endpoints {
                lists[bucket_of(place_hash(&endpoint), count)].push(endpoint);
            }
        }
        let buckets: Vec<Arc<Bucket>> = lists
            .into_iter()
            .map(|list| Arc::new(Bucket::new(list)))
            .collect();
        let len = buckets.iter().map(|bucket| bucket.endpoints.len()).sum();
        let digest = buckets
            .iter()
            .fold(ContentHash::default(), |sum, bucket| sum.plus(bucket.digest));
        Self(Arc::new(Buckets { buckets, len, digest }))
    }
}

impl FromIterator<Endpoint> for EndpointSet {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        endpoints.into_iter().map(Arc::new).collect()
    }
}

impl<const N: usize> From<[Endpoint; N]> for EndpointSet {
    fn from(endpoints: [Endpoint; N]) -> Self {
        endpoints.into_iter().collect()
    }
}

impl From<Vec<Endpoint>> for EndpointSet {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        endpoints.into_iter().collect()
    }
}

impl PartialEq for EndpointSet {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other) || (self.0.len == other.0.len && self.iter().eq(other.iter()))
    }
}

impl Eq for EndpointSet {}

impl fmt::Debug for EndpointSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl EndpointSet {
    /// How many addresses of the set are this IP address.
    pub(crate) fn find_ip(&self, ip: std::net::IpAddr) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.iter().filter(move |endpoint| {
            endpoint
                .addresses()
                .iter()
                .any(|held: &Address| held.ip() == Some(ip))
        })
    }
}

#[cfg(test)]
mod tests;
