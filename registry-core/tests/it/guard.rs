//! What the guard makes of losses, answers and settings that come at odd times.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    ErrorKind, Event, Guard, Outage, Phase, RegistryError, RegistryOptions, Scope, ServiceId, ServiceRecord,
};

use crate::engine::{Kind, World, endpoint, hostname, id, record};
use crate::survival::{HOLD, WINDOW, asked, counts, gone, guarded, held, service, status, strong, world};

#[tokio::test(start_paused = true)]
async fn a_confirmed_loss_does_not_come_back_with_the_next_one() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", [service("web", 1, 5)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 15));
    world.pass(HOLD);
    assert_eq!(asked(&mut world), [strong()]);
    world.list("a", []);
    assert_eq!(counts(&mut world, "web.mesh"), (5, 5), "the rest went only now");
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_right_after_a_loss_is_believed() {
    let explicit = |record| Event::Apply {
        record,
        explicit: true,
    };
    let delete = Event::Delete {
        id: ServiceId::named("web"),
        explicit: true,
    };
    let lost = || Event::apply(service("web", 1, 5));
    for (batch, expected) in [
        (vec![lost(), explicit(service("web", 1, 3))], (18, 15)),
        (vec![lost(), delete.clone()], (0, 0)),
        (vec![lost(), gone("web"), delete], (0, 0)),
    ] {
        let mut world = world([service("web", 1, 20)]);
        world.say("a", batch);
        assert_eq!(counts(&mut world, "web.mesh"), expected);
    }
}

/// An announcement that endpoints of `web` were removed.
fn announced(endpoints: impl IntoIterator<Item = u8>) -> Event {
    let gone = endpoints.into_iter().map(|n| format!("i-{n}-80").into());
    Event::Announced {
        id: ServiceId::named("web"),
        gone: gone.collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_long_after_it_went_is_held_no_more_and_nothing_else_is_let_go() {
    let mut world = world([service("web", 1, 20), service("db", 40, 20)]);
    world.list("a", [service("web", 1, 2), service("db", 40, 1)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 18));
    world.pass(HOLD / 2);
    // Those that are listed, and one that nobody ever knew, among them.
    world.say("a", vec![announced([1, 2, 3, 4, 99])]);
    assert_eq!(counts(&mut world, "web.mesh"), (18, 16));
    assert_eq!((counts(&mut world, "db.mesh"), held(&mut world)), ((20, 19), 35));
    world.say("a", vec![announced([3, 4]), announced([])]);
    assert_eq!(counts(&mut world, "web.mesh"), (18, 16), "announced again");

    world.say("a", vec![announced(3..=20)]);
    assert_eq!(counts(&mut world, "web.mesh"), (2, 0));
    world.list("a", [service("db", 40, 1)]);
    assert_eq!(counts(&mut world, "web.mesh"), (2, 2));
    world.say("a", vec![announced([1, 2])]);
    assert!(world.snapshot.get("web.mesh").is_some());
    assert_eq!(counts(&mut world, "web.mesh"), (0, 0));
    assert!(world.snapshot.get("web.mesh").is_none(), "nothing of it is left");
    assert_eq!(held(&mut world), 19);
    world.pass(HOLD / 2);
    assert_eq!(asked(&mut world), [strong()], "the rest is still to be confirmed");
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_before_a_loss_was_judged_is_no_loss() {
    // Eleven of twenty went, which is too many; without the two that were announced it is not.
    let lost = || Event::apply(service("web", 1, 9));
    let (init, done) = (Event::Init(Scope::Registry), Event::init_done(Scope::Registry));
    for (batch, expected) in [
        (vec![lost()], (20, 11)),
        (vec![lost(), announced([19, 20])], (9, 0)),
        (vec![lost(), announced([1, 2])], (20, 11)),
        (
            vec![init.clone(), announced([19, 20]), lost(), done.clone()],
            (9, 0),
        ),
        (vec![init, announced([1, 20]), lost(), done], (19, 10)),
    ] {
        let mut world = world([service("web", 1, 20)]);
        world.say("a", batch.clone());
        assert_eq!(counts(&mut world, "web.mesh"), expected, "{batch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_in_a_listing_that_breaks_off_stays_held() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", []);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    world.say("a", vec![Event::Init(Scope::Registry), announced(1..=20)]);
    world.engine.interrupted(&id("a"), None, world.now);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    // One that is narrower speaks for the one around it.
    let service_scope = || Scope::Service(ServiceId::named("web"));
    world.say(
        "a",
        vec![
            Event::Init(Scope::Registry),
            Event::Init(service_scope()),
            announced(1..=15),
            Event::apply(service("web", 16, 5)),
            Event::init_done(service_scope()),
        ],
    );
    assert_eq!(counts(&mut world, "web.mesh"), (5, 0));
    world.say("a", vec![Event::init_done(Scope::Registry)]);
    assert_eq!(counts(&mut world, "web.mesh"), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_saw_is_not_held_in_place_of_what_was_published() {
    let mut world = world([service("web", 1, 20)]);
    world.say("a", vec![Event::apply(service("web", 101, 20)), gone("web")]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    let web = world.snapshot.get("web.mesh").unwrap();
    assert!(web.endpoints().iter().any(|endpoint| endpoint.id() == "i-1-80"));
}

/// A registry with `web` of twenty endpoints, and the default guard but for the hold time.
fn holding_for(hold: Duration) -> World {
    let guard = Some(Guard {
        hold,
        ..Guard::default()
    });
    let mut world = World::new().add("a", RegistryOptions { guard, ..guarded() });
    world.list("a", [service("web", 1, 20)]);
    world.publish();
    world
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_longer_than_the_hold_time_confirms() {
    for hold in [Duration::ZERO, Duration::from_secs(5), HOLD] {
        let mut world = holding_for(hold);
        world.list("a", []);
        assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
        world.pass(hold);
        assert_eq!(asked(&mut world), [strong()]);
        world.say("a", vec![Event::Init(Scope::Registry)]);
        for _ in 0..4 {
            world.pass(HOLD / 2);
            assert_eq!(asked(&mut world), [], "the answer is under way");
        }
        world.say("a", vec![Event::init_done(Scope::Registry)]);
        assert_eq!(counts(&mut world, "web.mesh"), (0, 0), "{hold:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_cannot_answer_is_not_asked_without_a_pause() {
    for hold in [Duration::ZERO, Duration::from_secs(5), HOLD] {
        let mut world = holding_for(hold);
        world.list("a", []);
        world.publish();
        let mut times = 0;
        for _ in 0..600 {
            world.pass(Duration::from_millis(100));
            for _ in asked(&mut world) {
                times += 1;
                let error = Arc::new(RegistryError::new(ErrorKind::Denied, "no"));
                let unread = vec![(Scope::Service(ServiceId::named("web")), error)];
                let scope = Scope::Registry;
                world.say(
                    "a",
                    vec![Event::Init(scope.clone()), Event::InitDone { scope, unread }],
                );
            }
        }
        assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
        assert!((1..=61).contains(&times), "{times} times within a minute");
    }
}

/// A listing of everything, of which this could not be read.
fn listing_without(scope: Scope, records: impl IntoIterator<Item = ServiceRecord>) -> Vec<Event> {
    let mut batch = Event::listing(Scope::Registry, records);
    batch.pop();
    let error = Arc::new(RegistryError::new(ErrorKind::Denied, "no"));
    batch.push(Event::InitDone {
        scope: Scope::Registry,
        unread: vec![(scope, error)],
    });
    batch
}

#[tokio::test(start_paused = true)]
async fn what_no_listing_could_read_goes_stale() {
    let db = || Scope::Service(ServiceId::named("db"));
    for scope in [db, || Scope::Registry] {
        let mut world = world([service("web", 1, 3), service("db", 40, 3)]);
        for failures in 1..=3 {
            assert_eq!(status(&mut world).phase, Phase::Synced);
            world.pass(Duration::from_secs(5));
            world.say("a", listing_without(scope(), [service("web", 1, 3)]));
            let status = status(&mut world);
            assert_eq!(
                (status.degraded.len(), status.degraded[0].failures),
                (1, failures)
            );
        }
        assert_eq!(status(&mut world).phase, Phase::Stale);
        assert_eq!(world.snapshot.len(), 2);
        world.list("a", [service("web", 1, 3), service("db", 40, 3)]);
        assert_eq!(status(&mut world).phase, Phase::Synced);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_read_nothing_is_not_what_a_new_backend_knows() {
    let mut world = world([service("web", 1, 20), service("db", 40, 20)]);
    world.list("a", [service("db", 40, 1)]);
    assert_eq!(
        (counts(&mut world, "web.mesh"), counts(&mut world, "db.mesh")),
        ((20, 20), (20, 19))
    );
    world
        .engine
        .reconfigure(&id("a"), Some(&Kind("test")), guarded())
        .unwrap();
    world.say("a", listing_without(Scope::Registry, []));
    assert_eq!(held(&mut world), 39, "nothing is known by it");

    world.say(
        "a",
        listing_without(Scope::Service(ServiceId::named("web")), [service("db", 40, 1)]),
    );
    assert_eq!(
        (counts(&mut world, "web.mesh"), counts(&mut world, "db.mesh")),
        ((20, 20), (1, 0)),
        "what could not be read keeps what it had"
    );
    assert_eq!(held(&mut world), 20);
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_off_for_a_moment_lets_go_of_nothing_that_was_not_published() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", [service("web", 1, 2)]);
    assert_eq!(held(&mut world), 18);
    world
        .engine
        .reconfigure(&id("a"), None, hostname("{name}.mesh"))
        .unwrap();
    world.say("a", vec![Event::apply(service("web", 1, 3))]);
    world.engine.reconfigure(&id("a"), None, guarded()).unwrap();
    assert_eq!((held(&mut world), counts(&mut world, "web.mesh")), (17, (20, 17)));
    world.say("a", vec![Event::apply(service("web", 1, 4))]);
    assert_eq!((held(&mut world), counts(&mut world, "web.mesh")), (16, (20, 16)));
}

#[tokio::test(start_paused = true)]
async fn another_share_judges_anew_what_is_held() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", [service("web", 1, 5)]);
    assert_eq!(held(&mut world), 15);
    let guard = Some(Guard {
        share: 0.8,
        ..Guard::default()
    });
    let options = RegistryOptions { guard, ..guarded() };
    world.engine.reconfigure(&id("a"), None, options).unwrap();
    assert_eq!(counts(&mut world, "web.mesh"), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn another_interval_of_comparisons_counts_from_now_on() {
    let options = |seconds| RegistryOptions {
        compare: Some(Duration::from_secs(seconds)),
        ..guarded()
    };
    let mut world = World::new().add("a", options(86_400));
    world.list("a", [service("web", 1, 3)]);
    assert_eq!(asked(&mut world), []);
    world.engine.reconfigure(&id("a"), None, options(10)).unwrap();
    assert_eq!(asked(&mut world), []);
    world.pass(Duration::from_secs(13));
    assert_eq!(asked(&mut world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn times_beyond_any_clock_never_come() {
    let forever = Duration::MAX;
    let options = RegistryOptions {
        guard: Some(Guard {
            hold: forever,
            window: forever,
            ..Guard::default()
        }),
        compare: Some(forever),
        outage: Outage::KeepFor(forever),
        ..guarded()
    };
    let settings = registry_core::engine::EngineSettings {
        start_deadline: forever,
        ..Default::default()
    };
    let mut world = World::new();
    world.engine = registry_core::engine::Engine::new(settings, world.now);
    let mut world = world.add("a", options);
    world.list("a", [service("web", 1, 20)]);
    world.publish();
    world.list("a", []);
    for _ in 0..3 {
        assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
        assert_eq!(asked(&mut world), []);
        world.pass(Duration::from_secs(86_400 * 365));
    }
    assert!(status(&mut world).held.unwrap().remaining > Duration::from_secs(86_400 * 365));
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_goes_before_what_is_held_back_at_the_same_place() {
    let mut world = world([record("web", (1..=20).map(|n| endpoint(n, 80).weight(1)))]);
    let new = endpoint(1, 80).id("z").weight(7).label("version", "v2");
    world.list("a", [record("web", [new])]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 19));
    let web = world.snapshot.get("web.mesh").unwrap();
    let fresh = web.endpoints().iter().find(|endpoint| !endpoint.held()).unwrap();
    assert_eq!((fresh.id(), fresh.weight()), ("z", 7));
}

#[tokio::test(start_paused = true)]
async fn services_that_are_only_held_back_leave_room_for_those_that_are_listed() {
    let mut options = guarded();
    options.limits.services = 2;
    let mut world = World::new().add("a", options);
    world.list("a", [service("web", 1, 20), service("db", 40, 20)]);
    world.publish();
    world.list("a", []);
    assert_eq!(held(&mut world), 40);
    world.list("a", [service("api", 80, 1), service("mail", 90, 1)]);
    assert_eq!(
        (
            counts(&mut world, "api.mesh"),
            counts(&mut world, "mail.mesh"),
            held(&mut world)
        ),
        ((1, 0), (1, 0), 40)
    );
    world.say("a", vec![Event::apply(service("third", 100, 1))]);
    assert_eq!(counts(&mut world, "third.mesh"), (0, 0), "the limit holds");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_window_is_a_time_to_look_at_what_is_held() {
    let mut world = world([service("web", 1, 40), service("db", 60, 60)]);
    // Gone one by one, and only together too much.
    world.say("a", vec![gone("web")]);
    assert_eq!(held(&mut world), 0);
    world.pass(Duration::from_secs(10));
    world.say("a", vec![Event::apply(service("db", 60, 40))]);
    assert_eq!(held(&mut world), 20, "60 of 100");
    let start = world.now;
    while let Some(next) = world.engine.tick(world.now).filter(|_| held(&mut world) > 0) {
        world.now = next;
    }
    assert_eq!(counts(&mut world, "db.mesh"), (40, 0), "20 of 60");
    assert!(world.now - start < WINDOW);
}
