//! Where a word comes from that a registry merely passes on.

use std::ops::Deref;
use std::sync::Arc;

use super::Timestamp;
use crate::text::Str;

/// One registry's word that an endpoint exists, passed on by another that it was said to.
///
/// No content, as no raw word and no time is: two parents that have the same registries make no difference. Two are
/// equal where all but their times is.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The way to the registry that said it, outermost first: `consul-dc1` of the registry that is asked, or
    /// `parent/consul-dc1` where that one has it from another in turn.
    pub registry: Str,
    /// What that registry calls the endpoint.
    pub id: Str,
    /// Its own word for the endpoint's health.
    pub status: Str,
    /// When it was first seen to list the endpoint, by the clock of who passes it on.
    pub first_seen: Timestamp,
    /// When what it says of the endpoint last changed, by the same clock.
    pub last_changed: Timestamp,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.registry == other.registry && self.id == other.id && self.status == other.status
    }
}

impl Eq for Origin {}

/// The origins of one claim, in the order of precedence there; empty where the registry speaks for itself. Cloning
/// shares them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(Option<Arc<[Origin]>>);

impl Origin {
    /// The length of the longest text in it.
    pub(crate) fn longest(&self) -> usize {
        self.registry.len().max(self.id.len()).max(self.status.len())
    }
}

impl Origins {
    pub(crate) const NONE: Self = Self(None);
}

impl Deref for Origins {
    type Target = [Origin];

    fn deref(&self) -> &[Origin] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl FromIterator<Origin> for Origins {
    fn from_iter<I: IntoIterator<Item = Origin>>(origins: I) -> Self {
        let origins: Arc<[Origin]> = origins.into_iter().collect();
        Self((!origins.is_empty()).then_some(origins))
    }
}
