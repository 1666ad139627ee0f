//! Sets and streams in few words.
//!
//! A resource is written `c:web@1`: its type by one letter, its name, and its content. Of clusters and endpoints the name
//! is that of a service, and stands for `outbound|80||web.mesh`; of listeners and routes it is written as it is. A response
//! reads `c +web@1 ~gone -old !none`: what it has, of which tombstones, what it removes, and what it says does not exist.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status as ProtoStatus;
use tokio::time::Instant;
use tonic::Status;

use crate::names;
use crate::resource::{Doubt, Resource, ResourceSet, ResourceType};
use crate::session::fuzzing::snapshot;
use crate::session::{Incoming, Response, Session, Variant};
use crate::translate::cluster::tombstone;

pub(super) use ResourceType::{Cluster as C, Endpoints as E, Listener as L, Route as R};

/// The full name of a resource.
pub(super) fn long(type_: ResourceType, name: &str) -> String {
    match type_ {
        C | E if name != "*" => names::cluster("80", "", &format!("{name}.mesh")),
        _ => name.to_owned(),
    }
}

/// As it is written in these tests.
pub(super) fn short(type_: ResourceType, name: &str) -> String {
    match type_ {
        C | E => {
            let name = name.strip_prefix("outbound|80||").unwrap_or(name);
            name.strip_suffix(".mesh").unwrap_or(name).to_owned()
        }
        L | R => name.to_owned(),
    }
}

fn letter(type_: ResourceType) -> char {
    ['c', 'e', 'l', 'r'][type_.index()]
}

pub(super) fn body(resource: &Resource) -> &str {
    std::str::from_utf8(resource.body()).unwrap()
}

/// A history of sets, each made from the one before, as views make them.
#[derive(Default)]
pub(super) struct World {
    set: ResourceSet,
}

impl World {
    /// The next set: with these resources and no others.
    pub(super) fn set(&mut self, text: &str) -> Arc<ResourceSet> {
        self.publish(text, None, Doubt::None)
    }

    /// The next set, while a registry that may own names below `late` has said nothing yet.
    pub(super) fn partial(&mut self, text: &str) -> Arc<ResourceSet> {
        self.publish(text, Some("*.late"), Doubt::OfAbsences)
    }

    /// The next set, while a registry that may own any name has said nothing yet.
    pub(super) fn uncertain(&mut self, text: &str) -> Arc<ResourceSet> {
        self.publish(text, Some("*"), Doubt::OfAbsences)
    }

    /// The same, and nobody waits for that registry.
    pub(super) fn unwaited(&mut self, text: &str) -> Arc<ResourceSet> {
        self.publish(text, Some("*"), Doubt::OfNames)
    }

    fn publish(&mut self, text: &str, awaited: Option<&str>, doubt: Doubt) -> Arc<ResourceSet> {
        let mut wanted = BTreeMap::new();
        for word in text.split_whitespace() {
            let (type_, rest) = word.split_once(':').unwrap();
            let (name, body) = rest.split_once('@').unwrap();
            let type_ = ResourceType::ALL["celr".find(type_).unwrap()];
            wanted.insert((type_, long(type_, name)), body);
        }
        let mut has_lost = self.set.has_lost();
        for type_ in ResourceType::ALL {
            let names: Vec<_> = self
                .set
                .iter(type_)
                .map(|resource| resource.name().clone())
                .collect();
            for name in names {
                if !wanted.contains_key(&(type_, name.to_string())) {
                    self.set.remove(type_, &name);
                    has_lost = true;
                }
            }
        }
        for ((type_, name), body) in wanted {
            let resource = Resource::from_body(type_, name, body.as_bytes());
            self.set.insert(Arc::new(resource));
        }
        let snapshot = snapshot(awaited);
        self.set.made_from(&snapshot, doubt, has_lost);
        Arc::new(self.set.clone())
    }
}

/// A stream, and what its client knows of nonces.
pub(super) struct Stream {
    pub(super) session: Session,
    pub(super) variant: Variant,
    pub(super) now: Instant,
    nonces: BTreeMap<ResourceType, String>,
    names: BTreeMap<ResourceType, Vec<String>>,
}

impl Stream {
    pub(super) fn new(variant: Variant) -> Self {
        Self::with(Session::new(variant, None), variant)
    }

    pub(super) fn of(variant: Variant, only: ResourceType) -> Self {
        Self::with(Session::new(variant, Some(only)), variant)
    }

    fn with(session: Session, variant: Variant) -> Self {
        Self {
            session,
            variant,
            now: Instant::now(),
            nonces: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn update(&mut self, set: &Arc<ResourceSet>) -> Vec<String> {
        self.session.update(set.clone(), self.now);
        self.out()
    }

    /// Everything that is due now.
    pub(super) fn out(&mut self) -> Vec<String> {
        self.responses().iter().map(shown).collect()
    }

    pub(super) fn responses(&mut self) -> Vec<Response> {
        let mut all = Vec::new();
        while let Some(response) = self.session.next(self.now) {
            assert!(all.len() < 1000, "no end of responses: {response:?}");
            let known = self.nonces.insert(response.type_, response.nonce.clone());
            assert_ne!(known.as_ref(), Some(&response.nonce), "a nonce twice");
            let mut names: Vec<_> = response
                .resources
                .iter()
                .map(|resource| resource.name())
                .collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), response.resources.len(), "rule 8: {response:?}");
            all.push(response);
        }
        all
    }

    pub(super) fn send(&mut self, request: Incoming) -> Result<Vec<String>, Status> {
        self.session.request(request, self.now)?;
        Ok(self.out())
    }

    pub(super) fn nonce(&self, type_: ResourceType) -> String {
        self.nonces.get(&type_).cloned().unwrap_or_default()
    }

    /// State of the world: a request with the last nonce.
    pub(super) fn sotw(&self, type_: ResourceType, names: &[&str]) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: type_.url().to_owned(),
            resource_names: names.iter().map(|name| long(type_, name)).collect(),
            response_nonce: self.nonce(type_),
            ..DiscoveryRequest::default()
        }
    }

    /// State of the world: asks for these names.
    pub(super) fn ask(&mut self, type_: ResourceType, names: &[&str]) -> Vec<String> {
        let request = self.sotw(type_, names);
        self.names.insert(type_, request.resource_names.clone());
        self.send(Incoming::Sotw(Box::new(request))).unwrap()
    }

    /// State of the world: asks for these names, as the first request on a stream, with a version from another one.
    pub(super) fn come_back(&mut self, type_: ResourceType, names: &[&str]) -> Vec<String> {
        let request = DiscoveryRequest {
            version_info: "of another server".to_owned(),
            ..self.sotw(type_, names)
        };
        self.names.insert(type_, request.resource_names.clone());
        self.send(Incoming::Sotw(Box::new(request))).unwrap()
    }

    /// Asks for these names, or for everything.
    pub(super) fn subscribe(&mut self, type_: ResourceType, names: &[&str]) -> Vec<String> {
        self.subscribe_more(type_, names, names)
    }

    /// Asks for all these names, of which some are new.
    pub(super) fn subscribe_more(&mut self, type_: ResourceType, all: &[&str], new: &[&str]) -> Vec<String> {
        match self.variant {
            Variant::Sotw => self.ask(type_, all),
            Variant::Delta => self.change(type_, new, &[]),
        }
    }

    /// Delta: changes subscriptions.
    pub(super) fn change(&mut self, type_: ResourceType, more: &[&str], less: &[&str]) -> Vec<String> {
        self.resume(type_, more, less, &[])
    }

    /// Delta: as the first request on a stream, with what the client has: `web@1`.
    pub(super) fn resume(
        &mut self,
        type_: ResourceType,
        more: &[&str],
        less: &[&str],
        held: &[&str],
    ) -> Vec<String> {
        let version = |text: &&str| {
            let (name, body) = text.split_once('@').unwrap();
            let name = long(type_, name);
            let resource = Resource::from_body(type_, name.as_str(), body.as_bytes());
            (name, resource.version())
        };
        let request = DeltaDiscoveryRequest {
            type_url: type_.url().to_owned(),
            resource_names_subscribe: more.iter().map(|name| long(type_, name)).collect(),
            resource_names_unsubscribe: less.iter().map(|name| long(type_, name)).collect(),
            initial_resource_versions: held.iter().map(version).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        self.send(Incoming::Delta(Box::new(request))).unwrap()
    }

    pub(super) fn ack(&mut self, type_: ResourceType) -> Vec<String> {
        self.answer(type_, None)
    }

    pub(super) fn nack(&mut self, type_: ResourceType, message: &str) -> Vec<String> {
        self.answer(type_, Some(message))
    }

    fn answer(&mut self, type_: ResourceType, error: Option<&str>) -> Vec<String> {
        let error_detail = error.map(|message| ProtoStatus {
            code: 3,
            message: message.to_owned(),
            details: Vec::new(),
        });
        let request = match self.variant {
            Variant::Sotw => Incoming::Sotw(Box::new(DiscoveryRequest {
                resource_names: self.names.get(&type_).cloned().unwrap_or_default(),
                error_detail,
                ..self.sotw(type_, &[])
            })),
            Variant::Delta => Incoming::Delta(Box::new(DeltaDiscoveryRequest {
                type_url: type_.url().to_owned(),
                response_nonce: self.nonce(type_),
                error_detail,
                ..DeltaDiscoveryRequest::default()
            })),
        };
        self.send(request).unwrap()
    }
}

/// Stands for a cluster that is no more.
pub(super) fn is_tombstone(resource: &Resource) -> bool {
    resource.type_() == C && *resource == tombstone(resource.name())
}

/// A response in words.
pub(super) fn shown(response: &Response) -> String {
    let type_ = response.type_;
    let mut words: Vec<_> = (response.resources.iter())
        .map(|resource| match is_tombstone(resource) {
            true => format!("~{}", short(type_, resource.name())),
            false => format!("+{}@{}", short(type_, resource.name()), body(resource)),
        })
        .collect();
    words.extend(
        response
            .removed
            .iter()
            .map(|name| format!("-{}", short(type_, name))),
    );
    words.extend(
        response
            .errors
            .iter()
            .map(|(name, _)| format!("!{}", short(type_, name))),
    );
    words.sort();
    words.insert(0, letter(type_).to_string());
    words.join(" ")
}
