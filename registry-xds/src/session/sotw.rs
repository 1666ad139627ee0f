//! State of the world: each request states all names, each answer to clusters and listeners states all of them.

use std::collections::HashSet;
use std::num::NonZeroU64;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use registry_core::NameMap;
use tokio::time::Instant;
use tonic::Status;

use super::subscription::{Had, Names, Subscription};
use super::{Session, WILDCARD};
use crate::names;
use crate::resource::{Held, ResourceType};

impl Session {
    pub(super) fn sotw(&mut self, request: &DiscoveryRequest, now: Instant) -> Result<(), Status> {
        let Some(type_) = self.begin(request.node.as_ref(), &request.type_url, now)? else {
            return Ok(());
        };
        let set = self.set.clone();
        let nothing = NameMap::default();
        let table = set.as_ref().map_or(&nothing, |set| set.table(type_));
        let version = set.as_ref().map(|set| set.version(type_));
        let claim = &request.version_info;
        // Of other types a client may have had a part, with the version of all.
        let claims_all = self.states_all(type_) && !claim.is_empty();

        let mut repeated = false;
        let first = self.subscription(type_).is_none();
        let subscription = self.subscribe_to(type_, !claim.is_empty());
        if first {
            subscription.claim = (set.is_none() && claims_all).then(|| claim.clone());
        } else if let Some(nonce) = &subscription.exchange.nonce {
            if *nonce != request.response_nonce {
                subscription.exchange.heard |= !request.response_nonce.is_empty();
                subscription.forget_all_but(&request.resource_names);
                return Ok(());
            }
            let error = request.error_detail.as_ref().map(|error| error.message.as_str());
            let answered = subscription.exchange.answer(&request.response_nonce, error);
            repeated = !answered && error.is_none();
        }

        let had_all = first && claims_all && version.as_ref() == Some(claim);
        let renamed = subscription.rename(&request.resource_names, table, had_all)?;
        if repeated && !renamed && !subscription.wildcard {
            // Envoy asks again, with the nonce that it acknowledged, for endpoints of clusters that it warms anew.
            let names: Vec<_> = subscription.names.iter().cloned().collect();
            names.iter().for_each(|name| subscription.owe(name, table));
        }
        Ok(())
    }
}

impl Subscription {
    /// Notes what a request with an old nonce does not name: its sender has forgotten that, and gets it should it ask again.
    fn forget_all_but(&mut self, requested: &[String]) {
        let requested: HashSet<&str> = requested.iter().map(String::as_str).collect();
        let forgotten = self.names.iter().filter(|name| !requested.contains(&***name));
        self.forgotten.extend(forgotten.cloned());
    }

    /// Takes in what a request names, which is all that the client wants. Returns whether that is anything else than before.
    fn rename(&mut self, requested: &[String], table: &NameMap<Held>, had_all: bool) -> Result<bool, Status> {
        let wanted: HashSet<&str> = (requested.iter().map(String::as_str))
            .filter(|name| *name != WILDCARD && !names::is_tombstone(name))
            .collect();
        self.listed |= !requested.is_empty();
        let legacy = !self.listed && matches!(self.type_, ResourceType::Cluster | ResourceType::Listener);
        let wildcard = legacy || requested.iter().any(|name| name == WILDCARD);
        let mut renamed = wildcard != self.wildcard;

        let dropped: Vec<_> = (self.names.iter())
            .filter(|name| !wanted.contains(&***name))
            .cloned()
            .collect();
        // New names first: while the client still wants everything, what it has of them is known.
        for name in wanted {
            if !self.names.contains(name) || self.forgotten.contains(name) {
                renamed = true;
                self.subscribe(name, table)?;
            }
        }
        self.forgotten = Names::default();
        if wildcard && !self.wildcard {
            self.begin_wildcard(table, |resource| {
                had_all.then(|| Had::Version(NonZeroU64::new(resource.version_number())))
            });
        } else if !wildcard && self.wildcard {
            self.end_wildcard();
        }
        for name in dropped {
            renamed = true;
            self.unsubscribe(&name);
        }
        Ok(renamed)
    }
}
