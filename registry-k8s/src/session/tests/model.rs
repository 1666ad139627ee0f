//! A session against a cluster in trouble: once it has recovered the session's picture is the cluster's, and what was
//! there all the time was never missing from it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use registry_core::{Control, Event, PortDefaults, Resync, Scope};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::cluster::{Cluster, Fault, GROUP, Key, State};
use super::reader::{Picture, Reader};
use crate::config::KubernetesConfig;
use crate::session::Session;
use crate::view::{McsApi, View};

const NAMESPACES: [&str; 3] = ["a", "b", "c"];

/// What cannot be read of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ill {
    /// A field has a wrong type.
    Field,
    /// Not even its name can be read.
    Name,
    /// It is too long for a line of a watch.
    Long,
}

/// What an operator, or the world, does to the cluster.
#[derive(Debug, Clone)]
enum Deed {
    Service(u8, u8, bool),
    /// A slice of a service with some pods.
    Slice(u8, u8, u8, u8),
    DropSlice(u8, u8),
    Node(bool),
    /// Whether `b` or `c` has the label that is watched.
    Label(bool, bool),
    Ill(u8, bool, Option<Ill>),
    Compact,
    Tick,
    Wipe,
    Cut,
    Silence(u8),
    Speak,
    Forbid(u8),
    Allow,
    Faults(Vec<Fault>),
    Wish(u8),
    Export(u8, u8, bool),
    /// Which versions of the API of exports are served.
    Serve(u8),
    /// For a moment none is.
    Flicker,
}

fn fault() -> impl Strategy<Value = Fault> {
    let bytes = 0..2500_usize;
    let refusal = prop_oneof![
        Just(400_u16),
        Just(401),
        Just(403),
        Just(404),
        Just(410),
        Just(429),
        Just(500),
        Just(504)
    ];
    prop_oneof![
        2 => Just(Fault::None),
        2 => refusal.prop_map(Fault::Refuse),
        1 => Just(Fault::Never),
        2 => bytes.clone().prop_map(Fault::ResetAfter),
        2 => bytes.clone().prop_map(Fault::EndAfter),
        2 => bytes.prop_map(Fault::HangAfter),
        1 => (0..40_u64).prop_map(Fault::EndAt),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let ill = prop_oneof![
        2 => Just(None),
        2 => Just(Some(Ill::Field)),
        1 => Just(Some(Ill::Name)),
        1 => Just(Some(Ill::Long))
    ];
    prop_oneof![
        5 => (0..3_u8, 0..3_u8, any::<bool>()).prop_map(|(n, i, there)| Deed::Service(n, i, there)),
        8 => (0..3_u8, 0..4_u8, 0..3_u8, 0..16_u8).prop_map(|(n, i, of, pods)| Deed::Slice(n, i, of, pods)),
        4 => (0..3_u8, 0..4_u8).prop_map(|(n, i)| Deed::DropSlice(n, i)),
        1 => any::<bool>().prop_map(Deed::Node),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(which, on)| Deed::Label(which, on)),
        3 => (0..3_u8, any::<bool>(), ill).prop_map(|(n, slice, ill)| Deed::Ill(n, slice, ill)),
        1 => Just(Deed::Compact),
        1 => Just(Deed::Tick),
        1 => Just(Deed::Wipe),
        3 => Just(Deed::Cut),
        2 => (0..7_u8).prop_map(Deed::Silence),
        2 => Just(Deed::Speak),
        2 => (0..8_u8).prop_map(Deed::Forbid),
        2 => Just(Deed::Allow),
        3 => proptest::collection::vec(fault(), 1..8).prop_map(Deed::Faults),
        3 => (0..4_u8).prop_map(Deed::Wish),
        3 => (0..3_u8, 0..3_u8, any::<bool>()).prop_map(|(n, i, there)| Deed::Export(n, i, there)),
        2 => (0..3_u8).prop_map(Deed::Serve),
        2 => Just(Deed::Flicker),
    ]
}

const PLACES: [&str; 8] = [
    "/serviceexports",
    "/endpointslices",
    "/services",
    "/nodes",
    "/namespaces/a/",
    "/namespaces/b/",
    "/",
    "/namespaces",
];

fn pod(namespace: &str, number: u8) -> Value {
    let place = namespace.as_bytes()[0];
    json!({
        "addresses": [format!("10.0.{place}.{number}")],
        "conditions": { "ready": true },
        "nodeName": "n0",
        "targetRef": { "kind": "Pod", "name": format!("p{number}"), "uid": format!("{namespace}-{number}") },
    })
}

pub(super) fn slice(
    namespace: &str,
    name: &str,
    owner: &str,
    pods: impl Iterator<Item = u8>,
) -> (Key, Value) {
    let endpoints: Vec<Value> = pods.map(|number| pod(namespace, number)).collect();
    let object = json!({
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("e-{namespace}-{name}"),
            "labels": { "kubernetes.io/service-name": owner },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    });
    (("EndpointSlice", namespace.to_owned(), name.to_owned()), object)
}

pub(super) fn service(namespace: &str, name: &str) -> (Key, Value) {
    let object = json!({
        "metadata": { "name": name, "namespace": namespace, "uid": format!("s-{namespace}-{name}") },
        "spec": { "clusterIP": "10.96.0.1", "ports": [{ "name": "http", "port": 80 }] },
    });
    (("Service", namespace.to_owned(), name.to_owned()), object)
}

pub(super) fn plain(kind: &'static str, name: &str, labels: &Value) -> (Key, Value) {
    let object = json!({ "metadata": { "name": name, "uid": format!("{kind}-{name}"), "labels": labels } });
    ((kind, String::new(), name.to_owned()), object)
}

pub(super) fn export(namespace: &str, name: &str) -> (Key, Value) {
    let object = json!({
        "metadata": { "name": name, "namespace": namespace, "uid": format!("x-{namespace}-{name}") },
    });
    (("ServiceExport", namespace.to_owned(), name.to_owned()), object)
}

/// The objects of a service that never changes: only its form does.
pub(super) fn steady(namespace: &str) -> [(Key, Value); 4] {
    [
        service(namespace, "steady"),
        slice(namespace, "steady-1", "steady", [100, 101].into_iter()),
        slice(namespace, "steady-2", "steady", [102].into_iter()),
        export(namespace, "steady"),
    ]
}

pub(super) fn ill(object: &Value, how: Ill) -> Value {
    let mut object = object.clone();
    match how {
        Ill::Field if object["spec"].is_object() => object["spec"] = json!(5),
        Ill::Field => object["endpoints"] = json!("x"),
        Ill::Name => object["metadata"]["name"] = json!(5),
        Ill::Long => object["metadata"]["annotations"] = json!({ "long": "x".repeat(5000) }),
    }
    object
}

/// What there is to see in a namespace.
fn expected(state: &State, view: &View, namespaces: &[String]) -> Picture {
    let mut picture = Picture::new();
    let counts = match view {
        View::Services => "Service",
        View::Exports(_) => "ServiceExport",
        View::Imports(_) => "ServiceImport",
    };
    for (kind, namespace, name) in state.objects.keys() {
        if *kind == counts && namespaces.contains(namespace) {
            picture.insert((namespace.clone(), name.clone()), Default::default());
        }
    }
    for ((kind, namespace, _), object) in &state.objects {
        if *kind != "EndpointSlice" {
            continue;
        }
        let owner = object["metadata"]["labels"]["kubernetes.io/service-name"]
            .as_str()
            .unwrap();
        let service = ("Service", namespace.clone(), owner.to_owned());
        if !state.objects.contains_key(&service) {
            continue;
        }
        if let Some(endpoints) = picture.get_mut(&(namespace.clone(), owner.to_owned())) {
            let said = object["endpoints"].as_array().unwrap().iter();
            endpoints.extend(said.map(|one| one["addresses"][0].as_str().unwrap().to_owned()));
        }
    }
    picture
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    All,
    Named,
    Labelled,
}

pub(super) struct Run {
    mode: Mode,
    view: View,
    pub(super) cluster: Cluster,
    pub(super) control: Control,
    pub(super) session: Session,
    pub(super) reader: Reader,
    /// All that was told.
    pub(super) told: Vec<Event>,
    wishes: Vec<(Scope, Instant)>,
    /// Something could not even be told from other objects: only another listing brings certainty.
    blind: bool,
    /// All that is steady was there.
    seen: bool,
    /// And may be gone.
    pub(super) may_go: bool,
}

impl Run {
    pub(super) async fn until(&mut self, end: Instant) {
        loop {
            let batch = {
                let mut next = pin!(self.session.next_batch());
                let (mut polls, mut last) = (0, Instant::now());
                let next = poll_fn(|cx| {
                    polls += 1;
                    if last != Instant::now() {
                        (polls, last) = (0, Instant::now());
                    }
                    assert!(polls < 10_000, "it turns without end");
                    next.as_mut().poll(cx)
                });
                timeout_at(end, next).await
            };
            let Ok(batch) = batch else {
                return;
            };
            let batch = batch.expect("no end");
            assert!(!batch.is_empty(), "at least one thing");
            for event in &batch {
                self.reader.take(event);
                let whole = matches!(event, Event::Confirmed(Scope::Registry));
                if whole {
                    self.check_confirmed();
                }
            }
            if self.reader.begun {
                self.check_steady();
            }
            self.told.extend(batch);
        }
    }

    fn check_confirmed(&self) {
        let state = self.cluster.lock();
        let parts: &[&str] = match self.mode {
            Mode::All => &["/", "/endpointslices", "/services"],
            Mode::Named | Mode::Labelled => &["/", "/endpointslices", "/services", "/namespaces"],
        };
        let exports = (self.view != View::Services).then_some("/serviceexports");
        for part in parts.iter().copied().chain(exports) {
            if let Some(since) = state.silent.get(part) {
                assert!(
                    since.elapsed() < secs(45),
                    "{part} is silent for {:?}",
                    since.elapsed()
                );
            }
        }
    }

    /// `a` is watched all the time. Before it could be read once nothing is known of it.
    fn check_steady(&mut self) {
        let key = ("a".to_owned(), "steady".to_owned());
        let there = self.reader.picture.get(&key).map_or(0, BTreeSet::len);
        self.seen |= there == 3;
        assert!(
            there == 3 || !self.seen || self.may_go,
            "{there} of 3 endpoints: {:?}",
            self.reader.picture
        );
    }

    fn watched(&self) -> Vec<String> {
        let state = self.cluster.lock();
        let is_watched = |name: &&&str| match self.mode {
            Mode::All | Mode::Named => true,
            Mode::Labelled => {
                let key = ("Namespace", String::new(), (**name).to_owned());
                state.objects[&key]["metadata"]["labels"]["watched"] == "yes"
            }
        };
        NAMESPACES
            .iter()
            .filter(is_watched)
            .map(|name| (*name).to_owned())
            .collect()
    }

    pub(super) fn expected(&self) -> Picture {
        let watched = self.watched();
        expected(&self.cluster.lock(), &self.view, &watched)
    }

    fn act(&mut self, deed: Deed) {
        let mut state = self.cluster.lock();
        let name_of = |number: u8| NAMESPACES[usize::from(number)];
        match deed {
            Deed::Service(n, i, there) => {
                let (key, object) = service(name_of(n), &format!("s{i}"));
                if there {
                    state.put(key, object);
                } else {
                    state.delete(&key);
                }
            }
            Deed::Slice(n, i, of, pods) => {
                let pods = (0..4).filter(|bit| pods & (1 << bit) != 0);
                let (key, object) = slice(name_of(n), &format!("e{i}"), &format!("s{of}"), pods);
                state.put(key, object);
            }
            Deed::DropSlice(n, i) => {
                state.delete(&("EndpointSlice", name_of(n).to_owned(), format!("e{i}")));
            }
            Deed::Node(there) => {
                let (key, object) = plain("Node", "n0", &json!({ "topology.kubernetes.io/region": "r" }));
                if there {
                    state.put(key, object);
                } else {
                    state.delete(&key);
                }
            }
            Deed::Label(which, on) => {
                let labels = if on {
                    json!({ "watched": "yes" })
                } else {
                    json!({})
                };
                let (key, object) = plain("Namespace", if which { "b" } else { "c" }, &labels);
                state.put(key, object);
            }
            Deed::Ill(n, is_slice, how) => {
                let [service, slice, ..] = steady(name_of(n));
                let (key, object) = if is_slice { slice } else { service };
                self.blind |= matches!(how, Some(Ill::Name | Ill::Long));
                state.put(key, how.map_or(object.clone(), |how| ill(&object, how)));
            }
            Deed::Export(n, i, there) => {
                let (key, object) = export(name_of(n), &format!("s{i}"));
                if there {
                    state.put(key, object);
                } else {
                    state.delete(&key);
                }
            }
            Deed::Serve(which) => {
                let versions: [&[&str]; 3] = [&["v1alpha1"], &["v1alpha1", "v1beta1"], &["v1beta1"]];
                state.serve(versions[usize::from(which)]);
            }
            Deed::Flicker => {
                // Twice in a row would be what is believed.
                let now = Instant::now();
                if state.unserved_until.is_none_or(|last| now > last + secs(60)) {
                    state.unserved_until = Some(now + secs(5));
                    state.cut();
                }
            }
            Deed::Compact => state.compact(),
            Deed::Tick => state.tick(),
            Deed::Wipe => state
                .wipe(|(kind, _, name)| matches!(*kind, "Node" | "Namespace") || name.starts_with("steady")),
            Deed::Cut => state.cut(),
            Deed::Silence(place) => {
                state
                    .silent
                    .entry(PLACES[usize::from(place)])
                    .or_insert_with(Instant::now);
            }
            Deed::Speak => state.silent.clear(),
            Deed::Forbid(place) => {
                state.forbidden.insert(PLACES[usize::from(place)]);
                state.cut();
            }
            Deed::Allow => state.forbidden.clear(),
            Deed::Faults(faults) => {
                state.cut();
                state.faults.extend(faults);
            }
            Deed::Wish(which) => {
                let scope = match which {
                    0 => Scope::Registry,
                    n => Scope::Group(name_of(n - 1).into()),
                };
                self.wishes.push((scope.clone(), Instant::now()));
                self.control.request_resync(Resync { scope, strong: false });
            }
        }
    }

    fn mend(&mut self) {
        let mut state = self.cluster.lock();
        state.faults.clear();
        state.silent.clear();
        state.forbidden.clear();
        state.unserved_until = None;
        for namespace in NAMESPACES {
            for (key, object) in steady(namespace) {
                state.put(key, object);
            }
        }
    }
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Three namespaces with two services each.
pub(super) fn begin(mode: Mode, streaming: bool, nodes: bool, chunks: Vec<usize>) -> Run {
    begin_with_most(100, mode, streaming, nodes, chunks)
}

/// As `begin`, with so many namespaces at most.
pub(super) fn begin_with_most(
    max_namespaces: usize,
    mode: Mode,
    streaming: bool,
    nodes: bool,
    chunks: Vec<usize>,
) -> Run {
    let control = Control::new("k8s".parse().unwrap(), PortDefaults::default());
    begin_view(
        &View::Services,
        control,
        max_namespaces,
        mode,
        streaming,
        nodes,
        chunks,
        |_| {},
    )
}

pub(super) fn exports() -> View {
    View::Exports(McsApi {
        groups: vec!["other.example.com".to_owned(), GROUP.to_owned()],
    })
}

/// As `begin_with_most`, with a view, and with something done to the cluster before anybody asks.
#[allow(
    clippy::too_many_arguments,
    reason = "only tests call it, with names for what is not plain"
)]
pub(super) fn begin_view(
    view: &View,
    control: Control,
    max_namespaces: usize,
    mode: Mode,
    streaming: bool,
    nodes: bool,
    chunks: Vec<usize>,
    before: impl FnOnce(&mut State),
) -> Run {
    let cluster = Cluster::new(streaming, chunks);
    {
        let mut state = cluster.lock();
        for namespace in NAMESPACES {
            let (key, object) = plain("Namespace", namespace, &json!({ "watched": "yes" }));
            state.put(key, object);
            for (key, object) in steady(namespace) {
                state.put(key, object);
            }
            let (key, object) = service(namespace, "s0");
            state.put(key, object);
            let (key, object) = slice(namespace, "e0", "s0", 0..3);
            state.put(key, object);
            let (key, object) = export(namespace, "s0");
            state.put(key, object);
        }
        let (key, object) = plain("Node", "n0", &json!({}));
        state.put(key, object);
        before(&mut state);
    }
    let config = KubernetesConfig {
        nodes,
        streaming_lists: true,
        max_namespaces,
        page_size: 3,
        max_object_bytes: 4096,
        namespaces: match mode {
            Mode::Named => NAMESPACES.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        },
        namespace_selector: (mode == Mode::Labelled).then(|| "watched=yes".to_owned()),
        ..KubernetesConfig::default()
    };
    Run {
        mode,
        view: view.clone(),
        told: Vec::new(),
        session: Session::new(&config, view, "c", Arc::new(cluster.clone()), control.clone()),
        cluster,
        control,
        reader: Reader::default(),
        wishes: Vec::new(),
        blind: false,
        seen: false,
        may_go: false,
    }
}

async fn run(
    view: View,
    mode: Mode,
    streaming: bool,
    nodes: bool,
    chunks: Vec<usize>,
    deeds: Vec<(u64, Deed)>,
) {
    let control = Control::new("k8s".parse().unwrap(), PortDefaults::default());
    let mut run = begin_view(&view, control, 100, mode, streaming, nodes, chunks, |_| {});
    for (wait, deed) in deeds {
        run.until(Instant::now() + Duration::from_millis(wait)).await;
        run.act(deed);
    }
    run.mend();
    // The longest rest is 45 s, and a dead connection is found in 40.
    run.until(Instant::now() + secs(200)).await;
    for (scope, asked) in &run.wishes {
        let answers = |(told, at): &(Scope, Instant)| told.covers(scope) && at >= asked;
        assert!(
            run.reader.listed.iter().any(answers),
            "a wish for {scope} was not answered"
        );
    }
    if run.blind {
        run.control.request_resync(Resync {
            scope: Scope::Registry,
            strong: false,
        });
        run.until(Instant::now() + secs(1)).await;
    }
    let picture = run.expected();
    assert_eq!(run.reader.picture, picture, "no ghosts, and nothing missing");
    assert_eq!(
        run.reader.degraded,
        BTreeMap::new(),
        "all is well, and was said to be"
    );
    // And it stays up to date, and says so.
    let asked = run.cluster.lock().asked;
    for _ in 0..120 {
        run.until(Instant::now() + secs(1)).await;
        let age = run.reader.confirmed.expect("it was confirmed").elapsed();
        assert!(age <= KubernetesConfig::default().freshness_bound(), "{age:?}");
    }
    let asked = run.cluster.lock().asked - asked;
    let most = if run.view == View::Services { 100 } else { 150 };
    assert!(asked < most, "{asked} requests while all was well");
    run.act(Deed::Slice(0, 0, 0, 5));
    run.act(Deed::Service(0, 0, true));
    run.until(Instant::now() + secs(1)).await;
    let picture = run.expected();
    assert_eq!(run.reader.picture, picture);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_the_picture_ends_up_as_the_cluster_and_what_was_there_was_never_missing(
        exported in any::<bool>(),
        mode in prop_oneof![Just(Mode::All), Just(Mode::Named), Just(Mode::Labelled)],
        streaming in any::<bool>(),
        nodes in any::<bool>(),
        chunks in proptest::collection::vec(1..600_usize, 1..20),
        deeds in proptest::collection::vec((prop_oneof![0..200_u64, 0..12_000_u64, 0..60_000_u64], deed()), 0..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let view = if exported { exports() } else { View::Services };
        runtime.block_on(run(view, mode, streaming, nodes, chunks, deeds));
    }
}
