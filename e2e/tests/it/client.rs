//! Readers of the daemon that check whatever they read against the truth: one that asks for everything again and
//! again, and clients of `/v1/watch` that disconnect, resume, and are slow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::{Delta, Listing, Service, claims};
use crate::daemon::{http, listing};
use crate::truth::{Seen, Truth};

/// The time between two looks of the one that asks again and again.
const LOOK: Duration = Duration::from_millis(60);

/// The time after which a client tries again to connect.
const RETRY: Duration = Duration::from_millis(50);

/// What everybody in a run knows.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    truth: Mutex<Truth>,
    wrong: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found wrong since the last time.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.wrong.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn report(&self, who: &str, wrong: Vec<String>) {
        let mut all = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(wrong.into_iter().map(|wrong| format!("{who}: {wrong}")));
    }
}

/// A task that ends with its handle.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Task {
    fn is_alive(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks for all services, over and over.
#[derive(Debug)]
pub(crate) struct Poller {
    seen: Arc<Mutex<Seen>>,
    task: Task,
}

impl Poller {
    pub(crate) fn start(url: String, shared: Arc<Shared>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(Self::run(url, shared, seen.clone()));
        Self {
            seen,
            task: Task(task),
        }
    }

    /// False where it gave up, over something that it did not understand.
    pub(crate) fn is_alive(&self) -> bool {
        self.task.is_alive()
    }

    /// What it saw.
    pub(crate) fn seen(&self) -> Seen {
        Seen::of(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run(url: String, shared: Arc<Shared>, seen: Arc<Mutex<Seen>>) {
        let http = http();
        let (mut turn, mut was_ready, mut began) = (0, false, Instant::now());
        loop {
            tokio::time::sleep(LOOK).await;
            let (before, asked) = (shared.truth().turn, Instant::now());
            let listing = listing(&http, &url).await;
            let truth = shared.truth();
            // What a daemon said that is no more is nothing to go by.
            let Some(listing) = listing.filter(|_| truth.turn == before) else {
                continue;
            };
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if turn != before {
                truth.forget_unwritten(began, &mut seen);
                (turn, was_ready, began) = (before, false, asked);
            }
            if listing.ready {
                was_ready = true;
                let wrong = truth.judge(&claims(&listing.services), &mut seen);
                shared.report(&format!("revision {} of the API", listing.revision), wrong);
            } else if was_ready {
                shared.report("the API", vec!["readiness went back".to_owned()]);
            }
        }
    }
}

/// What a client of the watch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It reads, and connects again when it is cut off.
    Follow,
    /// It stays connected and does not read.
    Sleep,
    /// It is not connected.
    Away,
}

/// A client of the watch, whose state survives its connections.
pub(crate) struct Client {
    name: &'static str,
    mode: watch::Sender<Mode>,
    state: Arc<Mutex<State>>,
    task: Task,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a client made of the events that it read.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    services: BTreeMap<String, Service>,
    pub(crate) root_hash: String,
    pub(crate) revision: u64,
    id: Option<String>,
    pub(crate) resets: usize,
    pub(crate) deltas: usize,
    pub(crate) connections: usize,
}

// === impl Client ===

impl Client {
    pub(crate) fn start(name: &'static str, url: String, shared: Arc<Shared>, seen: Seen) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (mode, modes) = watch::channel(Mode::Follow);
        let reader = Reader {
            name,
            url,
            http: http(),
            shared,
            seen,
            state: state.clone(),
            modes,
            asked: Instant::now(),
            began: Instant::now(),
        };
        Self {
            name,
            mode,
            state,
            task: Task(tokio::spawn(reader.run())),
        }
    }

    /// False where it gave up, over something that it did not understand.
    pub(crate) fn is_alive(&self) -> bool {
        self.task.is_alive()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl State ===

impl State {
    /// Hashes by hostname.
    pub(crate) fn hashes(&self) -> BTreeMap<&str, &str> {
        hashes(self.services.values())
    }
}

/// Hashes by hostname.
pub(crate) fn hashes<'a>(services: impl IntoIterator<Item = &'a Service>) -> BTreeMap<&'a str, &'a str> {
    let pair = |service: &'a Service| (service.hostname.as_str(), service.hash.as_str());
    services.into_iter().map(pair).collect()
}

struct Reader {
    name: &'static str,
    url: String,
    http: reqwest::Client,
    shared: Arc<Shared>,
    seen: Seen,
    state: Arc<Mutex<State>>,
    modes: watch::Receiver<Mode>,
    /// When the present connection was asked for, and the first one to the present daemon.
    asked: Instant,
    began: Instant,
}

impl Reader {
    async fn run(mut self) {
        loop {
            if self.modes.wait_for(|mode| *mode != Mode::Away).await.is_err() {
                return;
            }
            let id = self.state().id.clone();
            let mut request = self.http.get(format!("{}/v1/watch", self.url));
            if let Some(id) = id {
                request = request.header("last-event-id", id);
            }
            self.asked = Instant::now();
            if let Ok(answer) = request.send().await
                && answer.status() == 200
            {
                self.state().connections += 1;
                self.read(answer).await;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the connection ends, from one side or the other.
    async fn read(&mut self, mut answer: reqwest::Response) {
        let mut buffer = Vec::new();
        loop {
            let mode = *self.modes.borrow_and_update();
            let chunk = tokio::select! {
                biased;
                changed = self.modes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                chunk = answer.chunk(), if mode == Mode::Follow => chunk,
                () = std::future::ready(()), if mode == Mode::Away => return,
            };
            let Ok(Some(chunk)) = chunk else { return };
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                self.take(&String::from_utf8(event).unwrap());
            }
        }
    }

    fn take(&mut self, event: &str) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let (Some(kind), Some(id), Some(data)) = (field("event: "), field("id: "), field("data: ")) else {
            assert!(event.starts_with(':'), "{event}");
            return;
        };
        let mut wrong = Vec::new();
        let shared = self.shared.clone();
        let truth = shared.truth();
        let mut state = self.state();
        let epoch = |id: &str| id.split_once('.').map(|(epoch, _)| epoch.to_owned());
        let same_daemon = state.id.as_deref().and_then(epoch) == epoch(id);
        let before = state.revision;
        let restarted = match kind {
            "reset" => {
                let reset: Listing = parsed(data);
                state.services = reset
                    .services
                    .into_iter()
                    .map(|service| (service.hostname.clone(), service))
                    .collect();
                (state.revision, state.root_hash) = (reset.revision, reset.root_hash);
                state.resets += 1;
                !same_daemon
            }
            "delta" => {
                let delta: Delta = parsed(data);
                if !same_daemon {
                    wrong.push(format!("a delta of another daemon: {id} after {:?}", state.id));
                }
                for service in delta.updated {
                    state.services.insert(service.hostname.clone(), service);
                }
                for hostname in delta.removed {
                    state.services.remove(&hostname);
                }
                (state.revision, state.root_hash) = (delta.to, delta.root_hash);
                state.deltas += 1;
                false
            }
            other => panic!("an unknown event: {other}"),
        };
        if same_daemon && state.revision < before {
            wrong.push(format!("revision {} after {before}", state.revision));
        }
        state.id = Some(id.to_owned());
        let claims = claims(state.services.values());
        let revision = state.revision;
        drop(state);
        if restarted {
            truth.forget_unwritten(self.began, &mut self.seen);
            self.began = self.asked;
        }
        wrong.extend(truth.judge(&claims, &mut self.seen));
        drop(truth);
        self.shared
            .report(&format!("{kind} to revision {revision} on {}", self.name), wrong);
    }
}

fn parsed<T: DeserializeOwned>(data: &str) -> T {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
}
