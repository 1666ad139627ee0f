//! Whatever order objects come in, they end in what a plain reading of the last versions ends in, in each view.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use registry_core::{Address, ContentHash, Endpoint, EndpointSet};
use serde_json::{Value, json};

use super::{Change, Cluster, Join, Kind, Source};

#[derive(Debug, Clone)]
enum Step {
    Tell(Kind, usize, Value),
    Delete(Kind, usize),
    /// Both listings, of what there is.
    List,
    Pass(u64),
    Take,
}

const SERVICES: usize = 3;
const SLICES: usize = 5;
const NODES: usize = 2;

fn endpoint() -> impl Strategy<Value = Value> {
    let condition = || prop::option::of(any::<bool>());
    let target = prop::option::weighted(0.8, 0_u8..4);
    (
        0_u8..4,
        target,
        (condition(), condition(), condition()),
        0..=NODES,
        any::<bool>(),
    )
        .prop_map(|(address, target, (ready, serving, terminating), node, zone)| {
            let mut endpoint = json!({
                "address": address,
                "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
            });
            if let Some(target) = target {
                endpoint["targetRef"] = json!({ "name": format!("p{target}"), "uid": format!("u{target}") });
            }
            if node < NODES {
                endpoint["nodeName"] = json!(format!("n{node}"));
            }
            if zone {
                endpoint["zone"] = json!("z");
            }
            endpoint
        })
}

/// A slice; `foreign` is how many of ten are imported ones.
fn slice(foreign: f64) -> impl Strategy<Value = Value> {
    let port = (0_usize..3, prop::option::weighted(0.9, 80_u16..83));
    let ports = prop::collection::btree_map(0_usize..3, port.prop_map(|(_, number)| number), 0..3);
    (
        0..SERVICES,
        prop::collection::vec(endpoint(), 0..5),
        ports,
        any::<bool>(),
        prop::option::of(0_u8..3),
        // An imported slice may have the label of other slices, too.
        prop::option::weighted(foreign, any::<bool>()),
    )
        .prop_map(|(service, endpoints, ports, v6, trigger, imported)| {
            let endpoints: Vec<Value> = endpoints
                .into_iter()
                .map(|mut endpoint| {
                    let address = endpoint["address"].take();
                    let text = if v6 { format!("fd00::{address}") } else { format!("10.0.0.{address}") };
                    endpoint["addresses"] = json!([text]);
                    endpoint
                })
                .collect();
            let ports: Vec<Value> = ports
                .into_iter()
                .map(|(name, number)| json!({ "name": (["", "a", "b"][name]), "port": number }))
                .collect();
            let owner = format!("s{service}");
            let mut labels = json!({});
            if imported != Some(false) {
                labels["kubernetes.io/service-name"] = json!(owner);
            }
            if imported.is_some() {
                labels["multicluster.kubernetes.io/service-name"] = json!(owner);
                labels["multicluster.kubernetes.io/source-cluster"] = json!("west.eu");
            }
            let mut metadata = json!({ "labels": labels });
            if let Some(trigger) = trigger {
                metadata["annotations"] = json!({
                    "endpoints.kubernetes.io/last-change-trigger-time": format!("2026-01-01T00:00:0{trigger}Z")
                });
            }
            json!({
                "metadata": metadata,
                "addressType": (if v6 { "IPv6" } else { "IPv4" }),
                "endpoints": endpoints,
                "ports": ports,
            })
        })
}

fn service() -> impl Strategy<Value = Value> {
    let ip = prop_oneof![3 => Just("10.96.0.1"), 1 => Just("None")];
    let kind = prop_oneof![5 => Just("ClusterIP"), 1 => Just("ExternalName")];
    (ip, kind, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(ip, kind, v6_first, derived)| {
        let families = if v6_first {
            ["IPv6", "IPv4"]
        } else {
            ["IPv4", "IPv6"]
        };
        let owner = if derived { "ServiceImport" } else { "Other" };
        json!({
            "metadata": { "ownerReferences": [{ "kind": owner }] },
            "spec": {
                "type": kind, "clusterIP": ip, "externalName": "x.example.com", "ipFamilies": families,
                "ports": [{ "name": "a", "port": 80 }],
            },
        })
    })
}

fn export() -> impl Strategy<Value = Value> {
    any::<bool>().prop_map(|labelled| {
        let labels = if labelled {
            json!({ "l": "v" })
        } else {
            json!(null)
        };
        json!({ "metadata": {}, "spec": { "exportedLabels": labels } })
    })
}

fn import() -> impl Strategy<Value = Value> {
    let ips = prop_oneof![
        2 => Just(json!(["10.97.0.1"])),
        1 => Just(json!(["10.97.0.1", "fd97::1"])),
        1 => Just(json!(["None"])),
        1 => Just(json!(null)),
    ];
    (ips, any::<bool>()).prop_map(|(ips, headless)| {
        json!({
            "metadata": {},
            "spec": {
                "type": (if headless { "Headless" } else { "ClusterSetIP" }),
                "ips": ips, "ports": [{ "name": "a", "port": 80 }],
            },
        })
    })
}

fn node() -> impl Strategy<Value = Value> {
    (0_u8..2).prop_map(|region| {
        json!({ "metadata": { "labels": {
            "topology.kubernetes.io/region": format!("r{region}"), "topology.kubernetes.io/zone": "nz",
        } } })
    })
}

fn name(kind: Kind, at: usize) -> String {
    let prefix = match kind {
        Kind::Service | Kind::Export | Kind::Import => "s",
        Kind::Slice => "e",
        Kind::Node => "n",
    };
    format!("{prefix}{at}")
}

fn step(join: Join) -> impl Strategy<Value = Step> {
    let foreign = if join == Join::Imports { 0.9 } else { 0.1 };
    let (object, told) = match join {
        Join::Services | Join::Exports => (Kind::Service, service().boxed()),
        Join::Imports => (Kind::Import, import().boxed()),
    };
    let exports = if join == Join::Exports { 3 } else { 0 };
    prop_oneof![
        3 => (0..SERVICES, told).prop_map(move |(at, told)| Step::Tell(object, at, told)),
        12 => (0..SLICES, slice(foreign)).prop_map(|(at, object)| Step::Tell(Kind::Slice, at, object)),
        1 => (0..NODES, node()).prop_map(|(at, object)| Step::Tell(Kind::Node, at, object)),
        1 => (0..SERVICES).prop_map(move |at| Step::Delete(object, at)),
        3 => (0..SLICES).prop_map(|at| Step::Delete(Kind::Slice, at)),
        1 => Just(Step::List),
        2 => (1_u64..150).prop_map(Step::Pass),
        3 => Just(Step::Take),
        exports => (0..SERVICES, export()).prop_map(|(at, object)| Step::Tell(Kind::Export, at, object)),
        exports / 2 => (0..SERVICES).prop_map(|at| Step::Delete(Kind::Export, at)),
    ]
}

/// The objects that there are, with their versions.
#[derive(Debug, Default, Clone)]
struct World {
    objects: BTreeMap<(Kind, String), Value>,
    /// Whoever was a node once.
    nodes: BTreeMap<String, Value>,
    version: u64,
}

impl World {
    fn tell(&mut self, kind: Kind, at: usize, mut object: Value) -> Value {
        self.version += 1;
        let name = name(kind, at);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if kind != Kind::Node {
            object["metadata"]["namespace"] = json!("demo");
        }
        if kind == Kind::Node {
            self.nodes.insert(name.clone(), object.clone());
        }
        self.objects.insert((kind, name), object.clone());
        object
    }

    fn of(&self, kind: Kind) -> Vec<Value> {
        let objects = self.objects.iter().filter(|((held, _), _)| *held == kind);
        objects.map(|(_, object)| object.clone()).collect()
    }
}

type Picture = BTreeMap<String, (ContentHash, Vec<String>, Vec<String>)>;

fn describe(endpoints: &EndpointSet) -> Vec<String> {
    let line = |endpoint: &Endpoint| {
        let status = endpoint.claims().next().unwrap().status;
        format!(
            "{:?} {} {:?} {:?} {status} {} {:?}",
            endpoint.addresses(),
            endpoint.id(),
            endpoint.ports(),
            endpoint.health(),
            endpoint.hostname(),
            endpoint.locality()
        )
    };
    let mut lines: Vec<String> = endpoints.iter().map(|endpoint| line(endpoint)).collect();
    lines.sort();
    lines
}

fn picture(cluster: &Cluster) -> Picture {
    let records = cluster.index.records(None);
    records
        .map(|record| {
            let ports = record.meta().ports().iter().map(|port| format!("{port:?}"));
            (
                record.id().to_string(),
                (
                    record.endpoints().content_hash(),
                    describe(record.endpoints()),
                    ports.collect(),
                ),
            )
        })
        .collect()
}

/// The last versions alone, in the order that is simplest: everything is worked out once.
fn plainly(join: Join, world: &World) -> Picture {
    let mut cluster = Cluster::of(join, Duration::ZERO);
    let nodes: Vec<Value> = world.nodes.values().cloned().collect();
    cluster.list(Kind::Node, &nodes);
    cluster.list(Kind::Slice, &world.of(Kind::Slice));
    for kind in objects(join) {
        cluster.list(*kind, &world.of(*kind));
    }
    cluster.take();
    picture(&cluster)
}

/// What is at which addresses, by what the kinds mean alone and without any of the code that is tested.
fn naively(join: Join, world: &World) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut services = BTreeMap::new();
    let objects = match join {
        Join::Services => Kind::Service,
        Join::Exports => Kind::Export,
        Join::Imports => Kind::Import,
    };
    let texts = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().into_iter().flatten();
        let addresses = list.filter_map(|text| text.as_str()?.parse::<Address>().ok());
        addresses.map(|address| address.to_string()).collect()
    };
    for object in world.of(objects) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let service = world.objects.get(&(Kind::Service, name.to_owned()));
        let service = service.filter(|service| service["metadata"]["ownerReferences"][0]["kind"] == "Other");
        let is_external = service.is_some_and(|service| service["spec"]["type"] == "ExternalName");
        let label = match join {
            Join::Imports => "multicluster.kubernetes.io/service-name",
            Join::Services | Join::Exports => "kubernetes.io/service-name",
        };
        let own = |slice: &&Value| {
            let labels = &slice["metadata"]["labels"];
            let imported = !labels["multicluster.kubernetes.io/service-name"].is_null();
            labels[label] == name && imported == (join == Join::Imports)
        };
        let slices = world.of(Kind::Slice);
        let slices: Vec<&Value> = slices.iter().filter(own).collect();
        let mut addresses: BTreeSet<String> = BTreeSet::new();
        for slice in &slices {
            for endpoint in slice["endpoints"].as_array().unwrap() {
                addresses.extend(texts(&endpoint["addresses"]));
            }
        }
        let worth = match (join, service) {
            (Join::Services, None) => continue,
            (Join::Exports, None) => "NoService",
            (Join::Exports, Some(_)) if is_external => "InvalidServiceType",
            (Join::Exports, Some(_)) => "Valid",
            _ => "",
        };
        let spec = &object["spec"];
        let stands_in = spec["type"] == "ClusterSetIP" && slices.is_empty() && spec["ips"][0] != "None";
        match join {
            Join::Services if is_external => addresses = ["x.example.com".to_owned()].into(),
            Join::Exports if worth != "Valid" => addresses.clear(),
            Join::Imports if stands_in => addresses = texts(&spec["ips"]),
            _ => {}
        }
        services.insert(format!("demo/{name}"), (worth.to_owned(), addresses));
    }
    services
}

fn seen(cluster: &Cluster) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let records = cluster.index.records(None);
    let line = |record: registry_core::ServiceRecord| {
        let worth = record
            .meta()
            .metadata()
            .get(crate::EXPORT)
            .cloned()
            .unwrap_or_default();
        let endpoints = record.endpoints().iter();
        let addresses = endpoints.flat_map(|endpoint| endpoint.addresses().to_vec());
        let addresses = addresses.map(|address| address.to_string()).collect();
        let id = record.id();
        (
            format!("{}/{}", id.group(), id.name()),
            (worth.to_string(), addresses),
        )
    };
    records.map(line).collect()
}

/// What is joined with slices.
fn objects(join: Join) -> &'static [Kind] {
    match join {
        Join::Services => &[Kind::Service],
        Join::Exports => &[Kind::Service, Kind::Export],
        Join::Imports => &[Kind::Import],
    }
}

fn listed(join: Join, cluster: &mut Cluster, world: &World) {
    for kind in [Kind::Slice, Kind::Node].iter().chain(objects(join)) {
        cluster.list(*kind, &world.of(*kind));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_history_ends_in_what_the_last_versions_say(
        (join, steps) in prop_oneof![
            Just(Join::Services), Just(Join::Exports), Just(Join::Imports)
        ].prop_flat_map(|join| (Just(join), prop::collection::vec(step(join), 1..40))),
        delayed in any::<bool>(),
    ) {
        let delay = if delayed { super::DELAY } else { Duration::ZERO };
        let mut cluster = Cluster::of(join, delay);
        let mut world = World::default();
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut take = |cluster: &mut Cluster| {
            let mut seen = Vec::new();
            for change in cluster.take() {
                match change {
                    Change::Apply { record, .. } => {
                        let id = record.id().to_string();
                        assert!(!seen.contains(&id), "told twice");
                        seen.push(id.clone());
                        registry_core::fuzzing::check_record(&record);
                        told.insert(id, describe(record.endpoints()));
                    }
                    Change::Delete { id, explicit } => {
                        let id = id.to_string();
                        assert!(!seen.contains(&id), "told twice");
                        // What was removed may be known from before.
                        assert!(told.remove(&id).is_some() || explicit, "nobody was told of {id}");
                        seen.push(id);
                    }
                }
            }
            told.clone()
        };
        for step in steps {
            match step {
                Step::Tell(kind, at, object) => {
                    let object = world.tell(kind, at, object);
                    let bytes = object.to_string();
                    cluster.index.apply(kind, bytes.as_bytes(), Source::Watched, cluster.now).unwrap();
                }
                Step::Delete(kind, at) => {
                    if let Some(object) = world.objects.remove(&(kind, name(kind, at))) {
                        cluster.delete(kind, &object);
                    }
                }
                Step::List => listed(join, &mut cluster, &world),
                Step::Pass(millis) => cluster.pass(Duration::from_millis(millis)),
                Step::Take => { take(&mut cluster); }
            }
        }
        cluster.pass(super::DELAY);
        let told = take(&mut cluster);
        let expected = plainly(join, &world);
        prop_assert_eq!(picture(&cluster), expected.clone());
        prop_assert_eq!(seen(&cluster), naively(join, &world));
        prop_assert_eq!(cluster.index.next_due(), None);
        let expected: BTreeMap<String, Vec<String>> =
            expected.into_iter().map(|(id, (_, endpoints, _))| (id, endpoints)).collect();
        prop_assert_eq!(told, expected, "what was told differs from what is");
        listed(join, &mut cluster, &world);
        prop_assert!(cluster.take().is_empty(), "the same again is a change");
    }
}
