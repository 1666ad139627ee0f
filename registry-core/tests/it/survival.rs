//! What is held back, for how long, and what becomes of the endpoints of a registry that fails.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    ErrorKind, Event, Guard, Health, Outage, Phase, RegistryError, RegistryOptions, RegistryStatus, Resync,
    Scope, ServiceId, ServiceRecord,
};

use crate::engine::{Kind, World, endpoint, hostname, id, record};

pub(crate) const HOLD: Duration = Duration::from_secs(60);
pub(crate) const WINDOW: Duration = Duration::from_secs(30);

pub(crate) fn guarded() -> RegistryOptions {
    RegistryOptions {
        guard: Some(Guard::default()),
        compare: None,
        ..hostname("{name}.mesh")
    }
}

/// A service with the endpoints `10.0.0.from` to `10.0.0.(from + count - 1)`.
pub(crate) fn service(name: &str, from: u8, count: u8) -> ServiceRecord {
    record(name, (from..from + count).map(|n| endpoint(n, 80)))
}

/// A registry with these services, in sync.
pub(crate) fn world(records: impl IntoIterator<Item = ServiceRecord>) -> World {
    let mut world = World::new().add("a", guarded());
    world.list("a", records);
    world.publish();
    world
}

/// How many endpoints of a service are listed, and how many of them are held back.
pub(crate) fn counts(world: &mut World, name: &str) -> (usize, usize) {
    world.publish();
    world.snapshot.get(name).map_or((0, 0), |service| {
        let held = service.endpoints().iter().filter(|endpoint| endpoint.held());
        (service.endpoints().len(), held.count())
    })
}

pub(crate) fn status(world: &mut World) -> RegistryStatus {
    world.publish();
    world.snapshot.registries()[0].status()
}

pub(crate) fn held(world: &mut World) -> usize {
    status(world).held.map_or(0, |held| held.endpoints)
}

/// What was asked of the registry, which sets out to answer.
pub(crate) fn asked(world: &mut World) -> Vec<Resync> {
    world.engine.tick(world.now);
    world
        .engine
        .take_wishes()
        .into_iter()
        .map(|(_, wish)| wish.take())
        .collect()
}

pub(crate) fn strong() -> Resync {
    Resync {
        scope: Scope::Registry,
        strong: true,
    }
}

pub(crate) fn gone(name: &str) -> Event {
    Event::Delete {
        id: ServiceId::named(name),
        explicit: false,
    }
}

#[tokio::test(start_paused = true)]
async fn pain_2_an_empty_answer_takes_nothing_until_complete_knowledge_confirms_it() {
    let mut world = world([service("web", 1, 12), service("db", 20, 8)]);
    let hash = world.snapshot.root_hash();
    world.list("a", []);
    assert_eq!(
        (counts(&mut world, "web.mesh"), counts(&mut world, "db.mesh")),
        ((12, 12), (8, 8))
    );
    assert_eq!(world.snapshot.root_hash(), hash, "marks are no content");
    let held = status(&mut world).held.unwrap();
    assert_eq!((held.endpoints, held.services, held.names.len()), (20, 2, 2));

    // Said again and again: the same loss, and the same time.
    world.pass(HOLD - Duration::from_secs(1));
    world.list("a", []);
    assert_eq!(asked(&mut world), []);
    world.pass(Duration::from_secs(1));
    assert_eq!(asked(&mut world), [strong()]);
    assert_eq!(
        counts(&mut world, "web.mesh"),
        (12, 12),
        "not before it is confirmed"
    );

    world.list("a", []);
    assert_eq!(
        (world.snapshot.len(), counts(&mut world, "web.mesh")),
        (2, (0, 0))
    );
    assert_eq!((world.snapshot.len(), status(&mut world).held), (0, None));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_held_no_more_and_the_rest_stays_until_it_does_or_is_confirmed() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", [service("web", 1, 5)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 15));
    // A registry that was wiped learns its services again one by one.
    for listed in [9, 10, 15, 19] {
        world.list("a", [service("web", 1, listed)]);
        assert_eq!(counts(&mut world, "web.mesh"), (20, 20 - usize::from(listed)));
    }
    world.pass(HOLD);
    assert_eq!(asked(&mut world), [strong()]);
    world.list("a", [service("web", 1, 19)]);
    assert_eq!(counts(&mut world, "web.mesh"), (19, 0));

    // What went by then is judged anew.
    world.list("a", [service("web", 1, 10)]);
    assert_eq!(counts(&mut world, "web.mesh"), (10, 0), "half may go");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_goes_when_so_many_others_came_that_the_loss_is_plausible() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", [service("web", 1, 5)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 15));
    let listed = |to: u8| record("web", (1..=5).chain(30..=to).map(|n| endpoint(n, 80)));
    world.list("a", [listed(33)]);
    assert_eq!(counts(&mut world, "web.mesh"), (24, 15));
    world.list("a", [listed(34)]);
    assert_eq!(counts(&mut world, "web.mesh"), (10, 0), "10 of 20 are left");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_judged_as_a_whole_and_so_is_all_that_is_published_at_once() {
    let mut world = world([
        service("web", 1, 10),
        service("db", 20, 10),
        service("api", 40, 10),
    ]);
    world.say("a", vec![gone("web")]);
    world.say("a", vec![gone("db")]);
    assert_eq!(
        (counts(&mut world, "web.mesh"), counts(&mut world, "db.mesh")),
        ((10, 10), (10, 10))
    );
    assert_eq!(counts(&mut world, "api.mesh"), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn losses_add_up_over_the_window_whichever_events_take_them() {
    let mut world = world([service("web", 1, 20), service("db", 40, 20)]);
    world.say("a", vec![Event::apply(service("web", 1, 10))]);
    assert_eq!(counts(&mut world, "web.mesh"), (10, 0));
    world.pass(WINDOW / 2);
    world.say("a", vec![gone("db")]);
    assert_eq!(
        counts(&mut world, "db.mesh"),
        (20, 20),
        "30 of 40 within the window"
    );

    // Once the first loss is out of the window, it is 20 of 30: still too much.
    world.pass(WINDOW);
    assert_eq!(counts(&mut world, "db.mesh"), (20, 20));
    let others = (80..85).map(|n| endpoint(n, 80));
    world.say("a", vec![Event::apply(record("db", others))]);
    assert_eq!(counts(&mut world, "db.mesh"), (5, 0), "15 of 30 is not");
}

#[tokio::test(start_paused = true)]
async fn a_slow_loss_is_believed() {
    let mut world = world([service("web", 1, 100)]);
    let mut left = 100;
    while left > 20 {
        left -= left * 2 / 5;
        world.say("a", vec![Event::apply(service("web", 1, left))]);
        assert_eq!(counts(&mut world, "web.mesh"), (usize::from(left), 0));
        world.pass(WINDOW * 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rolling_deploy_holds_nothing() {
    let mut world = world([service("web", 1, 20)]);
    for n in 1..=20 {
        // One goes before the next one comes.
        world.say("a", vec![Event::apply(service("web", n + 1, 19))]);
        assert_eq!(counts(&mut world, "web.mesh"), (19, 0));
        world.say("a", vec![Event::apply(service("web", n + 1, 20))]);
        world.pass(Duration::from_millis(500));
    }
    assert_eq!(counts(&mut world, "web.mesh"), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn a_registration_on_new_ports_ends_with_nothing_held() {
    let mut world = world([service("web", 1, 20), service("db", 40, 20)]);
    let moved = || record("web", (1..=20).map(|n| endpoint(n, 8080)));
    world.say("a", vec![Event::apply(moved())]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 0), "at once");

    let mut all = self::world([service("web", 1, 20)]);
    all.say("a", vec![gone("web")]);
    assert_eq!(counts(&mut all, "web.mesh"), (20, 20), "all of the registry");
    all.say("a", vec![Event::apply(moved())]);
    assert_eq!(counts(&mut all, "web.mesh"), (20, 0));
    let service = all.snapshot.get("web.mesh").unwrap();
    assert!(
        service
            .endpoints()
            .iter()
            .all(|endpoint| endpoint.ports().get("http") == Some(8080))
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_service_of_less_than_half_holds_nothing() {
    let mut world = world([service("web", 1, 49), service("db", 100, 51)]);
    world.say("a", vec![gone("web")]);
    assert_eq!((counts(&mut world, "web.mesh"), held(&mut world)), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_is_believed() {
    let mut world = world([service("web", 1, 20), service("db", 40, 20)]);
    let explicit = |record| Event::Apply {
        record,
        explicit: true,
    };
    world.say("a", vec![explicit(service("web", 1, 1))]);
    assert_eq!(counts(&mut world, "web.mesh"), (1, 0));
    world.say("a", vec![gone("db"), gone("web")]);
    assert_eq!(held(&mut world), 21);
    world.say(
        "a",
        vec![Event::Delete {
            id: ServiceId::named("db"),
            explicit: true,
        }],
    );
    assert_eq!(
        (counts(&mut world, "db.mesh"), counts(&mut world, "web.mesh")),
        ((0, 0), (1, 1))
    );

    // Also while a listing is under way that began before.
    let mut world = self::world([service("web", 1, 20), service("db", 40, 20)]);
    let delete = Event::Delete {
        id: ServiceId::named("web"),
        explicit: true,
    };
    let listing = [
        Event::Init(Scope::Registry),
        Event::apply(service("web", 1, 20)),
        delete,
    ];
    world.say(
        "a",
        listing
            .into_iter()
            .chain([
                Event::apply(service("db", 40, 20)),
                Event::init_done(Scope::Registry),
            ])
            .collect(),
    );
    assert_eq!((counts(&mut world, "web.mesh"), held(&mut world)), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn an_operator_confirms_at_once() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", [service("web", 1, 2)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 18));
    assert_eq!(world.engine.acknowledge(&id("a"), world.now).unwrap(), 18);
    assert_eq!((counts(&mut world, "web.mesh"), held(&mut world)), ((2, 0), 0));
    assert_eq!(world.engine.acknowledge(&id("a"), world.now).unwrap(), 0);
    assert!(world.engine.acknowledge(&id("nobody"), world.now).is_err());
    world.list("a", [service("web", 1, 1)]);
    assert_eq!(
        counts(&mut world, "web.mesh"),
        (1, 0),
        "what is left is the new measure"
    );
}

#[tokio::test(start_paused = true)]
async fn only_knowledge_that_was_asked_for_in_the_same_session_confirms() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", []);
    world.publish();
    world.pass(HOLD);
    assert_eq!(asked(&mut world), [strong()]);
    // The registry breaks off, and begins anew: nobody asked for that listing.
    world.engine.interrupted(&id("a"), None, world.now);
    world.pass(Duration::from_secs(1));
    assert_eq!(asked(&mut world), [], "there is nobody to ask");
    world.list("a", []);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    assert_eq!(asked(&mut world), [strong()]);
    world.list("a", []);
    assert_eq!(counts(&mut world, "web.mesh"), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_began_before_it_was_asked_for_confirms_nothing() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", []);
    world.publish();
    world.say("a", vec![Event::Init(Scope::Registry)]);
    world.pass(HOLD);
    assert_eq!(asked(&mut world), [strong()]);
    world.say("a", vec![Event::init_done(Scope::Registry)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    world.pass(HOLD);
    assert_eq!(asked(&mut world), [strong()], "asked again where no answer came");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_began_before_the_wish_was_taken_is_no_answer() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", []);
    world.publish();
    world.pass(HOLD);
    let (_, wish) = world.engine.take_wishes().pop().unwrap();
    // What the registry had read when it was asked.
    world.list("a", []);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    world.say("a", vec![Event::Init(Scope::Registry)]);
    assert_eq!(wish.take(), strong());
    world.say("a", vec![Event::init_done(Scope::Registry)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    world.list("a", []);
    assert_eq!(counts(&mut world, "web.mesh"), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn asking_again_does_not_spoil_an_answer_that_takes_long() {
    let mut world = world([service("web", 1, 20), service("db", 40, 20)]);
    world.list("a", [service("db", 40, 1)]);
    assert_eq!(counts(&mut world, "web.mesh"), (20, 20));
    world.pass(HOLD);
    assert_eq!(asked(&mut world), [strong()]);
    for _ in 0..3 {
        world.pass(HOLD);
        assert_eq!(
            world.engine.take_wishes().len(),
            1,
            "asked again, and not heard yet"
        );
    }
    world.list("a", [service("db", 40, 1)]);
    assert_eq!(
        (counts(&mut world, "web.mesh"), counts(&mut world, "db.mesh")),
        ((0, 0), (1, 0))
    );
    assert_eq!(asked(&mut world), [], "it is answered");
}

#[tokio::test(start_paused = true)]
async fn each_loss_is_held_for_its_own_time_and_what_could_not_be_read_is_not_confirmed() {
    let mut world = world([
        service("web", 1, 20),
        service("db", 40, 20),
        service("api", 80, 5),
    ]);
    world.list("a", [service("db", 40, 20), service("api", 80, 5)]);
    assert_eq!(counts(&mut world, "web.mesh"), (0, 0), "20 of 45");
    world.list("a", [service("api", 80, 5)]);
    world.publish();
    assert_eq!(counts(&mut world, "db.mesh"), (20, 20));
    world.pass(HOLD / 2);
    world.list("a", []);
    assert_eq!(counts(&mut world, "api.mesh"), (5, 5));
    world.pass(HOLD / 2);
    assert_eq!(asked(&mut world), [strong()]);
    let error = Arc::new(RegistryError::new(ErrorKind::Denied, "no"));
    let unread = vec![(Scope::Service(ServiceId::named("db")), error)];
    let done = Event::InitDone {
        scope: Scope::Registry,
        unread,
    };
    world.say("a", vec![Event::Init(Scope::Registry), done]);
    assert_eq!(
        (counts(&mut world, "db.mesh"), counts(&mut world, "api.mesh")),
        ((20, 20), (5, 5))
    );
    world.pass(Duration::from_secs(10));
    assert_eq!(asked(&mut world), [strong()]);
    world.list("a", []);
    assert_eq!(
        (counts(&mut world, "db.mesh"), counts(&mut world, "api.mesh")),
        ((0, 0), (5, 5))
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_may_have_a_guard_of_its_own() {
    let options = RegistryOptions {
        guard: Some(Guard {
            per_service: true,
            ..Guard::default()
        }),
        ..guarded()
    };
    let mut world = World::new().add("a", options);
    world.list("a", [service("web", 1, 20), service("db", 40, 60)]);
    world.publish();
    world.say("a", vec![Event::apply(service("web", 1, 10))]);
    assert_eq!(counts(&mut world, "web.mesh"), (10, 0));
    world.say("a", vec![gone("web")]);
    assert_eq!(counts(&mut world, "web.mesh"), (10, 10), "20 of its 20");
    world.say("a", vec![Event::apply(service("db", 40, 40))]);
    assert_eq!((counts(&mut world, "db.mesh"), held(&mut world)), ((40, 0), 10));
}

#[tokio::test(start_paused = true)]
async fn a_guard_can_be_switched_off_and_on() {
    let mut world = world([service("web", 1, 20)]);
    world.list("a", []);
    assert_eq!(held(&mut world), 20);
    world
        .engine
        .reconfigure(&id("a"), None, hostname("{name}.mesh"))
        .unwrap();
    assert_eq!((held(&mut world), world.snapshot.len()), (0, 0));
    world.list("a", [service("web", 1, 20)]);
    world.publish();
    world.engine.reconfigure(&id("a"), None, guarded()).unwrap();
    world.publish();
    world.list("a", []);
    assert_eq!(held(&mut world), 20);
}

#[tokio::test(start_paused = true)]
async fn the_first_knowledge_of_a_new_backend_is_no_loss_and_no_filter_is() {
    let mut world = world([service("web", 1, 20), service("db", 40, 20)]);
    let only_db = RegistryOptions {
        domains: vec![registry_core::Pattern::new("db.*")],
        ..guarded()
    };
    world.engine.reconfigure(&id("a"), None, only_db).unwrap();
    assert_eq!(
        (counts(&mut world, "web.mesh"), counts(&mut world, "db.mesh")),
        ((0, 0), (20, 0))
    );
    world
        .engine
        .reconfigure(&id("a"), Some(&Kind("test")), guarded())
        .unwrap();
    assert_eq!(
        counts(&mut world, "web.mesh"),
        (20, 0),
        "kept until the new one knows better"
    );
    world.list("a", [service("new", 80, 1)]);
    assert_eq!(
        (
            counts(&mut world, "web.mesh"),
            held(&mut world),
            world.snapshot.len()
        ),
        ((0, 0), 0, 1)
    );
    world.list("a", []);
    assert_eq!(held(&mut world), 1, "from then on losses count");
}

#[tokio::test(start_paused = true)]
async fn a_held_endpoint_counts_for_nothing_against_a_registry_that_still_lists_it() {
    let mut world = World::new().add("a", guarded()).add("b", hostname("{name}.mesh"));
    world.list(
        "a",
        [record(
            "web",
            (1..=12).map(|n| endpoint(n, 80).health(Health::Unhealthy)),
        )],
    );
    world.list("b", [service("web", 1, 1)]);
    assert_eq!(counts(&mut world, "web.mesh"), (12, 0));
    world.list("a", []);
    assert_eq!(counts(&mut world, "web.mesh"), (12, 11));
    let web = world.snapshot.get("web.mesh").unwrap();
    let healths: Vec<Health> = web
        .endpoints()
        .iter()
        .filter(|endpoint| !endpoint.held())
        .map(|endpoint| endpoint.health())
        .collect();
    assert_eq!(healths, [Health::Healthy], "the word of the one that lists it");
}

/// One registry with `web` of three healthy endpoints and that outage policy, and a second one that fails never.
fn with_outage(outage: Outage) -> World {
    let options = RegistryOptions { outage, ..guarded() };
    let mut world = World::new().add("a", options).add("b", hostname("{name}.b"));
    world.list("a", [service("web", 1, 3)]);
    world.list("b", [service("other", 9, 1)]);
    world.publish();
    world
}

fn healths(world: &mut World) -> Vec<Health> {
    world.publish();
    let service = world.snapshot.get("web.mesh");
    service.map_or_else(Vec::new, |service| {
        service
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.health())
            .collect()
    })
}

#[tokio::test(start_paused = true)]
async fn pain_14_keep_keeps() {
    let mut world = with_outage(Outage::Keep);
    world.pass(Duration::from_secs(86_400));
    assert_eq!(healths(&mut world), [Health::Healthy; 3]);
    assert_eq!(status(&mut world).phase, Phase::Stale);
}

#[tokio::test(start_paused = true)]
async fn pain_14_keep_for_keeps_for_its_time_and_shows_what_is_left() {
    let mut world = with_outage(Outage::KeepFor(Duration::from_secs(600)));
    tokio::time::advance(Duration::from_secs(60)).await;
    world.pass(Duration::from_secs(60));
    assert_eq!(healths(&mut world), [Health::Healthy; 3]);
    let outage = status(&mut world).outage;
    assert_eq!(
        (outage.remaining, outage.since.is_some()),
        (Some(Duration::from_secs(600)), true)
    );
    tokio::time::advance(Duration::from_secs(599)).await;
    world.pass(Duration::from_secs(599));
    assert_eq!(status(&mut world).outage.remaining, Some(Duration::from_secs(1)));
    assert_eq!(healths(&mut world).len(), 3);
    world.pass(Duration::from_secs(1));
    assert_eq!(healths(&mut world), []);
    assert!(
        world.snapshot.get("other.b").is_some(),
        "nobody else is concerned"
    );
    assert_eq!(held(&mut world), 0, "the guard does not count it");
    world.list("a", [service("web", 1, 3)]);
    assert_eq!(healths(&mut world), [Health::Healthy; 3]);
}

#[tokio::test(start_paused = true)]
async fn pain_14_degrade_degrades_what_is_healthy() {
    let mut world = with_outage(Outage::Degrade);
    world.list(
        "a",
        [record(
            "web",
            [
                endpoint(1, 80),
                endpoint(2, 80).health(Health::Unhealthy),
                endpoint(3, 80).administrative(true),
            ],
        )],
    );
    world.pass(Duration::from_secs(60));
    let mut found = healths(&mut world);
    found.sort();
    assert_eq!(found, [Health::Healthy, Health::Degraded, Health::Unhealthy]);
    world.say("a", vec![Event::Confirmed(Scope::Registry)]);
    assert!(!healths(&mut world).contains(&Health::Degraded));
}

#[tokio::test(start_paused = true)]
async fn pain_14_drop_drops_at_once_and_only_what_is_stale() {
    let mut world = with_outage(Outage::Drop);
    world.list("a", [service("web", 1, 3), service("db", 40, 2)]);
    let error = || RegistryError::new(ErrorKind::Unavailable, "500");
    for _ in 0..3 {
        world.say(
            "a",
            vec![Event::degraded(Scope::Service(ServiceId::named("db")), error())],
        );
    }
    assert_eq!(
        (counts(&mut world, "db.mesh"), healths(&mut world).len()),
        ((0, 0), 3)
    );
    world.pass(Duration::from_secs(60));
    assert_eq!(healths(&mut world), []);
    world.list("a", [service("web", 1, 3), service("db", 40, 2)]);
    assert_eq!(
        (counts(&mut world, "db.mesh"), healths(&mut world).len()),
        ((2, 0), 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_comparison_is_asked_for_from_time_to_time_and_counts_what_differed() {
    let options = RegistryOptions {
        compare: Some(Duration::from_secs(600)),
        ..guarded()
    };
    let mut world = World::new().add("a", options);
    assert_eq!(asked(&mut world), []);
    world.list("a", [service("web", 1, 3), service("db", 40, 3)]);
    let mut due = Vec::new();
    for second in 0..6_000 {
        if !asked(&mut world).is_empty() {
            due.push(second);
            let missing = if due.len() == 3 { 2 } else { 3 };
            world.list("a", [service("web", 1, 3), service("db", 40, missing)]);
        }
        world.pass(Duration::from_secs(1));
    }
    let apart: Vec<i32> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.iter().all(|apart| (450..=751).contains(apart)), "{due:?}");
    let status = status(&mut world);
    assert_eq!(status.comparisons, due.len() as u64);
    // It was missing one endpoint in one comparison, and had it again in the next.
    assert_eq!(status.repaired, 2);
}

#[tokio::test(start_paused = true)]
async fn a_comparison_is_one_where_the_wish_for_it_was_taken_before() {
    let compare = Duration::from_secs(600);
    let options = RegistryOptions {
        compare: Some(compare),
        ..guarded()
    };
    let mut world = World::new().add("a", options);
    world.list("a", [service("web", 1, 3)]);
    world.publish();
    let comparisons = |world: &mut World| status(world).comparisons;
    world.pass(compare * 2);
    let (_, wish) = world.engine.take_wishes().pop().unwrap();
    world.list("a", [service("web", 1, 3)]);
    assert_eq!(comparisons(&mut world), 0);
    wish.take();
    world.pass(compare * 2);
    assert_eq!(world.engine.take_wishes().len(), 1, "the next one is due");
    world.list("a", [service("web", 1, 3)]);
    assert_eq!(comparisons(&mut world), 1);
    world.list("a", [service("web", 1, 3)]);
    assert_eq!(comparisons(&mut world), 1, "one answer to all that was asked");
}
