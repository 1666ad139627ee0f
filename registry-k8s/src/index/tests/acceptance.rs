//! The numbered ideas of what has to hold, as far as they concern the joining of objects.

use std::time::Duration;

use registry_core::{Health, Resolution};
use serde_json::{Value, json};

use super::{Change, Cluster, Kind, Source, addresses, captured, demo, items, json_of, pod, service, slice};

#[test]
fn acceptance_1_of_three_slices_one_goes_and_the_rest_stays() {
    let mut cluster = Cluster::new();
    cluster.watch(Kind::Service, &service("web"));
    let of = |slice_at: usize, count: usize| -> Value {
        let pods: Vec<Value> = (0..count)
            .map(|at| pod(&format!("10.0.{slice_at}.{at}"), &format!("web-{slice_at}-{at}")))
            .collect();
        slice(&format!("web-{slice_at}"), "web", &pods)
    };
    for (at, count) in [(1, 100), (2, 100), (3, 50)] {
        cluster.watch(Kind::Slice, &of(at, count));
    }
    assert_eq!(cluster.applied().0.endpoints().len(), 250);
    cluster.delete(Kind::Slice, &of(2, 100));
    assert!(cluster.take().is_empty(), "they may turn up in another slice");
    cluster.pass(super::DELAY);
    let (record, explicit) = cluster.applied();
    assert!(explicit);
    assert_eq!(record.endpoints().len(), 150);
    assert!(
        addresses(&record)
            .iter()
            .all(|address| !address.starts_with("10.0.2."))
    );
}

#[test]
fn acceptance_2_a_move_between_slices_is_no_change_in_either_order() {
    for add_first in [true, false] {
        let mut cluster = Cluster::new();
        cluster.watch(Kind::Service, &service("web"));
        let moving = [pod("10.0.0.1", "web-1")];
        cluster.watch(Kind::Slice, &slice("a", "web", &moving));
        cluster.watch(Kind::Slice, &slice("b", "web", &[]));
        assert_eq!(cluster.applied().0.endpoints().len(), 1);
        let steps = [slice("a", "web", &[]), slice("b", "web", &moving)];
        let steps = if add_first {
            [&steps[1], &steps[0]]
        } else {
            [&steps[0], &steps[1]]
        };
        for step in steps {
            cluster.watch(Kind::Slice, step);
            assert!(cluster.take().is_empty());
            assert_eq!(addresses(&cluster.record("web")), ["10.0.0.1"]);
            cluster.pass(Duration::from_millis(50));
        }
        cluster.pass(super::DELAY);
        assert!(cluster.take().is_empty());
        assert_eq!(cluster.index.next_due(), None);
    }
}

#[test]
fn acceptance_3_of_two_pods_with_one_address_the_running_one_is_there() {
    let running = pod("10.0.0.1", "new");
    let mut gone = pod("10.0.0.1", "old");
    gone["conditions"] = json!({ "ready": false, "serving": false, "terminating": true });
    let slices = [
        [("a", vec![running.clone()]), ("b", vec![gone.clone()])],
        [("a", vec![gone.clone()]), ("b", vec![running.clone()])],
        [("b", vec![running.clone()]), ("a", vec![gone.clone()])],
        [("b", vec![gone.clone()]), ("a", vec![running.clone()])],
        [("a", vec![running.clone(), gone.clone()]), ("b", vec![])],
        [("a", vec![gone, running]), ("b", vec![])],
    ];
    for case in slices {
        let mut cluster = Cluster::new();
        cluster.watch(Kind::Service, &service("web"));
        for (name, pods) in &case {
            cluster.watch(Kind::Slice, &slice(name, "web", pods));
        }
        let (record, _) = cluster.applied();
        let ids: Vec<&str> = record.endpoints().iter().map(|endpoint| endpoint.id()).collect();
        assert_eq!(ids, ["new/u-new"], "{case:?}");
    }
}

#[test]
fn acceptance_5_a_published_pod_that_terminates_keeps_its_conditions() {
    let cluster = demo();
    let db = cluster.record("db");
    assert_eq!(db.meta().resolution(), Resolution::Headless);
    let mut states: Vec<(String, Health, String)> = db
        .endpoints()
        .iter()
        .map(|endpoint| {
            let status = endpoint.claims().next().unwrap().status;
            (
                endpoint.hostname().to_owned(),
                endpoint.health(),
                status.to_string(),
            )
        })
        .collect();
    states.sort();
    let state = |name: &str, health, status: &str| (name.to_owned(), health, status.to_owned());
    assert_eq!(
        states,
        [
            state(
                "db-0",
                Health::Healthy,
                "ready=true serving=true terminating=false"
            ),
            state(
                "db-1",
                Health::Degraded,
                "ready=true serving=false terminating=false"
            ),
            state(
                "db-2",
                Health::Draining,
                "ready=true serving=true terminating=true"
            ),
        ]
    );
}

#[test]
fn acceptance_6_and_8_ports_by_name_differ_per_pod_and_both_families_are_one_endpoint() {
    let mut cluster = demo();
    cluster.take();
    let web = cluster.record("web");
    assert_eq!(
        addresses(&web),
        ["10.244.0.1+fd00::1", "10.244.0.2+fd00::2", "10.244.0.3+fd00::3"]
    );
    let http = |first: &str| {
        let mut endpoints = web.endpoints().iter();
        let found = endpoints.find(|endpoint| endpoint.address().to_string() == first);
        found.unwrap().ports().get("http")
    };
    assert_eq!((http("10.244.0.1"), http("10.244.0.2")), (Some(8080), Some(9090)));

    // With IPv6 first, that address goes first.
    let mut v6_first = json_of("service-web.json");
    v6_first["spec"]["ipFamilies"] = json!(["IPv6", "IPv4"]);
    cluster.watch(Kind::Service, &v6_first);
    assert_eq!(
        addresses(&cluster.applied().0),
        ["fd00::1+10.244.0.1", "fd00::2+10.244.0.2", "fd00::3+10.244.0.3"]
    );
    cluster.watch(Kind::Service, &json_of("service-web.json"));
    cluster.take();

    for slice in items("endpointslices-demo.json") {
        if slice["addressType"] == "IPv6" {
            cluster.delete(Kind::Slice, &slice);
        }
    }
    cluster.pass(super::DELAY);
    assert_eq!(
        addresses(&cluster.applied().0),
        ["10.244.0.1", "10.244.0.2", "10.244.0.3"]
    );
}

#[test]
fn acceptance_7_nulls_in_every_place_are_read() {
    let mut cluster = Cluster::new();
    cluster.watch(Kind::Service, &service("web"));
    let mut nulls = slice("a", "web", &[]);
    nulls["endpoints"] = Value::Null;
    nulls["ports"] = Value::Null;
    cluster.watch(Kind::Slice, &nulls);
    assert_eq!(cluster.applied().0.endpoints().len(), 0);
    let bare = json!({
        "addresses": ["10.0.0.1"], "conditions": null, "hints": null, "targetRef": null, "nodeName": null,
        "zone": null, "hostname": null, "deprecatedTopology": null,
    });
    let empty = json!({ "addresses": ["10.0.0.2"], "conditions": {} });
    let nowhere = [json!({ "addresses": [] }), json!({ "addresses": null })];
    let mut all_ports = slice("b", "web", &[bare, empty, nowhere[0].clone(), nowhere[1].clone()]);
    all_ports["ports"] =
        json!([{ "name": "any", "port": null }, { "name": null, "port": 9, "protocol": null }]);
    all_ports["metadata"]["annotations"] = Value::Null;
    cluster.watch(Kind::Slice, &all_ports);
    let mut no_ports = slice("c", "web", &[json!({ "addresses": ["10.0.0.3"] })]);
    no_ports["ports"] = json!([]);
    cluster.watch(Kind::Slice, &no_ports);
    let (record, _) = cluster.applied();
    assert_eq!(addresses(&record), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    for endpoint in record.endpoints().iter() {
        assert_eq!(endpoint.health(), Health::Healthy);
        let ports: Vec<u16> = endpoint.ports().iter().map(|port| port.number).collect();
        let expected: &[u16] = if endpoint.id() == "10.0.0.3" { &[] } else { &[9] };
        assert_eq!(ports, expected);
    }
    let mut bare = json!({ "metadata": { "name": "bare", "labels": null }, "spec": null, "status": null });
    cluster.watch(Kind::Service, &bare);
    bare["spec"] = json!({ "ports": null, "clusterIPs": null, "sessionAffinityConfig": null, "type": null });
    cluster.watch(Kind::Service, &bare);
    assert_eq!(cluster.applied().0.id().to_string(), "bare");
    assert_eq!(demo().record("empty-headless").endpoints().len(), 0);
}

#[test]
fn acceptance_9_host_names_are_endpoints_apart_from_addresses_or_none() {
    let cluster = demo();
    let lb = cluster.record("lb");
    assert_eq!(
        addresses(&lb),
        ["192.0.2.20", "192.0.2.21", "192.0.2.22", "backend.example.com"]
    );
    let mut without = Cluster::new();
    without.index.mapping.fqdn = false;
    without.list(Kind::Service, &[json_of("service-lb.json")]);
    without.list(Kind::Slice, &items("endpointslices-demo.json"));
    assert_eq!(
        addresses(&without.record("lb")),
        ["192.0.2.20", "192.0.2.21", "192.0.2.22"]
    );
}

#[test]
fn acceptance_10_places_hints_and_names_are_kept_and_follow_node_labels() {
    let mut cluster = demo();
    cluster.take();
    let endpoint = |cluster: &Cluster| {
        let web = cluster.record("web");
        let mut all = web.endpoints().iter();
        all.find(|endpoint| endpoint.address().to_string() == "10.244.0.1")
            .unwrap()
            .clone()
    };
    let one = endpoint(&cluster);
    assert_eq!((&*one.locality().region, &*one.locality().zone), ("eu", "eu-a"));
    assert_eq!(
        (&**one.node(), &**one.cluster(), &**one.network()),
        ("node-a", "east", "pods")
    );
    assert_eq!(
        one.hints().iter().map(|hint| hint.as_str()).collect::<Vec<_>>(),
        ["eu-a"]
    );
    assert_eq!(one.id(), "web-1/1c28a55d-12f9-473a-bab5-eb8c40c64f71");

    let mut node = items("nodes-partialmetadata.json").remove(0);
    cluster.watch(Kind::Node, &node);
    assert!(cluster.take().is_empty(), "a heartbeat is no change");
    node["metadata"]["labels"] = json!({ "failure-domain.beta.kubernetes.io/region": "us" });
    cluster.watch(Kind::Node, &node);
    assert!(!cluster.take().is_empty());
    let moved = endpoint(&cluster);
    assert_eq!(
        (&*moved.locality().region, &*moved.locality().zone),
        ("us", "eu-a")
    );

    cluster.delete(Kind::Node, &node);
    assert!(cluster.take().is_empty(), "an endpoint stays where its node was");
    assert_eq!(&*endpoint(&cluster).locality().region, "us");

    let mut hinted = pod("10.0.0.9", "x");
    hinted["hints"] = json!({ "forNodes": [{ "name": "node-a" }], "forZones": null });
    hinted["deprecatedTopology"] =
        json!({ "topology.kubernetes.io/region": "old", "topology.kubernetes.io/zone": "old-1" });
    cluster.watch(Kind::Service, &service("hinted"));
    cluster.watch(Kind::Slice, &slice("hinted", "hinted", &[hinted]));
    let (record, _) = cluster.applied();
    let one = record.endpoints().iter().next().unwrap();
    assert_eq!(
        one.node_hints()
            .iter()
            .map(|hint| hint.as_str())
            .collect::<Vec<_>>(),
        ["node-a"]
    );
    assert_eq!((&*one.locality().region, &*one.locality().zone), ("old", "old-1"));
}

#[test]
fn acceptance_11_a_relabelled_slice_moves_at_once_from_one_service_to_the_other() {
    let mut cluster = Cluster::new();
    for name in ["svc-a", "svc-b"] {
        cluster.watch(Kind::Service, &service(name));
    }
    cluster.watch(Kind::Slice, &slice("x", "svc-a", &[pod("10.0.0.1", "p")]));
    assert_eq!(cluster.take().len(), 2);
    cluster.watch(Kind::Slice, &slice("x", "svc-b", &[pod("10.0.0.1", "p")]));
    let mut sizes = Vec::new();
    for change in cluster.take() {
        let Change::Apply { record, explicit } = change else {
            panic!("nothing was deleted")
        };
        assert!(explicit);
        sizes.push((record.id().name().to_string(), record.endpoints().len()));
    }
    sizes.sort();
    assert_eq!(sizes, [("svc-a".to_owned(), 0), ("svc-b".to_owned(), 1)]);
}

#[test]
fn acceptance_12_slices_wait_for_their_service_and_outlive_it() {
    let mut cluster = Cluster::new();
    let pods = slice("x", "web", &[pod("10.0.0.1", "p")]);
    cluster.watch(Kind::Slice, &pods);
    assert!(cluster.take().is_empty());
    assert_eq!(cluster.index.records(None).count(), 0);
    cluster.watch(Kind::Service, &service("web"));
    assert_eq!(cluster.applied().0.endpoints().len(), 1);
    cluster.delete(Kind::Service, &service("web"));
    assert!(matches!(
        cluster.take().as_slice(),
        [Change::Delete { explicit: true, .. }]
    ));
    cluster.watch(Kind::Service, &service("web"));
    assert_eq!(
        cluster.applied().0.endpoints().len(),
        1,
        "its slices were there all the time"
    );
    cluster.delete(Kind::Service, &service("web"));
    cluster.take();
    cluster.delete(Kind::Slice, &pods);
    cluster.pass(super::DELAY);
    assert!(cluster.take().is_empty());
    assert!(cluster.index.namespaces.is_empty(), "nothing is left behind");
}

#[test]
fn acceptance_13_services_change_their_type_in_place() {
    let mut cluster = demo();
    let ext = cluster.record("ext");
    assert_eq!(ext.meta().resolution(), Resolution::Dns);
    assert_eq!(addresses(&ext), ["db.example.com"]);
    assert_eq!(ext.endpoints().iter().next().unwrap().health(), Health::Unknown);
    assert_eq!(addresses(&cluster.record("legacy")), ["192.0.2.10", "192.0.2.11"]);

    cluster.take();
    cluster.watch(Kind::Service, &service("flips"));
    cluster.watch(Kind::Slice, &slice("f", "flips", &[pod("10.0.0.1", "p")]));
    assert_eq!(addresses(&cluster.applied().0), ["10.0.0.1"]);
    let mut external = service("flips");
    external["spec"] =
        json!({ "type": "ExternalName", "externalName": "x.example.com", "ports": [{ "port": 443 }] });
    cluster.watch(Kind::Service, &external);
    let (record, _) = cluster.applied();
    assert_eq!(addresses(&record), ["x.example.com"]);
    assert_eq!(
        record.endpoints().iter().next().unwrap().ports().get("default"),
        Some(443)
    );
    cluster.watch(Kind::Slice, &slice("g", "flips", &[pod("10.0.0.2", "q")]));
    assert!(cluster.take().is_empty(), "its slices do not count");
    cluster.watch(Kind::Service, &service("flips"));
    assert_eq!(addresses(&cluster.applied().0), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn acceptance_14_two_ports_of_one_number_are_two_ports() {
    let cluster = demo();
    let web = cluster.record("web");
    let ports: Vec<(&str, Option<u16>, &str)> = web
        .meta()
        .ports()
        .iter()
        .map(|port| (&*port.name, port.number, port.transport.as_str()))
        .collect();
    assert_eq!(
        ports,
        [
            ("dns", Some(53), "udp"),
            ("dns-tcp", Some(53), "tcp"),
            ("http", Some(80), "tcp")
        ]
    );
    for endpoint in web.endpoints().iter() {
        assert_eq!(
            (endpoint.ports().get("dns"), endpoint.ports().get("dns-tcp")),
            (Some(53), Some(53))
        );
    }
}

#[test]
fn acceptance_22_one_object_of_a_wrong_shape_is_named_and_keeps_what_it_had() {
    let mut cluster = Cluster::new();
    cluster.watch(Kind::Service, &service("web"));
    let good = slice("a", "web", &[pod("10.0.0.1", "p")]);
    cluster.watch(Kind::Slice, &good);
    cluster.take();
    let mut wrong = good.clone();
    wrong["ports"] = json!("x");
    for source in [Source::Watched, Source::Listed] {
        let part = super::Part {
            kind: Kind::Slice,
            namespace: None,
        };
        if source == Source::Listed {
            cluster.index.begin(&part);
        }
        let refused = cluster.tell(Kind::Slice, wrong.clone(), source).unwrap_err();
        let message = refused.error.to_string();
        assert!(message.starts_with("EndpointSlice demo/a: "), "{message}");
        assert!(message.contains("\"x\""), "{message}");
        let broken: Vec<String> = cluster.index.unreadable().map(|(id, _)| id.to_string()).collect();
        assert_eq!(broken, ["demo/demo/web"]);
        cluster
            .tell(Kind::Slice, slice("b", "web", &[pod("10.0.0.2", "q")]), source)
            .unwrap();
        cluster.index.complete(&part, cluster.now);
        cluster.take();
        assert_eq!(
            addresses(&cluster.record("web")),
            ["10.0.0.1", "10.0.0.2"],
            "{source:?}"
        );
        assert_eq!(cluster.index.unreadable().count(), 1);
    }
    wrong["ports"] = json!([]);
    wrong["endpoints"] = json!([{ "addresses": ["fd00::1"] }]);
    let refused = cluster.tell(Kind::Slice, wrong, Source::Watched).unwrap_err();
    assert_eq!(
        refused.error.to_string(),
        "EndpointSlice demo/a: endpoints[0].addresses[0]: found \"fd00::1\", expected an IPv4 address"
    );
    cluster.watch(Kind::Slice, &slice("a", "web", &[pod("10.0.0.3", "r")]));
    cluster.pass(super::DELAY);
    cluster.take();
    assert_eq!(addresses(&cluster.record("web")), ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(cluster.index.unreadable().count(), 0, "it recovers");

    // Not even a name: nothing is known to be missing from that listing.
    let part = super::Part {
        kind: Kind::Slice,
        namespace: None,
    };
    cluster.index.begin(&part);
    assert!(
        cluster
            .index
            .apply(Kind::Slice, b"{}", Source::Listed, cluster.now)
            .is_err()
    );
    cluster.index.complete(&part, cluster.now);
    assert!(cluster.take().is_empty());
}

#[test]
fn a_slice_of_an_imported_service_belongs_to_no_service_here() {
    let mut cluster = Cluster::new();
    let mut imported = service("web");
    imported["metadata"]["namespace"] = json!("mcs");
    cluster.watch(Kind::Service, &imported);
    cluster.list(Kind::Slice, &items("mcs-endpointslices.json"));
    assert_eq!(cluster.applied().0.endpoints().len(), 0);
    assert!(
        captured()
            .iter()
            .any(|object| object.contains("multicluster.kubernetes.io"))
    );
}

#[test]
fn endpoints_of_headless_services_have_names_whenever_the_service_comes() {
    let mut headless = service("web");
    headless["spec"]["clusterIP"] = json!("None");
    let pods = slice("x", "web", &[pod("10.0.0.1", "p")]);
    for service_first in [true, false] {
        let mut cluster = Cluster::new();
        let mut steps = [(Kind::Service, &headless), (Kind::Slice, &pods)];
        if !service_first {
            steps.reverse();
        }
        for (kind, object) in steps {
            cluster.watch(kind, object);
        }
        let (record, _) = cluster.applied();
        assert_eq!(record.endpoints().iter().next().unwrap().hostname(), "10-0-0-1");
    }
}
