//! A client that knows its protocol and nothing else, against random histories.
//!
//! It keeps what it was sent, as its protocol says; subscribes like Envoy, to endpoints of each cluster and to routes of each
//! listener, or like gRPC, by name from listener to endpoints; acknowledges late, or refuses; and comes back on new streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status as ProtoStatus;
use proptest::prelude::*;
use tokio::time::Instant;

use super::support::*;
use crate::resource::{Resource, ResourceSet, ResourceType};
use crate::session::{Incoming, Response, Session, Variant};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Envoy,
    Grpc,
}

/// What may happen in a history.
#[derive(Debug, Clone)]
enum Event {
    /// A service gets that content, or goes: number, cluster, endpoints.
    Service(u8, Option<(u8, u8)>),
    /// From now on, a registry has said nothing, or all have.
    Uncertain(bool),
    /// What the session has goes to the client.
    Send,
    /// The client reads a response.
    Read,
    /// The client reads a response and refuses it.
    Refuse,
    /// The session reads a request.
    Take,
    Pass(u8),
    /// The client comes back, with its types in some order, after services changed meanwhile.
    Reconnect(u8, Vec<(u8, Option<(u8, u8)>)>),
}

struct Client {
    manner: Manner,
    variant: Variant,
    session: Session,
    now: Instant,
    requests: VecDeque<Incoming>,
    responses: VecDeque<Response>,
    nonces: BTreeMap<ResourceType, String>,
    versions: BTreeMap<ResourceType, String>,
    /// What it subscribed to.
    wants: BTreeMap<ResourceType, BTreeSet<String>>,
    has: BTreeMap<ResourceType, BTreeMap<String, Arc<Resource>>>,
    /// It had its clusters, and asked for listeners.
    running: bool,
    /// Clusters whose endpoints it waits for, and the nonce whose acknowledgement waits with them.
    warming: BTreeSet<String>,
    unacknowledged: Vec<String>,
    /// Whether a route may name what the client lacks, and a cluster lack endpoints: after a refusal, a timeout, or a
    /// return with state of the world, which does not say what the client has.
    loose: bool,
    /// How often each resource was sent, less the reasons there were to send it.
    surplus: BTreeMap<(ResourceType, String), i32>,
}

/// What is listened for, routed, and so on, by what names the next: the body of a listener is the name of its route
/// configuration, that of a route configuration lists services; what begins with `~` only makes a difference.
fn next_names(resource: &Resource) -> Vec<String> {
    let names = body(resource)
        .split(',')
        .filter(|name| !name.is_empty() && !name.starts_with('~'));
    match resource.type_() {
        R => names.map(|name| long(C, name)).collect(),
        L => names.map(str::to_owned).collect(),
        C | E => Vec::new(),
    }
}

impl Client {
    fn new(manner: Manner, variant: Variant) -> Self {
        let mut client = Self {
            manner,
            variant,
            session: Session::new(variant, None),
            now: Instant::now(),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            nonces: BTreeMap::new(),
            versions: BTreeMap::new(),
            wants: BTreeMap::new(),
            has: BTreeMap::new(),
            running: false,
            warming: BTreeSet::new(),
            unacknowledged: Vec::new(),
            loose: false,
            surplus: BTreeMap::new(),
        };
        if manner == Manner::Grpc {
            let targets = (0..SERVICES).map(|n| format!("s{n}.mesh")).collect();
            client.wants.insert(L, targets);
        }
        client.open(0);
        client
    }

    /// Begins a stream, with the types in some order.
    fn open(&mut self, order: u8) {
        self.session = Session::new(self.variant, None);
        self.requests.clear();
        self.responses.clear();
        self.nonces.clear();
        self.unacknowledged.clear();
        let mut types = ResourceType::ALL.to_vec();
        types.rotate_left(usize::from(order % 4));
        if order >= 4 {
            types.reverse();
        }
        for type_ in types {
            let names = self.wants.get(&type_).cloned().unwrap_or_default();
            let wildcard = self.manner == Manner::Envoy && matches!(type_, C | L);
            // An Envoy that starts asks for listeners once it has its clusters.
            let early = type_ == L && self.manner == Manner::Envoy && !self.running;
            if early || !wildcard && names.is_empty() {
                continue;
            }
            self.request(type_, names.into_iter().collect(), Vec::new(), true);
        }
    }

    fn request(&mut self, type_: ResourceType, more: Vec<String>, less: Vec<String>, first: bool) {
        more.iter().for_each(|name| self.reason(type_, name));
        let has = self.has.get(&type_);
        self.requests.push_back(match self.variant {
            Variant::Sotw => Incoming::Sotw(Box::new(self.stated(type_, None))),
            Variant::Delta => Incoming::Delta(Box::new(DeltaDiscoveryRequest {
                type_url: type_.url().to_owned(),
                resource_names_subscribe: more,
                resource_names_unsubscribe: less,
                initial_resource_versions: (has.into_iter().flatten().filter(|_| first))
                    .map(|(name, resource)| (name.clone(), resource.version()))
                    .collect(),
                ..DeltaDiscoveryRequest::default()
            })),
        });
    }

    fn reason(&mut self, type_: ResourceType, name: &str) {
        *self.surplus.entry((type_, name.to_owned())).or_default() -= 1;
    }

    /// Another set. Each change is a reason to send the resource; that of a cluster also one for its endpoints.
    fn update(&mut self, set: &Arc<ResourceSet>, before: &ResourceSet) {
        for type_ in ResourceType::ALL {
            for resource in set
                .iter(type_)
                .filter(|now| before.get(type_, now.name()) != Some(*now))
            {
                self.reason(type_, resource.name());
                if type_ == C {
                    self.reason(E, resource.name());
                }
            }
        }
        self.session.update(set.clone(), self.now);
    }

    /// State of the world: all that it wants of a type.
    fn stated(&self, type_: ResourceType, error_detail: Option<ProtoStatus>) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: type_.url().to_owned(),
            version_info: self.versions.get(&type_).cloned().unwrap_or_default(),
            response_nonce: self.nonces.get(&type_).cloned().unwrap_or_default(),
            resource_names: self.wants.get(&type_).into_iter().flatten().cloned().collect(),
            error_detail,
            ..DiscoveryRequest::default()
        }
    }

    fn answer(&mut self, type_: ResourceType, nonce: String, refuse: bool) {
        let error_detail = refuse.then(|| ProtoStatus {
            message: "no".to_owned(),
            ..ProtoStatus::default()
        });
        self.requests.push_back(match self.variant {
            Variant::Sotw => Incoming::Sotw(Box::new(self.stated(type_, error_detail))),
            Variant::Delta => Incoming::Delta(Box::new(DeltaDiscoveryRequest {
                type_url: type_.url().to_owned(),
                response_nonce: nonce,
                error_detail,
                ..DeltaDiscoveryRequest::default()
            })),
        });
    }

    fn read(&mut self, refuse: bool) {
        let Some(response) = self.responses.pop_front() else {
            return;
        };
        let type_ = response.type_;
        self.nonces.insert(type_, response.nonce.clone());
        if refuse {
            self.loose = true;
            self.answer(type_, response.nonce, true);
            if type_ == C {
                self.run();
            }
            return;
        }
        self.versions.insert(type_, response.version.clone());
        let full = self.variant == Variant::Sotw && matches!(type_, C | L);
        let has = self.has.entry(type_).or_default();
        let before = has.clone();
        if full {
            has.clear();
        }
        let wants = self.wants.get(&type_);
        let wildcard = self.manner == Manner::Envoy && matches!(type_, C | L);
        for resource in &response.resources {
            let name = resource.name().to_string();
            if wildcard || wants.is_some_and(|wants| wants.contains(&name)) {
                has.insert(name, resource.clone());
            }
        }
        for name in &response.removed {
            has.remove(&**name);
        }
        if type_ == C {
            let changed = |(name, now): &(&String, &Arc<Resource>)| before.get(*name) != Some(*now);
            let changed: Vec<_> = has.iter().filter(changed).map(|(name, _)| name.clone()).collect();
            self.warming.extend(changed.iter().cloned());
            let has = &self.has[&C];
            self.warming.retain(|name| has.contains_key(name));
            if self.variant == Variant::Sotw && !changed.is_empty() && self.wants.contains_key(&E) {
                // Rule 4: it asks again for what it warms anew.
                self.request(E, Vec::new(), Vec::new(), false);
            }
        }
        if type_ == E {
            for resource in &response.resources {
                self.warming.remove(&**resource.name());
            }
        }
        self.follow();
        if type_ == C {
            self.unacknowledged.push(response.nonce);
        } else {
            self.answer(type_, response.nonce, false);
        }
        if self.warming.is_empty() || self.manner == Manner::Grpc {
            for nonce in std::mem::take(&mut self.unacknowledged) {
                self.answer(C, nonce, false);
                self.run();
            }
        }
        if !self.loose && self.manner == Manner::Envoy {
            self.check();
        }
    }

    /// An Envoy that starts asks for listeners once the clusters are settled, be it by refusing them.
    fn run(&mut self) {
        if !self.running && self.manner == Manner::Envoy {
            self.running = true;
            self.request(L, Vec::new(), Vec::new(), true);
        }
    }

    /// Subscribes to what the resources that it has name.
    fn follow(&mut self) {
        let steps = match self.manner {
            Manner::Envoy => vec![(L, R), (C, E)],
            Manner::Grpc => vec![(L, R), (R, C), (C, E)],
        };
        for (from, to) in steps {
            let has = self.has.get(&from).cloned().unwrap_or_default();
            let named: BTreeSet<String> = match from {
                C => has.keys().cloned().collect(),
                _ => has.values().flat_map(|resource| next_names(resource)).collect(),
            };
            let wants = self.wants.insert(to, named.clone()).unwrap_or_default();
            if wants != named {
                let more = named.difference(&wants).cloned().collect();
                let less: Vec<_> = wants.difference(&named).cloned().collect();
                if let Some(has) = self.has.get_mut(&to) {
                    has.retain(|name, _| named.contains(name));
                }
                self.request(to, more, less, false);
            }
        }
    }

    /// What holds once nobody has anything to say.
    fn check_end(&self, set: &ResourceSet) {
        for type_ in ResourceType::ALL {
            let has = self.has.get(&type_).into_iter().flat_map(BTreeMap::values);
            let has: BTreeSet<_> = has.map(|resource| format!("{resource:?}")).collect();
            let target: BTreeSet<_> = set.iter(type_).map(|resource| format!("{resource:?}")).collect();
            assert_eq!(has, target, "{type_}");
            let channel = self.session.channel(type_);
            assert!(channel.is_none_or(|channel| !channel.pending), "{type_}");
        }
        assert_eq!(self.session.deadline(), None, "nothing is under way");
    }

    /// What a running Envoy must always find: for each route its cluster, and the endpoints of that.
    fn check(&self) {
        let clusters = self.has.get(&C).cloned().unwrap_or_default();
        let endpoints = self.has.get(&E).cloned().unwrap_or_default();
        for route in self.has.get(&R).into_iter().flat_map(BTreeMap::values) {
            for cluster in next_names(route) {
                assert!(
                    clusters.contains_key(&cluster),
                    "{route:?} names {cluster}, which is not there"
                );
                assert!(
                    endpoints.contains_key(&cluster),
                    "{route:?} names {cluster} without endpoints"
                );
            }
        }
    }

    fn send(&mut self, set: &ResourceSet) -> bool {
        let Some(response) = self.session.next(self.now) else {
            return false;
        };
        let denied = response.errors.iter().map(|(name, _)| name);
        for name in response.removed.iter().chain(denied) {
            assert!(
                !set.is_undecided(response.type_, name),
                "{response:?} decides {name}"
            );
            assert!(
                set.get(response.type_, name).is_none(),
                "{response:?} denies {name}"
            );
        }
        let names: BTreeSet<_> = response
            .resources
            .iter()
            .map(|resource| resource.name())
            .collect();
        assert_eq!(names.len(), response.resources.len(), "rule 8: {response:?}");
        for resource in &response.resources {
            let key = (response.type_, resource.name().to_string());
            *self.surplus.entry(key).or_default() += 1;
        }
        self.responses.push_back(response);
        true
    }

    fn take(&mut self) -> bool {
        let Some(request) = self.requests.pop_front() else {
            return false;
        };
        self.session.request(request, self.now).unwrap();
        true
    }

    /// Until nobody has anything to say. Returns how many responses that took.
    fn settle(&mut self, set: &ResourceSet) -> usize {
        let mut responses = 0;
        let mut quiet = 0;
        while quiet < 3 {
            let sent = self.send(set);
            responses += usize::from(sent);
            assert!(responses < 500, "no end of responses");
            let read = !self.responses.is_empty();
            self.read(false);
            let took = self.take();
            quiet = if sent || read || took { 0 } else { quiet + 1 };
            if quiet == 2
                && let Some(at) = self.session.deadline()
            {
                assert!(at > self.now, "a time that came already");
                self.now = at;
                quiet = 0;
            }
        }
        responses
    }
}

const SERVICES: u8 = 5;

/// The set of some services, as the views make it for that kind of client.
fn text(services: &BTreeMap<u8, (u8, u8)>, manner: Manner, epoch: u8) -> String {
    let mut words = Vec::new();
    for (n, (cluster, endpoints)) in services {
        words.push(format!("c:s{n}@{cluster} e:s{n}@{endpoints}"));
        if manner == Manner::Grpc {
            words.push(format!(
                "l:s{n}.mesh@grpc|s{n}.mesh,~{epoch} r:grpc|s{n}.mesh@s{n},~{epoch}"
            ));
        }
    }
    if manner == Manner::Envoy {
        let names: Vec<_> = services.keys().map(|n| format!("s{n}")).collect();
        words.push(format!("l:outbound_127.0.0.1_15001@http.15001,~{epoch}"));
        words.push(format!("r:http.15001@{},~{epoch}", names.join(",")));
    }
    words.join(" ")
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let content = prop::option::weighted(0.7, (0_u8..3, 0_u8..3));
    let event = prop_oneof![
        6 => (0..SERVICES, content.clone()).prop_map(|(n, content)| Event::Service(n, content)),
        1 => any::<bool>().prop_map(Event::Uncertain),
        12 => Just(Event::Send),
        12 => Just(Event::Read),
        12 => Just(Event::Take),
        1 => Just(Event::Refuse),
        1 => (0_u8..30).prop_map(Event::Pass),
        1 => (0_u8..8, prop::collection::vec((0..SERVICES, content), 0..4))
            .prop_map(|(order, changes)| Event::Reconnect(order, changes)),
    ];
    prop::collection::vec(event, 0..150)
}

/// `strict` leaves out what may put a route before its cluster: refusals, timeouts, and returns whose state is not known.
fn play(manner: Manner, variant: Variant, strict: bool, events: &[Event]) {
    let mut world = World::default();
    let mut client = Client::new(manner, variant);
    let mut services = BTreeMap::new();
    let mut uncertain = false;
    let mut set = world.set(&text(&services, manner, 0));
    client.update(&set, &ResourceSet::default());
    for event in events {
        let before = set.clone();
        match event {
            Event::Service(n, content) => {
                match content {
                    Some(content) => drop(services.insert(*n, *content)),
                    None => drop(services.remove(n)),
                }
                let text = text(&services, manner, 0);
                set = if uncertain {
                    world.uncertain(&text)
                } else {
                    world.set(&text)
                };
                client.update(&set, &before);
            }
            Event::Uncertain(now) => {
                uncertain = *now;
                let text = text(&services, manner, 0);
                set = if uncertain {
                    world.uncertain(&text)
                } else {
                    world.set(&text)
                };
                client.update(&set, &before);
            }
            Event::Send => drop(client.send(&set)),
            Event::Read => client.read(false),
            Event::Take => drop(client.take()),
            Event::Refuse if !strict => client.read(true),
            Event::Pass(seconds) if !strict => {
                client.loose = true;
                client.now += Duration::from_secs(u64::from(*seconds));
            }
            Event::Reconnect(order, changes) => {
                for (n, content) in changes {
                    match content {
                        Some(content) => drop(services.insert(*n, *content)),
                        None => drop(services.remove(n)),
                    }
                }
                let text = text(&services, manner, 0);
                set = if uncertain {
                    world.uncertain(&text)
                } else {
                    world.set(&text)
                };
                // One that comes back in the middle of its start looks like one that starts.
                client.loose |= !client.has.contains_key(&R);
                client.open(*order);
                client.session.update(set.clone(), client.now);
            }
            Event::Refuse | Event::Pass(_) => {}
        }
    }
    // What was refused comes again only when it changes: everything does, and then some of it goes.
    let all: BTreeMap<_, _> = (0..SERVICES).map(|n| (n, (10 + n, 20 + n))).collect();
    let last = world.set(&text(&all, manner, 1));
    client.update(&last, &set);
    client.settle(&last);
    client.check_end(&last);
    services.iter_mut().for_each(|(n, content)| *content = all[n]);
    let set = world.set(&text(&services, manner, 2));
    client.update(&set, &last);
    client.settle(&set);
    client.check_end(&set);
    let reconnected = events.iter().any(|event| matches!(event, Event::Reconnect(..)));
    if variant == Variant::Delta && !reconnected {
        let often = client.surplus.iter().filter(|(_, surplus)| **surplus > 0);
        assert_eq!(often.collect::<Vec<_>>(), [], "sent without a reason");
    }
    client.session.update(set.clone(), client.now);
    assert_eq!(client.settle(&set), 0, "nothing changed");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn an_envoy_in_delta_always_has_what_its_routes_name(events in events()) {
        play(Manner::Envoy, Variant::Delta, true, &events);
    }

    #[test]
    fn an_envoy_in_state_of_the_world_always_has_what_its_routes_name(events in events()) {
        play(Manner::Envoy, Variant::Sotw, true, &events);
    }

    #[test]
    fn an_envoy_in_delta_ends_where_the_set_is(events in events()) {
        play(Manner::Envoy, Variant::Delta, false, &events);
    }

    #[test]
    fn an_envoy_in_state_of_the_world_ends_where_the_set_is(events in events()) {
        play(Manner::Envoy, Variant::Sotw, false, &events);
    }

    #[test]
    fn a_grpc_client_ends_where_the_set_is(events in events()) {
        play(Manner::Grpc, Variant::Sotw, false, &events);
    }
}

/// It has `s0` and `s1`; while it is away `s0` goes and `s2` comes.
#[test]
fn an_envoy_that_comes_back_always_has_what_its_routes_name() {
    for variant in [Variant::Sotw, Variant::Delta] {
        for order in 0..8 {
            let mut world = World::default();
            let mut client = Client::new(Manner::Envoy, variant);
            let services = |numbers: [u8; 2]| {
                let services = numbers.into_iter().map(|n| (n, (0, 0))).collect();
                text(&services, Manner::Envoy, 0)
            };
            for (order, numbers) in [(0, [0, 1]), (order, [1, 2])] {
                client.open(order);
                let set = world.set(&services(numbers));
                client.update(&set, &ResourceSet::default());
                client.settle(&set);
                client.check_end(&set);
                assert!(client.running && !client.loose);
            }
        }
    }
}
