//! The conditions of exports, and what an import of them would say.

use std::sync::Arc;

use registry_core::{Conflict, ConflictField, Exclusive, Health, Labels, Snapshot, Transport, Union};
use registry_k8s::{INVALID_SERVICE_TYPE, NO_SERVICE};
use registry_mcs::{Exported, ImportType, Standing, Truth, exported, exports, import_spec, statuses};

use crate::clusterset::{Clusters, Export, WEB, conditions, id};

fn merged(members: &[(&'static str, Export)]) -> Clusters {
    let names: Vec<&'static str> = members.iter().map(|(name, _)| *name).collect();
    let mut clusters = Clusters::new(&names);
    for (name, export) in members.iter().rev() {
        clusters.say(name, Some(export));
    }
    clusters
}

/// The message of the condition `Conflict`, which is that of all.
fn message(clusters: &Clusters) -> String {
    let exports = exports(&clusters.snapshot, WEB);
    let messages = exports.iter().map(|export| export.conditions[2].message.clone());
    let mut messages: Vec<String> = messages.collect();
    messages.dedup();
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

#[test]
fn exports_that_agree_are_valid_ready_and_without_conflict() {
    let clusters = merged(&[("a", Export::at(200)), ("b", Export::at(100))]);
    assert_eq!(
        conditions(&clusters.snapshot, WEB),
        ["b: Valid Ready NoConflicts", "a: Valid Ready NoConflicts"],
        "the oldest first"
    );
    assert_eq!(message(&clusters), "");
    assert_eq!(
        conditions(&clusters.snapshot, "api.shop.svc.clusterset.local"),
        [""; 0]
    );
    assert_eq!(exports(&Snapshot::default(), WEB), []);
}

#[test]
fn an_export_of_nothing_says_why_and_takes_no_part_in_conflicts() {
    let other = Export {
        labels: vec![("team", "b")],
        ..Export::at(300)
    };
    let clusters = merged(&[
        ("a", Export::invalid(100, NO_SERVICE)),
        ("b", Export::invalid(150, INVALID_SERVICE_TYPE)),
        ("c", Export::at(200)),
        ("d", other),
    ]);
    assert_eq!(
        conditions(&clusters.snapshot, WEB),
        [
            "a: NoService (False) Pending (False) NoConflicts",
            "b: InvalidServiceType (False) Failed (False) NoConflicts",
            "c: Valid Ready LabelsConflict (True)",
            "d: Valid Ready LabelsConflict (True)",
        ]
    );
    let nothing = merged(&[("a", Export::invalid(100, NO_SERVICE)), ("b", Export::at(200))]);
    assert_eq!(exported(&nothing.snapshot).into_iter().collect::<Vec<_>>(), [WEB]);
    let mut nothing = nothing;
    nothing.say("b", None);
    assert!(nothing.snapshot.get(WEB).is_none());
    assert_eq!(
        conditions(&nothing.snapshot, WEB),
        ["a: NoService (False) Pending (False) NoConflicts"]
    );
    assert_eq!(exported(&nothing.snapshot).into_iter().collect::<Vec<_>>(), [WEB]);
    nothing.say("a", None);
    assert_eq!(conditions(&nothing.snapshot, WEB), [""; 0]);
    assert!(exported(&nothing.snapshot).is_empty());
}

#[test]
fn what_is_no_export_is_not_listed_as_one() {
    // Of whatever word a later version may have.
    for word in ["", "true"] {
        let machines = Export {
            word,
            families: "",
            ..Export::at(100)
        };
        let clusters = merged(&[("a", Export::at(200)), ("vms", machines.clone())]);
        assert_eq!(
            conditions(&clusters.snapshot, WEB),
            ["a: Valid Ready NoConflicts"]
        );
        let import = import_spec(clusters.snapshot.get(WEB).unwrap()).unwrap();
        assert_eq!(import.clusters, ["a"]);
        let alone = merged(&[("vms", machines)]);
        assert!(exported(&alone.snapshot).is_empty());
        assert_eq!(import_spec(alone.snapshot.get(WEB).unwrap()), None);
    }
}

#[test]
fn who_is_left_out_by_another_policy_is_not_ready_and_has_no_conflicts() {
    let members = [("a", "a"), ("b", "b"), ("c", "c")];
    let other = |created| Export {
        headless: true,
        ..Export::at(created)
    };
    let mut clusters = Clusters::merged_by(Arc::new(Exclusive), &members);
    clusters.say("a", Some(&Export::invalid(100, NO_SERVICE)));
    clusters.say("b", Some(&Export::at(200)));
    clusters.say("c", Some(&other(300)));
    assert_eq!(clusters.endpoints().unwrap(), ["b-1 http healthy"]);
    assert_eq!(
        conditions(&clusters.snapshot, WEB),
        [
            "a: NoService (False) Pending (False) NoConflicts",
            "b: Valid Ready NoConflicts",
            "c: Valid Failed (False) NoConflicts",
        ]
    );
    let all = Exported::all(&clusters.snapshot);
    let standings = all[0].exports().iter().map(|export| all[0].standing(export));
    assert_eq!(
        standings.collect::<Vec<_>>(),
        [Standing::Invalid, Standing::Fine, Standing::LeftOut]
    );
    let exports = exports(&clusters.snapshot, WEB);
    let ready = &exports[2].conditions[1].message;
    assert!(ready.contains("policy"), "{ready}");

    let mut clusters = Clusters::merged_by(Arc::new(Union), &members);
    clusters.say("a", Some(&Export::invalid(100, NO_SERVICE)));
    clusters.say("b", Some(&other(200)));
    clusters.say("c", Some(&Export::at(300)));
    assert_eq!(
        conditions(&clusters.snapshot, WEB),
        [
            "a: NoService (False) Pending (False) NoConflicts",
            "b: Valid Ready TypeConflict (True)",
            "c: Valid Ready TypeConflict (True)",
        ]
    );
}

#[test]
fn conflicts_of_a_service_are_not_those_of_an_export_that_it_keeps_out() {
    let clusters = merged(&[
        ("a", Export::at(100)),
        ("b", Export::at(200)),
        ("c", Export::at(300)),
    ]);
    let service = clusters.snapshot.get(WEB).unwrap();
    let sources = service.sources();
    let said = |field, names: [&str; 2]| Conflict {
        field,
        item: "".into(),
        values: names.map(|name| (id(name), "x".to_owned())).to_vec(),
    };
    let conflicts = [
        said(ConflictField::Hostname, ["a", "c"]),
        said(ConflictField::Labels, ["a", "b"]),
    ];
    let all: Vec<registry_mcs::Export<'_>> = sources
        .iter()
        .map(|source| registry_mcs::Export {
            registry: &source.registry,
            meta: &source.meta,
        })
        .collect();
    let statuses = statuses(&all, &sources[..2], &conflicts);
    let reasons: Vec<(&str, &str)> = statuses
        .iter()
        .map(|status| (&*status.conditions[1].reason, &*status.conditions[2].reason))
        .collect();
    let both = "LabelsConflict,HostnameConflict";
    assert_eq!(
        reasons,
        [("Ready", both), ("Ready", both), ("Failed", "HostnameConflict")]
    );
    let message = &statuses[0].conditions[2].message;
    assert!(message.contains("1 of 2 clusters disagrees"), "{message}");
}

#[test]
fn others_than_clusters_are_counted_where_they_take_part() {
    let machines = Export {
        word: "",
        headless: true,
        families: "",
        ..Export::at(100)
    };
    let clusters = merged(&[("a", Export::at(200)), ("b", Export::at(300)), ("vms", machines)]);
    assert_eq!(
        message(&clusters),
        r#"Conflicting type. Using "ClusterSetIP" from the oldest export, of cluster "a"; 1 of 3 registries disagrees"#
    );
}

#[test]
fn each_conflict_has_its_reason_on_all_exports() {
    let of = |change: fn(&mut Export)| {
        let mut young = Export::at(200);
        change(&mut young);
        let old = Export {
            affinity: Some(10),
            ..Export::at(100)
        };
        young.affinity = young.affinity.or(Some(10)).filter(|seconds| *seconds > 0);
        let clusters = merged(&[("a", old), ("b", young)]);
        let [a, b] = &*exports(&clusters.snapshot, WEB) else {
            panic!("two exports")
        };
        assert_eq!(a.conditions[2], b.conditions[2]);
        let condition = a.conditions[2].clone();
        (condition.reason, condition.message)
    };
    for (change, reason, message) in [
        (
            (|young| young.headless = true) as fn(&mut Export),
            "TypeConflict",
            r#"Conflicting type. Using "ClusterSetIP" from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.ports = vec![("http", 81, Transport::Tcp)],
            "PortConflict",
            r#"Conflicting number of port "http". Using "80" from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.ports = vec![("http", 80, Transport::Udp)],
            "PortConflict",
            r#"Conflicting protocol of port "http". Using "TCP" from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.ports.push(("dns", 53, Transport::Udp)),
            "PortConflict",
            r#"Conflicting ports. Using the ports of all, of which cluster "a" has "http"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.affinity = Some(0),
            "SessionAffinityConflict",
            r#"Conflicting session affinity. Using "ClientIP" from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.affinity = Some(20),
            "SessionAffinityConfigConflict",
            r#"Conflicting session affinity timeout. Using "10" from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.labels = vec![("team", "b")],
            "LabelsConflict",
            r#"Conflicting exported labels. Using none from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.annotations = vec![("team", "b")],
            "AnnotationsConflict",
            r#"Conflicting exported annotations. Using none from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.local = true,
            "InternalTrafficPolicyConflict",
            r#"Conflicting internal traffic policy. Using "Cluster" from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.distribution = "PreferClose",
            "TrafficDistributionConflict",
            r#"Conflicting traffic distribution. Using none from the oldest export, of cluster "a"; 1 of 2 clusters disagrees"#,
        ),
        (
            |young| young.families = "IPv6",
            "IPFamilyConflict",
            r#"Conflicting IP families. There is none that all have, cluster "a" has "IPv4"; 1 of 2 clusters disagrees"#,
        ),
    ] {
        assert_eq!(of(change), (reason.to_owned(), message.to_owned()));
    }
}

#[test]
fn several_reasons_are_joined_by_commas_in_the_order_of_the_api() {
    let other = Export {
        headless: true,
        distribution: "PreferClose",
        labels: vec![("k", "v")],
        ports: vec![("web", 80, Transport::Tcp)],
        ..Export::at(200)
    };
    let third = Export {
        ports: vec![("web", 81, Transport::Tcp)],
        ..Export::at(300)
    };
    let clusters = merged(&[("a", Export::at(100)), ("b", other), ("c", third)]);
    let reason = "PortConflict,TypeConflict,LabelsConflict,TrafficDistributionConflict (True)";
    assert_eq!(
        conditions(&clusters.snapshot, WEB),
        ["a", "b", "c"].map(|name| format!("{name}: Valid Ready {reason}"))
    );
    let message = message(&clusters);
    assert!(
        message.contains("Conflicting ports. Using the ports of all, of which cluster \"a\" has \"http\"; 2 of 3 clusters disagree."),
        "{message}"
    );
    assert!(message.contains("name of port 80/tcp"), "{message}");
}

#[test]
fn a_port_may_be_that_of_an_export_that_is_not_the_oldest() {
    let with = |created, number| Export {
        ports: vec![("http", 80, Transport::Tcp), ("admin", number, Transport::Tcp)],
        ..Export::at(created)
    };
    let clusters = merged(&[("a", Export::at(100)), ("b", with(200, 90)), ("c", with(300, 91))]);
    let message = message(&clusters);
    assert!(
        message
            .contains(r#"number of port "admin". Using "90" from an older export, of cluster "b"; 1 of 3"#),
        "{message}"
    );
}

#[test]
fn clusters_of_one_id_are_in_conflict() {
    let mut clusters = Clusters::with(&[("x", "east"), ("y", "east")]);
    clusters.say("x", Some(&Export::at(100)));
    clusters.say("y", Some(&Export::at(100)));
    assert_eq!(
        conditions(&clusters.snapshot, WEB),
        ["east: Valid Ready ClusterIDConflict (True)"; 2]
    );
}

#[test]
fn an_import_says_what_was_merged() {
    let old = Export {
        affinity: Some(30),
        distribution: "PreferClose",
        families: "IPv6,IPv4",
        labels: vec![("team", "a")],
        annotations: vec![("note", "of a")],
        ..Export::at(100)
    };
    let young = Export {
        families: "IPv4",
        labels: vec![("team", "b"), ("tier", "1")],
        ports: vec![("dns", 53, Transport::Udp), ("http", 80, Transport::Tcp)],
        ..Export::at(200)
    };
    let clusters = merged(&[("b", young), ("a", old)]);
    let import = import_spec(clusters.snapshot.get(WEB).unwrap()).unwrap();
    assert_eq!(import.kind, ImportType::ClusterSetIp);
    let ports: Vec<_> = import
        .ports
        .iter()
        .map(|port| (&*port.name, port.protocol, port.port))
        .collect();
    assert_eq!(ports, [("dns", "UDP", 53), ("http", "TCP", 80)]);
    assert_eq!(import.ip_families, ["IPv4"]);
    assert_eq!(
        (import.session_affinity, import.session_affinity_timeout),
        ("ClientIP", Some(30))
    );
    assert_eq!(import.internal_traffic_policy, "Cluster");
    assert_eq!(import.traffic_distribution.unwrap(), "PreferClose");
    assert_eq!(import.labels, [("team", "a")].into_iter().collect::<Labels>());
    assert_eq!(
        import.annotations,
        [("note", "of a")].into_iter().collect::<Labels>()
    );
    assert_eq!(import.clusters, ["a", "b"]);
}

#[test]
fn what_an_import_says_as_a_whole_is_all_of_one_source() {
    let machines = Export {
        word: "",
        affinity: Some(30),
        families: "",
        labels: vec![("team", "vms")],
        annotations: vec![("note", "of vms")],
        ..Export::at(300)
    };
    let export = Export {
        labels: vec![("team", "a"), ("tier", "1")],
        annotations: vec![("note", "of a")],
        ..Export::at(200)
    };
    let mut clusters = Clusters::merged_by(Arc::new(Union), &[("vms", "vms"), ("a", "a")]);
    clusters.say("a", Some(&export));
    clusters.say("vms", Some(&machines));
    let service = clusters.snapshot.get(WEB).unwrap();
    assert_eq!(service.sources()[0].registry.as_str(), "vms");
    let import = import_spec(service).unwrap();
    assert_eq!(
        (import.session_affinity, import.session_affinity_timeout),
        ("ClientIP", Some(30))
    );
    assert_eq!(import.labels, [("team", "vms")].into_iter().collect::<Labels>());
    assert_eq!(
        import.annotations,
        [("note", "of vms")].into_iter().collect::<Labels>()
    );
    assert_eq!(import.clusters, ["a"]);
}

#[test]
fn an_import_of_a_headless_service_has_its_ports_in_slices() {
    let headless = Export {
        headless: true,
        endpoints: vec![(1, Health::Healthy)],
        ..Export::at(100)
    };
    let clusters = merged(&[("a", headless), ("b", Export::at(200))]);
    let import = import_spec(clusters.snapshot.get(WEB).unwrap()).unwrap();
    assert_eq!((import.kind, import.ports.len()), (ImportType::Headless, 0));
    assert_eq!(
        (import.session_affinity, import.session_affinity_timeout),
        ("None", None)
    );
}

#[test]
fn how_an_export_stands_is_what_its_conditions_come_to() {
    let at_odds = Export {
        labels: vec![("team", "b")],
        ..Export::at(300)
    };
    for (members, expected) in [
        (
            vec![("a", Export::at(100)), ("b", Export::at(200))],
            vec![Standing::Fine, Standing::Fine],
        ),
        (
            vec![
                ("a", Export::at(100)),
                ("b", at_odds),
                ("c", Export::invalid(50, NO_SERVICE)),
            ],
            vec![Standing::Invalid, Standing::Conflict, Standing::Conflict],
        ),
        (
            vec![("a", Export::invalid(50, INVALID_SERVICE_TYPE))],
            vec![Standing::Invalid],
        ),
    ] {
        let clusters = merged(&members);
        let all = Exported::all(&clusters.snapshot);
        let [web] = &*all else {
            panic!("{all:?}");
        };
        assert_eq!(web.hostname(), WEB);
        assert_eq!(web.statuses(), exports(&clusters.snapshot, WEB));
        let standings: Vec<Standing> = web.exports().iter().map(|export| web.standing(export)).collect();
        assert_eq!(standings, expected);
        let told = web.statuses().into_iter().map(|status| {
            let [valid, ready, conflict] = status.conditions.map(|condition| condition.status);
            match (valid, ready, conflict) {
                (Truth::False, ..) => Standing::Invalid,
                (_, Truth::False, _) => Standing::LeftOut,
                (.., Truth::True) => Standing::Conflict,
                _ => Standing::Fine,
            }
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
    assert!(Exported::all(&Snapshot::default()).is_empty());
}

#[test]
fn what_is_spoken_on_a_port_is_what_its_service_declares_and_not_what_it_is_taken_for() {
    let declaring = |created, protocol| Export {
        protocols: vec![("http", protocol)],
        ..Export::at(created)
    };
    let silent = Export::at;
    let websocket = "kubernetes.io/ws";
    for (a, b, word, conflict) in [
        (silent(100), silent(200), "", None),
        (silent(100), declaring(200, "http"), "", Some("none")),
        (declaring(100, "http"), silent(200), "http", Some(r#""http""#)),
        (
            declaring(100, websocket),
            declaring(200, websocket),
            websocket,
            None,
        ),
        (
            declaring(100, websocket),
            declaring(200, "http"),
            websocket,
            Some(r#""kubernetes.io/ws""#),
        ),
    ] {
        let clusters = merged(&[("b", b), ("a", a)]);
        let service = clusters.snapshot.get(WEB).unwrap();
        let import = import_spec(service).unwrap();
        assert_eq!(import.ports[0].app_protocol, word);
        assert_eq!(
            service.ports()[0].app_protocol,
            "http",
            "who routes goes on with what it is taken for"
        );
        let status = &exports(&clusters.snapshot, WEB)[1].conditions[2];
        match conflict {
            None => assert_eq!(status.reason, "NoConflicts"),
            Some(value) => {
                let expected =
                    format!("application protocol of port \"http\". Using {value} from the oldest export");
                assert_eq!(status.reason, "PortConflict");
                assert!(status.message.contains(&expected), "{}", status.message);
            }
        }
    }
}
