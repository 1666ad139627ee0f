//! What registries say of one service together.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    Address, Addresses, ConflictField, Endpoint, EndpointBuilder, ErrorKind, Event, Exclusive, Fallback,
    Health, Locality, Lookup, MergePolicy, Pattern, RegistryError, Resolution, Scope, ServiceId, ServiceMeta,
    ServicePort, ServiceRecord, Str, Transport,
};

use crate::engine::{World, endpoint, hostname, record, record_with};
use crate::policies::Clusters;

fn two() -> World {
    World::merging(&["a", "b"])
}

fn with_policy(policy: impl MergePolicy) -> World {
    let world = World::with(vec![(Pattern::new("*.mesh"), Arc::new(policy))]);
    ["a", "b"]
        .into_iter()
        .fold(world, |world, name| world.add(name, hostname("{name}.mesh")))
}

#[test]
fn union_takes_all_and_one_place_is_one_endpoint() {
    let mut world = two();
    world.list("a", [record("web", [endpoint(1, 80), endpoint(2, 80)])]);
    world.list(
        "b",
        [record("web", [endpoint(2, 80), endpoint(2, 81), endpoint(3, 80)])],
    );
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        [
            "10.0.0.1 http=80 healthy 0 a",
            "10.0.0.2 http=80 healthy 0 a+b",
            "10.0.0.2 http=81 healthy 0 b",
            "10.0.0.3 http=80 healthy 0 b",
        ]
    );
    assert_eq!(world.lines("web.mesh@a").unwrap().len(), 2);
    world.list("a", []);
    assert_eq!(
        world.lines("web.mesh").unwrap().len(),
        3,
        "the other's view is back"
    );
    assert_eq!(world.lines("web.mesh@a"), None);
}

#[test]
fn fallback_orders_and_exclusive_owns() {
    for (policy, expected) in [
        (
            Arc::new(Fallback) as Arc<dyn MergePolicy>,
            vec!["10.0.0.1 http=80 healthy 0 a", "10.0.0.2 http=80 healthy 1 b"],
        ),
        (Arc::new(Exclusive), vec!["10.0.0.1 http=80 healthy 0 a"]),
    ] {
        let world = World::with(vec![(Pattern::new("*"), policy)]);
        let mut world = ["a", "b"]
            .into_iter()
            .fold(world, |world, name| world.add(name, hostname("{name}.mesh")));
        world.list("b", [record("web", [endpoint(2, 80)])]);
        world.list("a", [record("web", [endpoint(1, 80)])]);
        assert_eq!(world.lines("web.mesh").unwrap(), expected);
        world.list("a", []);
        assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.2 http=80 healthy 0 b"]);
    }
    let mut world = with_policy(Fallback);
    world.list("a", [record("web", [endpoint(1, 80)])]);
    world.list("b", [record("web", [endpoint(1, 80)])]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.1 http=80 healthy 0 a+b"],
        "the better priority counts"
    );
}

fn health(world: &mut World) -> Health {
    world.publish();
    world
        .snapshot
        .get("web.mesh")
        .unwrap()
        .endpoints()
        .iter()
        .next()
        .unwrap()
        .health()
}

#[test]
fn the_worst_opinion_of_the_fresh_counts() {
    for (a, b, expected) in [
        (Health::Healthy, Health::Healthy, Health::Healthy),
        (Health::Healthy, Health::Degraded, Health::Degraded),
        (Health::Draining, Health::Healthy, Health::Draining),
        (Health::Draining, Health::Unhealthy, Health::Unhealthy),
        (Health::Unknown, Health::Healthy, Health::Healthy),
        (Health::Unhealthy, Health::Unknown, Health::Unhealthy),
        (Health::Unknown, Health::Unknown, Health::Unknown),
    ] {
        let mut world = two();
        world.list("a", [record("web", [endpoint(1, 80).health(a)])]);
        world.list("b", [record("web", [endpoint(1, 80).health(b)])]);
        assert_eq!(health(&mut world), expected, "{a} and {b}");
    }
}

#[test]
fn the_stale_are_heard_where_no_fresh_one_has_an_opinion() {
    for (fresh, administrative, expected) in [
        (Health::Healthy, false, Health::Healthy),
        (Health::Unknown, false, Health::Draining),
        (Health::Healthy, true, Health::Draining),
    ] {
        let mut world = two();
        let stale = endpoint(1, 80)
            .health(Health::Draining)
            .administrative(administrative);
        world.list("a", [record("web", [stale])]);
        world.list("b", [record("web", [endpoint(1, 80).health(fresh)])]);
        assert_eq!(
            health(&mut world),
            if fresh == Health::Unknown {
                Health::Draining
            } else {
                Health::Draining.worse(fresh)
            }
        );
        world.pass(Duration::from_secs(59));
        world.say("b", vec![Event::Confirmed(Scope::Registry)]);
        world.pass(Duration::from_secs(2));
        assert_eq!(
            health(&mut world),
            expected,
            "{fresh}, administrative: {administrative}"
        );
        world.say("a", vec![Event::Confirmed(Scope::Registry)]);
        world.pass(Duration::ZERO);
        assert_eq!(health(&mut world), Health::Draining);
    }
}

#[test]
fn weight_locality_and_identity_go_by_precedence_and_labels_by_key() {
    let mut world = two();
    let here = Locality {
        zone: "z1".into(),
        ..Locality::default()
    };
    let there = Locality {
        zone: "z2".into(),
        ..Locality::default()
    };
    let first = endpoint(1, 80).weight(7).label("k", "a").label("only-a", "1");
    let second = endpoint(1, 80)
        .weight(9)
        .label("k", "b")
        .label("only-b", "2")
        .locality(there)
        .identity("spiffe://x");
    world.list("a", [record("web", [first])]);
    world.list("b", [record("web", [second])]);
    world.publish();
    let service = world.snapshot.get("web.mesh").unwrap().clone();
    let merged = service.endpoints().iter().next().unwrap();
    assert_eq!(merged.weight(), 7);
    assert_eq!(&*merged.locality().zone, "z2", "who knows none has no word on it");
    assert_ne!(merged.locality(), &here);
    assert_eq!(&merged.identity()[..], "spiffe://x");
    let labels: Vec<String> = merged
        .labels()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(labels, ["k=a", "only-a=1", "only-b=2"]);
}

#[test]
fn disagreements_are_settled_by_precedence_and_named() {
    let mut world = two();
    let port = |number, transport, protocol: &str| ServicePort {
        number: Some(number),
        transport,
        app_protocol: protocol.into(),
        ..ServicePort::new("http")
    };
    world.list(
        "a",
        [record_with(
            "web",
            [port(80, Transport::Tcp, "http")],
            [endpoint(1, 80)],
        )],
    );
    world.list(
        "b",
        [record_with(
            "web",
            [port(81, Transport::Udp, "grpc")],
            [endpoint(2, 80)],
        )],
    );
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.1 http=80 healthy 0 a"],
        "who has no port of the service serves nothing of it"
    );
    let web = world.snapshot.get("web.mesh").unwrap();
    let told: Vec<String> = web.conflicts().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "port.transport http: a says tcp, b says udp",
            "port.number http: a says 80, b says 81",
            "port.protocol http: a says http, b says grpc",
        ]
    );
    assert_eq!(
        (web.ports()[0].number, web.ports()[0].transport),
        (Some(80), Transport::Tcp)
    );

    let headless = ServiceMeta::builder(ServiceId::named("web"))
        .resolution(Resolution::Headless)
        .build();
    world.list("b", [ServiceRecord::new(headless, [])]);
    world.publish();
    let conflicts = world.snapshot.get("web.mesh").unwrap().conflicts().to_vec();
    assert_eq!(
        (conflicts.len(), conflicts[0].field),
        (1, ConflictField::Resolution)
    );
}

#[test]
fn a_port_that_nobody_named_is_the_only_named_one() {
    let implicit = ServicePort {
        implicit: true,
        ..ServicePort::new("default")
    };
    let nameless = |n: u8| {
        Endpoint::builder(Address::V4([10, 0, 0, n].into()))
            .port("default", 8080)
            .id(format!("{n}"))
    };
    let mut world = two();
    world.list("b", [record_with("web", [implicit.clone()], [nameless(2)])]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.2 default=8080 unknown 0 b"]
    );
    world.list("a", [record("web", [endpoint(1, 80)])]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.1 http=80 healthy 0 a", "10.0.0.2 http=8080 unknown 0 b"]
    );
    let two_ports = [ServicePort::new("grpc"), ServicePort::new("http")];
    world.list("a", [record_with("web", two_ports, [endpoint(1, 80)])]);
    assert_eq!(
        world.lines("web.mesh").unwrap()[1],
        "10.0.0.2 default=8080 unknown 0 b",
        "no one port to be"
    );
}

#[test]
fn overlapping_addresses_of_two_networks_stay_distinct() {
    let mut world = two();
    world.list("a", [record("web", [endpoint(1, 80).network("vpc-1")])]);
    world.list("b", [record("web", [endpoint(1, 80).network("vpc-2")])]);
    assert_eq!(world.lines("web.mesh").unwrap().len(), 2);
}

#[test]
fn two_instances_of_one_registry_in_one_place_are_one_endpoint() {
    let mut world = World::merging(&["a"]);
    let twin = |id: &str, health| endpoint(1, 80).id(id).health(health);
    world.list(
        "a",
        [record(
            "web",
            [twin("x", Health::Healthy), twin("y", Health::Degraded)],
        )],
    );
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.1 http=80 degraded 0 a+a"]
    );
}

#[test]
fn a_dual_stack_endpoint_is_known_by_its_first_address() {
    let mut world = two();
    let six: Address = "2001:db8::1".parse().unwrap();
    let both = Endpoint::builder(Addresses::new(Address::V4([10, 0, 0, 1].into()), [six]))
        .port("http", 80)
        .id("d");
    world.list("a", [record("web", [both])]);
    world.list("b", [record("web", [endpoint(1, 80)])]);
    world.publish();
    let service = world.snapshot.get("web.mesh").unwrap();
    assert_eq!(service.endpoints().len(), 1);
    assert_eq!(service.endpoints().iter().next().unwrap().addresses().len(), 2);
    assert_eq!(
        world
            .snapshot
            .find_address("2001:db8::1".parse().unwrap())
            .count(),
        1
    );
}

#[test]
fn an_endpoint_of_a_headless_service_has_a_name_where_it_has_a_hostname() {
    let mut world = two();
    let db = |name, resolution, endpoints: [_; 2]| {
        let meta = ServiceMeta::builder(ServiceId::named(name)).resolution(resolution);
        ServiceRecord::new(meta.build(), endpoints.map(EndpointBuilder::build))
    };
    let endpoints = || [endpoint(1, 80).hostname("db-0"), endpoint(2, 80)];
    world.list(
        "a",
        [
            db("db", Resolution::Headless, endpoints()),
            db("web", Resolution::Static, endpoints()),
        ],
    );
    world.list(
        "b",
        [record("db", [endpoint(1, 80), endpoint(2, 80).hostname("db-1")])],
    );
    world.publish();
    let names = |name: &str| -> Vec<Option<String>> {
        let service = world.snapshot.get(name).unwrap();
        let endpoints = service.endpoints().iter();
        endpoints
            .map(|endpoint| service.endpoint_dns_name(endpoint))
            .collect()
    };
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(names("db.mesh"), [name("db-0.db.mesh"), name("db-1.db.mesh")]);
    assert_eq!(names("db.mesh@a"), [name("db-0.db.mesh"), None]);
    assert_eq!(
        names("db.mesh@b"),
        [None, None],
        "as that one says it is not headless"
    );
    assert_eq!(names("web.mesh"), [None, None]);
}

#[test]
fn hints_of_nodes_are_those_of_the_first_source_that_has_some() {
    let mut world = two();
    let hinted = |n, nodes: &[&str]| endpoint(n, 80).node_hints(nodes.iter().map(|node| Str::from(*node)));
    world.list(
        "a",
        [record("web", [endpoint(1, 80).hostname("x"), hinted(2, &["n2"])])],
    );
    world.list(
        "b",
        [record("web", [hinted(1, &["n1", "n3"]), hinted(2, &["n4"])])],
    );
    world.publish();
    let service = world.snapshot.get("web.mesh").unwrap();
    let hints: Vec<Vec<&str>> = service
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.node_hints().iter().map(Str::as_str).collect())
        .collect();
    assert_eq!(hints, [vec!["n1", "n3"], vec!["n2"]]);
    let hash = service.hash();
    world.list("b", [record("web", [hinted(1, &["n3"]), hinted(2, &["n4"])])]);
    world.publish();
    assert_ne!(world.snapshot.get("web.mesh").unwrap().hash(), hash);
}

#[test]
fn a_service_that_can_be_read_again_is_heard_while_another_cannot() {
    let mut world = two();
    let both = |health| ["api", "web"].map(|name| record(name, [endpoint(1, 80).health(health)]));
    world.list("a", both(Health::Unhealthy));
    world.list("b", both(Health::Healthy));
    world.publish();
    let healthy = |world: &mut World, name: &str| world.lines(name).unwrap()[0].contains(" healthy ");
    for name in ["api", "web"] {
        let error = || RegistryError::new(ErrorKind::Unavailable, "no answer");
        let scope = Scope::Service(ServiceId::named(name));
        world.say(
            "a",
            (0..3).map(|_| Event::degraded(scope.clone(), error())).collect(),
        );
        assert!(
            healthy(&mut world, &format!("{name}.mesh")),
            "the stale one is not heard"
        );
    }
    world.say(
        "a",
        vec![Event::Confirmed(Scope::Service(ServiceId::named("web")))],
    );
    assert!(!healthy(&mut world, "web.mesh"));
    assert!(healthy(&mut world, "api.mesh"));
}

#[test]
fn a_port_that_nobody_named_is_left_out_where_it_fits_none() {
    let implicit = ServicePort {
        implicit: true,
        ..ServicePort::new("default")
    };
    let named = |name: &str, transport| ServicePort {
        transport,
        ..ServicePort::new(name)
    };
    let mut world = two();
    let ports = [named("default", Transport::Udp), named("http", Transport::Tcp)];
    world.list("a", [record_with("web", ports, [endpoint(1, 80)])]);
    let nameless = Endpoint::builder(Address::V4([10, 0, 0, 2].into())).port("default", 53);
    world.list("b", [record_with("web", [implicit], [nameless])]);
    assert_eq!(world.lines("web.mesh").unwrap(), ["10.0.0.1 http=80 healthy 0 a"]);
    let conflict = &world.snapshot.get("web.mesh").unwrap().conflicts()[0];
    assert_eq!(conflict.field, ConflictField::PortTransport);
}

/// A port of that name, which serves its own number on the endpoint at `10.0.0.N`.
fn strict_record(name: &str, n: u8, ports: &[(&str, u16, Transport)]) -> ServiceRecord {
    let mut endpoint = Endpoint::builder(Address::V4([10, 0, 0, n].into()))
        .health(Health::Healthy)
        .id(format!("i-{n}"));
    for (port, number, _) in ports {
        endpoint = endpoint.port(*port, 1000 + number);
    }
    let ports = ports.iter().map(|(port, number, transport)| ServicePort {
        number: (*number > 0).then_some(*number),
        transport: *transport,
        ..ServicePort::new(*port)
    });
    record_with(name, ports, [endpoint])
}

fn told(world: &World) -> Vec<String> {
    let service = world.snapshot.get("web.mesh").unwrap();
    service.conflicts().iter().map(ToString::to_string).collect()
}

#[test]
fn strict_ports_are_at_odds_by_name_first_and_then_by_number() {
    use Transport::{Tcp, Udp};
    for (a, b, lines, conflicts) in [
        (
            vec![("http", 80, Tcp)],
            vec![("http", 81, Tcp)],
            vec!["10.0.0.1 http=1080 healthy 0 a"],
            vec!["port.number http: a says 80, b says 81"],
        ),
        (
            vec![("http", 80, Tcp)],
            vec![("http", 81, Tcp), ("metrics", 90, Tcp)],
            vec![
                "10.0.0.1 http=1080 healthy 0 a",
                "10.0.0.2 metrics=1090 healthy 0 b",
            ],
            vec!["port.number http: a says 80, b says 81"],
        ),
        (
            vec![("http", 80, Tcp)],
            vec![("web", 80, Tcp)],
            vec!["10.0.0.1 http=1080 healthy 0 a"],
            vec!["port.name 80/tcp: a says http, b says web"],
        ),
        (
            vec![("dns", 53, Tcp)],
            vec![("dns-udp", 53, Udp)],
            vec![
                "10.0.0.1 dns=1053 healthy 0 a",
                "10.0.0.2 dns-udp=1053 healthy 0 b",
            ],
            vec![],
        ),
        (
            vec![("dns", 53, Tcp)],
            vec![("dns", 53, Udp)],
            vec!["10.0.0.1 dns=1053 healthy 0 a"],
            vec!["port.transport dns: a says tcp, b says udp"],
        ),
        (
            // By name it is at odds with one, by number with the other: the name tells.
            vec![("grpc", 90, Tcp), ("http", 80, Tcp)],
            vec![("http", 90, Tcp)],
            vec!["10.0.0.1 grpc=1090+http=1080 healthy 0 a"],
            vec!["port.number http: a says 80, b says 90"],
        ),
        (
            // A port without a number has that of the next one, if it is free.
            vec![("grpc", 90, Tcp), ("http", 0, Tcp)],
            vec![("http", 90, Tcp), ("web", 80, Tcp)],
            vec![
                "10.0.0.1 grpc=1090+http=1000 healthy 0 a",
                "10.0.0.2 web=1080 healthy 0 b",
            ],
            vec!["port.name 90/tcp: a says grpc, b says http"],
        ),
    ] {
        let mut world = with_policy(Clusters);
        world.list("b", [strict_record("web", 2, &b)]);
        world.list("a", [strict_record("web", 1, &a)]);
        assert_eq!(world.lines("web.mesh").unwrap(), lines, "{a:?} {b:?}");
        assert_eq!(told(&world), conflicts, "{a:?} {b:?}");
        world.list("a", []);
        assert_eq!(
            world.lines("web.mesh").unwrap()[0]
                .split(' ')
                .nth(1)
                .unwrap()
                .split('+')
                .count(),
            b.len(),
            "a single claimant has all of its ports"
        );
        assert_eq!(told(&world), [""; 0]);
    }
}

#[test]
fn strict_ports_that_nobody_named_have_the_name_that_they_have() {
    let mut world = with_policy(Clusters);
    let implicit = ServicePort {
        implicit: true,
        number: Some(80),
        ..ServicePort::new("default")
    };
    let nameless = || Endpoint::builder(Address::V4([10, 0, 0, 2].into())).port("default", 8080);
    world.list("b", [record_with("web", [implicit.clone()], [nameless()])]);
    world.list("a", [strict_record("web", 1, &[("http", 80, Transport::Tcp)])]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.1 http=1080 healthy 0 a"]
    );
    assert_eq!(told(&world), ["port.name 80/tcp: a says http, b says default"]);
    let other = ServicePort {
        number: Some(81),
        ..implicit
    };
    world.list("b", [record_with("web", [other], [nameless()])]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        [
            "10.0.0.1 http=1080 healthy 0 a",
            "10.0.0.2 default=8080 unknown 0 b"
        ]
    );
}

#[test]
fn numbers_of_strict_ports_do_not_count_where_the_service_is_headless() {
    use Transport::{Tcp, Udp};
    let headless = |n, ports: &[(&str, u16, Transport)]| {
        let record = strict_record("web", n, ports);
        let meta = record.meta().to_builder().resolution(Resolution::Headless);
        ServiceRecord::new(meta.build(), record.endpoints().clone())
    };
    let mut world = with_policy(Clusters);
    world.list("a", [headless(1, &[("http", 80, Tcp)])]);
    for (b, lines, conflict) in [
        (
            ("http", 81, Tcp),
            2,
            Some("port.number http: a says 80, b says 81"),
        ),
        (("web", 80, Tcp), 2, None),
        (
            ("http", 80, Udp),
            1,
            Some("port.transport http: a says tcp, b says udp"),
        ),
    ] {
        world.list("b", [strict_record("web", 2, &[b])]);
        assert_eq!(world.lines("web.mesh").unwrap().len(), lines, "{b:?}");
        let told: Vec<String> = told(&world)
            .into_iter()
            .filter(|told| !told.starts_with("resolution"))
            .collect();
        assert_eq!(told, conflict.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_is_spoken_on_a_strict_port_is_the_word_of_the_first_even_where_it_has_none() {
    let speaking = |n, protocol: &str| {
        let port = ServicePort {
            app_protocol: protocol.into(),
            ..ServicePort::new("http")
        };
        record_with("web", [port], [endpoint(n, 80)])
    };
    for (mut world, expected, conflicts) in [
        (two(), "http2", vec![]),
        (
            with_policy(Clusters),
            "",
            vec!["port.protocol http: a says , b says http2"],
        ),
    ] {
        world.list("b", [speaking(2, "http2")]);
        world.list("a", [speaking(1, "")]);
        assert_eq!(world.lines("web.mesh").unwrap().len(), 2);
        assert_eq!(
            &*world.snapshot.get("web.mesh").unwrap().ports()[0].app_protocol,
            expected
        );
        assert_eq!(told(&world), conflicts);
    }
}

#[test]
fn who_lost_all_ports_has_no_opinion_on_the_endpoint_of_another() {
    let mut world = with_policy(Clusters);
    let shared = |number, health| {
        let endpoint = endpoint(1, 8080).health(health);
        let port = ServicePort {
            number: Some(number),
            ..ServicePort::new("http")
        };
        record_with("web", [port], [endpoint])
    };
    world.list("a", [shared(80, Health::Healthy)]);
    world.list("b", [shared(81, Health::Unhealthy)]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.1 http=8080 healthy 0 a"]
    );
    world.list("b", [shared(80, Health::Unhealthy)]);
    assert_eq!(
        world.lines("web.mesh").unwrap(),
        ["10.0.0.1 http=8080 unhealthy 0 a+b"]
    );
}

#[test]
fn labels_are_united_by_key_or_those_of_the_first() {
    let labelled = |pairs: &[(&str, &str)]| {
        let labels = pairs.iter().copied().collect();
        let meta = ServiceMeta::builder(ServiceId::named("web"))
            .labels(labels)
            .build();
        ServiceRecord::new(meta, [endpoint(1, 80).build()])
    };
    let seen = |mut world: World, a: &[(&str, &str)]| {
        world.list("a", [labelled(a)]);
        world.list("b", [labelled(&[("k", "b"), ("other", "b")])]);
        world.publish();
        let service = world.snapshot.get("web.mesh").unwrap();
        let labels = service.labels().iter();
        labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(two(), &[("k", "a")]), ["k=a", "other=b"]);
    assert_eq!(seen(with_policy(Clusters), &[("k", "a")]), ["k=a"]);
    assert_eq!(seen(with_policy(Clusters), &[]), [""; 0]);
}

#[test]
fn a_policy_names_further_disagreements_of_those_that_take_part() {
    let mut world = with_policy(Clusters);
    world.list("a", [record("web", [endpoint(1, 80)])]);
    world.list("b", [record("web", [endpoint(2, 80)])]);
    world.publish();
    assert_eq!(told(&world), [""; 0]);
    world.list("b", [noted("web", "says so")]);
    world.publish();
    assert_eq!(told(&world), ["annotations: a says , b says says so"]);
    world.list("a", []);
    world.publish();
    assert_eq!(told(&world), [""; 0], "alone there is nobody to disagree with");
}

/// A record with a note: `no` keeps it out of the service.
fn noted(name: &str, note: &str) -> ServiceRecord {
    let meta = ServiceMeta::builder(ServiceId::named(name)).metadata([("note", note)].into_iter().collect());
    ServiceRecord::new(meta.build(), [endpoint(2, 80).build()])
}

#[test]
fn who_is_not_let_in_can_be_seen_by_itself_and_nowhere_else() {
    let claims = |world: &World| -> Vec<String> {
        let claims = world.snapshot.claims("WEB.mesh");
        claims
            .map(|(registry, service)| format!("{registry} {}", service.endpoints().len()))
            .collect()
    };
    let unserved = |world: &World| -> Vec<String> {
        world
            .snapshot
            .unserved()
            .into_iter()
            .map(ToString::to_string)
            .collect()
    };
    let mut world = with_policy(Clusters);
    world.list("a", []);
    world.list("b", [noted("web", "no")]);
    assert!(world.publish(), "there is a name now that can be looked up");
    let snapshot = &world.snapshot;
    assert!(snapshot.get("web.mesh").is_none() && snapshot.is_empty());
    assert!(matches!(snapshot.lookup("web.mesh"), Lookup::NotFound));
    assert_eq!(snapshot.get("web.mesh@b").unwrap().endpoints().len(), 1);
    assert!(snapshot.get("web.mesh@a").is_none());
    assert_eq!(
        (claims(&world), unserved(&world)),
        (vec!["b 1".to_owned()], vec!["web.mesh".to_owned()])
    );
    assert_eq!(world.snapshot.endpoint_count(), 0);

    world.list("a", [record("web", [endpoint(1, 80), endpoint(3, 80)])]);
    world.publish();
    assert_eq!(
        world.lines("web.mesh").unwrap().len(),
        2,
        "the other does not take part"
    );
    assert_eq!(claims(&world), ["a 2", "b 1"]);
    assert_eq!(world.snapshot.all_claims().count(), 2);
    assert_eq!(unserved(&world), [""; 0]);

    world.list("b", []);
    world.publish();
    assert_eq!(
        claims(&world),
        ["a 2"],
        "a service of one registry is what it says by itself"
    );
    assert!(world.snapshot.get("web.mesh@b").is_none());

    world.list("b", [noted("web", "no")]);
    world.list("a", []);
    world.publish();
    assert_eq!(unserved(&world), ["web.mesh"]);
    world.list("b", [noted("web", "yes")]);
    world.publish();
    assert_eq!(unserved(&world), [""; 0]);
    assert_eq!(claims(&world), ["b 1"]);
    world.list("b", []);
    world.publish();
    assert_eq!((claims(&world), unserved(&world)), (Vec::new(), Vec::new()));
    assert!(world.snapshot.get("web.mesh@b").is_none());
}

#[test]
fn a_new_policy_counts_for_names_that_one_registry_claims_alone() {
    let mut world = two();
    world.list("a", []);
    world.list("b", [noted("web", "no")]);
    world.publish();
    assert!(world.snapshot.get("web.mesh").is_some());
    world
        .engine
        .set_policies(vec![(Pattern::new("*"), Arc::new(Clusters))]);
    world.publish();
    assert!(world.snapshot.get("web.mesh").is_none());
    assert!(world.snapshot.get("web.mesh@b").is_some());
    world.engine.set_policies(Vec::new());
    world.publish();
    assert!(world.snapshot.get("web.mesh").is_some());
}
