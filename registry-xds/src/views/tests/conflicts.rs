//! What services share, and who gets what only one can have.

use super::*;

const SHARED: &str = "127.0.0.1:15001";

/// The same services in any order of arrival, all at once and one by one, give the same.
fn settled(services: &[Draft]) -> (Arc<ResourceSet>, Vec<String>) {
    let world = World::new(services.to_vec());
    let mut state = world.state();
    let (set, warned) = (set_of(&mut state, &world), warnings_of(&mut state));
    for backwards in [false, true] {
        let mut world = World::new([]);
        let mut state = world.state();
        let mut now: Vec<Draft> = Vec::new();
        for at in 0..services.len() {
            let at = if backwards { services.len() - 1 - at } else { at };
            now.push(services[at].clone());
            let before = world.snapshot.clone();
            world.list(now.clone());
            state.apply(&world.snapshot.changes_since(&before));
        }
        let other = set_of(&mut state, &world);
        for type_ in ResourceType::ALL {
            assert_eq!(
                other.version(type_),
                set.version(type_),
                "{type_}, backwards: {backwards}"
            );
        }
        assert_eq!(warnings_of(&mut state), warned);
    }
    (set, warned)
}

#[test]
fn an_envoy_without_any_service_has_its_shared_listener_with_empty_routes() {
    let world = World::new([]);
    let set = set_of(&mut world.state(), &world);
    assert_eq!(listener_of(&set, SHARED).unwrap(), ["http http.15001"]);
    assert!(hosts_of(&set, "http.15001").is_empty());

    let elsewhere = View {
        outbound: Some("127.0.0.1:15006".parse().unwrap()),
        ..envoy()
    };
    let set = set_of(&mut world.state_of(elsewhere, XdsConfig::default()), &world);
    assert_eq!(
        names_of(&set, ResourceType::Listener),
        ["outbound_127.0.0.1_15006"]
    );
    assert_eq!(names_of(&set, ResourceType::Route), ["http.15006"]);

    let set = set_of(
        &mut world.state_of(view(Kind::Grpc), XdsConfig::default()),
        &world,
    );
    assert!(set.is_empty(), "gRPC does not listen");
}

#[test]
fn virtual_hosts_stand_in_the_order_of_their_names() {
    let host = |name| service(name).label("hosts", &format!("http.15001={name}.static"));
    let (set, warned) = settled(&[host("b"), host("c"), host("a")]);
    assert_eq!(
        hosts_of(&set, "http.15001"),
        [
            "a.static:0 a.static",
            "b.static:0 b.static",
            "c.static:0 c.static"
        ]
    );
    assert!(warned.is_empty());
}

#[test]
fn a_domain_belongs_to_the_hostname_then_to_an_alias_then_to_the_oldest_then_to_the_alphabet() {
    let (set, warned) = settled(&[
        service("web")
            .created(9)
            .label("hosts", "http.15001=web.static,web.static:80"),
        service("old")
            .created(1)
            .alias("web.static")
            .label("hosts", "http.15001=old.static,web.static,WEB.static:80,x"),
        service("named")
            .created(5)
            .alias("x")
            .label("hosts", "http.15001=named.static,x,y,z"),
        service("young").created(7).label("hosts", "http.15001=y"),
        service("unknown").label("hosts", "http.15001=y,z"),
        service("a").label("hosts", "http.15001=v"),
        service("b").label("hosts", "http.15001=v,w"),
    ]);
    assert_eq!(
        hosts_of(&set, "http.15001"),
        [
            "a.static:0 v",
            "b.static:0 w",
            "named.static:0 named.static,x,y,z",
            "old.static:0 old.static",
            "web.static:0 web.static,web.static:80",
        ],
        "a host that has no domain left is no host"
    );
    assert_eq!(
        warned,
        [
            "b.static: domain v of http.15001 leads to a.static",
            "old.static: domain web.static of http.15001 leads to web.static",
            "old.static: domain web.static:80 of http.15001 leads to web.static",
            "old.static: domain x of http.15001 leads to named.static",
            "unknown.static: domain y of http.15001 leads to named.static",
            "unknown.static: domain z of http.15001 leads to named.static",
            "young.static: domain y of http.15001 leads to named.static",
        ]
    );
}

#[test]
fn a_service_that_goes_leaves_its_domains_to_the_next() {
    let services = [
        service("a").created(1).label("hosts", "http.15001=x"),
        service("b").created(2).label("hosts", "http.15001=x"),
        service("c").created(3).label("hosts", "http.15001=x"),
    ];
    let mut world = World::new(services.clone());
    let mut state = world.state();
    assert_eq!(
        hosts_of(&set_of(&mut state, &world), "http.15001"),
        ["a.static:0 x"]
    );
    let before = world.snapshot.clone();
    world.list(services[1..].to_vec());
    state.apply(&world.snapshot.changes_since(&before));
    assert_eq!(
        hosts_of(&set_of(&mut state, &world), "http.15001"),
        ["b.static:0 x"]
    );
    assert_eq!(
        warnings_of(&mut state),
        ["c.static: domain x of http.15001 leads to b.static"]
    );
}

#[test]
fn two_hosts_of_one_service_never_have_a_domain_twice() {
    let (set, warned) =
        settled(&[service("web").label("hosts", "http.15001=web.static,x,x http.15001=x,y http.80=x")]);
    assert_eq!(
        hosts_of(&set, "http.15001"),
        ["web.static:0 web.static,x", "web.static:1 y"]
    );
    assert_eq!(hosts_of(&set, "http.80"), ["web.static:2 x"]);
    assert!(warned.is_empty());
}

#[test]
fn http_shares_an_address_by_its_routes_and_they_exist_though_they_are_empty() {
    let at = "10.1.1.1:80";
    let wish = format!("http@{at}@http.vip");
    let (set, warned) = settled(&[
        service("a")
            .label("listen", &wish)
            .label("hosts", "http.vip=a.static"),
        service("b")
            .label("listen", &wish)
            .label("hosts", "http.vip=b.static"),
        service("c").label("listen", "http@10.1.1.2:80@http.empty"),
    ]);
    assert_eq!(listener_of(&set, at).unwrap(), ["http http.vip"]);
    assert_eq!(hosts_of(&set, "http.vip").len(), 2);
    assert!(hosts_of(&set, "http.empty").is_empty());
    assert!(warned.is_empty());
}

#[test]
fn tls_shares_an_address_by_server_names_and_each_name_leads_to_the_oldest() {
    let at = "10.1.1.1:443";
    let (set, warned) = settled(&[
        service("new")
            .created(2)
            .label("listen", &format!("sni@{at}@new.static,Shared.static")),
        service("old")
            .created(1)
            .label("listen", &format!("sni@{at}@shared.static,old.static")),
        service("late").label("listen", &format!("sni@{at}@old.static")),
    ]);
    assert_eq!(
        listener_of(&set, at).unwrap(),
        ["new.static new.static", "shared.static,old.static old.static"]
    );
    assert_eq!(
        warned,
        [
            "late.static: server name old.static at 10.1.1.1:443 leads to old.static",
            "new.static: server name shared.static at 10.1.1.1:443 leads to old.static",
        ]
    );
}

/// Facts §9.12: a virtual address and port that two services have is no reason to refuse either's other resources.
#[test]
fn what_cannot_share_an_address_leaves_it_to_the_oldest() {
    let at = "10.1.1.1:5432";
    let kinds = [
        "tcp@10.1.1.1:5432",
        "sni@10.1.1.1:5432@x",
        "http@10.1.1.1:5432@http.5432",
    ];
    for winner in kinds {
        for loser in kinds {
            if winner == loser && winner != kinds[0] {
                continue;
            }
            let (set, warned) = settled(&[
                service("young")
                    .created(2)
                    .label("listen", loser)
                    .label("ports", "1"),
                service("z-old").created(1).label("listen", winner),
                service("unknown").label("listen", loser),
            ]);
            let alone = settled(&[service("z-old").created(1).label("listen", winner)]).0;
            assert_eq!(listener_of(&set, at), listener_of(&alone, at));
            assert_eq!(
                warned,
                [
                    "unknown.static: cannot listen at 10.1.1.1:5432, where z-old.static is",
                    "young.static: cannot listen at 10.1.1.1:5432, where z-old.static is",
                ]
            );
            assert_eq!(
                set.len(ResourceType::Cluster),
                1,
                "its cluster is there all the same"
            );
        }
    }
}

#[test]
fn the_shared_listener_yields_to_nobody() {
    let (set, warned) = settled(&[
        service("a").created(1).label("listen", "tcp@127.0.0.1:15001"),
        service("b")
            .created(1)
            .label("listen", "http@127.0.0.1:15001@http.other"),
        service("c")
            .created(1)
            .label("listen", "http@127.0.0.1:15001@http.15001"),
    ]);
    assert_eq!(listener_of(&set, SHARED).unwrap(), ["http http.15001"]);
    assert_eq!(
        warned,
        [
            "a.static: cannot listen at 127.0.0.1:15001, where the shared HTTP listener is",
            "b.static: cannot listen at 127.0.0.1:15001, where the shared HTTP listener is",
        ]
    );
}

#[test]
fn only_services_that_are_exported_and_wanted_are_there() {
    let world = World::new(
        ["web", "web-admin", "api", "db"].map(|name| service(name).label("ports", "80").label("warn", "odd")),
    );
    let config = XdsConfig {
        services: vec!["web*".to_owned(), "api.*".to_owned()],
        exclude_services: vec!["*-admin.*".to_owned()],
        ..XdsConfig::default()
    };
    let mut state = world.state_of(envoy(), config.clone());
    let set = set_of(&mut state, &world);
    assert_eq!(
        names_of(&set, ResourceType::Cluster),
        ["outbound|80||api.static", "outbound|80||web.static"]
    );
    assert_eq!(warnings_of(&mut state), ["api.static: odd", "web.static: odd"]);

    let wants = View {
        services: vec!["w*".into(), "db.*".into()],
        ..envoy()
    };
    let set = set_of(&mut world.state_of(wants, config), &world);
    assert_eq!(
        names_of(&set, ResourceType::Endpoints),
        ["outbound|80||web.static"]
    );
}

#[test]
fn a_change_to_one_service_leaves_all_other_resources_the_same_allocations() {
    let many = |changed: u8| {
        (0..500).map(move |n| {
            let endpoints = if n == 7 { changed } else { 1 };
            let name = format!("s{n}");
            let hosts = format!("http.15001={name}.static");
            service(&name)
                .endpoints(endpoints)
                .label("ports", "80")
                .label("hosts", &hosts)
        })
    };
    let mut world = World::new(many(1));
    let mut state = world.state();
    let before = set_of(&mut state, &world);
    let old = world.snapshot.clone();
    world.list(many(2));
    state.apply(&world.snapshot.changes_since(&old));
    let (after, changed) = state.set(&world.snapshot, Doubt::None);
    assert!(changed);
    let mut different = Vec::new();
    for type_ in ResourceType::ALL {
        after.table(type_).diff(before.table(type_), &mut |_, now| {
            different.push(format!("{:?}", now.unwrap().0));
        });
    }
    assert_eq!(different.len(), 1, "{different:?}");
    assert!(
        different[0].starts_with("eds outbound|80||s7.static"),
        "{different:?}"
    );
    assert!(!state.set(&world.snapshot, Doubt::None).1);
}

#[test]
fn two_views_share_their_resources() {
    let world = World::new((0..100).map(|n| {
        service(&format!("s{n}"))
            .label("ports", "80")
            .label("hosts", &format!("http.15001=s{n}"))
    }));
    let pool = Arc::new(Pool::default());
    let made = |view| {
        let mut state = State::new(view, Arc::default(), fake(), pool.clone(), &world.snapshot);
        set_of(&mut state, &world)
    };
    let nearby = View {
        network: "blue".into(),
        ..envoy()
    };
    let (one, other) = (made(envoy()), made(nearby));
    assert_eq!(one.len(ResourceType::Endpoints), 100);
    for type_ in ResourceType::ALL {
        for resource in one.iter(type_) {
            assert!(Arc::ptr_eq(resource, other.get(type_, resource.name()).unwrap()));
        }
    }
}
