//! Which type may go when: make before break.
//!
//! Additions reach the client in the order clusters, endpoints, listeners, routes; removals only then, in the order
//! listeners, routes, clusters, endpoints. Clusters and endpoints never wait. Listeners and routes wait until the client
//! acknowledged the clusters, as a route to a cluster that it lacks answers 503; Envoy acknowledges clusters only once
//! their endpoints are there, so endpoints must not wait for that. Clusters go once no listener and no route names them,
//! and the client acknowledged that. No wait is longer than [`PATIENCE`].
//!
//! All of this is computed from what is due and what is unanswered: there is no state of a step, so a newer set in the
//! middle of one takes the place of the older one, and there is no queue.
//!
//! A type that the client never asked for is not waited for, and nothing is on the stream of a single type. A client that
//! comes back from another stream keeps what it has, in an order of its own making, so what it has is not touched out of
//! order either: listeners and routes wait for clusters to be asked for, removals of clusters for the others, for up to
//! [`REUNION`]. In state of the world nobody knows which clusters it has, other than by the endpoints that it asks for:
//! where it has all that there are and more, they come last; where it lacks some as well, they come first, with
//! [tombstones](super::tombstones) of what is gone. One that names its clusters, and one that is gone among them, gets its
//! routes first. One that has nothing yet, and never answered to clusters, gets the first answer of each type at once.

use std::sync::Arc;
use std::time::Duration;

use registry_core::Str;
use tokio::time::Instant;

use super::exchange::PATIENCE;
use super::subscription::{Open, Subscription};
use super::{Session, Variant};
use crate::resource::{Resource, ResourceSet, ResourceType};

/// What leads requests to clusters.
const FRONT: [ResourceType; 2] = [ResourceType::Listener, ResourceType::Route];

/// How long a client that comes back may take to ask for all types that it has.
const REUNION: Duration = Duration::from_secs(1);

impl Session {
    /// What may be sent of a type.
    pub(super) fn open(&self, type_: ResourceType, set: &ResourceSet, now: Instant) -> Open {
        let Some(subscription) = self.subscription(type_) else {
            return Open::default();
        };
        if self.is_withheld(subscription, set) {
            return Open::default();
        }
        let add = match type_ {
            ResourceType::Cluster => self.may_replace_clusters(subscription, set, now),
            ResourceType::Endpoints => true,
            ResourceType::Listener | ResourceType::Route => match self.active(ResourceType::Cluster) {
                Some(clusters) if self.replaces_unknown(clusters) => self.only_loses_clusters(set),
                _ => self.may_follow_clusters(subscription, set, now),
            },
        };
        Open {
            add,
            remove: self.may_remove(type_, set, now),
            // Of several named clusters or listeners one cannot be denied without stating all others.
            deny: match type_ {
                // An answer with no endpoints at all might end what Envoy waits for.
                ResourceType::Endpoints => !self.has_tombstones(),
                _ => add || !self.states_all(type_),
            },
        }
    }

    /// True where a response of that type is all there is: what is not in it, the client deletes.
    pub(super) fn states_all(&self, type_: ResourceType) -> bool {
        self.variant == Variant::Sotw && matches!(type_, ResourceType::Cluster | ResourceType::Listener)
    }

    /// True while an answer would delete by its silence what some registry may still bring. Once a client was answered on
    /// this stream, what it has is known, and stays in the answers until that is decided.
    fn is_withheld(&self, subscription: &Subscription, set: &ResourceSet) -> bool {
        let type_ = subscription.type_;
        if set.is_complete() {
            return false;
        }
        if subscription.listing {
            // Nothing says in delta that more is to come; but a listener stands for many services, and Envoy, once it got
            // an answer without it, calls itself ready.
            return self.states_all(type_) || type_ == ResourceType::Listener;
        }
        self.states_all(type_)
            && subscription.returning
            && subscription.exchange.responses == 0
            && (subscription.names.iter())
                .any(|name| set.get(type_, name).is_none() && set.is_undecided(type_, name))
    }

    /// The first answer to clusters takes away from a client that comes back what is not in it, and what that was nobody
    /// knows any more: it cannot be kept in the answer. So it goes last where the client needs nothing of it before, and to
    /// know that, the client has to ask for everything first.
    fn may_replace_clusters(&self, clusters: &Subscription, set: &ResourceSet, now: Instant) -> bool {
        if self.only.is_some() || !self.replaces_unknown(clusters) {
            return true;
        }
        if !self.is_reunited(now) {
            return false;
        }
        let ready = |type_| self.is_settled(type_, now) && self.is_still(type_, set);
        let overdue = self.returners_end().is_some_and(|end| now >= end);
        overdue || !self.only_loses_clusters(set) || FRONT.into_iter().all(ready)
    }

    /// True where clusters of a client that comes back have still to be answered, all of which it has, and more. It has
    /// those whose endpoints it asks for. One that names its clusters is gRPC, which asks for those of new routes itself, and
    /// follows the old ones until it has them: to that client no route can come too early.
    fn only_loses_clusters(&self, set: &ResourceSet) -> bool {
        let clusters = self.active(ResourceType::Cluster);
        let Some(clusters) = clusters.filter(|clusters| self.replaces_unknown(clusters)) else {
            return false;
        };
        let exists = |name: &Str| set.get(ResourceType::Cluster, name).is_some();
        if !clusters.wildcard {
            return !clusters.names.iter().all(exists);
        }
        let Some(endpoints) = self.active(ResourceType::Endpoints) else {
            return false;
        };
        let has = |cluster: &Arc<Resource>| endpoints.names.contains(&**cluster.name());
        !endpoints.names.iter().all(exists) && set.iter(ResourceType::Cluster).all(has)
    }

    /// True until a client that comes back got the first answer that states all there is.
    pub(super) fn replaces_unknown(&self, subscription: &Subscription) -> bool {
        self.states_all(subscription.type_) && subscription.returning && subscription.exchange.responses == 0
    }

    fn may_follow_clusters(&self, subscription: &Subscription, set: &ResourceSet, now: Instant) -> bool {
        let first = subscription.exchange.responses == 0;
        let fresh = first && !subscription.returning;
        if self.only.is_some() {
            return true;
        }
        match self.active(ResourceType::Cluster) {
            Some(clusters) => {
                clusters.exchange.is_settled(now)
                    || fresh && !clusters.exchange.heard
                    || clusters.has_tombstones() && self.has_all_endpoints(set, now)
            }
            None => !first || fresh || self.is_reunited(now),
        }
    }

    fn may_remove(&self, type_: ResourceType, set: &ResourceSet, now: Instant) -> bool {
        if self.only.is_some() {
            return true;
        }
        let settled = |type_| self.is_settled(type_, now);
        let still = |type_| self.is_still(type_, set);
        if !FRONT.into_iter().all(settled) {
            return false;
        }
        match type_ {
            ResourceType::Listener => FRONT
                .into_iter()
                .filter_map(|type_| self.active(type_))
                .all(|s| !s.has_additions(set)),
            ResourceType::Route => {
                still(ResourceType::Listener)
                    && self.active(type_).is_none_or(|routes| !routes.has_additions(set))
            }
            ResourceType::Cluster => FRONT.into_iter().all(still) && self.has_all_types(type_, now),
            ResourceType::Endpoints => {
                FRONT.into_iter().all(still)
                    && self.has_all_types(type_, now)
                    && still(ResourceType::Cluster)
                    && settled(ResourceType::Cluster)
            }
        }
    }

    /// True where the client answered to all it got of a type, or had the time to.
    fn is_settled(&self, type_: ResourceType, now: Instant) -> bool {
        self.active(type_)
            .is_none_or(|subscription| subscription.exchange.is_settled(now))
    }

    /// True where nothing of a type is on its way to the client, or away from it.
    fn is_still(&self, type_: ResourceType, set: &ResourceSet) -> bool {
        self.active(type_)
            .is_none_or(|subscription| !subscription.is_moving(set))
    }

    /// True unless the client comes back, and may not have asked yet for all that it has.
    fn has_all_types(&self, type_: ResourceType, now: Instant) -> bool {
        self.subscription(type_)
            .is_none_or(|subscription| !subscription.returning)
            || self.is_reunited(now)
    }

    /// True where a client that comes back has asked for all that it has, or had the time to. In state of the world a
    /// request of each type is all.
    fn is_reunited(&self, now: Instant) -> bool {
        let asked = |type_| self.subscription(type_).is_some();
        self.variant == Variant::Sotw && ResourceType::ALL.into_iter().all(asked)
            || self.opened.is_none_or(|opened| now >= opened + REUNION)
    }

    /// When the wait for a client that comes back ends. It has begun once there is something to answer: what the server
    /// itself was not ready for is no delay of the client.
    fn returners_end(&self) -> Option<Instant> {
        let (opened, answerable) = self.opened.zip(self.answerable)?;
        Some(opened.max(answerable) + PATIENCE)
    }

    /// When something that waits may go though nothing happens, seen from now.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let mut subscriptions = self.subscriptions.iter().flatten();
        if !subscriptions.clone().any(|subscription| subscription.is_due()) {
            return None;
        }
        let answers = subscriptions
            .clone()
            .filter_map(|subscription| subscription.exchange.waiting);
        let patience = answers.map(|since| since + PATIENCE);
        let returning = subscriptions.any(|subscription| subscription.returning);
        let opened = self.opened.filter(|_| returning);
        let reunion = opened.map(|opened| opened + REUNION);
        let end = opened.and_then(|_| self.returners_end());
        patience.chain(reunion).chain(end).filter(|at| *at > now).min()
    }

    pub(super) fn active(&self, type_: ResourceType) -> Option<&Subscription> {
        self.subscription(type_)
            .filter(|subscription| subscription.is_active())
    }
}
