//! One instance as the table holds it.

use std::cmp::Ordering;
use std::sync::Arc;

use registry_core::Endpoint;
use xxhash_rust::xxh3::xxh3_64;

use super::profile::Profile;
use crate::wire::{Instance, Status};

/// One instance. A registry has tens of thousands of these, so it is kept small.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    held: Held,
    profile: Option<Arc<Profile>>,
    pub(super) digest: Digest,
    /// Milliseconds by the server's clock, 0 where it was not told.
    updated: u64,
    /// Milliseconds by the instance's clock, 0 where it was not told.
    dirty: u64,
    /// Of the key: entries are in the order of this, and then of the key.
    hash: u32,
    /// Of the address: two endpoints at one address have the same.
    place: u32,
    status: Status,
    /// The last word on it could not be read.
    pub(super) unreadable: bool,
    /// Its endpoint is in the service's set.
    pub(super) speaks: bool,
}

/// What there is of it. An endpoint has its key as id.
#[derive(Debug, Clone)]
enum Held {
    Endpoint(Arc<Endpoint>),
    Key(Box<str>),
}

/// A hash of all that matters of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest(pub(super) [u64; 2]);

impl Entry {
    /// An instance of which only the status matters, or can be read.
    pub(super) fn bare(instance: &Instance<'_>, key: &str) -> Self {
        Self {
            held: Held::Key(key.into()),
            profile: None,
            digest: Digest::default(),
            updated: instance.last_updated.unwrap_or(0),
            dirty: instance.last_dirty.unwrap_or(0),
            hash: hash(key),
            place: 0,
            status: instance.status,
            unreadable: false,
            speaks: false,
        }
    }

    /// An instance with its endpoint.
    pub(super) fn new(
        instance: &Instance<'_>,
        endpoint: Arc<Endpoint>,
        profile: Arc<Profile>,
        digest: Digest,
    ) -> Self {
        Self {
            hash: hash(endpoint.id()),
            place: place(&endpoint),
            held: Held::Endpoint(endpoint),
            profile: Some(profile),
            digest,
            ..Self::bare(instance, "")
        }
    }

    /// What was held, as the same instance told at other times.
    pub(super) fn again(&self, instance: &Instance<'_>) -> Self {
        Self {
            updated: instance.last_updated.unwrap_or(0),
            dirty: instance.last_dirty.unwrap_or(0),
            status: instance.status,
            ..self.clone()
        }
    }

    /// An instance that cannot be read: what was held of it stays.
    pub(super) fn unread(instance: &Instance<'_>, key: &str, held: Option<&Self>) -> Self {
        Self {
            unreadable: true,
            ..held.map_or_else(|| Self::bare(instance, key), |held| held.again(instance))
        }
    }

    pub(super) fn key(&self) -> &str {
        match &self.held {
            Held::Endpoint(endpoint) => endpoint.id(),
            Held::Key(key) => key,
        }
    }

    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match &self.held {
            Held::Endpoint(endpoint) => Some(endpoint),
            Held::Key(_) => None,
        }
    }

    pub(super) fn profile(&self) -> Option<&Arc<Profile>> {
        self.profile.as_ref()
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    pub(super) fn place(&self) -> u32 {
        self.place
    }

    /// True where what an instance says was known before. What comes without a time is news.
    pub(super) fn is_newer_than(&self, instance: &Instance<'_>) -> bool {
        instance.last_updated.is_some_and(|told| told < self.updated)
    }

    pub(super) fn same_times(&self, other: &Self) -> bool {
        (self.updated, self.dirty) == (other.updated, other.dirty)
    }

    /// True where both are the same endpoint, or none.
    pub(super) fn same_endpoint(&self, other: &Self) -> bool {
        match (self.endpoint(), other.endpoint()) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }

    /// Same profile, by what it says.
    pub(super) fn same_profile(&self, other: &Self) -> bool {
        self.profile == other.profile
    }

    /// The order of entries.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.order_of(other.hash, other.key())
    }

    pub(super) fn order_of(&self, hash: u32, key: &str) -> Ordering {
        // The key is behind a pointer or two.
        self.hash.cmp(&hash).then_with(|| self.key().cmp(key))
    }

    /// The order of those at one place: the one that is to speak is the greatest.
    pub(super) fn age(&self, other: &Self) -> Ordering {
        let times = (self.updated, self.dirty).cmp(&(other.updated, other.dirty));
        times.then_with(|| self.key().cmp(other.key()))
    }
}

/// The hash of a key.
#[allow(
    clippy::cast_possible_truncation,
    reason = "keys with the same are told apart by themselves"
)]
pub(super) fn hash(key: &str) -> u32 {
    xxh3_64(key.as_bytes()) as u32
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "addresses with the same are told apart by themselves"
)]
fn place(endpoint: &Endpoint) -> u32 {
    use registry_core::Address;
    let hash = match endpoint.address() {
        Address::V4(ip) => xxh3_64(&ip.octets()),
        Address::V6(ip) => xxh3_64(&ip.octets()),
        Address::Host(text) | Address::Unix(text) => xxh3_64(text.as_bytes()),
    };
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry>() <= 72, "{} bytes", size_of::<Entry>());
    }
}
