//! Registries that have what they say from others.

use std::time::Duration;

use registry_core::{
    Behind, ErrorKind, Event, Health, InstanceId, Lookup, Origin, Outage, Phase, RegistryError,
    RegistryOptions, Scope, ServiceId, ServiceMeta, ServiceRecord, Timestamp,
};

use crate::engine::{World, endpoint, hostname, id, record};

fn from(origins: &[&str], record: &ServiceRecord) -> ServiceRecord {
    let origins = origins.iter().map(|origin| (*origin).into());
    let meta = record.meta().to_builder().origins(origins).build();
    ServiceRecord::new(meta, record.endpoints().clone())
}

fn behind(phases: &[(&str, Phase)]) -> Event {
    let registries = phases
        .iter()
        .map(|(name, phase)| Behind::new(id(name), "test", *phase));
    Event::Behind {
        instance: None,
        registries: registries.collect(),
    }
}

fn web(health: Health) -> ServiceRecord {
    record("web", [endpoint(1, 80).health(health)])
}

fn phase(world: &World, name: &str) -> Phase {
    world.snapshot.registry(&id(name)).unwrap().phase()
}

/// `parent` says that the endpoint is draining, `local` that it is healthy.
fn world(origins: &[&str], options: RegistryOptions) -> World {
    let mut world = World::new()
        .add("parent", options)
        .add("local", hostname("{name}.mesh"));
    world.list("parent", [from(origins, &web(Health::Draining))]);
    world.list("local", [web(Health::Healthy)]);
    world.publish();
    world
}

fn health(world: &mut World) -> String {
    let lines = world.lines("web.mesh").unwrap();
    lines.join(" ").split(' ').nth(2).unwrap().to_owned()
}

#[test]
fn what_came_from_stale_registries_alone_is_stale_at_once() {
    let mut world = world(&["a", "b"], hostname("{name}.mesh"));
    for (phases, expected) in [
        (
            [("a", Phase::Synced), ("b", Phase::Synced)],
            ("draining", Phase::Synced),
        ),
        (
            [("a", Phase::Stale), ("b", Phase::Synced)],
            ("draining", Phase::Stale),
        ),
        (
            [("a", Phase::Stale), ("b", Phase::Stale)],
            ("healthy", Phase::Stale),
        ),
        (
            [("a", Phase::Synced), ("b", Phase::Stale)],
            ("draining", Phase::Stale),
        ),
        (
            [("a", Phase::Synced), ("b", Phase::Synced)],
            ("draining", Phase::Synced),
        ),
    ] {
        world.say("parent", vec![behind(&phases)]);
        assert_eq!(health(&mut world), expected.0, "{phases:?}");
        assert_eq!(phase(&world, "parent"), expected.1, "{phases:?}");
    }
}

#[test]
fn what_came_from_a_registry_that_is_stale_in_part_is_fresh() {
    let mut world = world(&["a"], hostname("{name}.mesh"));
    for (partly, expected) in [(true, "draining"), (false, "healthy"), (true, "draining")] {
        let registry = Behind {
            partly,
            ..Behind::new(id("a"), "test", Phase::Stale)
        };
        let said = Event::Behind {
            instance: None,
            registries: vec![registry],
        };
        world.say("parent", vec![said]);
        assert_eq!(health(&mut world), expected, "{partly}");
        assert_eq!(phase(&world, "parent"), Phase::Stale);
        let parent = world.snapshot.registry(&id("parent")).unwrap();
        assert!(parent.is_partly_stale(), "the parent itself is heard");
    }
}

#[test]
fn it_is_news_that_not_only_a_part_is_stale() {
    let mut world = World::new().add("parent", hostname("{name}.mesh"));
    world.list("parent", [web(Health::Healthy)]);
    let partly = |world: &World| world.snapshot.registry(&id("parent")).unwrap().is_partly_stale();
    let error = || RegistryError::new(ErrorKind::Malformed, "odd");
    for _ in 0..3 {
        let scope = Scope::Service(ServiceId::named("web"));
        world.say("parent", vec![Event::degraded(scope, error())]);
    }
    world.publish();
    assert_eq!((phase(&world, "parent"), partly(&world)), (Phase::Stale, true));
    world.pass(Duration::from_secs(61));
    assert!(world.publish());
    assert_eq!((phase(&world, "parent"), partly(&world)), (Phase::Stale, false));
}

#[test]
fn a_phase_behind_is_published_and_an_age_or_another_daemon_with_the_same_is_not() {
    let mut world = world(&["a"], hostname("{name}.mesh"));
    world.say("parent", vec![behind(&[("a", Phase::Synced)])]);
    assert!(world.publish(), "it is news that there is one");
    let before = world.snapshot.clone();
    let named = |instance| Event::Behind {
        instance: Some(instance),
        registries: vec![Behind {
            age: Some(Duration::from_secs(7)),
            ..Behind::new(id("a"), "test", Phase::Synced)
        }],
    };
    world.say("parent", vec![named(InstanceId::random())]);
    assert!(world.publish(), "it is news that it is a daemon");
    let daemon = InstanceId::random();
    world.say("parent", vec![named(daemon)]);
    assert!(!world.publish());
    let parent = world.snapshot.registry(&id("parent")).unwrap();
    assert_eq!(parent.instance(), Some(daemon));
    assert!(parent.behind()[0].age() >= Some(Duration::from_secs(7)));

    world.say(
        "parent",
        vec![behind(&[("a", Phase::Synced), ("b", Phase::Connecting)])],
    );
    assert!(world.publish());
    let delta = world.snapshot.changes_since(&before);
    assert_eq!(delta.phases, [(id("parent"), Some(Phase::Synced))]);
    assert!(delta.updated.is_empty() && delta.removed.is_empty());
    assert_eq!(world.snapshot.root_hash(), before.root_hash());
}

#[test]
fn nothing_behind_a_stale_registry_is_shown_as_fresh() {
    let mut world = world(&["a"], hostname("{name}.mesh"));
    world.say("parent", vec![behind(&[("a", Phase::Synced)])]);
    world.publish();
    world.pass(Duration::from_secs(61));
    world.publish();
    let parent = world.snapshot.registry(&id("parent")).unwrap();
    assert_eq!(
        (parent.phase(), parent.behind()[0].phase),
        (Phase::Stale, Phase::Stale)
    );
    world.say("parent", vec![Event::Confirmed(Scope::Registry)]);
    world.publish();
    let parent = world.snapshot.registry(&id("parent")).unwrap();
    assert_eq!(
        (parent.phase(), parent.behind()[0].phase),
        (Phase::Synced, Phase::Synced)
    );
}

#[test]
fn a_name_is_undecided_while_a_registry_behind_was_never_heard() {
    let mut world = world(&["a"], hostname("{name}.mesh"));
    world.say(
        "parent",
        vec![behind(&[("a", Phase::Synced), ("b", Phase::Connecting)])],
    );
    world.publish();
    assert!(matches!(
        world.snapshot.lookup("nobody.mesh"),
        Lookup::Undecided(_)
    ));
    assert_eq!(phase(&world, "parent"), Phase::Synced);
    assert!(world.engine.readiness(world.now).ready, "nobody waits for it");
    world.say(
        "parent",
        vec![behind(&[("a", Phase::Synced), ("b", Phase::Synced)])],
    );
    world.publish();
    assert!(matches!(world.snapshot.lookup("nobody.mesh"), Lookup::NotFound));
}

#[test]
fn what_is_stale_behind_goes_when_its_time_is_over_and_nothing_else_does() {
    let options = RegistryOptions {
        outage: Outage::KeepFor(Duration::from_secs(30)),
        ..hostname("{name}.mesh")
    };
    let mut world = World::new().add("parent", options);
    let records = || {
        [
            from(&["a"], &web(Health::Healthy)),
            from(&["b"], &record("api", [endpoint(2, 80)])),
        ]
    };
    world.list("parent", records());
    let said = [("a", Phase::Stale), ("b", Phase::Synced)];
    for (passed, gone) in [(0, false), (29, false), (1, true)] {
        world.pass(Duration::from_secs(passed));
        world.say("parent", vec![behind(&said), Event::Confirmed(Scope::Registry)]);
        assert_eq!(world.lines("web.mesh").is_none(), gone, "{passed}");
        assert!(world.lines("api.mesh").is_some());
    }
    world.say(
        "parent",
        vec![behind(&[("a", Phase::Synced), ("b", Phase::Synced)])],
    );
    assert!(world.lines("web.mesh").is_some());
}

#[test]
fn origins_are_told_and_no_content_and_their_times_are_no_difference() {
    let origin = |status: &str, seen: u64| Origin {
        registry: "consul".into(),
        id: "i-1".into(),
        status: status.into(),
        first_seen: Timestamp::from_millis(seen),
        last_changed: Timestamp::from_millis(seen),
    };
    let web = |origin: Origin| record("web", [endpoint(1, 80).origins([origin])]);
    let mut world = World::merging(&["parent", "other"]);
    world.list("parent", [web(origin("passing", 1))]);
    world.list("other", [web(origin("up", 2))]);
    assert!(world.publish());
    let hash = world.snapshot.root_hash();
    let told = |world: &World| -> Vec<String> {
        let service = world.snapshot.get("web.mesh").unwrap();
        let endpoint = service.endpoints().iter().next().unwrap();
        let claims = endpoint.claims();
        claims
            .flat_map(|claim| {
                claim
                    .origins
                    .iter()
                    .map(|origin| origin.status.to_string())
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(told(&world), ["passing", "up"]);
    world.list("parent", [web(origin("passing", 9))]);
    assert!(!world.publish());
    world.list("other", [web(origin("down", 2))]);
    assert!(world.publish());
    assert_eq!(
        (told(&world), world.snapshot.root_hash()),
        (vec!["passing".into(), "down".into()], hash)
    );
}

#[test]
fn a_registry_may_call_its_services_otherwise_than_it_tells_them_apart() {
    let meta = ServiceMeta::builder(registry_core::ServiceId::named("web.example"))
        .variables(
            [
                ("hostname", "web.example"),
                ("name", "web"),
                ("namespace", "shop"),
            ]
            .into_iter()
            .collect(),
        )
        .build();
    let record = || ServiceRecord::new(meta.clone(), [endpoint(1, 80).build()]);
    for (template, expected) in [
        ("{hostname}", "web.example"),
        ("{name}.{namespace}.mesh", "web.shop.mesh"),
    ] {
        let mut world = World::new().add("parent", hostname(template));
        world.list("parent", [record()]);
        world.publish();
        let service = world.snapshot.get(expected).unwrap();
        assert_eq!(
            (service.name().as_str(), service.namespace().as_str()),
            ("web", "shop")
        );
    }
}
