//! State of the world: what a client that comes back has, and nobody else has any more.
//!
//! An answer that states all clusters takes away what is not in it, and a route of the client may still lead there; but what
//! that cluster was, nobody knows: the daemon may have been away when it went. What is known is the name, as the client asks
//! for the endpoints of each cluster that it has. So the answer has a tombstone of that name: Envoy goes on to use what it has
//! for as long as it waits for the endpoints of what it got. Once its routes lead elsewhere, an answer without tombstones
//! takes both away.
//!
//! As long as it waits, it does not acknowledge the clusters. That new ones are ready shows in that it acknowledged their
//! endpoints.

use std::sync::Arc;

use registry_core::Str;
use tokio::time::Instant;

use super::Session;
use super::subscription::Had;
use crate::resource::{Held, ResourceSet, ResourceType};
use crate::translate::cluster::tombstone;

/// How many a client gets. Each costs it some 80 KB while it is there.
const MOST: usize = 1000;

impl Session {
    /// Before the first answer to clusters: has it keep what the client has.
    pub(super) fn keep_unknown(&mut self, set: &ResourceSet) {
        let clusters = self.active(ResourceType::Cluster);
        if self.only.is_some()
            || !clusters.is_some_and(|clusters| clusters.wildcard && self.replaces_unknown(clusters))
        {
            return;
        }
        let Some(endpoints) = self.active(ResourceType::Endpoints) else {
            return;
        };
        let clusters = set.table(ResourceType::Cluster);
        let gone = endpoints
            .names
            .iter()
            .filter(|name| !name.is_empty() && clusters.get(name).is_none());
        let gone: Vec<Str> = gone.take(MOST).cloned().collect();
        if let Some(clusters) = &mut self.subscriptions[ResourceType::Cluster.index()] {
            for name in gone {
                clusters.has(&name, Had::Tombstone(Arc::new(tombstone(&name))));
            }
        }
    }

    /// True while a client has tombstones.
    pub(super) fn has_tombstones(&self) -> bool {
        self.active(ResourceType::Cluster)
            .is_some_and(|clusters| clusters.has_tombstones())
    }

    /// True where a client acknowledged the endpoints of all clusters that there are.
    pub(super) fn has_all_endpoints(&self, set: &ResourceSet, now: Instant) -> bool {
        let Some(endpoints) = self.active(ResourceType::Endpoints) else {
            return false;
        };
        let asked = |held: &Held| endpoints.wants(held.0.name());
        endpoints.exchange.is_settled(now)
            && set.table(ResourceType::Endpoints).iter().all(asked)
            && !endpoints.has_additions(set)
    }
}
