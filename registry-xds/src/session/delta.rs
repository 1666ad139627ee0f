//! Delta: requests say what is wanted in addition, or no longer; responses what is new, and what is gone.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use registry_core::NameMap;
use tokio::time::Instant;
use tonic::Status;

use super::subscription::{Had, check_weight};
use super::{Session, WILDCARD};
use crate::resource::ResourceType;

impl Session {
    pub(super) fn delta(&mut self, request: &DeltaDiscoveryRequest, now: Instant) -> Result<(), Status> {
        let Some(type_) = self.begin(request.node.as_ref(), &request.type_url, now)? else {
            return Ok(());
        };
        let set = self.set.clone();
        let nothing = NameMap::default();
        let table = set.as_ref().map_or(&nothing, |set| set.table(type_));
        let held = &request.initial_resource_versions;
        check_weight(type_, 0, held.keys().map(String::as_str))?;

        let first = self.subscription(type_).is_none();
        let subscription = self.subscribe_to(type_, !held.is_empty());
        if !request.response_nonce.is_empty() {
            let error = request.error_detail.as_ref().map(|error| error.message.as_str());
            subscription.exchange.answer(&request.response_nonce, error);
        }

        // What is asked for is done last, so that a name in both lists is sent.
        for name in &request.resource_names_unsubscribe {
            if name == WILDCARD {
                subscription.end_wildcard();
            } else if subscription.unsubscribe(name) {
                // The client dropped what it wants with everything else; it gets it again, or hears that there is none.
                subscription.owe(name, table);
                if table.get(name).is_none() {
                    subscription.has(name, Had::Version(None));
                }
            }
        }
        let subscribed = &request.resource_names_subscribe;
        for name in subscribed.iter().filter(|name| *name != WILDCARD) {
            subscription.subscribe(name, table)?;
        }
        let legacy =
            first && subscribed.is_empty() && matches!(type_, ResourceType::Cluster | ResourceType::Listener);
        if legacy || subscribed.iter().any(|name| name == WILDCARD) {
            subscription.begin_wildcard(table, |resource| {
                let version = held.get(&**resource.name()).filter(|_| first)?;
                Some(Had::version(version))
            });
        }
        if first {
            // What it has and nobody has any more, it has to be told. What it subscribed to by name it gets anyway, and
            // it matters only that it has something.
            for (name, version) in held {
                if subscription.names.contains(&**name) || subscription.wildcard && table.get(name).is_none()
                {
                    subscription.has(name, Had::version(version));
                }
            }
        }
        Ok(())
    }
}
