//! A small API server with several kinds of object, for the model test of sessions: a global resource version, history
//! that is forgotten, selectors, rights by namespace, and connections that die in all the ways there are.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use registry_core::{ErrorKind, RegistryError, async_trait};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::transport::{Ask, Body, Refusal, Transport};

/// Kind, namespace and name.
pub(super) type Key = (&'static str, String, String);

/// What happens to one request.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    None,
    Refuse(u16),
    Never,
    ResetAfter(usize),
    EndAfter(usize),
    HangAfter(usize),
    EndAt(u64),
}

#[derive(Debug, Clone)]
pub(super) struct Cluster(pub(super) Arc<Mutex<State>>);

#[derive(Debug, Clone)]
struct Event {
    version: u64,
    key: Key,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Debug)]
pub(super) struct State {
    version: u64,
    pub(super) objects: BTreeMap<Key, Value>,
    history: Vec<Event>,
    /// Nothing before this version is known any more.
    compacted: u64,
    /// Changes with every wipe.
    life: u32,
    /// Changes when all connections break.
    cuts: u32,
    snapshots: HashMap<String, (u64, Vec<Value>)>,
    streaming: bool,
    chunks: Vec<usize>,
    pub(super) faults: VecDeque<Fault>,
    /// Plurals and namespaces of which nothing is heard, since when.
    pub(super) silent: BTreeMap<&'static str, Instant>,
    pub(super) forbidden: BTreeSet<&'static str>,
    pub(super) asked: u64,
    /// Versions of the API of Multi-Cluster Services.
    pub(super) served: Vec<&'static str>,
    /// Another group that has the same versions, and nothing in it.
    pub(super) other: Option<&'static str>,
    /// None of them is served before that.
    pub(super) unserved_until: Option<Instant>,
    /// Nobody may ask which versions there are.
    pub(super) hidden: bool,
    /// Paths that were asked for, without their queries.
    pub(super) paths: Vec<String>,
}

pub(super) const GROUP: &str = "multicluster.x-k8s.io";

impl Cluster {
    pub(super) fn new(streaming: bool, chunks: Vec<usize>) -> Self {
        Self(Arc::new(Mutex::new(State {
            // Halved by every wipe: no life reaches the versions of the one before it.
            version: 1 << 50,
            objects: BTreeMap::new(),
            history: Vec::new(),
            compacted: 0,
            life: 0,
            cuts: 0,
            snapshots: HashMap::new(),
            streaming,
            chunks,
            faults: VecDeque::new(),
            silent: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            asked: 0,
            served: vec!["v1alpha1", "v1beta1"],
            other: None,
            unserved_until: None,
            hidden: false,
            paths: Vec::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    pub(super) fn put(&mut self, key: Key, mut object: Value) {
        self.version += 1;
        if object["metadata"].is_object() {
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        let before = self.objects.insert(key.clone(), object.clone());
        let (version, after) = (self.version, Some(object));
        self.history.push(Event {
            version,
            key,
            before,
            after,
        });
    }

    pub(super) fn delete(&mut self, key: &Key) {
        let Some(before) = self.objects.remove(key) else {
            return;
        };
        self.version += 1;
        let (version, key) = (self.version, key.clone());
        self.history.push(Event {
            version,
            key,
            before: Some(before),
            after: None,
        });
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.version;
        self.snapshots.clear();
        self.history.clear();
    }

    pub(super) fn tick(&mut self) {
        self.version += 1;
    }

    pub(super) fn cut(&mut self) {
        self.cuts += 1;
    }

    /// Another etcd, with the same objects but those for which `keep` says no.
    pub(super) fn wipe(&mut self, keep: impl Fn(&Key) -> bool) {
        self.life += 1;
        self.version /= 2;
        self.objects.retain(|key, _| keep(key));
        for object in self.objects.values_mut() {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        self.compact();
    }

    pub(super) fn serve(&mut self, versions: &[&'static str]) {
        self.served = versions.to_vec();
        self.cut();
    }

    /// What is said of that API: `None` where something else is asked for, and no text where there is nothing.
    fn describe(&self, path: &str) -> Option<Option<String>> {
        let hides = self.unserved_until.is_some_and(|until| Instant::now() < until);
        let serves = |group: &str| match group {
            GROUP => !hides && !self.served.is_empty(),
            other => self.other == Some(other),
        };
        if path == "/apis" {
            let served = [Some(GROUP), self.other].into_iter().flatten();
            let groups: Vec<Value> = served
                .filter(|group| serves(group))
                .chain(["other"])
                .map(|name| json!({ "name": name }))
                .collect();
            return Some(Some(json!({ "groups": groups }).to_string()));
        }
        let of_apis = path.strip_prefix("/apis/")?;
        let (group, rest) = of_apis.split_once('/').unwrap_or((of_apis, ""));
        if group == "discovery.k8s.io" {
            return None;
        }
        let served = if serves(group) { &self.served[..] } else { &[] };
        let (version, list) = rest.split_once('/').unwrap_or((rest, ""));
        let versions: Vec<Value> = served
            .iter()
            .map(|version| json!({ "version": version }))
            .collect();
        match (version, list) {
            ("", _) if served.is_empty() => Some(None),
            ("", _) => Some(Some(
                json!({ "kind": "APIGroup", "versions": versions }).to_string(),
            )),
            (version, _) if !served.contains(&version) => Some(None),
            (_, "") => Some(Some(
                json!({ "resources": [{ "name": "serviceexports" }, { "name": "serviceexports/status" }] })
                    .to_string(),
            )),
            _ => None,
        }
    }

    fn is_silent(&self, path: &str) -> bool {
        self.silent.keys().any(|part| path.contains(part))
    }
}

/// What a path asks for.
#[derive(Debug, Clone)]
struct Collection {
    kind: &'static str,
    namespace: Option<String>,
    selected: bool,
}

impl Collection {
    fn of(path: &str, query: &HashMap<&str, &str>) -> Self {
        let parts: Vec<&str> = path.split('/').collect();
        let kind = match *parts.last().unwrap() {
            "services" => "Service",
            "endpointslices" => "EndpointSlice",
            "nodes" => "Node",
            "namespaces" => "Namespace",
            "serviceexports" => "ServiceExport",
            other => panic!("{other}"),
        };
        let namespace = parts.iter().position(|part| *part == "namespaces");
        let namespace = namespace
            .and_then(|at| parts.get(at + 1))
            .map(|name| (*name).to_owned());
        Self {
            kind,
            namespace,
            selected: query.contains_key("labelSelector"),
        }
    }

    fn covers(&self, key: &Key) -> bool {
        key.0 == self.kind
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.1)
    }

    fn selects(&self, object: &Value) -> bool {
        !self.selected || object["metadata"]["labels"]["watched"] == "yes"
    }
}

#[async_trait]
impl Transport for Cluster {
    async fn get(&self, ask: Ask) -> Result<Body, Refusal> {
        sleep(Duration::from_millis(3)).await;
        let (path, query) = ask.path.split_once('?').unwrap_or((&ask.path, ""));
        let refuse = |code: u16, more: &str| {
            let reason = if code == 410 { "Expired" } else { "Other" };
            let body =
                format!(r#"{{"kind":"Status","message":"m","reason":"{reason}","code":{code}{more}}}"#);
            Err(Refusal::answered(&ask.path, Some(code), None, body.as_bytes()))
        };
        let (fault, silent) = {
            let mut state = self.lock();
            state.asked += 1;
            state.paths.push(path.to_owned());
            let fault = state.faults.pop_front().unwrap_or(Fault::None);
            (fault, state.is_silent(path))
        };
        match fault {
            Fault::Refuse(code) => return refuse(code, ""),
            Fault::Never => std::future::pending().await,
            _ if silent => std::future::pending().await,
            _ => {}
        }
        let mut state = self.lock();
        if state.forbidden.iter().any(|part| path.contains(part)) {
            return refuse(403, "");
        }
        let mut stream = Answer {
            cluster: self.clone(),
            path: path.to_owned(),
            life: (state.life, state.cuts),
            fault,
            opened: Instant::now(),
            pending: VecDeque::new(),
            sent: 0,
            term: None,
            collection: None,
            position: state.version,
            marked: false,
            done: false,
            chunks: state.chunks.clone(),
        };
        if path.ends_with("/kube-system") {
            stream.push(&format!(r#"{{"metadata":{{"uid":"life-{}"}}}}"#, state.life));
            drop(state);
            return Ok(stream.body());
        }
        match state.describe(path) {
            None => {}
            Some(_) if state.hidden && path.split('/').count() <= 4 => {
                drop(state);
                return refuse(403, "");
            }
            Some(None) => {
                drop(state);
                return refuse(404, "");
            }
            Some(Some(text)) => {
                stream.push(&text);
                drop(state);
                return Ok(stream.body());
            }
        }
        let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let number = |key: &str| query.get(key).map(|value| value.parse::<u64>().unwrap());
        let collection = Collection::of(path, &query);
        let other = state.other.filter(|other| path.contains(other));
        let objects = state
            .objects
            .iter()
            .filter(|(key, object)| other.is_none() && collection.covers(key) && collection.selects(object));
        let objects: Vec<Value> = objects.map(|(_, object)| object.clone()).collect();
        let asked = number("resourceVersion");
        if ask.watch {
            stream.term = number("timeoutSeconds").map(Duration::from_secs);
            if query.contains_key("sendInitialEvents") {
                if !state.streaming {
                    drop(state);
                    return refuse(422, "");
                }
                let mut text = String::new();
                for object in &objects {
                    let _ = writeln!(text, r#"{{"type":"ADDED","object":{object}}}"#);
                }
                let _ = writeln!(
                    text,
                    r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#,
                    state.version
                );
                stream.push(&text);
            } else {
                stream.position = asked.unwrap();
                if stream.position < state.compacted {
                    stream.push("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}}\n");
                    stream.term = Some(Duration::ZERO);
                }
            }
            stream.collection = Some(collection);
        } else {
            if asked.is_some_and(|asked| asked > state.version) {
                drop(state);
                return refuse(
                    504,
                    r#","details":{"causes":[{"reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1}"#,
                );
            }
            let limit = usize::try_from(number("limit").unwrap()).unwrap();
            let (id, start) = match query.get("continue") {
                Some(token) => {
                    let (id, start) = token.split_once('.').unwrap();
                    (id.to_owned(), start.parse().unwrap())
                }
                None => {
                    let id = format!("s{}", state.asked);
                    let version = state.version;
                    state.snapshots.insert(id.clone(), (version, objects));
                    (id, 0)
                }
            };
            let Some((version, objects)) = state.snapshots.get(&id) else {
                drop(state);
                return refuse(410, "");
            };
            let end = objects.len().min(start + limit);
            let token = if end < objects.len() {
                format!("{id}.{end}")
            } else {
                String::new()
            };
            let list = json!({
                "kind": "AnyList",
                "metadata": { "resourceVersion": version.to_string(), "continue": token },
                "items": objects[start..end],
            });
            stream.push(&list.to_string());
        }
        drop(state);
        Ok(stream.body())
    }
}

/// The body of an answer.
struct Answer {
    cluster: Cluster,
    path: String,
    life: (u32, u32),
    fault: Fault,
    opened: Instant,
    pending: VecDeque<Bytes>,
    sent: usize,
    /// Set for a watch.
    term: Option<Duration>,
    collection: Option<Collection>,
    /// All up to here was sent.
    position: u64,
    marked: bool,
    done: bool,
    chunks: Vec<usize>,
}

impl Answer {
    fn body(self) -> Body {
        Box::pin(stream::unfold(self, |mut answer| async move {
            let chunk = answer.next().await?;
            Some((chunk, answer))
        }))
    }

    /// Adds to what is to be sent, in pieces of odd sizes.
    fn push(&mut self, text: &str) {
        let mut rest = Bytes::copy_from_slice(text.as_bytes());
        while !rest.is_empty() {
            self.chunks.rotate_left(1);
            let size = self.chunks[0].min(rest.len());
            self.pending.push_back(rest.split_to(size));
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        let reset = || {
            Some(Err(RegistryError::new(
                ErrorKind::Unreachable,
                "connection reset",
            )))
        };
        loop {
            if self.done {
                return None;
            }
            if self.cluster.lock().is_silent(&self.path) {
                // The connection is dead from now on, also when others can be made again.
                std::future::pending::<()>().await;
            }
            let alive = {
                let state = self.cluster.lock();
                (state.life, state.cuts) == self.life
            };
            if !alive {
                self.done = true;
                return reset();
            }
            if let Some(mut chunk) = self.pending.pop_front() {
                let (Fault::ResetAfter(most) | Fault::EndAfter(most) | Fault::HangAfter(most)) = self.fault
                else {
                    return Some(Ok(chunk));
                };
                if self.sent + chunk.len() <= most {
                    self.sent += chunk.len();
                    return Some(Ok(chunk));
                }
                if self.sent < most {
                    chunk.truncate(most - self.sent);
                    self.sent = most;
                    self.pending.push_front(Bytes::from_static(b"lost"));
                    return Some(Ok(chunk));
                }
                self.done = true;
                match self.fault {
                    Fault::ResetAfter(_) => return reset(),
                    Fault::HangAfter(_) => std::future::pending::<()>().await,
                    _ => return None,
                }
            }
            let term = self.term?;
            let age = self.opened.elapsed();
            if matches!(self.fault, Fault::EndAt(at) if age >= Duration::from_secs(at)) {
                return None;
            }
            self.add_events(age + Duration::from_secs(2) >= term);
            if self.pending.is_empty() {
                if age >= term {
                    return None;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Adds what has happened.
    fn add_events(&mut self, ends: bool) {
        let cluster = self.cluster.clone();
        let state = cluster.lock();
        let Some(collection) = self.collection.clone() else {
            return;
        };
        // What was compacted since is lost to this watch, as to one that the server lets go of for being slow.
        if self.position < state.compacted {
            self.term = Some(Duration::ZERO);
            return;
        }
        let mut text = String::new();
        for event in state.history.iter().filter(|event| event.version > self.position) {
            if !collection.covers(&event.key) {
                continue;
            }
            let before = event.before.as_ref().filter(|object| collection.selects(object));
            let after = event.after.as_ref().filter(|object| collection.selects(object));
            let (kind, object) = match (before, after) {
                (None, Some(object)) => ("ADDED", object.clone()),
                (Some(_), Some(object)) => ("MODIFIED", object.clone()),
                (Some(object), None) => {
                    let mut object = event.after.as_ref().unwrap_or(object).clone();
                    object["metadata"]["resourceVersion"] = json!(event.version.to_string());
                    ("DELETED", object)
                }
                (None, None) => continue,
            };
            let _ = writeln!(text, r#"{{"type":"{kind}","object":{object}}}"#);
        }
        if let Some(last) = state.history.last() {
            self.position = self.position.max(last.version);
        }
        if ends && !self.marked && state.version > self.position {
            self.marked = true;
            self.position = state.version;
            let _ = writeln!(
                text,
                r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{}"}}}}}}"#,
                state.version
            );
        }
        drop(state);
        self.push(&text);
    }
}
