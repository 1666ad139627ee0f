//! A client of the watch that keeps every state that it was told of.

use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::api::{Delta, Listing, Service};
use crate::daemon::{Daemon, http};

/// One service, as it was at one revision.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) revision: u64,
    /// `address health registries` of each endpoint, sorted; nothing where there is no such service.
    pub(super) endpoints: Vec<String>,
    /// How many of them requests may be sent to.
    pub(super) routable: usize,
}

pub(super) struct Recorder {
    states: Arc<Mutex<Vec<State>>>,
    task: JoinHandle<()>,
}

// === impl State ===

impl State {
    fn of(revision: u64, service: Option<&Service>) -> Self {
        let endpoints = service.map_or(&[][..], |service| &service.endpoints);
        // As the documentation of the API tells clients; drained ones do not count here.
        let routable = |health: &str| matches!(health, "healthy" | "degraded" | "unknown");
        let mut lines: Vec<String> = endpoints
            .iter()
            .map(|endpoint| {
                let sources: Vec<&str> = endpoint
                    .sources
                    .iter()
                    .map(|source| source.registry.as_str())
                    .collect();
                format!("{} {} {}", endpoint.address, endpoint.health, sources.join("+"))
            })
            .collect();
        lines.sort();
        Self {
            revision,
            endpoints: lines,
            routable: endpoints.iter().filter(|one| routable(&one.health)).count(),
        }
    }
}

// === impl Recorder ===

impl Recorder {
    /// Follows a service of that daemon from now on.
    pub(super) async fn start(daemon: &Daemon, hostname: &'static str) -> Self {
        let url = format!("{}/v1/watch?host={hostname}", daemon.url());
        let answer = http().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let states = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(record(answer, hostname, states.clone()));
        Self { states, task }
    }

    /// All states so far.
    pub(super) fn states(&self) -> Vec<State> {
        assert!(
            !self.task.is_finished(),
            "the watch ended, or told what is not understood"
        );
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the last state is this one.
    pub(super) async fn until<S: AsRef<str>>(&self, daemon: &Daemon, endpoints: &[S]) {
        let endpoints: Vec<&str> = endpoints.iter().map(AsRef::as_ref).collect();
        let reached = async || {
            let last = self.states().pop()?;
            (last.endpoints == endpoints).then_some(())
        };
        daemon
            .wait(&format!("the watch tells of {endpoints:?}"), reached)
            .await;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(mut answer: reqwest::Response, hostname: &'static str, states: Arc<Mutex<Vec<State>>>) {
    let mut buffer = Vec::new();
    let mut last = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = buffer.drain(..end + 2).collect();
            let event = String::from_utf8(event).unwrap();
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            let (Some(kind), Some(data)) = (field("event: "), field("data: ")) else {
                assert!(event.starts_with(':'), "{event}");
                continue;
            };
            let state = match kind {
                "reset" => {
                    let reset: Listing = parsed(data);
                    last = reset.services;
                    reset.revision
                }
                "delta" => {
                    let delta: Delta = parsed(data);
                    last.retain(|service| !delta.removed.contains(&service.hostname));
                    for service in delta.updated {
                        last.retain(|known| known.hostname != service.hostname);
                        last.push(service);
                    }
                    delta.to
                }
                other => panic!("an unknown event: {other}"),
            };
            let service = last.iter().find(|service| service.hostname == hostname);
            let state = State::of(state, service);
            states.lock().unwrap_or_else(PoisonError::into_inner).push(state);
        }
    }
}

fn parsed<T: DeserializeOwned>(data: &str) -> T {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
}

/// Fails where there was a moment with fewer endpoints to send requests to.
pub(super) fn assert_always_routable(recorder: &Recorder, least: usize) {
    let states = recorder.states();
    for state in &states {
        let revision = state.revision;
        assert!(state.routable >= least, "revision {revision}: {states:#?}");
    }
}
