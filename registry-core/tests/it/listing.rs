//! Complete, partial and no knowledge: what each does to what is held.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    Endpoint, ErrorKind, Event, Limits, Lookup, Phase, RegistryError, RegistryOptions, Scope, ServiceId,
};

use crate::engine::{World, endpoint, hostname, id, record};

fn error() -> Arc<RegistryError> {
    Arc::new(RegistryError::new(ErrorKind::Unavailable, "it is down"))
}

fn names(world: &mut World) -> Vec<String> {
    world.publish();
    let mut names: Vec<String> = world
        .snapshot
        .services()
        .map(|service| service.name().to_string())
        .collect();
    names.sort();
    names
}

fn one() -> World {
    let mut world = World::merging(&["a"]);
    world.list(
        "a",
        [record("web", [endpoint(1, 80)]), record("api", [endpoint(2, 80)])],
    );
    world
}

#[test]
fn a_listing_in_pieces_is_applied_as_one() {
    let mut world = one();
    world.publish();
    world.say(
        "a",
        vec![Event::Init(Scope::Registry), Event::apply(record("new", []))],
    );
    assert!(!world.publish(), "nothing of an unfinished listing shows");
    world.say(
        "a",
        vec![
            Event::apply(record("web", [endpoint(1, 80)])),
            Event::init_done(Scope::Registry),
        ],
    );
    assert_eq!(
        names(&mut world),
        ["new", "web"],
        "what was not applied again is gone"
    );
}

#[test]
fn a_service_that_was_read_in_part_keeps_what_it_had_elsewhere() {
    let mut world = World::merging(&["a"]);
    world.list(
        "a",
        [record("web", [endpoint(1, 80), endpoint(2, 80), endpoint(3, 80)])],
    );
    world.publish();
    let ports = |world: &mut World| {
        world.publish();
        let service = world.snapshot.services().next().unwrap().clone();
        let port = |endpoint: &Arc<Endpoint>| endpoint.ports().iter().next().unwrap().number;
        let mut ports: Vec<u16> = service.endpoints().iter().map(port).collect();
        ports.sort_unstable();
        ports
    };
    let unread = vec![(Scope::Service(ServiceId::named("web")), error())];
    let scope = Scope::Registry;
    world.say(
        "a",
        vec![
            Event::Init(scope.clone()),
            Event::apply(record("web", [endpoint(1, 81)])),
            Event::InitDone { scope, unread },
        ],
    );
    assert_eq!(
        ports(&mut world),
        [80, 80, 81],
        "read anew at one address, not read at the others"
    );
    world.list("a", [record("web", [endpoint(1, 81)])]);
    assert_eq!(ports(&mut world), [81]);
}

#[test]
fn a_listing_that_breaks_off_changes_nothing() {
    let mut world = one();
    world.say(
        "a",
        vec![Event::Init(Scope::Registry), Event::apply(record("new", []))],
    );
    world.engine.interrupted(&id("a"), Some(&error()), world.now);
    assert_eq!(names(&mut world), ["api", "web"]);
    let done = world
        .engine
        .apply(&id("a"), vec![Event::init_done(Scope::Registry)], world.now);
    assert!(done.unwrap_err().report().contains("without an Init"));
    assert_eq!(names(&mut world), ["api", "web"]);
}

#[test]
fn a_second_beginning_starts_over() {
    let mut world = one();
    world.say(
        "a",
        vec![Event::Init(Scope::Registry), Event::apply(record("old", []))],
    );
    world.list("a", [record("new", [])]);
    assert_eq!(names(&mut world), ["new"]);
}

#[test]
fn what_could_not_be_read_is_kept_and_degraded() {
    let mut world = one();
    let web = Scope::Service(ServiceId::named("web"));
    world.say(
        "a",
        vec![
            Event::Init(Scope::Registry),
            Event::InitDone {
                scope: Scope::Registry,
                unread: vec![(web.clone(), error())],
            },
        ],
    );
    assert_eq!(names(&mut world), ["web"]);
    let status = world.snapshot.registries()[0].status();
    assert_eq!(status.degraded.len(), 1);
    assert_eq!(status.degraded[0].scope, web);
    assert!(status.degraded[0].error.contains("it is down"));
}

#[test]
fn listings_of_groups_leave_other_groups_alone() {
    let in_group = |group: &str, name: &str| {
        let meta = registry_core::ServiceMeta::builder(ServiceId::new(group, "", name)).build();
        registry_core::ServiceRecord::new(meta, [])
    };
    let mut world = World::merging(&["a"]);
    world.list("a", [in_group("g1", "web"), in_group("g2", "api")]);
    world.say(
        "a",
        vec![
            Event::Init(Scope::Group("g1".into())),
            Event::apply(in_group("g2", "db")),
        ],
    );
    assert_eq!(
        names(&mut world),
        ["api", "db", "web"],
        "other scopes' events pass"
    );
    world.say("a", vec![Event::init_done(Scope::Group("g1".into()))]);
    assert_eq!(names(&mut world), ["api", "db"]);
}

#[test]
fn errors_and_silence_remove_nothing() {
    let mut world = one();
    world.publish();
    for _ in 0..5 {
        world.say(
            "a",
            vec![Event::Degraded {
                scope: Scope::Registry,
                error: error(),
            }],
        );
    }
    world.engine.interrupted(&id("a"), Some(&error()), world.now);
    world.pass(Duration::from_secs(3600));
    assert_eq!(names(&mut world), ["api", "web"]);
    assert_eq!(world.snapshot.registries()[0].phase(), Phase::Stale);
    world.list(
        "a",
        [record("web", [endpoint(1, 80)]), record("api", [endpoint(2, 80)])],
    );
    let root = world.snapshot.root_hash();
    assert!(world.publish(), "the phase is news");
    assert_eq!(
        (world.snapshot.registries()[0].phase(), world.snapshot.root_hash()),
        (Phase::Synced, root)
    );
}

#[test]
fn equal_content_publishes_nothing() {
    let mut world = one();
    world.publish();
    world.list(
        "a",
        [record("web", [endpoint(1, 80)]), record("api", [endpoint(2, 80)])],
    );
    world.say(
        "a",
        vec![
            Event::apply(record("web", [endpoint(1, 80)])),
            Event::Confirmed(Scope::Registry),
        ],
    );
    assert!(!world.publish());
}

#[test]
fn only_what_changed_gets_a_new_revision() {
    let mut world = one();
    world.publish();
    let before = world.snapshot.clone();
    world.say("a", vec![Event::apply(record("web", [endpoint(1, 81)]))]);
    assert!(world.publish());
    let revision = |name: &str| world.snapshot.get(name).unwrap().revision();
    assert_eq!(
        (revision("web.mesh"), revision("api.mesh")),
        (world.snapshot.revision(), before.revision())
    );
    let delta = world.snapshot.changes_since(&before);
    assert_eq!(
        (delta.updated.len(), delta.removed.len(), delta.phases.len()),
        (1, 0, 0)
    );
    world.say(
        "a",
        vec![Event::Delete {
            id: ServiceId::named("web"),
            explicit: true,
        }],
    );
    world.publish();
    assert_eq!(world.snapshot.changes_since(&before).removed, ["web.mesh"]);
}

#[test]
fn beyond_a_limit_the_old_state_stays() {
    let limits = Limits {
        services: 2,
        endpoints_per_service: 2,
        text_bytes: 100,
    };
    let mut world = World::new().add(
        "a",
        RegistryOptions {
            limits,
            ..hostname("{name}.mesh")
        },
    );
    world.list("a", [record("web", [endpoint(1, 80)]), record("api", [])]);
    let refused = [
        record("web", [endpoint(1, 80), endpoint(2, 80), endpoint(3, 80)]),
        record("web", [endpoint(1, 80).label("k", "v".repeat(101))]),
        record("web", [endpoint(1, 80).node_hints(["n".repeat(101).into()])]),
        record("third", []),
    ];
    for record in refused {
        let before = world.lines("web.mesh");
        world.say("a", vec![Event::apply(record)]);
        assert_eq!(world.lines("web.mesh"), before);
    }
    world.list("a", (0..3).map(|n| record(&format!("s{n}"), [])));
    assert_eq!(names(&mut world), ["api", "web"]);
    let status = world.snapshot.registries()[0].status();
    assert_eq!(status.last_error.unwrap().kind, ErrorKind::Limit);
}

#[test]
fn a_name_is_undecided_until_every_registry_that_may_own_it_has_spoken() {
    let limited = RegistryOptions {
        domains: vec![registry_core::Pattern::new("*.consul")],
        ..RegistryOptions::default()
    };
    let mut world = World::merging(&["a"]).add("b", limited);
    world.publish();
    let undecided = |world: &World, name: &str| match world.snapshot.lookup(name) {
        Lookup::Undecided(registries) => registries.iter().map(|id| id.to_string()).collect(),
        Lookup::NotFound => Vec::new(),
        Lookup::Found(service) => panic!("{service:?}"),
    };
    assert_eq!(
        undecided(&world, "web.mesh"),
        ["a"],
        "the other may not claim that name"
    );
    assert_eq!(undecided(&world, "web.consul"), ["a", "b"]);
    assert_eq!(undecided(&world, "web.consul@b"), ["b"]);
    world.list("a", []);
    world.publish();
    assert_eq!(undecided(&world, "web.mesh"), Vec::<String>::new());
    assert_eq!(undecided(&world, "web.consul"), ["b"]);
}

#[test]
fn readiness_waits_for_the_required_and_for_the_rest_until_the_deadline() {
    let optional = RegistryOptions {
        required: false,
        ..RegistryOptions::default()
    };
    let mut world = World::merging(&["a"]).add("b", optional);
    world.publish();
    let readiness = world.engine.readiness(world.now);
    assert_eq!((readiness.ready, readiness.awaited.len()), (false, 2));
    world.list("a", []);
    world.publish();
    let readiness = world.engine.readiness(world.now);
    assert_eq!((readiness.ready, readiness.awaited), (false, vec![id("b")]));
    world.pass(Duration::from_secs(30));
    let readiness = world.engine.readiness(world.now);
    assert_eq!((readiness.ready, readiness.awaited), (true, vec![id("b")]));

    let mut never = World::merging(&["a"]);
    never.pass(Duration::from_secs(3600));
    assert!(
        !never.engine.readiness(never.now).ready,
        "a required registry has no deadline"
    );
}

#[test]
fn a_first_listing_beyond_the_limit_makes_nothing_known() {
    let limits = Limits {
        services: 2,
        ..Limits::default()
    };
    let options = RegistryOptions {
        limits,
        ..hostname("{name}.mesh")
    };
    let mut world = World::new().add("a", options);
    world.list("a", (0..3).map(|n| record(&format!("s{n}"), [])));
    world.publish();
    assert!(matches!(world.snapshot.lookup("s1.mesh"), Lookup::Undecided(_)));
    assert_eq!(world.engine.readiness(world.now).awaited, [id("a")]);
}

#[test]
fn what_a_narrow_listing_found_outlasts_the_wide_one_around_it() {
    let mut world = one();
    let web = || ServiceId::named("web");
    world.say(
        "a",
        vec![
            Event::Init(Scope::Registry),
            Event::apply(record("api", [endpoint(2, 80)])),
            Event::apply(record("web", [endpoint(1, 80)])),
        ],
    );
    world.say(
        "a",
        Event::listing(Scope::Service(web()), [record("web", [endpoint(9, 80)])]),
    );
    let newer = ["10.0.0.9 http=80 healthy 0 a"];
    assert_eq!(world.lines("web.mesh").unwrap(), newer);
    world.say("a", vec![Event::init_done(Scope::Registry)]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        newer,
        "the listing around it is older"
    );
    assert_eq!(names(&mut world), ["api", "web"]);
    world.say(
        "a",
        vec![Event::Init(Scope::Registry), Event::apply(record("web", []))],
    );
    world.say("a", Event::listing(Scope::Service(web()), []));
    world.say("a", vec![Event::init_done(Scope::Registry)]);
    assert!(names(&mut world).is_empty());
}

#[test]
fn a_first_listing_of_which_nothing_could_be_read_is_no_knowledge() {
    let mut world = World::merging(&["a"]);
    let group = || Scope::Group("vms.yaml".into());
    let unread = vec![(group(), error())];
    world.say(
        "a",
        vec![
            Event::Init(Scope::Registry),
            Event::InitDone {
                scope: Scope::Registry,
                unread,
            },
        ],
    );
    world.say("a", vec![Event::Confirmed(Scope::Registry)]);
    world.publish();
    assert_eq!(world.snapshot.registries()[0].phase(), Phase::Connecting);
    assert!(!world.engine.readiness(world.now).ready);
    assert!(matches!(world.snapshot.lookup("web.mesh"), Lookup::Undecided(_)));
    world.say("a", Event::listing(group(), []));
    world.publish();
    assert_eq!(world.snapshot.registries()[0].phase(), Phase::Synced);
    assert!(world.engine.readiness(world.now).ready);
}
