//! Resources of single services. Their names have the service's hostname in them: no two services meet here.

use std::collections::HashMap;
use std::sync::Arc;

use registry_core::Str;

use super::pool::Pool;
use crate::resource::{Resource, ResourceSet};

/// What each service of one view has for itself.
#[derive(Debug, Default)]
pub(super) struct Own(HashMap<Str, Vec<Arc<Resource>>>);

impl Own {
    /// These are all resources of a service; of several under one name the first counts. Returns whether the set changed.
    pub(super) fn put(
        &mut self,
        hostname: &Str,
        resources: Vec<Resource>,
        pool: &Pool,
        set: &mut ResourceSet,
    ) -> bool {
        let old = self.0.remove(hostname).unwrap_or_default();
        let mut now: Vec<Arc<Resource>> = Vec::with_capacity(resources.len());
        let mut changed = false;
        for resource in resources {
            if now.iter().any(|other| is_named_as(other, &resource)) {
                continue;
            }
            // Whatever is equal stays the same allocation, so that sets are compared by pointers.
            if let Some(held) = old.iter().find(|held| ***held == resource) {
                now.push(held.clone());
            } else {
                let resource = pool.share(resource);
                changed |= set.insert(resource.clone());
                now.push(resource);
            }
        }
        for gone in &old {
            if !now.iter().any(|other| is_named_as(other, gone)) {
                changed |= set.remove(gone.type_(), gone.name());
            }
        }
        if !now.is_empty() {
            self.0.insert(hostname.clone(), now);
        }
        changed
    }
}

fn is_named_as(one: &Resource, other: &Resource) -> bool {
    one.type_() == other.type_() && one.name() == other.name()
}
