//! What holds whatever is said, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use registry_core::{
    ContentHash, EndpointBuilder, ErrorKind, Event, Fallback, Health, Pattern, RegistryError, Scope,
    ServiceId, ServicePort, ServiceRecord, Snapshot,
};
use std::sync::Arc;

use crate::engine::{World, endpoint, hostname, id, record, record_with};
use crate::policies::Clusters;

const REGISTRIES: [&str; 3] = ["a", "b", "c"];

/// The service of which ports have to be the same.
const STRICT: u8 = 2;

/// One thing that one registry says.
#[derive(Debug, Clone)]
enum Step {
    Apply {
        service: u8,
        endpoints: Vec<(u8, u8, u8)>,
    },
    Delete {
        service: u8,
    },
    /// Says everything again, in that many batches, after breaking off once.
    List {
        batches: usize,
        interrupted: bool,
    },
    /// Cannot read the service, so often that its word is stale.
    Degrade {
        service: u8,
    },
    Confirm {
        service: u8,
    },
    Publish,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let endpoints = prop::collection::vec((0_u8..6, 0_u8..2, 0_u8..5), 0..5);
    let step = prop_oneof![
        5 => (0_u8..4, endpoints).prop_map(|(service, endpoints)| Step::Apply { service, endpoints }),
        2 => (0_u8..4).prop_map(|service| Step::Delete { service }),
        2 => (1_usize..4, any::<bool>()).prop_map(|(batches, interrupted)| Step::List { batches, interrupted }),
        1 => (0_u8..4).prop_map(|service| Step::Degrade { service }),
        1 => (0_u8..4).prop_map(|service| Step::Confirm { service }),
        2 => Just(Step::Publish),
    ];
    prop::collection::vec((0_usize..3, step), 0..40)
}

fn built(service: u8, endpoints: &[(u8, u8, u8)]) -> ServiceRecord {
    let health = [
        Health::Healthy,
        Health::Degraded,
        Health::Draining,
        Health::Unhealthy,
        Health::Unknown,
    ];
    let build = |(n, port, kind): &(u8, u8, u8)| -> EndpointBuilder {
        endpoint(*n, 80 + u16::from(*port))
            .health(health[usize::from(*kind)])
            .weight(u32::from(*kind) + 1)
    };
    let endpoints_of = endpoints.iter().map(build);
    if service != STRICT {
        return record(&format!("s{service}"), endpoints_of);
    }
    // The number of the port changes, and some endpoints have another port beside it.
    let number = endpoints.first().map_or(80, |(n, ..)| 80 + u16::from(*n) / 3);
    let port = |name, number| ServicePort {
        number: Some(number),
        ..ServicePort::new(name)
    };
    let endpoints = endpoints_of.zip(endpoints).map(|(endpoint, (n, ..))| {
        if n % 2 == 0 {
            endpoint.port("metrics", 90)
        } else {
            endpoint
        }
    });
    let ports = [port("http", number), port("metrics", 90)];
    record_with(&format!("s{service}"), ports, endpoints)
}

/// What a registry said last of each service, and which it could not read since.
#[derive(Default)]
struct Said {
    services: BTreeMap<u8, Vec<(u8, u8, u8)>>,
    stale: BTreeSet<u8>,
}

type Truth = [Said; 3];

fn scope(service: u8) -> Scope {
    Scope::Service(ServiceId::named(format!("s{service}")))
}

fn unreadable(service: u8) -> Vec<Event> {
    let error = || RegistryError::new(ErrorKind::Unavailable, "no answer");
    (0..3).map(|_| Event::degraded(scope(service), error())).collect()
}

/// Says all of it at once.
fn say_all(world: &mut World, registry: &str, said: &Said) {
    world.list(
        registry,
        said.services.iter().map(|(name, list)| built(*name, list)),
    );
    for service in &said.stale {
        world.say(registry, unreadable(*service));
    }
}

fn world() -> World {
    let world = World::with(vec![
        (Pattern::new("s3*"), Arc::new(Fallback)),
        (Pattern::new("s2*"), Arc::new(Clusters)),
    ]);
    REGISTRIES
        .into_iter()
        .fold(world, |world, name| world.add(name, hostname("{name}.mesh")))
}

/// The root hash as it has to be: the sum over all services.
fn sum(snapshot: &Snapshot) -> ContentHash {
    snapshot
        .services()
        .fold(ContentHash::default(), |sum, service| sum.plus(service.hash()))
}

/// All services by hash, as somebody knows them who only ever saw deltas.
type Followed = BTreeMap<String, ContentHash>;

fn follow(followed: &mut Followed, before: &Snapshot, after: &Snapshot) {
    let delta = after.changes_since(before);
    for service in delta.updated {
        followed.insert(service.hostname().to_string(), service.hash());
    }
    for hostname in delta.removed {
        assert!(
            followed.remove(hostname.as_str()).is_some(),
            "{hostname} was never there"
        );
    }
}

fn run(steps: &[(usize, Step)]) -> (World, Truth, Followed) {
    let mut world = world();
    let mut truth = Truth::default();
    let mut followed = Followed::new();
    for registry in REGISTRIES {
        world.list(registry, []);
    }
    for (at, step) in steps {
        let registry = REGISTRIES[*at];
        match step {
            Step::Apply { service, endpoints } => {
                truth[*at].services.insert(*service, endpoints.clone());
                truth[*at].stale.remove(service);
                world.say(registry, vec![Event::apply(built(*service, endpoints))]);
            }
            Step::Delete { service } => {
                truth[*at].services.remove(service);
                truth[*at].stale.remove(service);
                let id = ServiceId::named(format!("s{service}"));
                world.say(registry, vec![Event::Delete { id, explicit: false }]);
            }
            Step::List { batches, interrupted } => {
                if *interrupted {
                    world.say(
                        registry,
                        vec![Event::Init(Scope::Registry), Event::apply(built(9, &[(1, 1, 1)]))],
                    );
                    world.engine.interrupted(&id(registry), None, world.now);
                }
                let records: Vec<ServiceRecord> = truth[*at]
                    .services
                    .iter()
                    .map(|(name, list)| built(*name, list))
                    .collect();
                truth[*at].stale.clear();
                let mut events = Event::listing(Scope::Registry, records);
                while !events.is_empty() {
                    let rest = events.split_off(events.len().min(batches * 2));
                    world.say(registry, events);
                    events = rest;
                }
            }
            Step::Degrade { service } => {
                truth[*at].stale.insert(*service);
                world.say(registry, unreadable(*service));
            }
            Step::Confirm { service } => {
                truth[*at].stale.remove(service);
                world.say(registry, vec![Event::Confirmed(scope(*service))]);
            }
            Step::Publish => {
                let before = world.snapshot.clone();
                world.publish();
                follow(&mut followed, &before, &world.snapshot);
            }
        }
    }
    let before = world.snapshot.clone();
    world.publish();
    follow(&mut followed, &before, &world.snapshot);
    (world, truth, followed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn acceptance_5_pain_4_any_interleaving_ends_in_the_same_hash(steps in steps(), order in Just(REGISTRIES).prop_shuffle()) {
        let (world, truth, followed) = run(&steps);

        let mut fresh = self::world();
        for registry in order {
            let at = REGISTRIES.iter().position(|held| *held == registry).unwrap();
            say_all(&mut fresh, registry, &truth[at]);
        }
        fresh.publish();
        prop_assert_eq!(world.snapshot.root_hash(), fresh.snapshot.root_hash());
        prop_assert_eq!(world.snapshot.endpoint_count(), fresh.snapshot.endpoint_count());

        prop_assert_eq!(world.snapshot.root_hash(), sum(&world.snapshot));
        let listed: Followed = world
            .snapshot
            .services()
            .map(|service| (service.hostname().to_string(), service.hash()))
            .collect();
        prop_assert_eq!(&listed, &followed, "whoever follows deltas knows what whoever lists does");
        for (hostname, hash) in &listed {
            prop_assert_eq!(world.snapshot.get(hostname).map(|service| service.hash()), Some(*hash));
        }
    }

    #[test]
    fn pain_4_registries_that_are_added_and_removed_leave_no_trace(steps in steps()) {
        let (mut world, truth, _) = run(&steps);
        world.engine.remove(&id("b")).unwrap();
        world.publish();
        let mut without = self::world();
        without.engine.remove(&id("b")).unwrap();
        for at in [0, 2] {
            say_all(&mut without, REGISTRIES[at], &truth[at]);
        }
        without.publish();
        prop_assert_eq!(world.snapshot.root_hash(), without.snapshot.root_hash());
    }
}
