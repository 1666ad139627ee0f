//! What many endpoints have in common, in values that they share.

use std::fmt;
use std::hash::Hash;

use super::Labels;
use crate::hash::{ContentHash, Hasher};
use crate::text::Str;

/// Where an endpoint runs, from the largest unit to the smallest; unknown parts are empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Locality {
    /// For instance `eu-west`.
    pub region: Str,
    /// For instance `eu-west-1a`.
    pub zone: Str,
    /// For instance a rack.
    pub sub_zone: Str,
}

impl Locality {
    /// True where nothing is known.
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.sub_zone.is_empty()
    }
}

/// What many endpoints of a service have in common. Values that differ per instance do not belong here: they would end
/// the sharing.
#[derive(Clone, Default)]
pub struct Attributes {
    pub(super) labels: Labels,
    pub(super) hints: Box<[Str]>,
    pub(super) identity: Str,
    pub(super) digest: ContentHash,
    /// The length of the longest key or value, so that limits need not look at all of them.
    pub(super) longest: usize,
}

impl Attributes {
    pub(crate) fn new(labels: Labels, hints: Box<[Str]>, identity: Str) -> Self {
        let attributes = Self {
            labels,
            hints,
            identity,
            ..Self::default()
        };
        attributes.sealed()
    }

    /// What it consists of: labels, hints and identity.
    pub(crate) fn parts(&self) -> (&Labels, &[Str], &Str) {
        let Self {
            labels,
            hints,
            identity,
            digest: _,
            longest: _,
        } = self;
        (labels, hints, identity)
    }

    pub(super) fn sealed(mut self) -> Self {
        let texts = self.labels.iter().flat_map(|(key, value)| [key, value]);
        self.longest = texts.chain(&self.hints).map(|text| text.len()).max().unwrap_or(0);
        let mut hasher = Hasher::new("attributes");
        self.labels.feed(&mut hasher);
        hasher.number(self.hints.len() as u64);
        for hint in &self.hints {
            hasher.text(hint);
        }
        hasher.text(&self.identity);
        self.digest = hasher.finish();
        self
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.labels == other.labels
            && self.hints == other.hints
            && self.identity == other.identity
    }
}

impl Eq for Attributes {}

impl Hash for Attributes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u128(self.digest.as_u128());
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// Where endpoints run: all those on one machine, of whatever service, have one of these in common.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub(super) locality: Locality,
    pub(super) network: Str,
    pub(super) cluster: Str,
    pub(super) node: Str,
    /// Of all but the node, which is no content.
    pub(super) digest: ContentHash,
}

impl Place {
    pub(crate) fn new(locality: Locality, network: Str, cluster: Str, node: Str) -> Self {
        let place = Self {
            locality,
            network,
            cluster,
            node,
            digest: ContentHash::default(),
        };
        place.sealed()
    }

    /// What it consists of: locality, network, cluster and node.
    pub(crate) fn parts(&self) -> (&Locality, &Str, &Str, &Str) {
        let Self {
            locality,
            network,
            cluster,
            node,
            digest: _,
        } = self;
        (locality, network, cluster, node)
    }

    pub(super) fn sealed(mut self) -> Self {
        let mut hasher = Hasher::new("place");
        let Locality {
            region,
            zone,
            sub_zone,
        } = &self.locality;
        for text in [region, zone, sub_zone, &self.network, &self.cluster] {
            hasher.text(text);
        }
        self.digest = hasher.finish();
        self
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.node == other.node
            && self.locality == other.locality
            && self.network == other.network
            && self.cluster == other.cluster
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u128(self.digest.as_u128());
        self.node.hash(state);
    }
}
