//! The guard beside a naive model, whatever a registry says, fails to say, or has said by another backend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use registry_core::{
    ErrorKind, Event, Guard, RegistryError, RegistryOptions, Scope, ServiceId, ServiceMeta, ServiceRecord,
};

use crate::engine::{Kind, World, endpoint, hostname, id};

const SERVICES: u8 = 5;
/// Endpoints that a service may have.
const PLACES: u8 = 12;

/// What a registry lists: services of which some have no endpoints.
type Listed = BTreeMap<u8, BTreeSet<u8>>;

/// A part of the registry: all, one of its two groups, or a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Group(u8),
    Service(u8),
}

impl Part {
    fn contains(self, service: u8) -> bool {
        match self {
            Self::All => true,
            Self::Group(group) => service % 2 == group,
            Self::Service(own) => service == own,
        }
    }

    fn scope(self) -> Scope {
        match self {
            Self::All => Scope::Registry,
            Self::Group(group) => Scope::Group(format!("g{group}").into()),
            Self::Service(service) => Scope::Service(name(service)),
        }
    }
}

#[derive(Debug, Clone)]
enum Said {
    Apply {
        service: u8,
        endpoints: BTreeSet<u8>,
        explicit: bool,
    },
    Delete {
        service: u8,
        explicit: bool,
    },
    /// That these went is announced, whether they did or not.
    Announce {
        service: u8,
        endpoints: BTreeSet<u8>,
    },
    /// Complete knowledge of a part, some of which could not be read. Else what is listed is what was before, without
    /// some services.
    List {
        part: Part,
        without: u8,
        unread: Option<Part>,
    },
    /// The same of all, in as many batches as it has events, and broken off half-way where told so.
    ListSlowly {
        without: u8,
        breaks_off: bool,
    },
    Degrade(Part),
    Confirm(Part),
}

#[derive(Debug, Clone)]
enum Step {
    Say(Vec<Said>),
    Publish,
    /// Seconds.
    Pass(u64),
    /// The session ends, and another one begins with what was listed.
    Reconnect,
    Acknowledge,
    /// Answers what it was asked.
    Answer,
    /// The guard goes off and on again, and nothing is published in between.
    Blink,
    /// Another backend, which lists the same without some services.
    Replace {
        without: u8,
    },
    /// Lists all that was ever published and is known still.
    Restore,
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        2 => Just(Part::All),
        1 => (0_u8..2).prop_map(Part::Group),
        1 => (0..SERVICES).prop_map(Part::Service),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let endpoints = prop_oneof![
        1 => Just((0..PLACES).collect::<BTreeSet<u8>>()),
        2 => prop::collection::btree_set(0..PLACES, 0..usize::from(PLACES)),
    ];
    // As bits: which services are missing.
    let without = || prop_oneof![2 => Just(0_u8), 1 => Just(u8::MAX), 2 => any::<u8>()];
    prop_oneof![
        4 => (0..SERVICES, endpoints, prop::bool::weighted(0.25))
            .prop_map(|(service, endpoints, explicit)| Said::Apply { service, endpoints, explicit }),
        2 => (0..SERVICES, prop::bool::weighted(0.25))
            .prop_map(|(service, explicit)| Said::Delete { service, explicit }),
        2 => (0..SERVICES, prop::collection::btree_set(0..PLACES, 0..usize::from(PLACES)))
            .prop_map(|(service, endpoints)| Said::Announce { service, endpoints }),
        2 => (part(), without(), prop::option::weighted(0.3, part()))
            .prop_map(|(part, without, unread)| Said::List { part, without, unread }),
        1 => (without(), prop::bool::weighted(0.3))
            .prop_map(|(without, breaks_off)| Said::ListSlowly { without, breaks_off }),
        1 => part().prop_map(Said::Degrade),
        1 => part().prop_map(Said::Confirm),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::collection::vec(said(), 1..4).prop_map(Step::Say),
        4 => Just(Step::Publish),
        3 => prop::sample::select(vec![1_u64, 5, 20, 40, 70]).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Acknowledge),
        3 => Just(Step::Answer),
        1 => Just(Step::Blink),
        1 => any::<u8>().prop_map(|without| Step::Replace { without }),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..25)
}

fn name(service: u8) -> ServiceId {
    ServiceId::new(format!("g{}", service % 2), "", format!("s{service}"))
}

fn built(service: u8, endpoints: &BTreeSet<u8>) -> ServiceRecord {
    let meta = ServiceMeta::builder(name(service)).build();
    let endpoints = endpoints
        .iter()
        .map(|n| endpoint(service * PLACES + n, 80).build());
    ServiceRecord::new(meta, endpoints.collect::<Vec<_>>())
}

/// The id of an endpoint as [`built`] has it.
fn id_of(service: u8, n: u8) -> String {
    format!("i-{}-80", service * PLACES + n)
}

fn error() -> Arc<RegistryError> {
    Arc::new(RegistryError::new(ErrorKind::Unavailable, "no answer"))
}

fn options(per_service: bool) -> RegistryOptions {
    RegistryOptions {
        guard: Some(Guard {
            per_service,
            ..Guard::default()
        }),
        ..hostname("{name}.mesh")
    }
}

/// An engine with one registry, and what that lists.
struct Pair {
    world: World,
    options: RegistryOptions,
    listed: Listed,
    /// What the last snapshot had of each service: endpoints, and whether they are held.
    published: BTreeMap<u8, BTreeMap<u8, bool>>,
    /// What was asked for and not answered yet.
    asked: bool,
    /// Nothing came or went within the window, nothing is held, and everything was published.
    is_quiet: bool,
    quiet_since: tokio::time::Instant,
}

impl Pair {
    fn new(per_service: bool) -> Self {
        let options = options(per_service);
        let mut world = World::new().add("a", options.clone());
        let listed: Listed = (0..SERVICES)
            .map(|service| (service, (0..PLACES).collect()))
            .collect();
        world.list("a", listed.iter().map(|(service, list)| built(*service, list)));
        let now = world.now;
        let mut pair = Self {
            world,
            options,
            listed,
            published: BTreeMap::new(),
            asked: false,
            is_quiet: true,
            quiet_since: now,
        };
        pair.publish();
        pair
    }

    fn say(&mut self, batch: Vec<Event>) {
        self.world.say("a", batch);
    }

    fn without(&self, without: u8) -> Listed {
        let listed = self.listed.iter();
        let kept = listed.filter(|(service, _)| without & (1 << **service) == 0);
        kept.map(|(service, list)| (*service, list.clone())).collect()
    }

    fn hear(&mut self, said: &Said) -> Vec<Vec<Event>> {
        match said {
            Said::Apply {
                service,
                endpoints,
                explicit,
            } => {
                self.listed.insert(*service, endpoints.clone());
                vec![vec![Event::Apply {
                    record: built(*service, endpoints),
                    explicit: *explicit,
                }]]
            }
            Said::Delete { service, explicit } => {
                self.listed.remove(service);
                vec![vec![Event::Delete {
                    id: name(*service),
                    explicit: *explicit,
                }]]
            }
            Said::Announce { service, endpoints } => {
                let gone = endpoints.iter().map(|n| id_of(*service, *n).into());
                vec![vec![Event::Announced {
                    id: name(*service),
                    gone: gone.collect(),
                }]]
            }
            Said::List {
                part,
                without,
                unread,
            } => {
                let left = self.without(*without);
                let told: Listed = left
                    .into_iter()
                    .filter(|(service, _)| {
                        part.contains(*service) && !unread.is_some_and(|unread| unread.contains(*service))
                    })
                    .collect();
                self.listed.retain(|service, _| {
                    !part.contains(*service)
                        || told.contains_key(service)
                        || unread.is_some_and(|unread| unread.contains(*service))
                });
                let mut batch = Event::listing(part.scope(), told.iter().map(|(of, list)| built(*of, list)));
                batch.pop();
                batch.push(Event::InitDone {
                    scope: part.scope(),
                    unread: unread.iter().map(|unread| (unread.scope(), error())).collect(),
                });
                vec![batch]
            }
            Said::ListSlowly { without, breaks_off } => {
                let told = self.without(*without);
                let batch = Event::listing(Scope::Registry, told.iter().map(|(of, list)| built(*of, list)));
                let events = batch.len() - usize::from(*breaks_off);
                if !breaks_off {
                    self.listed = told;
                }
                batch.into_iter().take(events).map(|event| vec![event]).collect()
            }
            Said::Degrade(part) => vec![vec![Event::degraded(part.scope(), error())]],
            Said::Confirm(part) => vec![vec![Event::Confirmed(part.scope())]],
        }
    }

    /// Lists all, in a session that may be new.
    fn list(&mut self) {
        let listed = self.listed.clone();
        self.world
            .list("a", listed.iter().map(|(of, list)| built(*of, list)));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Say(said) => {
                // Of a quiet registry one batch is judged by itself.
                let before = self.is_quiet.then(|| self.listed.clone());
                for said in said {
                    for batch in self.hear(said) {
                        self.say(batch);
                    }
                    if let Said::ListSlowly { breaks_off: true, .. } = said {
                        self.world.engine.interrupted(&id("a"), None, self.world.now);
                        self.list();
                    }
                }
                if let Some(before) = before {
                    self.is_quiet = false;
                    self.quiet_since = self.world.now;
                    self.publish();
                    self.check_loss(&before, said);
                }
                if let Some(Said::Announce { service, endpoints }) = said.last() {
                    self.publish();
                    let held = self.published.get(service).into_iter().flatten();
                    let mut held = held.filter(|(_, held)| **held).map(|(endpoint, _)| endpoint);
                    assert!(
                        !held.any(|endpoint| endpoints.contains(endpoint)),
                        "{endpoints:?} of service {service} were announced to be gone"
                    );
                }
            }
            Step::Publish => self.publish(),
            Step::Pass(seconds) => {
                self.world.pass(Duration::from_secs(*seconds));
                self.publish();
            }
            Step::Reconnect => {
                self.world
                    .engine
                    .interrupted(&id("a"), Some(&error()), self.world.now);
                self.list();
            }
            Step::Acknowledge => {
                self.world.engine.acknowledge(&id("a"), self.world.now).unwrap();
                self.publish();
                self.assert_nothing_held("after an operator let go of it");
            }
            Step::Answer => {
                if std::mem::take(&mut self.asked) {
                    self.list();
                }
            }
            Step::Blink => {
                self.publish();
                let held = self.held();
                let off = RegistryOptions {
                    guard: None,
                    ..self.options.clone()
                };
                for options in [off, self.options.clone()] {
                    self.world.engine.reconfigure(&id("a"), None, options).unwrap();
                }
                self.publish();
                assert!(self.held() <= held, "nothing was lost meanwhile");
            }
            Step::Replace { without } => {
                let options = self.options.clone();
                self.world
                    .engine
                    .reconfigure(&id("a"), Some(&Kind("test")), options)
                    .unwrap();
                self.world.engine.interrupted(&id("a"), None, self.world.now);
                self.publish();
                self.listed = self.without(*without);
                self.list();
                self.publish();
                self.assert_nothing_held("that another backend had said");
            }
            Step::Restore => {
                self.publish();
                self.listed = self
                    .published
                    .iter()
                    .map(|(service, list)| (*service, list.keys().copied().collect()))
                    .collect();
                self.list();
                self.publish();
                self.assert_nothing_held("where all is listed again");
            }
        }
        if !matches!(step, Step::Pass(_) | Step::Publish) {
            self.is_quiet = false;
            self.quiet_since = self.world.now;
        }
    }

    fn held(&self) -> usize {
        let services = self.published.values();
        services.flat_map(BTreeMap::values).filter(|held| **held).count()
    }

    fn assert_nothing_held(&self, when: &str) {
        assert_eq!(self.held(), 0, "held {when}");
        let published = self.published.iter();
        let published: Listed = published
            .map(|(service, list)| (*service, list.keys().copied().collect()))
            .collect();
        assert_eq!(published, self.listed, "{when}");
    }

    /// What a batch took from a quiet registry is there still where it is more than the share.
    fn check_loss(&self, before: &Listed, said: &[Said]) {
        let announced = |said: &Said| match said {
            Said::Apply { explicit, .. } | Said::Delete { explicit, .. } => *explicit,
            Said::Announce { .. } => true,
            _ => false,
        };
        if said.iter().any(announced) {
            return;
        }
        let total: usize = before.values().map(BTreeSet::len).sum();
        let left = |service: &u8| self.listed.get(service).map_or(0, BTreeSet::len);
        let losses = before
            .iter()
            .map(|(service, list)| (service, list.len().saturating_sub(left(service))));
        let losses: Vec<(&u8, usize)> = losses.filter(|(_, loss)| *loss > 0).collect();
        let loss: usize = losses.iter().map(|(_, loss)| loss).sum();
        let is_beyond = loss * 2 > total && (loss >= 10 || loss >= total);
        if !is_beyond && !self.options.guard.is_some_and(|guard| guard.per_service) {
            assert_eq!(self.held(), 0, "a loss of {loss} of {total} is believed");
        }
        for (service, _) in losses.iter().filter(|_| is_beyond) {
            for endpoint in &before[*service] {
                assert!(
                    self.published[*service].contains_key(endpoint),
                    "endpoint {endpoint} of service {service} went with {loss} of {total}"
                );
            }
        }
    }

    /// Publishes, and compares what readers see with what is listed and with what the status says.
    fn publish(&mut self) {
        self.world.publish();
        for (_, wish) in self.world.engine.take_wishes() {
            self.asked |= wish.take().strong;
        }
        let snapshot = &self.world.snapshot;
        let mut found = BTreeMap::new();
        for service in snapshot.services() {
            let number: u8 = service.hostname()[1..]
                .split('.')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            let endpoints = service.endpoints().iter().map(|endpoint| {
                let place = endpoint.id().split('-').nth(1).unwrap().parse::<u8>().unwrap();
                (place - number * PLACES, endpoint.held())
            });
            found.insert(number, endpoints.collect::<BTreeMap<u8, bool>>());
        }
        for (service, list) in &self.listed {
            for endpoint in list {
                let held = found.get(service).and_then(|found| found.get(endpoint));
                assert_eq!(
                    held,
                    Some(&false),
                    "endpoint {endpoint} of service {service} is listed"
                );
            }
        }
        for (service, list) in &found {
            let listed = |endpoint| {
                self.listed
                    .get(service)
                    .is_some_and(|list| list.contains(endpoint))
            };
            for (endpoint, held) in list {
                assert_eq!(
                    *held,
                    !listed(endpoint),
                    "endpoint {endpoint} of service {service}"
                );
            }
        }
        let held = self.held();
        self.published = found;
        if self.held() < held {
            // What was let go counts as a loss from now on.
            self.quiet_since = self.world.now;
        }
        let status = snapshot.registries()[0].status();
        let endpoints: usize = self.published.values().map(BTreeMap::len).sum();
        assert_eq!(
            (status.services, status.endpoints),
            (self.published.len(), endpoints)
        );
        assert_eq!(snapshot.endpoint_count(), endpoints);
        let has_held = |list: &&BTreeMap<u8, bool>| list.values().any(|held| *held);
        let services = self.published.values().filter(has_held).count();
        let shown = status.held.map_or((0, 0), |held| {
            assert_eq!(held.names.len(), held.services);
            (held.endpoints, held.services)
        });
        assert_eq!(shown, (self.held(), services));
        let over = Duration::from_secs(35);
        self.is_quiet = self.held() == 0 && self.world.now - self.quiet_since > over;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_said_the_guard_keeps_its_word(steps in steps(), per_service in prop::bool::weighted(0.3)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let _guard = runtime.as_ref().unwrap().enter();
        let mut pair = Pair::new(per_service);
        for step in &steps {
            pair.take(step);
        }
        pair.publish();

        // Held for long enough, and confirmed as often as it takes: nothing stays for ever.
        for _ in 0..15 {
            pair.world.pass(Duration::from_secs(20));
            pair.publish();
            pair.take(&Step::Answer);
        }
        pair.publish();
        pair.assert_nothing_held("for five minutes of confirmations");
    }
}
