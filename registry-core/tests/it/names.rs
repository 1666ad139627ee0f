//! Hostnames, aliases, virtual addresses, and who may claim them.

use registry_core::{
    Address, Event, Filter, Pattern, RegistryOptions, Scope, Selector, ServiceId, ServiceMeta, ServiceRecord,
    Vip,
};

use crate::engine::{World, endpoint, hostname, id, record};

#[test]
fn acceptance_6_registries_with_default_templates_do_not_merge() {
    let mut world = World::new()
        .add("a", RegistryOptions::default())
        .add("b", RegistryOptions::default());
    world.list("b", [record("web", [endpoint(2, 80)])]);
    world.list("a", [record("web", [endpoint(1, 80)])]);
    assert_eq!(
        world.lines("web.test").unwrap(),
        ["10.0.0.1 http=80 healthy 0 a"],
        "the first owns the name"
    );
    assert_eq!(
        world.lines("web.test@b").unwrap(),
        ["10.0.0.2 http=80 healthy 0 b"],
        "and both can be reached"
    );
    assert_eq!(world.lines("web.test@a").unwrap().len(), 1);
    let told = world.snapshot.get("web.test").unwrap().conflicts()[0].to_string();
    assert_eq!(told, "hostname: a says service web, b says service web");

    let mut world = World::new()
        .add("a", RegistryOptions::default())
        .add("b", hostname("{name}.test"));
    world.list("a", [record("web", [endpoint(1, 80)])]);
    world.list("b", [record("web", [endpoint(2, 80)])]);
    assert_eq!(
        world.lines("web.test").unwrap().len(),
        1,
        "one that sets the other's default is still no agreement"
    );
}

#[test]
fn services_of_one_registry_never_merge() {
    let mut world = World::merging(&["a"]);
    let in_namespace = |namespace: &str, n| {
        let meta = ServiceMeta::builder(ServiceId::new("", namespace, "web")).build();
        ServiceRecord::new(meta, [endpoint(n, 80).build()])
    };
    world.list("a", [in_namespace("second", 2), in_namespace("first", 1)]);
    assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.1 http=80 healthy 0 a"]);
    let told = world.snapshot.get("web.mesh").unwrap().conflicts()[0].to_string();
    assert_eq!(
        told,
        "hostname: a says service first/web, a says service second/web"
    );
    world.list("a", [in_namespace("second", 2)]);
    assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.2 http=80 healthy 0 a"]);
}

#[test]
fn aliases_look_up_and_merge_like_hostnames() {
    let aliased = RegistryOptions {
        aliases: vec!["{name}.mesh".parse().unwrap()],
        ..hostname("{name}.legacy")
    };
    let mut world = World::new().add("a", aliased).add("b", hostname("{name}.mesh"));
    world.list(
        "a",
        [record("web", [endpoint(1, 80)]), record("db", [endpoint(9, 80)])],
    );
    world.list("b", [record("web", [endpoint(2, 80)])]);
    assert_eq!(
        world.lines("web.mesh").unwrap().len(),
        2,
        "the alias joins the other's service"
    );
    assert_eq!(world.lines("web.legacy").unwrap().len(), 1);
    assert_eq!(
        world.lines("DB.mesh.").unwrap(),
        ["10.0.0.9 http=80 healthy 0 a"],
        "in any case, with a dot at the end"
    );
    assert_eq!(
        world.snapshot.get("db.mesh").unwrap().hostname().as_str(),
        "db.legacy"
    );
    world.list("b", []);
    assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.1 http=80 healthy 0 a"]);
}

#[test]
fn virtual_addresses_lead_to_their_services() {
    let mut world = World::merging(&["a"]);
    let vip: Address = "10.96.0.1".parse().unwrap();
    let with_vip = |name: &str| {
        let vip = Vip {
            cluster: "".into(),
            addresses: vec![vip.clone()],
        };
        ServiceRecord::new(
            ServiceMeta::builder(ServiceId::named(name))
                .addresses([vip])
                .build(),
            [],
        )
    };
    world.list("a", [with_vip("web"), with_vip("api")]);
    world.publish();
    let ip = "10.96.0.1".parse().unwrap();
    let hostnames: Vec<String> = world
        .snapshot
        .at_vip(ip)
        .map(|service| service.hostname().to_string())
        .collect();
    assert_eq!(hostnames, ["api.mesh", "web.mesh"]);
    world.say(
        "a",
        vec![Event::Delete {
            id: ServiceId::named("api"),
            explicit: false,
        }],
    );
    world.publish();
    assert_eq!(world.snapshot.get("10.96.0.1").unwrap().name().as_str(), "web");
}

#[test]
fn other_settings_apply_at_once_to_what_is_held() {
    let mut world = World::merging(&["a", "b"]);
    world.list(
        "a",
        [record("web", [endpoint(1, 80)]), record("api", [endpoint(1, 81)])],
    );
    world.list("b", [record("web", [endpoint(2, 80)])]);
    world.publish();
    let include = Selector {
        names: vec![Pattern::new("w*")],
        ..Selector::default()
    };
    let filtered = RegistryOptions {
        filter: Filter {
            include,
            ..Filter::default()
        },
        ..hostname("{name}.other")
    };
    world.engine.reconfigure(&id("a"), None, filtered).unwrap();
    assert_eq!(
        world.lines("web.other").unwrap(),
        ["10.0.0.1 http=80 healthy 0 a"]
    );
    assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.2 http=80 healthy 0 b"]);
    assert_eq!(world.lines("api.other"), None);
    world
        .engine
        .reconfigure(&id("a"), None, hostname("{name}.mesh"))
        .unwrap();
    assert_eq!(
        world.lines("web.mesh").unwrap().len(),
        2,
        "nothing had to be said again"
    );
    assert_eq!(world.lines("api.mesh").unwrap().len(), 1);
    world.engine.remove(&id("b")).unwrap();
    assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.1 http=80 healthy 0 a"]);
    assert!(world.engine.remove(&id("b")).is_err());
}

#[test]
fn a_filter_that_matches_nothing_warns() {
    let include = Selector {
        names: vec![Pattern::new("nothing")],
        ..Selector::default()
    };
    let options = RegistryOptions {
        filter: Filter {
            include,
            ..Filter::default()
        },
        ..hostname("{name}.mesh")
    };
    let mut world = World::new().add("a", options);
    world.say(
        "a",
        Event::listing(Scope::Registry, [record("web", [endpoint(1, 80)])]),
    );
    world.publish();
    assert!(world.snapshot.is_empty());
    let warnings = world.snapshot.registries()[0].status().warnings;
    assert!(warnings[0].contains("no service takes part"), "{warnings:?}");
}

#[test]
fn of_equal_precedence_the_older_service_owns_the_name() {
    let equal = || RegistryOptions {
        precedence: Some(1),
        ..RegistryOptions::default()
    };
    let mut world = World::new().add("a", equal()).add("b", equal());
    let created = |millis| {
        let created = Some(registry_core::Timestamp::from_millis(millis));
        let meta = ServiceMeta::builder(ServiceId::named("web"))
            .created(created)
            .build();
        ServiceRecord::new(meta, [endpoint(1, 80).build()])
    };
    world.list("a", [created(2)]);
    world.list("b", [created(1)]);
    assert_eq!(world.lines("web.test").unwrap(), ["10.0.0.1 http=80 healthy 0 b"]);
}
