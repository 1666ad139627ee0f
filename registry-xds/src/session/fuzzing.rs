//! For the fuzz target of streams: whatever a client says, in whatever order, and whatever becomes of the services
//! meanwhile. No part of the API.
//!
//! An input is a stream's history, a byte for each decision. What the client has is what it was sent, of what it subscribed
//! to; at the end, when it acknowledges as it should, that has to be what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status as ProtoStatus;
use registry_core::engine::{Engine, EngineSettings};
use registry_core::{Pattern, RegistryOptions, Snapshot, StaticRegistry, Str};
use tokio::time::Instant;

use super::{Incoming, Response, Session, Variant, WILDCARD};
use crate::names;
use crate::resource::{Doubt, Resource, ResourceSet, ResourceType};
use crate::server::decode;

/// Services at most.
const SERVICES: u8 = 4;

/// More responses in a row than any of these sets can make for.
const ENDLESS: usize = 200;

/// A snapshot without services, with one registry that has said nothing where `domain` is given.
pub(super) fn snapshot(domain: Option<&str>) -> Arc<Snapshot> {
    let now = Instant::now();
    let mut engine = Engine::new(EngineSettings::default(), now);
    if let Some(domain) = domain {
        let mut options = RegistryOptions::default();
        if domain != "*" {
            options.domains = vec![Pattern::new(domain)];
        }
        let registry = StaticRegistry::new([]);
        let id = "slow".parse().expect("a name");
        let added = engine.add(id, &registry, options, Arc::default());
        assert!(added.is_ok());
    }
    engine.publish(now).unwrap_or_default()
}

/// One stream from its first request to its last response.
pub fn requests(bytes: &[u8]) {
    let mut history = History::new(bytes);
    while let Some(step) = history.bytes.next() {
        let goes_on = match step % 8 {
            0 => history.publish(),
            1 | 2 => history.ask(),
            3 => history.garbage(),
            4 => history.take(),
            5 => history.settle(),
            6 => history.pass(),
            _ => history.answer(),
        };
        if !goes_on {
            return;
        }
    }
    history.end();
}

struct History<'a> {
    bytes: Bytes<'a>,
    session: Session,
    variant: Variant,
    only: Option<ResourceType>,
    now: Instant,
    set: ResourceSet,
    nonces: BTreeSet<String>,
    /// By type, what the client has: the version of each resource.
    has: [BTreeMap<Str, u64>; 4],
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A decision; the first one where none is left.
    fn choice(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn some(&mut self, most: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        some
    }
}

/// The names that a mask stands for.
fn names_of(type_: ResourceType, mask: u8) -> Vec<String> {
    let name = |bit: u8| match (type_, bit) {
        (_, 7) => WILDCARD.to_owned(),
        (ResourceType::Cluster | ResourceType::Endpoints, _) => cluster(bit),
        (ResourceType::Listener, 6) => SHARED.to_owned(),
        (ResourceType::Route, 6) => ROUTES.to_owned(),
        (ResourceType::Listener, _) => host(bit),
        (ResourceType::Route, _) => names::grpc_routes(&host(bit)),
    };
    (0..8).filter(|bit| mask & 1 << bit != 0).map(name).collect()
}

fn host(service: u8) -> String {
    format!("s{service}.mesh")
}

fn cluster(service: u8) -> String {
    names::cluster("80", "", &host(service))
}

const SHARED: &str = "outbound_127.0.0.1_15001";
const ROUTES: &str = "http.15001";

impl<'a> History<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let kind = bytes.choice();
        let variant = if kind & 1 == 0 {
            Variant::Sotw
        } else {
            Variant::Delta
        };
        let only = (kind & 6 == 6).then(|| ResourceType::ALL[usize::from(kind >> 3 & 3)]);
        Self {
            bytes,
            session: Session::new(variant, only),
            variant,
            only,
            now: Instant::now(),
            set: ResourceSet::default(),
            nonces: BTreeSet::new(),
            has: Default::default(),
        }
    }

    fn type_(&mut self) -> ResourceType {
        let chosen = ResourceType::ALL[usize::from(self.bytes.choice() & 3)];
        self.only.unwrap_or(chosen)
    }

    /// Other services, or other content, or doubt.
    fn publish(&mut self) -> bool {
        let (exist, content, doubt) = (self.bytes.choice(), self.bytes.choice(), self.bytes.choice());
        self.set_to(exist, content, doubt & 3 == 3);
        true
    }

    fn set_to(&mut self, exist: u8, content: u8, doubt: bool) {
        let mut lost = self.set.has_lost();
        let mut routed = String::new();
        for service in 0..SERVICES {
            let resources = [
                (ResourceType::Cluster, cluster(service), content & 3),
                (ResourceType::Endpoints, cluster(service), content >> 2 & 3),
                (ResourceType::Listener, host(service), 0),
                (
                    ResourceType::Route,
                    names::grpc_routes(&host(service)),
                    content >> 4 & 1,
                ),
            ];
            let exists = exist & 1 << service != 0;
            for (type_, name, body) in resources {
                if exists {
                    self.set
                        .insert(Arc::new(Resource::from_body(type_, name, &[body])));
                } else {
                    lost |= self.set.remove(type_, &name);
                }
            }
            if exists {
                routed.push_str(&host(service));
            }
        }
        let shared = [
            (ResourceType::Listener, SHARED, ""),
            (ResourceType::Route, ROUTES, &routed),
        ];
        for (type_, name, body) in shared {
            let resource = Resource::from_body(type_, name, body.as_bytes());
            self.set.insert(Arc::new(resource));
        }
        let kind = if doubt { Doubt::OfAbsences } else { Doubt::None };
        self.set.made_from(&snapshot(doubt.then_some("*")), kind, lost);
        self.session.update(Arc::new(self.set.clone()), self.now);
    }

    /// A request of any kind. False where it ended the stream.
    fn ask(&mut self) -> bool {
        let type_ = self.type_();
        let (more, less, how) = (self.bytes.choice(), self.bytes.choice(), self.bytes.choice());
        let (more, less) = (names_of(type_, more), names_of(type_, less));
        let last = self.last_nonce(type_);
        let response_nonce = match how & 3 {
            0 => String::new(),
            1 => "stale".to_owned(),
            _ => last,
        };
        let error_detail = (how & 4 != 0).then(|| ProtoStatus {
            message: "no".to_owned(),
            ..ProtoStatus::default()
        });
        let current = self.set.version(type_);
        let request = match self.variant {
            Variant::Sotw => Incoming::Sotw(Box::new(DiscoveryRequest {
                type_url: type_.url().to_owned(),
                version_info: match how >> 3 & 3 {
                    0 | 1 => String::new(),
                    2 => current,
                    _ => "another".to_owned(),
                },
                response_nonce,
                resource_names: more,
                error_detail,
                ..DiscoveryRequest::default()
            })),
            Variant::Delta => Incoming::Delta(Box::new(DeltaDiscoveryRequest {
                type_url: type_.url().to_owned(),
                resource_names_subscribe: more,
                resource_names_unsubscribe: less,
                initial_resource_versions: match how >> 3 & 3 {
                    3 => self.held(type_, how),
                    _ => Default::default(),
                },
                response_nonce,
                error_detail,
                ..DeltaDiscoveryRequest::default()
            })),
        };
        self.say(type_, request)
    }

    /// What a client may say that it has: what there is, or was, or never was.
    fn held(&mut self, type_: ResourceType, how: u8) -> std::collections::HashMap<String, String> {
        let held = names_of(type_, self.bytes.choice() & 0x7f).into_iter();
        let version = |name: &str| match self.set.get(type_, name) {
            Some(resource) if how & 0x20 == 0 => resource.version(),
            _ => "0123456789abcdef".to_owned(),
        };
        held.map(|name| (name.clone(), version(&name))).collect()
    }

    fn say(&mut self, type_: ResourceType, request: Incoming) -> bool {
        let before = self.session.subscription(type_);
        let mut dropped = Vec::new();
        let mut held = Vec::new();
        if let Incoming::Delta(request) = &request {
            let had = |name: &&String| before.is_some_and(|before| before.names.contains(name.as_str()));
            dropped.extend(request.resource_names_unsubscribe.iter().filter(had).cloned());
            let everything = request
                .resource_names_unsubscribe
                .iter()
                .any(|name| name == WILDCARD);
            if everything && let Some(before) = before.filter(|before| before.wildcard) {
                // Though it may ask for everything again in the same breath.
                let has = self.has[type_.index()]
                    .keys()
                    .filter(|name| !before.names.contains(*name));
                dropped.extend(has.map(ToString::to_string));
            }
            if before.is_none() {
                held.extend(request.initial_resource_versions.clone());
            }
        }
        if self.session.request(request, self.now).is_err() {
            return false;
        }
        let has = &mut self.has[type_.index()];
        for name in dropped {
            has.remove(name.as_str());
        }
        for (name, version) in held {
            has.insert(name.into(), u64::from_str_radix(&version, 16).unwrap_or_default());
        }
        let subscription = self.session.subscription(type_);
        has.retain(|name, _| subscription.is_some_and(|subscription| subscription.wants(name)));
        true
    }

    /// Bytes as they may come over the wire, at the end of which nothing is known of the client any more.
    fn garbage(&mut self) -> bool {
        let length = usize::from(self.bytes.choice());
        let message = self.bytes.some(length);
        if let Ok(request) = decode(self.variant, message.to_vec().into()) {
            // Whether it is taken or ends the stream: what follows goes on.
            let _ = self.session.request(request, self.now);
            let _ = self.session.next(self.now);
        }
        false
    }

    /// The client reads a response.
    fn take(&mut self) -> bool {
        if let Some(response) = self.session.next(self.now) {
            self.read(&response);
        }
        true
    }

    /// The client reads all there is. Returns whether there was something.
    fn settle(&mut self) -> bool {
        for _ in 0..ENDLESS {
            let Some(response) = self.session.next(self.now) else {
                return true;
            };
            self.read(&response);
        }
        panic!("no end of responses");
    }

    fn read(&mut self, response: &Response) {
        let type_ = response.type_;
        assert!(self.nonces.insert(response.nonce.clone()), "a nonce twice");
        let subscription = self.session.subscription(type_).expect("somebody asked");
        let mut listed = BTreeMap::new();
        for resource in &response.resources {
            assert_eq!(resource.type_(), type_);
            assert!(
                subscription.wants(resource.name()),
                "nobody asked for {resource:?}"
            );
            let twice = listed.insert(resource.name().clone(), resource.version_number());
            assert_eq!(twice, None, "{resource:?} twice");
        }
        let denied = response.errors.iter().map(|(name, _)| name);
        for name in denied.chain(&response.removed) {
            assert!(self.set.get(type_, name).is_none(), "{name} exists");
            assert!(!self.set.is_undecided(type_, name), "{name} may exist");
            assert!(!listed.contains_key(name));
        }
        let has = &mut self.has[type_.index()];
        if self.session.states_all(type_) {
            for name in has.keys().filter(|name| !listed.contains_key(*name)) {
                assert!(
                    self.set.get(type_, name).is_none(),
                    "{name} exists, and is left out"
                );
                assert!(
                    !self.set.is_undecided(type_, name),
                    "{name} may exist, and is left out"
                );
            }
            *has = listed;
        } else {
            has.extend(listed);
            has.retain(|name, _| !response.removed.contains(name));
        }
    }

    fn pass(&mut self) -> bool {
        self.now += Duration::from_millis(100) * u32::from(self.bytes.choice());
        true
    }

    /// The client says what it should.
    fn answer(&mut self) -> bool {
        let type_ = self.type_();
        let nonce = self.last_nonce(type_);
        let Some(subscription) = self.session.subscription(type_) else {
            return true;
        };
        if subscription.exchange.waiting.is_none() {
            return true;
        }
        let request = match self.variant {
            Variant::Sotw => {
                let mut names: Vec<_> = subscription.names.iter().map(ToString::to_string).collect();
                if subscription.wildcard && subscription.listed {
                    names.push(WILDCARD.to_owned());
                }
                Incoming::Sotw(Box::new(DiscoveryRequest {
                    type_url: type_.url().to_owned(),
                    resource_names: names,
                    response_nonce: nonce,
                    ..DiscoveryRequest::default()
                }))
            }
            Variant::Delta => Incoming::Delta(Box::new(DeltaDiscoveryRequest {
                type_url: type_.url().to_owned(),
                response_nonce: nonce,
                ..DeltaDiscoveryRequest::default()
            })),
        };
        self.say(type_, request)
    }

    fn last_nonce(&self, type_: ResourceType) -> String {
        let subscription = self.session.subscription(type_);
        subscription
            .and_then(|subscription| subscription.exchange.nonce.clone())
            .unwrap_or_default()
    }

    /// All registries speak, time passes, and the client takes and acknowledges everything: then it has what there is.
    fn end(&mut self) {
        self.set_to(5, 1, false);
        for _ in 0..20 {
            self.settle();
            for type_ in ResourceType::ALL {
                self.bytes = Bytes(&[]);
                let chosen = self.only.replace(type_);
                self.answer();
                self.only = chosen;
            }
            self.now += Duration::from_secs(21);
        }
        assert!(self.session.next(self.now).is_none(), "no end of changes");
        for type_ in ResourceType::ALL {
            let Some(subscription) = self.session.subscription(type_) else {
                continue;
            };
            assert!(
                !subscription.is_due(),
                "something is due for ever: {subscription:?}"
            );
            let has = &self.has[type_.index()];
            for resource in self
                .set
                .iter(type_)
                .filter(|resource| subscription.wants(resource.name()))
            {
                let held = has.get(resource.name());
                assert_eq!(held, Some(&resource.version_number()), "{resource:?}");
            }
            let partial = self.variant == Variant::Sotw && !self.session.states_all(type_);
            for name in has.keys().filter(|_| !partial) {
                assert!(self.set.get(type_, name).is_some(), "{name} should be gone");
            }
        }
    }
}
