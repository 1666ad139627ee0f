//! Objects that cannot be read now, and what that means for their services.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry_core::{RegistryError, ServiceId, Str};

use super::{Kind, Part};

/// Objects that cannot be read now, by kind, namespace and name.
#[derive(Debug, Default)]
pub(super) struct Unread {
    objects: BTreeMap<(Kind, Str, Str), Object>,
    count: u64,
}

#[derive(Debug)]
struct Object {
    service: Option<ServiceId>,
    error: Arc<RegistryError>,
    /// Counts up.
    serial: u64,
    seen: u64,
}

impl Unread {
    pub(super) fn note(
        &mut self,
        kind: Kind,
        (namespace, name): (&str, &str),
        service: Option<ServiceId>,
        error: Arc<RegistryError>,
        seen: u64,
    ) {
        self.count += 1;
        let serial = self.count;
        let key = (kind, namespace.into(), name.into());
        let object = Object {
            service,
            error,
            serial,
            seen,
        };
        self.objects.insert(key, object);
    }

    /// It could be read, or is gone.
    pub(super) fn clear(&mut self, kind: Kind, namespace: &str, name: &str) {
        if !self.objects.is_empty() {
            self.objects.remove(&(kind, namespace.into(), name.into()));
        }
    }

    /// Those of the part that were not seen since then are gone.
    pub(super) fn complete(&mut self, part: &Part, since: u64) {
        self.objects.retain(|(kind, namespace, _), object| {
            object.seen >= since || *kind != part.kind || !part.covers(namespace)
        });
    }

    pub(super) fn forget(&mut self, namespace: &str) {
        self.objects.retain(|(_, held, _), _| *held != namespace);
    }

    /// Each service of which something that counts cannot be read, with the last such error.
    pub(super) fn services(
        &self,
        counts: impl Fn(Kind, &ServiceId) -> bool,
    ) -> impl Iterator<Item = (&ServiceId, &Arc<RegistryError>)> {
        let mut last: BTreeMap<&ServiceId, &Object> = BTreeMap::new();
        for ((kind, _, _), object) in &self.objects {
            let Some(service) = object.service.as_ref().filter(|id| counts(*kind, id)) else {
                continue;
            };
            let held = last.entry(service).or_insert(object);
            if held.serial < object.serial {
                *held = object;
            }
        }
        last.into_iter().map(|(service, object)| (service, &object.error))
    }
}
