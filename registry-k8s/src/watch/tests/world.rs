//! A small server with the semantics of an API server, for the model test.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use registry_core::{ErrorKind, RegistryError, async_trait};
use tokio::time::{Instant, sleep};

use super::script::{object, secs, status};
use crate::transport::{Ask, Body, Refusal, Transport};

/// What happens to one request.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    None,
    Refuse(u16),
    Never,
    ResetAfter(usize),
    EndAfter(usize),
    HangAfter(usize),
    EndAt(Duration),
    ErrorEvent(u16),
    Html,
}

#[derive(Debug)]
pub(super) struct World(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    version: u64,
    objects: BTreeMap<String, u64>,
    history: Vec<(u64, &'static str, String)>,
    /// Nothing before this version is known any more.
    compacted: u64,
    /// Changes with every wipe.
    life: u32,
    snapshots: HashMap<String, (u64, Vec<(String, u64)>)>,
    lists: u32,
    /// What the objects were, from when on.
    past: Vec<(Instant, BTreeMap<String, u64>)>,
    streaming: bool,
    chunks: Vec<usize>,
    faults: VecDeque<Fault>,
}

impl World {
    pub(super) fn new(streaming: bool, chunks: Vec<usize>, faults: Vec<Fault>) -> Self {
        Self(Arc::new(Mutex::new(State {
            // Halved by every wipe: no life reaches the versions of the one before it.
            version: 1 << 40,
            objects: BTreeMap::new(),
            history: Vec::new(),
            compacted: 0,
            life: 0,
            snapshots: HashMap::new(),
            lists: 0,
            past: vec![(Instant::now(), BTreeMap::new())],
            streaming,
            chunks,
            faults: faults.into(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn put(&self, i: u8) {
        self.lock().put(i);
    }

    pub(super) fn delete(&self, i: u8) {
        let mut state = self.lock();
        let name = format!("o{i}");
        if state.objects.remove(&name).is_some() {
            state.record("DELETED", name);
        }
    }

    pub(super) fn compact(&self) {
        let mut state = self.lock();
        state.compacted = state.version;
        state.snapshots.clear();
        state.history.clear();
    }

    pub(super) fn tick(&self) {
        self.lock().version += 1;
    }

    pub(super) fn wipe(&self) {
        let mut state = self.lock();
        state.life += 1;
        state.version /= 2;
        state.compacted = state.version;
        state.snapshots.clear();
        state.history.clear();
        state.objects.clear();
        state.put(1);
        state.put(9);
    }

    /// No more faults.
    pub(super) fn mend(&self) {
        self.lock().faults.clear();
    }

    pub(super) fn objects(&self) -> BTreeMap<String, String> {
        text(&self.lock().objects)
    }

    /// Whether the objects were these at any time within the last so many seconds.
    pub(super) fn was(&self, objects: &BTreeMap<String, String>, slack: Duration) -> bool {
        let state = self.lock();
        let now = Instant::now();
        let ends = state.past[1..].iter().map(|(at, _)| *at).chain([now]);
        let mut spans = state.past.iter().zip(ends);
        spans.any(|((_, past), end)| end + slack >= now && text(past) == *objects)
    }
}

fn text(objects: &BTreeMap<String, u64>) -> BTreeMap<String, String> {
    let pairs = objects.iter();
    pairs
        .map(|(name, version)| (name.clone(), version.to_string()))
        .collect()
}

impl State {
    fn put(&mut self, i: u8) {
        let name = format!("o{i}");
        let known = self.objects.insert(name.clone(), self.version + 1).is_some();
        self.record(if known { "MODIFIED" } else { "ADDED" }, name);
    }

    fn record(&mut self, kind: &'static str, name: String) {
        self.version += 1;
        self.history.push((self.version, kind, name));
        self.past.push((Instant::now(), self.objects.clone()));
    }

    /// The pages of a list. A token is a name of a snapshot, and a place in it.
    fn page(&mut self, token: Option<&str>, limit: usize) -> Result<String, u16> {
        let (id, start) = match token {
            Some(token) => {
                let (id, start) = token.split_once('.').ok_or(400_u16)?;
                (id.to_owned(), start.parse().map_err(|_| 400_u16)?)
            }
            None => {
                self.lists += 1;
                let id = format!("s{}", self.lists);
                let objects = self
                    .objects
                    .iter()
                    .map(|(name, version)| (name.clone(), *version));
                self.snapshots
                    .insert(id.clone(), (self.version, objects.collect()));
                (id, 0)
            }
        };
        let (version, objects) = self.snapshots.get(&id).ok_or(410_u16)?;
        let end = objects.len().min(start + limit);
        let items: Vec<String> = objects[start..end]
            .iter()
            .map(|(name, version)| object(name, *version))
            .collect();
        let token = if end < objects.len() {
            format!("{id}.{end}")
        } else {
            String::new()
        };
        Ok(format!(
            r#"{{"kind":"L-List","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{}]}}"#,
            items.join(",")
        ))
    }
}

#[async_trait]
impl Transport for World {
    async fn get(&self, ask: Ask) -> Result<Body, Refusal> {
        sleep(Duration::from_millis(3)).await;
        let fault = self.lock().faults.pop_front().unwrap_or(Fault::None);
        let refuse = |code: u16| {
            let reason = match code {
                410 => "Expired",
                504 => "Timeout",
                _ => "Other",
            };
            Err(Refusal::answered(
                &ask.path,
                Some(code),
                None,
                status(code, reason).as_bytes(),
            ))
        };
        match fault {
            Fault::Refuse(code) => return refuse(code),
            Fault::Never => std::future::pending().await,
            _ => {}
        }
        let (_, query) = ask.path.split_once('?').unwrap();
        let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let number = |key: &str| query.get(key).map(|value| value.parse::<u64>().unwrap());
        let mut state = self.lock();
        let mut stream = Answer {
            world: Arc::clone(&self.0),
            life: state.life,
            fault: fault.clone(),
            opened: Instant::now(),
            pending: VecDeque::new(),
            sent: 0,
            term: None,
            position: state.version,
            marked: false,
            done: false,
            chunks: state.chunks.clone(),
        };
        let asked = number("resourceVersion");
        if let Fault::Html = fault {
            stream.push("<html>\n<body>\n");
        } else if ask.watch {
            stream.term = number("timeoutSeconds").map(secs);
            if let Fault::ErrorEvent(code) = fault {
                stream.push(&format!(
                    "{{\"type\":\"ERROR\",\"object\":{}}}\n",
                    status(code, "Other")
                ));
                stream.term = Some(Duration::ZERO);
            } else if query.contains_key("sendInitialEvents") {
                if !state.streaming {
                    drop(state);
                    return refuse(422);
                }
                let mut text = String::new();
                for (name, version) in &state.objects {
                    let _ = write!(
                        text,
                        "{{\"type\":\"ADDED\",\"object\":{}}}\r\n",
                        object(name, *version)
                    );
                }
                let _ = writeln!(
                    text,
                    "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{}\",\"annotations\":{{\"k8s.io/initial-events-end\":\"true\"}}}}}}}}",
                    state.version
                );
                stream.push(&text);
            } else {
                stream.position = asked.unwrap();
                if stream.position < state.compacted {
                    stream.push(&format!(
                        "{{\"type\":\"ERROR\",\"object\":{}}}\n",
                        status(410, "Expired")
                    ));
                    stream.term = Some(Duration::ZERO);
                }
            }
        } else {
            if asked.is_some_and(|asked| asked > state.version) {
                let body = r#"{"kind":"Status","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1},"code":504}"#;
                return Err(Refusal::answered(&ask.path, Some(504), None, body.as_bytes()));
            }
            let limit = usize::try_from(number("limit").unwrap()).unwrap();
            match state.page(query.get("continue").copied(), limit) {
                Ok(page) => stream.push(&page),
                Err(code) => {
                    drop(state);
                    return refuse(code);
                }
            }
        }
        drop(state);
        Ok(Box::pin(stream::unfold(stream, |mut stream| async move {
            let chunk = stream.next().await?;
            Some((chunk, stream))
        })))
    }
}

/// The body of an answer. It breaks when the server loses its etcd.
struct Answer {
    world: Arc<Mutex<State>>,
    life: u32,
    fault: Fault,
    opened: Instant,
    pending: VecDeque<Bytes>,
    sent: usize,
    /// Set for a watch.
    term: Option<Duration>,
    /// All up to here was sent.
    position: u64,
    /// A bookmark was sent before the end.
    marked: bool,
    done: bool,
    chunks: Vec<usize>,
}

impl Answer {
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
            match self.fault {
                Fault::EndAt(at) if age >= at => return None,
                _ => {}
            }
            if self.add_events(age + secs(2) >= term) {
                self.done = true;
                return reset();
            }
            if self.pending.is_empty() {
                if age >= term {
                    return None;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Adds what has happened. True where the server is not the same any more.
    fn add_events(&mut self, ends: bool) -> bool {
        let world = Arc::clone(&self.world);
        let state = world.lock().unwrap();
        if state.life != self.life {
            return true;
        }
        // What was compacted since is lost to this watch, as to one that the server lets go of for being slow.
        if self.position < state.compacted {
            self.term = Some(Duration::ZERO);
            return false;
        }
        let mut text = String::new();
        for (version, kind, name) in &state.history {
            if *version > self.position {
                let _ = write!(
                    text,
                    "{{\"type\":\"{kind}\",\"object\":{}}}\n\n",
                    object(name, *version)
                );
                self.position = *version;
            }
        }
        if ends && !self.marked && state.version > self.position {
            self.marked = true;
            self.position = state.version;
            let _ = writeln!(
                text,
                "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{}\"}}}}}}",
                state.version
            );
        }
        drop(state);
        self.push(&text);
        false
    }
}
