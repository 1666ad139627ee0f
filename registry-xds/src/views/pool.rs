//! Resources that several views have are one allocation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use registry_core::Str;

use crate::resource::{Resource, ResourceType};

/// All resources that some set holds, by what they are. What no set holds any more is swept out whenever there are twice
/// as many as after the last sweep.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    resources: HashMap<(ResourceType, u64, Str), Weak<Resource>>,
    sweep_at: usize,
}

/// The fewest resources that are worth a sweep.
const FEW: usize = 1024;

impl Pool {
    /// The shared form of a resource.
    pub(super) fn share(&self, resource: Resource) -> Arc<Resource> {
        let key = (
            resource.type_(),
            resource.version_number(),
            resource.name().clone(),
        );
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.resources.get(&key).and_then(Weak::upgrade);
        // Versions are hashes without a key: whoever finds two contents with one shall not swap them.
        if let Some(known) = known.filter(|known| **known == resource) {
            return known;
        }
        if held.resources.len() >= held.sweep_at.max(FEW) {
            held.resources.retain(|_, resource| resource.strong_count() > 0);
            held.sweep_at = held.resources.len() * 2;
        }
        let resource = Arc::new(resource);
        held.resources.insert(key, Arc::downgrade(&resource));
        resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_resources_are_one_and_the_dead_are_swept() {
        let pool = Pool::default();
        let resource = |n: usize| Resource::from_body(ResourceType::Cluster, format!("c{n}"), b"body");
        let kept = pool.share(resource(0));
        for n in 1..10_000 {
            pool.share(resource(n));
        }
        assert!(Arc::ptr_eq(&kept, &pool.share(resource(0))));
        let other = pool.share(Resource::from_body(ResourceType::Cluster, "c0", b"other"));
        assert!(!Arc::ptr_eq(&kept, &other));
        assert!(pool.0.lock().unwrap().resources.len() <= FEW);
    }
}
