//! Objects that cannot be read now, and what that means for their services.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use registry_core::{RegistryError, ServiceId, Str};

use super::{Kind, Part};

/// Objects that cannot be read now, by kind, namespace and name.
#[derive(Debug, Default)]
pub(super) struct Unread {
    objects: BTreeMap<(Kind, Str, Str), Object>,
    /// Parts whose last complete listing had objects of which not even the names could be read.
    blind: HashSet<Part>,
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

    /// A listing of the part is complete, and lacks names: what is not known of it may be there.
    pub(super) fn blinded(&mut self, part: &Part) {
        self.blind.insert(part.clone());
    }

    /// A listing of the part is complete: those that were not seen since then are gone. True where anything could not be
    /// read before that is no more there, or nobody knew what.
    pub(super) fn complete(&mut self, part: &Part, since: u64) -> bool {
        let before = self.objects.len();
        self.objects.retain(|(kind, namespace, _), object| {
            object.seen >= since || *kind != part.kind || !part.covers(namespace)
        });
        self.blind.remove(part) || self.objects.len() < before
    }

    /// Nothing of the namespace is there any more: the services of what could not be read.
    pub(super) fn forget(&mut self, namespace: &str) -> impl Iterator<Item = ServiceId> + use<> {
        self.blind
            .retain(|part| part.namespace.as_deref() != Some(namespace));
        let objects = std::mem::take(&mut self.objects).into_iter();
        let (gone, rest): (Vec<_>, Vec<_>) = objects.partition(|((_, held, _), _)| *held == namespace);
        self.objects = rest.into_iter().collect();
        gone.into_iter().filter_map(|(_, object)| object.service)
    }

    /// Whether that very object is there and cannot be read.
    pub(super) fn has(&self, kind: Kind, namespace: &Str, name: &Str) -> bool {
        !self.objects.is_empty()
            && self
                .objects
                .contains_key(&(kind, namespace.clone(), name.clone()))
    }

    /// Whether there may be objects of a kind in a namespace of which nobody knows the names.
    pub(super) fn is_blind(&self, kind: Kind, namespace: &str) -> bool {
        let mut blind = self.blind.iter();
        blind.any(|part| part.kind == kind && part.covers(namespace))
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
