//! Records that only say that a name is claimed.

use std::sync::Arc;

use registry_core::{
    ErrorKind, Event, Exclusive, Fallback, MergePolicy, Pattern, RegistryError, RegistryOptions, Resolution,
    Scope, ServiceId, ServiceMeta, ServiceRecord, Union,
};

use crate::engine::{World, endpoint, hostname, record};
use crate::policies::Clusters;
use crate::survival::{HOLD, asked, counts, held, service, strong, world};

fn nothing(id: ServiceId) -> ServiceRecord {
    let meta = ServiceMeta::builder(id).resolution(Resolution::Nothing);
    ServiceRecord::new(meta.build(), [])
}

fn policies() -> [Arc<dyn MergePolicy>; 4] {
    [
        Arc::new(Union),
        Arc::new(Fallback),
        Arc::new(Exclusive),
        Arc::new(Clusters),
    ]
}

#[test]
fn nothing_takes_part_in_no_merge_whatever_the_policy() {
    for policy in policies() {
        let name = policy.name();
        let world = World::with(vec![(Pattern::new("*"), policy)]);
        let mut world = ["a", "b"]
            .into_iter()
            .fold(world, |world, name| world.add(name, hostname("{name}.mesh")));
        world.list("a", [nothing(ServiceId::named("web"))]);
        assert_eq!(world.lines("web.mesh"), None, "{name}: there is nothing to serve");
        assert_eq!(world.snapshot.len(), 0);
        let alone = world.snapshot.get("web.mesh@a").unwrap();
        assert_eq!(alone.resolution(), Resolution::Nothing, "{name}");
        assert!(world.snapshot.unserved().iter().any(|name| **name == "web.mesh"));

        let meta = ServiceMeta::builder(ServiceId::named("web"))
            .resolution(Resolution::Headless)
            .ports(record("web", []).meta().ports().iter().cloned());
        world.list("b", [ServiceRecord::new(meta.build(), [endpoint(2, 80).build()])]);
        assert_eq!(
            world.lines("web.mesh").unwrap(),
            ["10.0.0.2 http=80 healthy 0 b"],
            "{name}: who is first with nothing is in nobody's way"
        );
        let web = world.snapshot.get("web.mesh").unwrap();
        assert_eq!(web.resolution(), Resolution::Headless, "{name}");
        assert!(web.conflicts().is_empty(), "{name}: {:?}", web.conflicts());
        assert_eq!(web.sources().len(), 1, "{name}");
        let claims: Vec<&str> = world
            .snapshot
            .claims("web.mesh")
            .map(|(registry, _)| registry.as_str())
            .collect();
        assert_eq!(claims, ["a", "b"], "{name}: each is seen by itself");

        world.list("a", [record("web", [endpoint(1, 80)])]);
        assert!(
            world.lines("web.mesh").unwrap()[0].ends_with(" a"),
            "{name}: with something it is first"
        );
        world.list("b", []);
        world.list("a", [nothing(ServiceId::named("web"))]);
        assert_eq!(world.lines("web.mesh"), None, "{name}");
    }
}

/// Whose hostname is not set is first by precedence alone, and keeps all others out.
#[test]
fn nothing_keeps_nobody_from_a_hostname() {
    let plain = RegistryOptions {
        hostname: None,
        guard: None,
        ..RegistryOptions::default()
    };
    let mut world = World::new().add("a", plain).add("b", hostname("{name}.test"));
    world.list("b", [record("web", [endpoint(2, 80)])]);
    world.list("a", [record("web", [endpoint(1, 80)])]);
    let owned = world.lines("web.test").unwrap();
    assert_eq!(owned, ["10.0.0.1 http=80 healthy 0 a"]);
    assert_eq!(world.snapshot.get("web.test").unwrap().conflicts().len(), 1);
    world.list("a", [nothing(ServiceId::named("web"))]);
    let free = world.lines("web.test").unwrap();
    assert_eq!(free, ["10.0.0.2 http=80 healthy 0 b"]);
    assert!(world.snapshot.get("web.test").unwrap().conflicts().is_empty());
}

#[test]
fn of_two_services_of_a_registry_that_with_something_has_the_name() {
    let mut world = World::merging(&["a", "b"]);
    let something = |namespace: &str| {
        let meta = ServiceMeta::builder(ServiceId::new(namespace, namespace, "web"));
        let meta = meta.ports(record("web", []).meta().ports().iter().cloned());
        ServiceRecord::new(meta.build(), [endpoint(1, 80).build()])
    };
    world.list("a", [nothing(ServiceId::new("x", "x", "web")), something("y")]);
    assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.1 http=80 healthy 0 a"]);
    assert!(world.snapshot.get("web.mesh").unwrap().conflicts().is_empty());
}

/// An alias adds to a service; where there is none, it is another name of its own.
#[test]
fn an_alias_makes_no_service_where_there_is_nothing() {
    let mut options = hostname("{name}.other");
    options.aliases = vec!["{name}.mesh".parse().unwrap()];
    let mut world = World::new().add("a", hostname("{name}.mesh")).add("b", options);
    world.list("b", [record("web", [endpoint(2, 80)])]);
    for something in [false, true] {
        let record = match something {
            true => record("web", [endpoint(1, 80)]),
            false => nothing(ServiceId::named("web")),
        };
        world.list("a", [record]);
        world.publish();
        let found = world.snapshot.get("web.mesh").unwrap();
        let expected = if something {
            ("web.mesh", 2)
        } else {
            ("web.other", 1)
        };
        assert_eq!((found.hostname().as_str(), found.endpoints().len()), expected);
    }
}

fn lost(explicit: bool) -> Event {
    Event::Apply {
        record: nothing(ServiceId::named("web")),
        explicit,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_of_a_service_is_served_beside_the_word_that_it_is_nothing() {
    let mut world = world([service("web", 1, 12)]);
    world.list("a", [nothing(ServiceId::named("web"))]);
    assert_eq!(counts(&mut world, "web.mesh"), (12, 12));
    let web = world.snapshot.get("web.mesh").unwrap();
    assert_eq!(web.resolution(), Resolution::Static);
    assert_eq!(web.ports().len(), 1, "as it was when it had endpoints");
    // Said again, it is the same; said otherwise, it is as before.
    let revision = world.snapshot.revision();
    world.list("a", [nothing(ServiceId::named("web"))]);
    assert_eq!(counts(&mut world, "web.mesh"), (12, 12));
    assert_eq!(world.snapshot.revision(), revision);
    world.list("a", [service("web", 1, 12)]);
    assert_eq!(counts(&mut world, "web.mesh"), (12, 0));

    // It is believed as any other loss is.
    world.list("a", [nothing(ServiceId::named("web"))]);
    assert_eq!(counts(&mut world, "web.mesh"), (12, 12));
    world.pass(HOLD);
    assert_eq!(asked(&mut world), [strong()]);
    world.list("a", [nothing(ServiceId::named("web"))]);
    assert_eq!(world.lines("web.mesh"), None);
    assert!(world.snapshot.get("web.mesh@a").is_some());
}

#[tokio::test(start_paused = true)]
async fn nothing_of_which_a_part_could_not_be_read_is_a_loss_like_any_other() {
    let mut world = world([service("web", 1, 12)]);
    let error = Arc::new(RegistryError::new(ErrorKind::Malformed, "a part of it"));
    let unread = vec![(Scope::Service(ServiceId::named("web")), error)];
    let scope = Scope::Registry;
    world.say(
        "a",
        vec![
            Event::Init(scope.clone()),
            lost(false),
            Event::InitDone { scope, unread },
        ],
    );
    assert_eq!(
        counts(&mut world, "web.mesh"),
        (12, 12),
        "all is held back, and served"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_announced_to_be_nothing_loses_all_at_once() {
    for short in [false, true] {
        let mut world = world([service("web", 1, 12)]);
        if short {
            world.list("a", [service("web", 1, 1)]);
            assert_eq!(counts(&mut world, "web.mesh"), (12, 11));
        }
        world.say("a", vec![lost(true)]);
        assert_eq!(world.lines("web.mesh"), None);
        assert_eq!(held(&mut world), 0);
    }
    let mut world = world([service("web", 1, 12)]);
    world.say("a", vec![lost(false), lost(true)]);
    assert_eq!(
        world.lines("web.mesh"),
        None,
        "announced before anybody saw the loss"
    );
}
