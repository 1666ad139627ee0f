//! Exports and imports of a clusterset, and what was derived from imports.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Address, Endpoint, Health, Resolution, SessionAffinity};
use serde_json::{Value, json};

use super::{Change, Cluster, DELAY, Join, Kind, Part, Source, addresses, pod, service, slice};
use crate::{ANNOTATION, APP_PROTOCOL, EXPORT, INVALID_SERVICE_TYPE, NO_SERVICE, VALID};

fn exporting() -> Cluster {
    Cluster::of(Join::Exports, DELAY)
}

fn importing() -> Cluster {
    Cluster::of(Join::Imports, DELAY)
}

fn export(name: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "demo", "uid": format!("x-{name}"),
            "creationTimestamp": "2026-01-02T03:04:05Z", "labels": { "not": "exported" },
        },
        "spec": { "exportedLabels": { "team": "money" }, "exportedAnnotations": { "note": "n" } },
    })
}

fn import(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "demo", "uid": format!("i-{name}"), "labels": { "l": "v" } },
        "spec": {
            "type": "ClusterSetIP", "ips": ["10.97.0.1"], "ipFamilies": ["IPv4"], "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 10 } },
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80 }],
        },
        "status": { "clusters": [{ "cluster": "a" }, { "cluster": "b" }] },
    })
}

/// A slice of one cluster, imported for a service.
fn imported(name: &str, service: &str, cluster: &str, endpoints: &[Value]) -> Value {
    let mut slice = slice(name, "none", endpoints);
    slice["metadata"]["labels"] = json!({
        "multicluster.kubernetes.io/service-name": service,
        "multicluster.kubernetes.io/source-cluster": cluster,
    });
    slice
}

/// What a cluster says an export is worth, and where its endpoints are.
fn worth(cluster: &Cluster, name: &str) -> (String, Vec<String>) {
    let record = cluster.record(name);
    let worth = record.meta().metadata().get(EXPORT).unwrap().to_string();
    let nothing = record.meta().resolution() == Resolution::Nothing;
    assert_eq!(nothing, worth != VALID);
    (worth, addresses(&record))
}

// === what is derived

#[test]
fn a_derived_service_is_none_and_may_turn_into_one() {
    for join in [Join::Services, Join::Exports] {
        let mut cluster = Cluster::of(join, DELAY);
        cluster.watch(Kind::Export, &export("web"));
        cluster.watch(Kind::Slice, &slice("x", "web", &[pod("10.0.0.1", "p")]));
        let mut derived = service("web");
        derived["metadata"]["ownerReferences"] = json!([{ "kind": "Other" }, { "apiVersion": "net.gke.io/v1", "kind": "ServiceImport", "name": "web" }]);
        cluster.watch(Kind::Service, &derived);
        let endpoints = |cluster: &Cluster| {
            let mut records = cluster.index.records(None);
            records.next().map_or(0, |record| record.endpoints().len())
        };
        assert_eq!(endpoints(&cluster), 0);
        cluster.watch(Kind::Service, &service("web"));
        assert_eq!(endpoints(&cluster), 1);
        cluster.take();
        cluster.watch(Kind::Service, &derived);
        assert_eq!(endpoints(&cluster), 0);
        let (Change::Apply { explicit, .. } | Change::Delete { explicit, .. }) = cluster.take().remove(0);
        assert!(explicit);
    }
}

#[test]
fn an_imported_slice_is_no_slice_of_the_service_that_was_derived_and_may_become_one() {
    let mut cluster = Cluster::with(Duration::ZERO);
    cluster.watch(Kind::Service, &service("derived-x"));
    let own = slice("x", "derived-x", &[pod("10.0.0.1", "p")]);
    let mut foreign = own.clone();
    foreign["metadata"]["labels"]["multicluster.kubernetes.io/service-name"] = json!("web");
    cluster.watch(Kind::Slice, &foreign);
    assert!(cluster.record("derived-x").endpoints().is_empty());
    cluster.watch(Kind::Slice, &own);
    assert_eq!(addresses(&cluster.record("derived-x")), ["10.0.0.1"]);
    cluster.watch(Kind::Slice, &foreign);
    assert!(cluster.record("derived-x").endpoints().is_empty());
    // The label counts, and not what it says.
    foreign["metadata"]["labels"]["multicluster.kubernetes.io/service-name"] = json!("");
    cluster.watch(Kind::Slice, &foreign);
    assert!(cluster.record("derived-x").endpoints().is_empty());
}

// === exports

#[test]
fn an_export_says_what_it_exports_and_the_service_the_rest() {
    let mut cluster = exporting();
    let mut exported = service("web");
    exported["metadata"]["labels"] = json!({ "app": "web" });
    exported["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
    exported["spec"]["type"] = json!("NodePort");
    exported["spec"]["sessionAffinity"] = json!("ClientIP");
    cluster.watch(Kind::Service, &exported);
    cluster.watch(Kind::Slice, &slice("x", "web", &[pod("10.0.0.1", "p")]));
    assert!(cluster.take().is_empty(), "nothing is exported");
    cluster.watch(Kind::Export, &export("web"));
    let (record, _) = cluster.applied();
    let meta = record.meta();
    assert_eq!(addresses(&record), ["10.0.0.1"]);
    let labels: Vec<_> = meta
        .labels()
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(labels, [("team", "money")]);
    let said = |key: &str| meta.metadata().get(key).map(ToString::to_string);
    assert_eq!(said(EXPORT).as_deref(), Some(VALID));
    assert_eq!(said(&format!("{ANNOTATION}note")).as_deref(), Some("n"));
    assert_eq!(said("type").as_deref(), Some("NodePort"));
    assert_eq!(meta.created().unwrap().as_millis(), 1_767_323_045_000);
    assert_eq!(meta.traffic().session_affinity, SessionAffinity::ClientIp);
    assert_eq!(meta.variables().get("cluster").unwrap(), "east");
    assert_eq!(
        (meta.ports()[0].name.as_str(), meta.ports()[0].number),
        ("http", Some(80))
    );
}

#[test]
fn an_export_tells_what_its_service_declares_to_be_spoken_from_what_ports_are_taken_for() {
    for join in [Join::Services, Join::Exports] {
        let mut cluster = Cluster::of(join, DELAY);
        let mut exported = service("web");
        exported["spec"]["ports"] = json!([
            { "name": "http", "port": 80 },
            { "name": "ws", "port": 81, "appProtocol": "kubernetes.io/ws" },
        ]);
        cluster.watch(Kind::Service, &exported);
        cluster.watch(Kind::Export, &export("web"));
        let record = cluster.record("web");
        let spoken: Vec<_> = record
            .meta()
            .ports()
            .iter()
            .map(|port| port.app_protocol.to_string())
            .collect();
        assert_eq!(spoken, ["http", "http"]);
        let declared: Vec<_> = record
            .meta()
            .metadata()
            .iter()
            .filter_map(|(key, word)| Some((key.strip_prefix(APP_PROTOCOL)?, word.as_str())))
            .collect();
        match join {
            Join::Exports => assert_eq!(declared, [("ws", "kubernetes.io/ws")]),
            _ => assert!(declared.is_empty(), "{declared:?}"),
        }
        // The one port without a name has one in the model, and goes by that.
        exported["spec"]["ports"] = json!([{ "port": 80, "appProtocol": "h2c" }]);
        cluster.watch(Kind::Service, &exported);
        let record = cluster.record("web");
        let port = &record.meta().ports()[0];
        let declared = record
            .meta()
            .metadata()
            .get(&format!("{APP_PROTOCOL}{}", port.name));
        assert_eq!(port.app_protocol, "http2");
        assert_eq!(declared.map(ToString::to_string).is_some(), join == Join::Exports);
    }
}

#[test]
fn acceptance_38_an_export_waits_for_its_service_and_outlives_it() {
    let mut cluster = exporting();
    let pods = slice("x", "web", &[pod("10.0.0.1", "p")]);
    cluster.watch(Kind::Export, &export("web"));
    let none = (NO_SERVICE.to_owned(), Vec::new());
    assert_eq!(worth(&cluster, "web"), none);
    cluster.watch(Kind::Slice, &pods);
    assert_eq!(worth(&cluster, "web"), none);
    assert!(cluster.record("web").meta().ports().is_empty());
    let all = (VALID.to_owned(), vec!["10.0.0.1".to_owned()]);
    for _ in 0..2 {
        cluster.watch(Kind::Service, &service("web"));
        assert_eq!(worth(&cluster, "web"), all);
        cluster.take();
        cluster.delete(Kind::Service, &service("web"));
        assert_eq!(worth(&cluster, "web"), none);
        let (_, explicit) = cluster.applied();
        assert!(explicit);
    }
    let mut external = service("web");
    external["spec"]["type"] = json!("ExternalName");
    external["spec"]["externalName"] = json!("x.example.com");
    cluster.watch(Kind::Service, &external);
    assert_eq!(
        worth(&cluster, "web"),
        (INVALID_SERVICE_TYPE.to_owned(), Vec::new())
    );
    let record = cluster.record("web");
    assert!(record.meta().ports().is_empty() && record.meta().addresses().is_empty());
    cluster.watch(Kind::Service, &service("web"));
    assert_eq!(worth(&cluster, "web"), all);
}

#[test]
fn a_changed_endpoint_leaves_all_else_of_an_export_where_it_is() {
    let mut cluster = exporting();
    let pods = |ready: bool| -> Vec<Value> {
        let mut pods: Vec<Value> = (0..200)
            .map(|at| pod(&format!("10.0.0.{at}"), &format!("p{at}")))
            .collect();
        pods[7]["conditions"]["ready"] = json!(ready);
        pods
    };
    cluster.watch(Kind::Slice, &slice("x", "web", &pods(true)));
    cluster.watch(Kind::Service, &service("web"));
    cluster.watch(Kind::Export, &export("web"));
    let before = cluster.applied().0;
    cluster.watch(Kind::Slice, &slice("x", "web", &pods(false)));
    let after = cluster.applied().0;
    assert!(
        Arc::ptr_eq(before.meta(), after.meta()),
        "it is not worked out again"
    );
    let held = |endpoint: &&Arc<Endpoint>| before.endpoints().iter().any(|held| Arc::ptr_eq(held, endpoint));
    assert_eq!(after.endpoints().iter().filter(held).count(), 199);
    // A new version that says the same is no change, and goes on with the same allocations.
    cluster.watch(Kind::Export, &export("web"));
    cluster.watch(Kind::Service, &service("web"));
    assert!(cluster.take().is_empty());
    assert!(Arc::ptr_eq(cluster.record("web").meta(), after.meta()));
}

#[test]
fn an_export_that_is_removed_was_announced_and_one_that_is_merely_missing_was_not() {
    for watched in [true, false] {
        let mut cluster = exporting();
        cluster.list(Kind::Export, &[export("web")]);
        cluster.list(Kind::Service, &[service("web")]);
        cluster.take();
        if watched {
            cluster.delete(Kind::Export, &export("web"));
        } else {
            cluster.list(Kind::Export, &[]);
        }
        match cluster.take().as_slice() {
            [Change::Delete { id, explicit }] => {
                assert_eq!((id.name().as_str(), *explicit), ("web", watched));
            }
            other => panic!("{other:?}"),
        }
        // It comes back as it was.
        cluster.watch(Kind::Export, &export("web"));
        assert_eq!(worth(&cluster, "web").0, VALID);
    }
}

#[test]
fn an_export_that_cannot_be_read_is_named_and_what_was_known_of_it_stays() {
    let mut cluster = exporting();
    cluster.list(Kind::Export, &[export("web")]);
    cluster.take();
    let mut broken = export("web");
    broken["spec"] = json!(5);
    let refused = cluster.tell(Kind::Export, broken, Source::Watched).unwrap_err();
    let text = refused.error.to_string();
    assert!(text.starts_with("ServiceExport demo/web: "), "{text}");
    assert!(cluster.take().is_empty());
    assert_eq!(worth(&cluster, "web").0, NO_SERVICE);
    let unreadable: Vec<_> = cluster
        .index
        .unreadable()
        .map(|(id, _)| id.name().to_string())
        .collect();
    assert_eq!(unreadable, ["web"]);
    cluster.watch(Kind::Export, &export("web"));
    assert_eq!(cluster.index.unreadable().count(), 0);
}

#[test]
fn what_cannot_be_read_of_a_service_that_nobody_exports_is_no_trouble() {
    let mut cluster = exporting();
    let unreadable = |cluster: &Cluster| cluster.index.unreadable().count();
    let mut service = service("web");
    service["spec"]["ports"] = json!([{ "port": 80, "protocol": "QUIC" }]);
    cluster.tell(Kind::Service, service, Source::Watched).unwrap_err();
    assert_eq!(unreadable(&cluster), 0);
    let mut other = slice("x", "other", &[pod("10.0.0.1", "p")]);
    other["endpoints"][0]["addresses"] = json!(["nowhere"]);
    cluster.tell(Kind::Slice, other, Source::Watched).unwrap_err();
    assert_eq!(unreadable(&cluster), 0);
    for name in ["web", "other"] {
        cluster.watch(Kind::Export, &export(name));
    }
    assert_eq!(unreadable(&cluster), 2, "it matters as soon as it is exported");
    for name in ["web", "other"] {
        cluster.delete(Kind::Export, &export(name));
    }
    assert_eq!(unreadable(&cluster), 0);
    let mut broken = export("third");
    broken["spec"] = json!(5);
    cluster.tell(Kind::Export, broken, Source::Watched).unwrap_err();
    assert_eq!(unreadable(&cluster), 1, "nobody knows what it exports");
}

#[test]
fn in_another_version_of_its_api_the_same_object_is_read_again() {
    let objects = |join| match join {
        Join::Exports => (Kind::Export, export("web")),
        _ => (Kind::Import, import("web")),
    };
    for join in [Join::Exports, Join::Imports] {
        let mut cluster = Cluster::of(join, DELAY);
        let (kind, mut object) = objects(join);
        object["metadata"]["resourceVersion"] = json!("7");
        cluster.list(kind, std::slice::from_ref(&object));
        let (before, _) = cluster.applied();
        cluster.index.distrust_custom();
        cluster.list(kind, std::slice::from_ref(&object));
        assert!(cluster.take().is_empty(), "it says the same");
        assert!(Arc::ptr_eq(cluster.record("web").meta(), before.meta()));
        match join {
            Join::Exports => object["spec"]["exportedLabels"] = json!({ "new": "field" }),
            _ => object["spec"]["sessionAffinity"] = json!("None"),
        }
        cluster.list(kind, std::slice::from_ref(&object));
        assert!(cluster.take().is_empty(), "it is held in that version");
        cluster.index.distrust_custom();
        cluster.list(kind, std::slice::from_ref(&object));
        let (after, _) = cluster.applied();
        assert_ne!(
            (after.meta().labels(), after.meta().traffic()),
            (before.meta().labels(), before.meta().traffic())
        );
    }
}

#[test]
fn an_import_of_which_slices_count_leaves_them_alone_when_its_addresses_change() {
    let mut cluster = importing();
    cluster.watch(Kind::Import, &import("web"));
    // Pods of both families, which are worked out anew where anything is.
    let pods = slice_of_both();
    for slice in &pods {
        cluster.watch(Kind::Slice, slice);
    }
    let before = cluster.applied().0;
    assert_eq!(addresses(&before), ["10.0.0.1+fd00::1"]);
    let mut moved = import("web");
    moved["spec"]["ips"] = json!(["10.97.0.9"]);
    cluster.watch(Kind::Import, &moved);
    let after = cluster.applied().0;
    assert_ne!(after.meta().addresses(), before.meta().addresses());
    assert!(after.endpoints().ptr_eq(before.endpoints()));
    // Without slices the new address is what stands for them.
    for slice in &pods {
        cluster.delete(Kind::Slice, slice);
    }
    cluster.pass(DELAY);
    assert_eq!(addresses(&cluster.applied().0), ["10.97.0.9"]);
    cluster.watch(Kind::Import, &import("web"));
    assert_eq!(addresses(&cluster.applied().0), ["10.97.0.1"]);
}

/// Two slices, of one pod that has an address of each family.
fn slice_of_both() -> [Value; 2] {
    let v4 = imported("a", "web", "west", &[pod("10.0.0.1", "p")]);
    let mut v6 = imported("b", "web", "west", &[pod("fd00::1", "p")]);
    v6["addressType"] = json!("IPv6");
    [v4, v6]
}

#[test]
fn endpoints_of_exports_have_the_name_of_their_cluster_whatever_comes_first() {
    let mut named = pod("10.0.0.2", "q");
    named["hostname"] = json!("web-0");
    let pods = slice("x", "web", &[pod("10.0.0.1", "p"), named]);
    // Another cluster may have the older export, and say that the service is headless.
    for (ip, resolution) in [("None", Resolution::Headless), ("10.96.0.1", Resolution::Static)] {
        let mut exported = service("web");
        exported["spec"]["clusterIP"] = json!(ip);
        let steps = [
            (Kind::Service, &exported),
            (Kind::Slice, &pods),
            (Kind::Export, &export("web")),
        ];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut cluster = exporting();
            for at in order {
                cluster.watch(steps[at].0, steps[at].1);
            }
            let (record, _) = cluster.applied();
            let mut names: Vec<_> = record
                .endpoints()
                .iter()
                .map(|endpoint| endpoint.hostname().to_owned())
                .collect();
            names.sort();
            assert_eq!(names, ["10-0-0-1.east", "web-0.east"], "{order:?}");
            assert_eq!(record.meta().resolution(), resolution);
        }
    }
}

// === imports

#[test]
fn an_import_has_the_endpoints_of_all_clusters_and_stands_for_none_while_there_are_no_slices() {
    let mut cluster = importing();
    cluster.watch(Kind::Import, &import("web"));
    let (record, _) = cluster.applied();
    let stand_in = record.endpoints().iter().next().unwrap();
    assert_eq!(addresses(&record), ["10.97.0.1"]);
    assert_eq!(
        (stand_in.health(), stand_in.ports().get("http")),
        (Health::Unknown, Some(80))
    );
    let meta = record.meta();
    let said = |key: &str| {
        meta.metadata()
            .get(key)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    assert_eq!(
        (
            said("type").as_str(),
            said("clusters").as_str(),
            said("ips").as_str()
        ),
        ("ClusterSetIP", "a,b", "10.97.0.1")
    );
    assert_eq!(said("sessionAffinityTimeoutSeconds"), "10");
    assert_eq!(meta.labels().get("l").unwrap(), "v");
    assert_eq!(
        meta.addresses()[0].addresses,
        ["10.97.0.1".parse::<Address>().unwrap()]
    );

    let mut a = imported("a", "web", "west.eu", &[pod("10.0.0.1", "p")]);
    // Derived as well, and still one slice.
    a["metadata"]["labels"]["kubernetes.io/service-name"] = json!("derived-web");
    cluster.watch(Kind::Slice, &a);
    let b = imported("b", "web", "b", &[pod("10.1.0.1", "q")]);
    cluster.watch(Kind::Slice, &b);
    cluster.watch(Kind::Slice, &slice("own", "web", &[pod("10.9.0.1", "r")]));
    let (record, _) = cluster.applied();
    let mut all: Vec<_> = record
        .endpoints()
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.cluster(), endpoint.address()))
        .collect();
    all.sort();
    assert_eq!(all, ["b 10.1.0.1", "west.eu 10.0.0.1"]);
    for slice in [&a, &b] {
        cluster.delete(Kind::Slice, slice);
    }
    cluster.pass(DELAY);
    assert_eq!(addresses(&cluster.applied().0), ["10.97.0.1"]);
}

#[test]
fn acceptance_36_endpoints_of_headless_imports_have_names_with_their_clusters() {
    let with_none = json!({ "type": "ClusterSetIP", "ips": ["None"] });
    for spec in [
        json!({ "type": "Headless" }),
        with_none,
        json!({ "type": "Headless", "ips": [], "ports": null }),
    ] {
        let mut cluster = importing();
        let mut headless = import("web");
        headless["spec"] = spec;
        let same = |address: &str| {
            let mut pod = pod(address, "web-0");
            pod["hostname"] = json!("web-0");
            pod["targetRef"]["uid"] = json!(address);
            pod
        };
        cluster.watch(Kind::Slice, &imported("a", "web", "west.eu", &[same("10.0.0.1")]));
        cluster.watch(
            Kind::Slice,
            &imported("b", "web", "b", &[same("10.1.0.1"), pod("10.1.0.2", "x")]),
        );
        let mut nowhere = imported("c", "web", "", &[same("10.2.0.1")]);
        nowhere["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"].take();
        cluster.watch(Kind::Slice, &nowhere);
        cluster.watch(Kind::Import, &headless);
        let (record, _) = cluster.applied();
        assert_eq!(record.meta().resolution(), Resolution::Headless);
        let mut names: Vec<_> = record
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.hostname().to_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["", "10-1-0-2.b", "web-0.b", "web-0.west.eu"]);
        assert_eq!(record.meta().ports()[0].name, "http");
        assert!(record.meta().addresses().is_empty());
    }
}

#[test]
fn a_pod_of_one_cluster_does_not_take_the_place_of_one_of_that_name_in_another() {
    let mut cluster = importing();
    cluster.watch(Kind::Import, &import("web"));
    let of = |address: &str, uid: &str| {
        let mut pod = pod(address, "web-0");
        pod["targetRef"]["uid"] = json!(uid);
        pod
    };
    cluster.watch(Kind::Slice, &imported("a", "web", "a", &[of("10.0.0.1", "ua")]));
    cluster.take();
    // It moves to another slice, and in between the pod of the other cluster is told.
    cluster.watch(Kind::Slice, &imported("a", "web", "a", &[]));
    cluster.watch(Kind::Slice, &imported("b", "web", "b", &[of("10.1.0.1", "ub")]));
    assert_eq!(addresses(&cluster.applied().0), ["10.0.0.1", "10.1.0.1"]);
    cluster.watch(Kind::Slice, &imported("a2", "web", "a", &[of("10.0.0.1", "ua")]));
    cluster.pass(DELAY);
    assert!(cluster.take().is_empty(), "it was there all the time");
}

// === Services that cannot be read

/// A Service of a protocol that nobody knows.
fn odd(name: &str) -> Value {
    let mut odd = service(name);
    odd["spec"]["ports"][0]["protocol"] = json!("QUIC");
    odd
}

fn services() -> Part {
    Part {
        kind: Kind::Service,
        namespace: None,
    }
}

/// What there is of an export: told as a change, told in a listing.
fn told(cluster: &mut Cluster) -> (Vec<String>, usize) {
    let changes = cluster.take().into_iter().map(|change| match change {
        Change::Apply { record, explicit } => {
            let worth = record.meta().metadata().get(EXPORT).unwrap();
            format!("{worth} {explicit}")
        }
        Change::Delete { id, explicit } => format!("without {id} {explicit}"),
    });
    (changes.collect(), cluster.index.records(None).count())
}

#[test]
fn there_is_no_service_only_where_that_is_known() {
    let mut cluster = exporting();
    cluster.index.begin(&services());
    cluster
        .tell(Kind::Service, odd("web"), Source::Listed)
        .unwrap_err();
    assert!(cluster.index.complete(&services(), cluster.now));
    cluster.list(Kind::Export, &[export("web")]);
    cluster.list(Kind::Slice, &[slice("x", "web", &[pod("10.0.0.1", "p")])]);
    assert_eq!(told(&mut cluster), (vec![], 0), "nobody knows");
    assert_eq!(cluster.index.unreadable().count(), 1);
    // It can be read.
    cluster.watch(Kind::Service, &service("web"));
    assert_eq!(told(&mut cluster), (vec!["Valid true".to_owned()], 1));
    // What was known of it stays.
    cluster
        .tell(Kind::Service, odd("web"), Source::Watched)
        .unwrap_err();
    assert_eq!(told(&mut cluster), (vec![], 1));
    cluster.delete(Kind::Service, &odd("web"));
    assert_eq!(told(&mut cluster), (vec!["NoService true".to_owned()], 1));
    // A new one of that name says nothing, until a list shows that it is not there any more.
    cluster
        .tell(Kind::Service, odd("web"), Source::Watched)
        .unwrap_err();
    assert_eq!(told(&mut cluster), (vec![], 0));
    cluster.list(Kind::Service, &[]);
    assert_eq!(told(&mut cluster), (vec![], 1));
}

#[test]
fn an_export_that_goes_while_its_service_is_in_doubt_is_announced_to_be_gone() {
    for blind in [false, true] {
        for forgets in [false, true] {
            let mut cluster = exporting();
            cluster.index.begin(&services());
            if blind {
                cluster.index.skip(&services());
            } else {
                cluster
                    .tell(Kind::Service, odd("web"), Source::Listed)
                    .unwrap_err();
            }
            assert_eq!(cluster.index.complete(&services(), cluster.now), !blind);
            cluster.list(Kind::Export, &[export("web")]);
            assert_eq!(told(&mut cluster), (vec![], 0));
            if forgets {
                cluster.index.forget("demo", true);
            } else {
                cluster.delete(Kind::Export, &export("web"));
            }
            let (changes, _) = told(&mut cluster);
            assert_eq!(changes.len(), 1, "{changes:?}");
            let text = &changes[0];
            assert!(text.starts_with("without") && text.ends_with("true"), "{text}");
            assert_eq!(told(&mut cluster), (vec![], 0));
        }
    }
}

#[test]
fn that_a_service_which_could_not_be_read_is_gone_is_no_announcement_where_a_list_lacks_it() {
    let mut cluster = exporting();
    cluster.index.begin(&services());
    cluster
        .tell(Kind::Service, odd("web"), Source::Listed)
        .unwrap_err();
    assert!(cluster.index.complete(&services(), cluster.now));
    cluster.watch(Kind::Export, &export("web"));
    assert_eq!(told(&mut cluster), (vec![], 0));
    cluster.list(Kind::Service, &[]);
    assert_eq!(told(&mut cluster), (vec!["NoService false".to_owned()], 1));
}

#[test]
fn where_not_even_names_of_services_can_be_read_nobody_knows_which_exports_lack_one() {
    for nameless in [false, true] {
        let mut cluster = exporting();
        cluster.index.begin(&services());
        cluster
            .tell(Kind::Service, service("db"), Source::Listed)
            .unwrap();
        if nameless {
            let object = json!({ "metadata": { "namespace": "demo" }, "spec": 5 });
            cluster.tell(Kind::Service, object, Source::Listed).unwrap_err();
        } else {
            cluster.index.skip(&services());
        }
        assert!(!cluster.index.complete(&services(), cluster.now));
        for name in ["web", "db", "gone"] {
            cluster.watch(Kind::Export, &export(name));
        }
        assert_eq!(
            told(&mut cluster),
            (vec!["Valid true".to_owned()], 1),
            "db alone is known"
        );
        // What is announced is known.
        cluster.delete(Kind::Service, &service("gone"));
        assert_eq!(told(&mut cluster), (vec!["NoService true".to_owned()], 2));
        cluster.delete(Kind::Service, &service("db"));
        assert_eq!(told(&mut cluster), (vec!["NoService true".to_owned()], 2));
        cluster.list(Kind::Service, &[]);
        assert_eq!(told(&mut cluster), (vec!["NoService false".to_owned()], 3), "web");
    }
}
