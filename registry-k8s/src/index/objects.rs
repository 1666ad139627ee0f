//! One object: read, compared with what is held of it, and put where it belongs.

use std::collections::HashMap;
use std::sync::Arc;

use registry_core::{ErrorKind, RegistryError, ServiceId, Str, short};
use tokio::time::Instant;

use super::locality::is_plain;
use super::service::{Export, Object, Service, Slice, Until};
use super::shelf::Shelf;
use super::{Index, Join, Kind, Listing, Part, Source, Unreadable, Version};
use crate::map::endpoints::Surroundings;
use crate::{map, wire};

impl Index {
    /// True where an object is held in this very version. It counts as seen; nothing is allocated.
    pub(super) fn is_known(&mut self, kind: Kind, object: &[u8]) -> bool {
        let again = |(part, listing): (&Part, &Listing)| part.kind == kind && listing.again;
        if !self.listings.iter().any(again) {
            return false;
        }
        let Ok(head) = wire::read::<wire::Head<wire::Identity<'_>>>(object) else {
            return false;
        };
        let metadata = &head.metadata;
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        if !self.see(kind, namespace, name, version) {
            return false;
        }
        self.unread.clear(kind, namespace, name);
        true
    }

    /// True where an object is held in this version; then it counts as seen.
    fn see(&mut self, kind: Kind, namespace: &str, name: &str, version: Version) -> bool {
        let seen = self.now_seen;
        if kind == Kind::Node {
            return self.nodes.see(name, version, seen);
        }
        match self.held(kind, namespace, name) {
            Some((held, held_seen)) if held.is(version) => {
                *held_seen = seen;
                true
            }
            _ => false,
        }
    }

    /// The version and the mark of an object that is held.
    fn held(&mut self, kind: Kind, namespace: &str, name: &str) -> Option<(Version, &mut u64)> {
        let namespace = self.namespaces.get_mut(namespace)?;
        match kind {
            Kind::Service | Kind::Import => {
                let object = namespace.services.get_mut(name)?.object.as_mut()?;
                Some((object.version, &mut object.seen))
            }
            Kind::Export => {
                let export = namespace.services.get_mut(name)?.export.as_mut()?;
                Some((export.version, &mut export.seen))
            }
            Kind::Slice => {
                let owner = namespace.owners.get(name)?;
                let slice = namespace.services.get_mut(owner)?.slice_mut(name)?;
                Some((slice.version, &mut slice.seen))
            }
            Kind::Node => None,
        }
    }

    pub(super) fn apply_service(&mut self, kind: Kind, object: &[u8], source: Source) -> Result<(), String> {
        let read = wire::named::<wire::Service<'_>>(object, |read| &read.metadata.name);
        let service = read.map_err(|error| error.to_string())?;
        let metadata = &service.metadata;
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        self.unread.clear(kind, namespace, name);
        if kind == Kind::Service && metadata.owner_references.0 {
            // An import in another form: no service of this cluster.
            self.set_object(namespace, name, None, source);
            return Ok(());
        }
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        if self.see(kind, namespace, name, version) {
            return Ok(());
        }
        let mapped = map::service::service(&service, &self.mapping, &mut self.interner);
        let object = Object {
            version,
            seen: self.now_seen,
            meta: mapped.meta,
            ports: mapped.ports,
            terms: mapped.terms,
        };
        self.set_object(namespace, name, Some(object), source);
        Ok(())
    }

    pub(super) fn apply_export(&mut self, object: &[u8], source: Source) -> Result<(), String> {
        let read = wire::named::<wire::Export<'_>>(object, |read| &read.metadata.name);
        let export = read.map_err(|error| error.to_string())?;
        let metadata = &export.metadata;
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        self.unread.clear(Kind::Export, namespace, name);
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        if self.see(Kind::Export, namespace, name, version) {
            return Ok(());
        }
        let said = map::export::export(&export, &self.mapping, &mut self.interner);
        let export = Export {
            version,
            seen: self.now_seen,
            said,
            joined: None,
        };
        self.set_export(namespace, name, Some(export), source);
        Ok(())
    }

    pub(super) fn apply_slice(&mut self, object: &[u8], source: Source, now: Instant) -> Result<(), String> {
        let read = wire::named::<wire::Slice<'_>>(object, |read| &read.metadata.name);
        let slice = read.map_err(|error| error.to_string())?;
        let metadata = &slice.metadata;
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        if self.see(Kind::Slice, namespace, name, version) {
            self.unread.clear(Kind::Slice, namespace, name);
            return Ok(());
        }
        let until = self.until(namespace, source, now);
        let owner = self.mapping.join.owner(&metadata.labels);
        if owner.is_empty() {
            self.unread.clear(Kind::Slice, namespace, name);
            self.drop_slice(namespace, name, until, source);
            return Ok(());
        }
        let mapped = self.map_slice(&slice, owner, version)?;
        self.unread.clear(Kind::Slice, namespace, name);
        let before = self
            .namespaces
            .get(namespace)
            .and_then(|held| held.owners.get(name));
        if before.is_some_and(|before| *before != owner) {
            self.drop_slice(namespace, name, Until::Now, source);
        }
        let (slice_name, owner) = (mapped.name.clone(), self.interner.text(owner));
        let namespace = self.interner.text(namespace);
        let held = self.enter(&namespace, &owner);
        held.owners.insert(slice_name.clone(), owner.clone());
        self.change(&namespace, &owner, source, |service, tools| {
            service.set_slice(&slice_name, Some(mapped), until, tools)
        });
        Ok(())
    }

    pub(super) fn apply_node(&mut self, object: &[u8]) -> Result<(), String> {
        let read = wire::named::<wire::Head<wire::Metadata<'_>>>(object, |read| &read.metadata.name);
        let metadata = read.map_err(|error| error.to_string())?.metadata;
        self.unread.clear(Kind::Node, "", &metadata.name);
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        if !self.nodes.see(&metadata.name, version, self.now_seen) {
            self.nodes.apply(&metadata, self.now_seen, &mut self.interner);
        }
        Ok(())
    }

    /// Maps a slice. Endpoints that are as they were stay the allocations that they were.
    fn map_slice(&mut self, slice: &wire::Slice<'_>, owner: &str, version: Version) -> Result<Slice, String> {
        let metadata = &slice.metadata;
        let held = self.namespaces.get(&*metadata.namespace);
        let service = held.and_then(|held| held.services.get(owner));
        let old = service.and_then(|service| service.slice(&metadata.name));
        let ports = map::ports::of_slice(&slice.ports, &self.mapping.ports, &mut self.interner);
        let cluster = match self.mapping.join {
            Join::Imports => self.interner.text(metadata.labels.get(wire::SOURCE_CLUSTER)),
            Join::Services | Join::Exports => self.mapping.cluster.clone(),
        };
        let surroundings = Surroundings {
            mapping: &self.mapping,
            cluster: &cluster,
            named_all: service.map_or(self.mapping.join == Join::Exports, Service::names_all),
            nodes: &|name| self.nodes.place(name),
        };
        let mapped = map::endpoints::endpoints(slice, &ports, surroundings, &mut self.interner)?;
        let mut said = HashMap::new();
        let mut endpoints = Vec::with_capacity(mapped.len());
        for one in mapped {
            let known = old.and_then(|old| {
                let mut held = old.shelf.at(one.endpoint.address()).iter();
                held.find(|held| ***held == one.endpoint).cloned()
            });
            let endpoint = known.unwrap_or_else(|| Arc::new(one.endpoint));
            if !is_plain(&one.said, &endpoint) {
                said.insert(Arc::as_ptr(&endpoint), one.said);
            }
            endpoints.push(endpoint);
        }
        let shelf = Shelf::new(endpoints);
        let said = shelf.all().iter().enumerate().filter_map(|(at, endpoint)| {
            let said = said.get(&Arc::as_ptr(endpoint))?;
            Some((at, said.clone()))
        });
        Ok(Slice {
            name: Str::from(&*metadata.name),
            version,
            seen: self.now_seen,
            trigger: map::text::nanos(&metadata.annotations.last_change_trigger_time).unwrap_or(0),
            ports,
            said: said.collect(),
            shelf,
        })
    }

    /// What cannot be read is told, and counts as seen: what was known of it stays.
    pub(super) fn refuse(&mut self, kind: Kind, object: &[u8], problem: &str, is_there: bool) -> Unreadable {
        let lenient: Option<wire::Head<wire::Lenient<'_>>> = serde_json::from_slice(object).ok();
        let lenient = lenient
            .map(|head| head.metadata)
            .filter(|metadata| !metadata.name.is_empty());
        let Some(metadata) = lenient else {
            for (part, listing) in &mut self.listings {
                listing.blind |= part.kind == kind;
            }
            let message = format!("{}: {}", kind.as_str(), short(problem, 400));
            return Unreadable {
                error: Arc::new(RegistryError::new(ErrorKind::Malformed, message)),
            };
        };
        let (namespace, name) = (&*metadata.namespace, &*metadata.name);
        let owner = match kind {
            Kind::Service | Kind::Export | Kind::Import => name.to_owned(),
            Kind::Slice => self.mapping.join.owner(&metadata.labels()).to_owned(),
            Kind::Node => String::new(),
        };
        let held = self.namespaces.get(namespace);
        let owner = match held.and_then(|held| held.owners.get(name)) {
            Some(held) if owner.is_empty() && kind == Kind::Slice => held.to_string(),
            _ => owner,
        };
        let seen = self.now_seen;
        match kind {
            Kind::Node => self.nodes.keep(name, seen),
            Kind::Service | Kind::Slice | Kind::Export | Kind::Import => {
                if let Some((_, held)) = self.held(kind, namespace, name) {
                    *held = seen;
                }
            }
        }
        let group = self.interner.text(namespace);
        let service = (!owner.is_empty()).then(|| ServiceId::new(group.clone(), group, owner));
        let place = if namespace.is_empty() {
            short(name, 253)
        } else {
            format!("{}/{}", short(namespace, 253), short(name, 253))
        };
        let message = format!("{} {place}: {}", kind.as_str(), short(problem, 400));
        let error = Arc::new(RegistryError::new(ErrorKind::Malformed, message));
        if is_there {
            self.unread
                .note(kind, (namespace, name), service, error.clone(), seen);
        }
        Unreadable { error }
    }
}
