//! Each rule of the KEP, by what becomes of the exports of clusters.

use registry_core::{Resolution, SessionAffinity, Transport};
use registry_k8s::{INVALID_SERVICE_TYPE, NO_SERVICE};

use crate::clusterset::{Clusters, Export, WEB};

/// What becomes of the exports of `a`, 100 seconds old, and of `b`, 200, in both orders of arrival.
fn both(a: &Export, b: &Export, check: impl Fn(&Clusters)) {
    for order in [["a", "b"], ["b", "a"]] {
        let mut clusters = Clusters::new(&["a", "b"]);
        for name in order {
            clusters.say(name, Some(if name == "a" { a } else { b }));
        }
        check(&clusters);
    }
}

#[test]
fn same_name_in_the_same_namespace_is_one_service_of_all_that_export_it() {
    both(&Export::at(100), &Export::at(200), |clusters| {
        assert_eq!(
            clusters.endpoints().unwrap(),
            ["a-1 http healthy", "b-1 http healthy"]
        );
        assert_eq!(clusters.conflicts(), [""; 0]);
    });
    let mut clusters = Clusters::new(&["a", "b"]);
    assert_eq!(clusters.endpoints(), None);
    clusters.say("b", Some(&Export::at(200)));
    clusters.say("a", Some(&Export::at(100)));
    clusters.say("b", None);
    assert_eq!(clusters.endpoints().unwrap(), ["a-1 http healthy"]);
    clusters.say("a", None);
    assert_eq!(clusters.endpoints(), None, "without exports there is no service");
}

#[test]
fn the_oldest_export_wins_then_the_lesser_cluster_id_then_the_lesser_registry() {
    let headless = |created: Option<u64>| Export {
        headless: true,
        created,
        ..Export::at(0)
    };
    let wins = |members: &[(&'static str, &'static str)], a: &Export, b: &Export| {
        let mut won = Vec::new();
        for order in [[0, 1], [1, 0]] {
            let mut clusters = Clusters::with(members);
            for at in order {
                clusters.say(members[at].0, Some([a, b][at]));
            }
            let service = clusters.snapshot.get(WEB).unwrap();
            won.push(service.sources()[0].registry.to_string());
        }
        assert_eq!(won[0], won[1], "whoever was heard first");
        won.remove(0)
    };
    let (ab, same) = ([("a", "a"), ("b", "b")], [("a", "c"), ("b", "c")]);
    let crossed = [("a", "y"), ("b", "x")];
    assert_eq!(wins(&ab, &headless(Some(100)), &Export::at(200)), "a");
    assert_eq!(wins(&ab, &headless(Some(200)), &Export::at(100)), "b");
    assert_eq!(wins(&ab, &headless(Some(100)), &Export::at(100)), "a");
    assert_eq!(wins(&crossed, &headless(Some(100)), &Export::at(100)), "b");
    assert_eq!(wins(&same, &headless(Some(100)), &Export::at(100)), "a");
    assert_eq!(
        wins(&ab, &headless(None), &Export::at(100)),
        "b",
        "no time is the youngest"
    );
    assert_eq!(wins(&ab, &headless(None), &headless(None)), "a");
}

#[test]
fn headlessness_is_that_of_the_oldest() {
    let headless = Export {
        headless: true,
        ..Export::at(100)
    };
    both(&headless, &Export::at(200), |clusters| {
        let service = clusters.snapshot.get(WEB).unwrap();
        assert_eq!(service.resolution(), Resolution::Headless);
        assert_eq!(
            clusters.conflicts(),
            ["resolution: a says headless, b says static"]
        );
    });
    let younger = Export {
        created: Some(300),
        ..headless
    };
    both(&younger, &Export::at(200), |clusters| {
        let service = clusters.snapshot.get(WEB).unwrap();
        assert_eq!(service.resolution(), Resolution::Static);
        assert_eq!(
            clusters.conflicts(),
            ["resolution: b says static, a says headless"]
        );
        let named = service
            .endpoints()
            .iter()
            .filter_map(|e| service.endpoint_dns_name(e));
        assert_eq!(named.count(), 0);
    });
}

#[test]
fn endpoints_of_headless_services_are_told_apart_by_cluster() {
    let headless = |created| Export {
        headless: true,
        ..Export::at(created)
    };
    let mut clusters = Clusters::with(&[("a", "a"), ("b", "b.example")]);
    clusters.say("a", Some(&headless(100)));
    clusters.say("b", Some(&headless(200)));
    let service = clusters.snapshot.get(WEB).unwrap();
    let mut names: Vec<String> = service
        .endpoints()
        .iter()
        .filter_map(|endpoint| service.endpoint_dns_name(endpoint))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "pod-1.a.web.shop.svc.clusterset.local",
            "pod-1.b.example.web.shop.svc.clusterset.local"
        ]
    );
    for forbidden in [
        "a.web.shop.svc.clusterset.local",
        "b.example.web.shop.svc.clusterset.local",
    ] {
        assert!(clusters.snapshot.get(forbidden).is_none());
    }
}

#[test]
fn ports_are_united_and_each_is_served_by_those_that_have_it() {
    let two = Export {
        ports: vec![("http", 80, Transport::Tcp), ("dns", 53, Transport::Udp)],
        ..Export::at(200)
    };
    both(&Export::at(100), &two, |clusters| {
        assert_eq!(
            clusters.endpoints().unwrap(),
            ["a-1 http healthy", "b-1 dns+http healthy"]
        );
        assert_eq!(
            clusters.conflicts(),
            ["ports: a says http, b says dns, http"],
            "ports are not identical in all"
        );
    });
    let other_number = Export {
        ports: vec![("http", 81, Transport::Tcp)],
        ..Export::at(200)
    };
    both(&Export::at(100), &other_number, |clusters| {
        assert_eq!(clusters.endpoints().unwrap(), ["a-1 http healthy"]);
        assert_eq!(clusters.conflicts(), ["port.number http: a says 80, b says 81"]);
        let service = clusters.snapshot.get(WEB).unwrap();
        assert_eq!(service.ports()[0].number, Some(80));
        assert_eq!(service.sources().len(), 2, "it takes part all the same");
    });
    let other_name = Export {
        ports: vec![("web", 80, Transport::Tcp)],
        ..Export::at(200)
    };
    both(&Export::at(100), &other_name, |clusters| {
        assert_eq!(clusters.endpoints().unwrap(), ["a-1 http healthy"]);
        assert_eq!(
            clusters.conflicts(),
            [
                "port.name 80/tcp: a says http, b says web",
                "ports: a says http, b says web"
            ]
        );
    });
    let udp = Export {
        ports: vec![("http-udp", 80, Transport::Udp)],
        ..Export::at(200)
    };
    both(&Export::at(100), &udp, |clusters| {
        assert_eq!(
            clusters.endpoints().unwrap(),
            ["a-1 http healthy", "b-1 http-udp healthy"]
        );
    });
}

#[test]
fn traffic_fields_are_the_oldests_each_as_a_whole() {
    let old = Export {
        affinity: Some(10),
        distribution: "PreferClose",
        ..Export::at(100)
    };
    let young = Export {
        affinity: Some(20),
        local: true,
        ..Export::at(200)
    };
    both(&old, &young, |clusters| {
        let service = clusters.snapshot.get(WEB).unwrap();
        let traffic = service.traffic();
        assert_eq!(traffic.session_affinity, SessionAffinity::ClientIp);
        assert_eq!(
            (&*traffic.distribution, traffic.internal_local),
            ("PreferClose", false)
        );
        assert_eq!(
            clusters.conflicts(),
            [
                "session_affinity.timeout: a says 10, b says 20",
                "internal_traffic_policy: a says Cluster, b says Local",
                "traffic_distribution: a says PreferClose, b says ",
            ]
        );
    });
    both(&Export::at(100), &young, |clusters| {
        let service = clusters.snapshot.get(WEB).unwrap();
        assert_eq!(service.traffic().session_affinity, SessionAffinity::None);
        assert_eq!(
            clusters.conflicts(),
            [
                "session_affinity: a says None, b says ClientIP",
                "internal_traffic_policy: a says Cluster, b says Local",
            ],
            "a timeout is nothing where clients do not stay"
        );
    });
}

#[test]
fn exported_labels_and_annotations_are_the_oldests_even_where_it_has_none() {
    let some = Export {
        labels: vec![("team", "b")],
        annotations: vec![("note", "x, y")],
        ..Export::at(200)
    };
    both(&Export::at(100), &some, |clusters| {
        let service = clusters.snapshot.get(WEB).unwrap();
        assert!(service.labels().is_empty());
        assert_eq!(
            clusters.conflicts(),
            [
                "labels: a says , b says team=b",
                "annotations: a says , b says note=\"x, y\""
            ]
        );
    });
    let old = Export {
        labels: vec![("team", "a"), ("tier", "1")],
        ..Export::at(100)
    };
    both(&old, &some, |clusters| {
        let labels = clusters.snapshot.get(WEB).unwrap().labels().clone();
        assert_eq!(labels, [("team", "a"), ("tier", "1")].into_iter().collect());
    });
    both(
        &Export {
            created: Some(100),
            ..some.clone()
        },
        &some,
        |clusters| {
            assert_eq!(clusters.conflicts(), [""; 0]);
        },
    );
}

#[test]
fn those_that_lose_are_at_odds_with_the_oldest_and_not_with_each_other() {
    let stays = |created, affinity| Export {
        affinity,
        ..Export::at(created)
    };
    let mut clusters = Clusters::new(&["a", "b", "c"]);
    for (name, export) in [
        ("c", stays(300, Some(20))),
        ("b", stays(200, Some(10))),
        ("a", stays(100, None)),
    ] {
        clusters.say(name, Some(&export));
    }
    assert_eq!(
        clusters.conflicts(),
        ["session_affinity: a says None, b says ClientIP, c says ClientIP"],
        "no timeout is used"
    );
    clusters.say("a", Some(&stays(400, None)));
    assert_eq!(
        clusters.conflicts(),
        [
            "session_affinity: b says ClientIP, a says None",
            "session_affinity.timeout: b says 10, c says 20"
        ]
    );
}

#[test]
fn what_is_no_export_is_the_youngest_and_has_its_labels_for_itself() {
    let machines = |created| Export {
        word: "",
        families: "",
        labels: vec![("team", "a")],
        annotations: vec![("note", "of a")],
        ..Export::at(created)
    };
    both(&machines(100), &Export::at(200), |clusters| {
        assert_eq!(
            clusters.endpoints().unwrap(),
            ["a-1 http healthy", "b-1 http healthy"]
        );
        assert_eq!(clusters.conflicts(), [""; 0]);
        let service = clusters.snapshot.get(WEB).unwrap();
        assert_eq!(service.sources()[0].registry.as_str(), "b");
        assert!(service.labels().is_empty());
    });
}

#[test]
fn a_port_without_name_and_number_is_the_only_one_that_clusters_export() {
    let machines = Export {
        word: "",
        families: "",
        ports: vec![("default", 0, Transport::Tcp)],
        ..Export::at(100)
    };
    both(&machines, &Export::at(200), |clusters| {
        assert_eq!(
            clusters.endpoints().unwrap(),
            ["a-1 http healthy", "b-1 http healthy"]
        );
        let ports = clusters.snapshot.get(WEB).unwrap().ports().to_vec();
        assert_eq!(ports.len(), 1);
        assert_eq!((&*ports[0].name, ports[0].number), ("http", Some(80)));
        assert_eq!(clusters.conflicts(), [""; 0]);
    });
    let two = Export {
        ports: vec![("http", 80, Transport::Tcp), ("dns", 53, Transport::Udp)],
        ..Export::at(200)
    };
    both(&machines, &two, |clusters| {
        assert_eq!(
            clusters.endpoints().unwrap(),
            ["a-1 default healthy", "b-1 dns+http healthy"],
            "nobody knows which of two it is"
        );
    });
}

#[test]
fn ip_families_are_at_odds_where_no_family_is_one_of_all() {
    let with = |created, families| Export {
        families,
        ..Export::at(created)
    };
    both(&with(100, "IPv4,IPv6"), &with(200, "IPv6"), |clusters| {
        assert_eq!(clusters.conflicts(), [""; 0]);
    });
    both(&with(100, "IPv4"), &with(200, "IPv6"), |clusters| {
        assert_eq!(clusters.conflicts(), ["ip_families: a says IPv4, b says IPv6"]);
    });
    both(&with(100, "IPv4"), &with(200, ""), |clusters| {
        assert_eq!(clusters.conflicts(), [""; 0], "unknown is no disagreement");
    });
    let mut clusters = Clusters::new(&["a", "b", "c"]);
    for (name, families) in [("a", "IPv4,IPv6"), ("b", "IPv4"), ("c", "IPv6")] {
        clusters.say(name, Some(&with(100, families)));
    }
    assert_eq!(
        clusters.conflicts(),
        ["ip_families: a says IPv4,IPv6, b says IPv4, c says IPv6"]
    );
}

#[test]
fn exports_without_something_to_export_take_no_part() {
    for word in [NO_SERVICE, INVALID_SERVICE_TYPE] {
        let invalid = Export {
            labels: vec![("team", "a")],
            ..Export::invalid(100, word)
        };
        both(&invalid, &Export::at(200), |clusters| {
            assert_eq!(clusters.endpoints().unwrap(), ["b-1 http healthy"]);
            assert_eq!(clusters.conflicts(), [""; 0]);
            assert!(clusters.snapshot.get(WEB).unwrap().labels().is_empty());
            assert_eq!(clusters.snapshot.claims(WEB).count(), 2);
        });
        both(&invalid, &invalid, |clusters| {
            assert_eq!(clusters.endpoints(), None);
            assert_eq!(clusters.snapshot.claims(WEB).count(), 2);
        });
    }
    // The Service comes, and goes again.
    let mut clusters = Clusters::new(&["a", "b"]);
    clusters.say("b", Some(&Export::at(200)));
    clusters.say("a", Some(&Export::invalid(100, NO_SERVICE)));
    assert_eq!(clusters.endpoints().unwrap(), ["b-1 http healthy"]);
    clusters.say("a", Some(&Export::at(100)));
    assert_eq!(clusters.endpoints().unwrap().len(), 2);
    assert_eq!(
        clusters.snapshot.get(WEB).unwrap().sources()[0].registry.as_str(),
        "a"
    );
    clusters.say("a", Some(&Export::invalid(100, NO_SERVICE)));
    assert_eq!(clusters.endpoints().unwrap(), ["b-1 http healthy"]);
}

#[test]
fn two_clusters_of_one_id_are_named_and_both_serve() {
    let mut clusters = Clusters::with(&[("a", "east"), ("b", "west"), ("c", "east")]);
    for name in ["a", "b", "c"] {
        clusters.say(name, Some(&Export::at(100)));
    }
    assert_eq!(clusters.endpoints().unwrap().len(), 3);
    assert_eq!(clusters.conflicts(), ["cluster east: a says east, c says east"]);
}
