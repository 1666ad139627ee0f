//! What comes of two exports that differ: the table of the KEP, row by row, whichever cluster has the older export and
//! whichever is heard first.

use registry_core::Phase;
use registry_testkit::kubernetes::mcs::service_exports_path;
use registry_testkit::kubernetes::{endpoint_slices_path, services_path};
use registry_testkit::wait;
use serde_json::{Value, json};

use crate::observer::{DEADLINE, Observer, import_lines, lines};
use crate::stage::{IDS, Member, Plan, Stage, a_second_later, headless, slice, web};

/// One row: what the clusters with the older and the newer export have, and what is to come of it.
struct Row {
    name: &'static str,
    sides: [Side; 2],
    /// In the words of [`lines`], with `old` and `new` for the clusters.
    merged: &'static [&'static str],
    /// The reasons of the condition `Conflict` of both exports.
    conflict: &'static str,
}

/// What one cluster has.
struct Side {
    service: Value,
    export: Value,
}

fn side(service: Value) -> Side {
    Side {
        service,
        export: json!({}),
    }
}

fn ports(ports: &Value) -> Side {
    side(json!({ "ports": ports }))
}

/// A service with the port `http`, and further fields.
fn with(field: &str, value: Value) -> Side {
    let mut service = web();
    service[field] = value;
    side(service)
}

fn headless_at(number: u16) -> Value {
    let mut service = headless();
    service["ports"][0]["port"] = json!(number);
    service
}

fn sticky(seconds: u32) -> Side {
    let mut sticky = with("sessionAffinity", json!("ClientIP"));
    sticky.service["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": seconds } });
    sticky
}

fn exported(field: &str, texts: &Value) -> Side {
    Side {
        service: web(),
        export: json!({ field: texts }),
    }
}

const NO_CONFLICTS: &str = "NoConflicts";

/// What all rows have in common whose clusters agree about ports and type.
const WEB: [&str; 4] = [
    "ClusterSetIP",
    "port http 80/tcp",
    "old 10.1.0.1 http=8080",
    "new 10.2.0.1 http=8080",
];

/// The same with one line more.
macro_rules! web_and {
    ($line:literal) => {
        &[WEB[0], WEB[1], WEB[2], WEB[3], $line]
    };
}

fn port_rows() -> Vec<Row> {
    let http = |number| json!({ "name": "http", "port": number });
    let grpc = json!({ "name": "grpc", "port": 90 });
    let dns = |name, protocol| json!({ "name": name, "port": 53, "protocol": protocol });
    vec![
        Row {
            name: "equal",
            sides: [side(web()), side(web())],
            merged: &WEB,
            conflict: NO_CONFLICTS,
        },
        Row {
            name: "more",
            sides: [ports(&json!([http(80)])), ports(&json!([http(80), grpc]))],
            merged: &[
                "ClusterSetIP",
                "port grpc 90/tcp",
                "port http 80/tcp",
                "old 10.1.0.1 http=8080",
                "new 10.2.0.1 grpc=8090 http=8080",
            ],
            conflict: "PortConflict",
        },
        Row {
            name: "others",
            sides: [ports(&json!([http(80)])), ports(&json!([grpc]))],
            merged: &[
                "ClusterSetIP",
                "port grpc 90/tcp",
                "port http 80/tcp",
                "old 10.1.0.1 http=8080",
                "new 10.2.0.1 grpc=8090",
            ],
            conflict: "PortConflict",
        },
        Row {
            name: "number",
            sides: [ports(&json!([http(80)])), ports(&json!([http(81)]))],
            merged: &["ClusterSetIP", "port http 80/tcp", "old 10.1.0.1 http=8080"],
            conflict: "PortConflict",
        },
        Row {
            name: "number-and-more",
            sides: [ports(&json!([http(80)])), ports(&json!([http(81), grpc]))],
            merged: &[
                "ClusterSetIP",
                "port grpc 90/tcp",
                "port http 80/tcp",
                "old 10.1.0.1 http=8080",
                "new 10.2.0.1 grpc=8090",
            ],
            conflict: "PortConflict",
        },
        Row {
            name: "transport",
            sides: [
                ports(&json!([dns("dns", "TCP")])),
                ports(&json!([dns("dns", "UDP")])),
            ],
            merged: &["ClusterSetIP", "port dns 53/tcp", "old 10.1.0.1 dns=8053"],
            conflict: "PortConflict",
        },
        Row {
            name: "name",
            sides: [
                ports(&json!([http(80)])),
                ports(&json!([{ "name": "web", "port": 80 }])),
            ],
            merged: &["ClusterSetIP", "port http 80/tcp", "old 10.1.0.1 http=8080"],
            conflict: "PortConflict",
        },
        Row {
            name: "name-and-transport",
            sides: [
                ports(&json!([dns("dns", "UDP")])),
                ports(&json!([dns("dns-tcp", "TCP")])),
            ],
            merged: &[
                "ClusterSetIP",
                "port dns 53/udp",
                "port dns-tcp 53/tcp",
                "old 10.1.0.1 dns=8053",
                "new 10.2.0.1 dns-tcp=8053",
            ],
            conflict: "PortConflict",
        },
        Row {
            name: "protocol",
            sides: [
                ports(&json!([{ "name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c" }])),
                side(web()),
            ],
            merged: &[WEB[0], "port http 80/tcp http2", WEB[2], WEB[3]],
            conflict: "PortConflict",
        },
        Row {
            // What it is taken for is not what it declares.
            name: "no-protocol",
            sides: [
                side(web()),
                ports(&json!([{ "name": "http", "port": 80, "appProtocol": "http" }])),
            ],
            merged: &WEB,
            conflict: "PortConflict",
        },
    ]
}

fn field_rows() -> Vec<Row> {
    let typed = |kind: &str| with("type", json!(kind));
    let six = |families: Value| {
        let mut service = with("ipFamilies", families);
        service.service["ipFamilyPolicy"] = json!("PreferDualStack");
        service
    };
    vec![
        Row {
            name: "headless-later",
            sides: [side(web()), side(headless())],
            merged: &WEB,
            conflict: "TypeConflict",
        },
        Row {
            name: "headless-first",
            sides: [side(headless()), side(web())],
            merged: &["Headless", WEB[1], WEB[2], WEB[3]],
            conflict: "TypeConflict",
        },
        // Clients connect to the numbers of the endpoints, so all of them serve; that exports differ is told.
        Row {
            name: "headless-number",
            sides: [side(headless()), side(headless_at(81))],
            merged: &["Headless", WEB[1], WEB[2], "new 10.2.0.1 http=8081"],
            conflict: "PortConflict",
        },
        Row {
            name: "node-port",
            sides: [typed("NodePort"), typed("LoadBalancer")],
            merged: &WEB,
            conflict: NO_CONFLICTS,
        },
        Row {
            name: "affinity",
            sides: [sticky(10), side(web())],
            merged: web_and!("ClientIP for 10"),
            conflict: "SessionAffinityConflict",
        },
        Row {
            name: "no-affinity",
            sides: [side(web()), sticky(10)],
            merged: &WEB,
            conflict: "SessionAffinityConflict",
        },
        Row {
            name: "affinity-config",
            sides: [sticky(20), sticky(10)],
            merged: web_and!("ClientIP for 20"),
            conflict: "SessionAffinityConfigConflict",
        },
        Row {
            name: "internal",
            sides: [with("internalTrafficPolicy", json!("Local")), side(web())],
            merged: web_and!("internal traffic is local"),
            conflict: "InternalTrafficPolicyConflict",
        },
        Row {
            name: "distribution",
            sides: [
                with("trafficDistribution", json!("PreferSameNode")),
                with("trafficDistribution", json!("PreferClose")),
            ],
            merged: web_and!("PreferSameNode"),
            conflict: "TrafficDistributionConflict",
        },
        Row {
            name: "no-distribution",
            sides: [side(web()), with("trafficDistribution", json!("PreferClose"))],
            merged: &WEB,
            conflict: "TrafficDistributionConflict",
        },
        Row {
            name: "labels",
            sides: [
                exported("exportedLabels", &json!({ "team": "blue" })),
                exported("exportedLabels", &json!({ "team": "red", "tier": "1" })),
            ],
            merged: web_and!("label team=blue"),
            conflict: "LabelsConflict",
        },
        Row {
            name: "no-labels",
            sides: [side(web()), exported("exportedLabels", &json!({ "team": "red" }))],
            merged: &WEB,
            conflict: "LabelsConflict",
        },
        Row {
            name: "annotations",
            sides: [
                exported("exportedAnnotations", &json!({ "note": "first" })),
                exported("exportedAnnotations", &json!({ "note": "second", "more": "" })),
            ],
            merged: web_and!("annotation note=first"),
            conflict: "AnnotationsConflict",
        },
        Row {
            name: "families",
            sides: [
                with("ipFamilies", json!(["IPv4"])),
                with("ipFamilies", json!(["IPv6"])),
            ],
            merged: &WEB,
            conflict: "IPFamilyConflict",
        },
        Row {
            name: "families-in-common",
            sides: [with("ipFamilies", json!(["IPv4"])), six(json!(["IPv6", "IPv4"]))],
            merged: &WEB,
            conflict: NO_CONFLICTS,
        },
        Row {
            name: "much",
            sides: [
                exported("exportedLabels", &json!({ "team": "blue" })),
                Side {
                    service: json!({ "clusterIP": "None", "ports": [{ "name": "http", "port": 81 }] }),
                    export: json!({ "exportedAnnotations": { "note": "x" } }),
                },
            ],
            merged: &[WEB[0], WEB[1], WEB[2], "label team=blue"],
            conflict: "AnnotationsConflict,LabelsConflict,PortConflict,TypeConflict",
        },
    ]
}

/// All rows.
fn table() -> Vec<Row> {
    port_rows().into_iter().chain(field_rows()).collect()
}

/// The service of a row where that cluster has the older export.
fn named(row: &Row, older: usize) -> String {
    format!("{}-{}", row.name, IDS[older])
}

/// The endpoints of a side: one, at each port of its service, by a number that is 8000 more.
fn slice_of(side: &Side, age: usize) -> Value {
    let mut endpoints = slice(&[["10.1.0.1", "10.2.0.1"][age]], &[]);
    let ports = side.service["ports"].as_array().unwrap().iter().map(|port| {
        let mut port = port.clone();
        port["port"] = json!(8000 + port["port"].as_u64().unwrap());
        port
    });
    endpoints["ports"] = ports.collect();
    endpoints
}

/// Writes what the clusters have of all rows, each twice: either cluster has the older export once.
async fn write(stage: &Stage) {
    for kind in [Kind::Services, Kind::OlderExports, Kind::NewerExports] {
        let (a, b) = (
            write_to(stage, stage.a(), 0, kind),
            write_to(stage, stage.b(), 1, kind),
        );
        tokio::join!(a, b);
        if kind == Kind::OlderExports {
            a_second_later().await;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Services,
    OlderExports,
    NewerExports,
}

async fn write_to(stage: &Stage, member: &Member, index: usize, kind: Kind) {
    let namespace = stage.namespace();
    let mut objects = Vec::new();
    for (row, older) in table().iter().flat_map(|row| [(row, 0), (row, 1)]) {
        let age = usize::from(index != older);
        let (name, side) = (named(row, older), &row.sides[age]);
        match kind {
            Kind::Services => {
                let mut slice = slice_of(side, age);
                slice["addressType"] = json!("IPv4");
                slice["metadata"] = json!({
                    "name": format!("{name}-1"), "labels": { "kubernetes.io/service-name": name },
                });
                let service = json!({ "metadata": { "name": name }, "spec": side.service });
                objects.push((endpoint_slices_path(namespace), slice));
                objects.push((services_path(namespace), service));
            }
            Kind::OlderExports | Kind::NewerExports => {
                let export = json!({
                    "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceExport",
                    "metadata": { "name": name }, "spec": side.export,
                });
                if (kind == Kind::OlderExports) == (age == 0) {
                    objects.push((service_exports_path(namespace), export));
                }
            }
        }
    }
    member.api.create_all(objects).await.unwrap();
}

/// What is wrong with a row, if anything.
fn wrong(observer: &Observer, row: &Row, older: usize) -> Option<String> {
    let name = named(row, older);
    let mut wanted: Vec<String> = row
        .merged
        .iter()
        .map(|line| match line.split_once(' ') {
            Some(("old", rest)) => format!("{} {rest}", IDS[older]),
            Some(("new", rest)) => format!("{} {rest}", IDS[1 - older]),
            _ => (*line).to_owned(),
        })
        .collect();
    wanted.sort();
    let seen = observer
        .find(&name)
        .map_or_else(Vec::new, |service| lines(&service));
    if seen != wanted {
        return Some(format!("{name}: wanted {wanted:?}, and it is {seen:?}"));
    }
    // What a controller would write says the same, but for endpoints, and what is spoken on ports. A headless import has
    // no ports of its own.
    let spec = observer
        .find(&name)
        .map_or_else(Vec::new, |service| import_lines(&service));
    let is_headless = row.merged.contains(&"Headless");
    wanted.retain(|line| !IDS.iter().any(|id| line.starts_with(&format!("{id} "))));
    wanted.retain(|line| !(is_headless && line.starts_with("port ")));
    for line in &mut wanted {
        *line = line.replace(" http2", " kubernetes.io/h2c");
    }
    if spec != wanted {
        return Some(format!(
            "the import of {name}: wanted {wanted:?}, and it is {spec:?}"
        ));
    }
    let status = match row.conflict {
        NO_CONFLICTS => "False",
        _ => "True",
    };
    let wanted = [older, 1 - older].map(|index| {
        format!(
            "{} Valid=True/Valid Conflict={status}/{}",
            IDS[index], row.conflict
        )
    });
    let seen = observer.statuses(&name);
    (seen != wanted).then(|| format!("{name}: wanted {wanted:?}, and it is {seen:?}"))
}

/// Waits until all is as the table says.
async fn until_as_in_the_table(observer: &Observer, when: &str) {
    let all_wrong = || -> Vec<String> {
        let rows = table();
        let rows = rows.iter().flat_map(|row| [(row, 0), (row, 1)]);
        rows.filter_map(|(row, older)| wrong(observer, row, older))
            .collect()
    };
    let found = wait::until("", DEADLINE, async || all_wrong().is_empty().then_some(()));
    if found.await.is_err() {
        panic!("{when}: {:#?}", all_wrong());
    }
}

/// Waits until all services are there as one cluster alone has them: without conflicts.
async fn until_alone(observer: &Observer, id: &str) {
    let is_so = |name: &str| {
        let wanted = format!("{id} Valid=True/Valid Conflict=False/NoConflicts");
        observer.statuses(name) == [wanted]
    };
    let found = wait::until("", DEADLINE, async || {
        let rows = table();
        let mut names = rows.iter().flat_map(|row| [named(row, 0), named(row, 1)]);
        names.all(|name| is_so(&name)).then_some(())
    });
    if found.await.is_err() {
        panic!("{id} alone: {:?}", observer.statuses("equal-a"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_33_and_34_exports_that_differ_are_merged_as_the_table_says() {
    let stage = Stage::open().await;
    let observer = stage.observe().await;
    write(&stage).await;
    until_as_in_the_table(&observer, "as it was written").await;
    // The order in which registries are named settles nothing.
    let reversed = stage.observe_as(&Plan {
        order: [1, 0],
        ..Plan::default()
    });
    until_as_in_the_table(&reversed, "named in the other order").await;
    for row in table() {
        for older in [0, 1] {
            let [one, other] = [&observer, &reversed].map(|one| one.get(&named(&row, older)).hash());
            assert_eq!(one, other, "{}", row.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_33_and_34_the_order_in_which_clusters_are_heard_changes_nothing() {
    let stage = Stage::behind_proxies().await;
    write(&stage).await;
    for late in [0, 1] {
        stage.members[late].cut_off();
        let observer = stage.observe_as(&Plan::default());
        until_alone(&observer, IDS[1 - late]).await;
        stage.members[late].let_in();
        until_as_in_the_table(&observer, &format!("{} was late", IDS[late])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_33_and_34_a_restart_with_one_cluster_down_changes_nothing() {
    let stage = Stage::behind_proxies().await;
    write(&stage).await;
    let state = tempfile::tempdir().unwrap();
    let plan = Plan {
        state: Some(state.path().to_owned()),
        ..Plan::default()
    };
    let observer = stage.observe_as(&plan);
    until_as_in_the_table(&observer, "at first").await;
    // Writes down what is known.
    observer.discovery.shutdown().await;

    for down in [0, 1] {
        stage.members[down].cut_off();
        let observer = stage.observe_as(&plan);
        until_as_in_the_table(&observer, &format!("{} is down", IDS[down])).await;
        observer.until_phase(IDS[1 - down], Phase::Synced).await;
        until_as_in_the_table(&observer, &format!("{} is down, the other is there", IDS[down])).await;
        assert!(
            observer.registry(IDS[down]).restored,
            "{:?}",
            observer.registry(IDS[down])
        );
        observer.discovery.shutdown().await;
        stage.members[down].let_in();
    }
    // Both, so that nothing stays as it was on disk only.
    let observer = stage.observe_as(&plan);
    for id in IDS {
        observer.until_phase(id, Phase::Synced).await;
    }
    until_as_in_the_table(&observer, "after all").await;
}
