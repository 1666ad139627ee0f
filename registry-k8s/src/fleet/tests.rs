//! Fleets against scripted sources, in paused time.

mod believing;
mod handing_out;
mod listening;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use registry_core::{Control, ErrorKind, Event, RegistryError, Scope, Str, async_trait};
use serde_json::json;
use tokio::sync::mpsc;

use super::kubeconfig::tests::sample;
use super::secrets::{Listen, Secrets};
use super::session::Session;
use super::source::Source;
use super::*;
use crate::watch::Told;

/// Longer than anything here takes, in time that passes only where all are waiting.
const LONG: Duration = Duration::from_secs(600);

/// A feed that says what the test sends.
struct Script {
    told: mpsc::UnboundedReceiver<Vec<Told>>,
    asked: mpsc::UnboundedSender<()>,
}

#[async_trait]
impl Listen for Script {
    async fn next(&mut self) -> Vec<Told> {
        match self.told.recv().await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }

    fn list_again(&mut self) {
        // Where the test does not look, nobody has to know.
        let _ = self.asked.send(());
    }
}

/// A fleet of Secrets whose feed is a script.
struct Stage {
    fleet: Fleet,
    config: SecretsConfig,
    watch: EventStream,
    control: Control,
    told: mpsc::UnboundedSender<Vec<Told>>,
    asked: mpsc::UnboundedReceiver<()>,
    /// Events that came beside those that were waited for.
    events: VecDeque<Event>,
}

impl Stage {
    fn new(key: Option<&str>) -> (Self, Members) {
        let secrets = SecretsConfig {
            namespace: "control".to_owned(),
            selector: "clusters=yes".to_owned(),
            key: key.map(str::to_owned),
        };
        let config = KubernetesConfig {
            secrets: Some(secrets.clone()),
            ..KubernetesConfig::default()
        };
        let (fleet, members) = Fleet::try_new(config).unwrap();
        (Self::open(fleet, secrets), members)
    }

    fn open(fleet: Fleet, config: SecretsConfig) -> Self {
        let (told, script) = mpsc::unbounded_channel();
        let (asking, asked) = mpsc::unbounded_channel();
        let control = Control::new("clusters".parse().unwrap(), Default::default());
        let feed = Box::new(Script {
            told: script,
            asked: asking,
        });
        let source = Source::Secrets(Secrets::new(feed, config.clone(), control.clone()));
        Self {
            watch: events(Session::new(fleet.shared.clone(), source, control.clone())),
            fleet,
            config,
            control,
            told,
            asked,
            events: VecDeque::new(),
        }
    }

    /// As a supervisor does when a watch ended.
    fn reopen(self) -> Self {
        let Self {
            fleet, config, watch, ..
        } = self;
        drop(watch);
        Self::open(fleet, config)
    }

    fn tell(&self, told: Vec<Told>) {
        self.told.send(told).unwrap();
    }

    fn list(&self, secrets: &[Bytes]) {
        let listed = secrets.iter().cloned().map(Told::Listed);
        let begin = std::iter::once(Told::Begin);
        self.tell(begin.chain(listed).chain([Told::Complete]).collect());
    }

    async fn batch(&mut self) -> Vec<Event> {
        let batch = tokio::time::timeout(LONG, self.watch.next()).await;
        batch.expect("the fleet said nothing").unwrap().unwrap()
    }

    /// The next event, shown shortly.
    async fn said(&mut self) -> String {
        while self.events.is_empty() {
            let batch = self.batch().await;
            self.events.extend(batch);
        }
        shown(&self.events.pop_front().unwrap())
    }

    /// Nothing more is said for now.
    async fn silent(&mut self) -> bool {
        self.silent_for(Duration::from_millis(1)).await
    }

    async fn silent_for(&mut self, time: Duration) -> bool {
        self.events.is_empty() && tokio::time::timeout(time, self.watch.next()).await.is_err()
    }

    /// The next set while the session runs.
    async fn set(&mut self, members: &mut Members) -> MemberSet {
        let taking = tokio::time::timeout(LONG, members.next());
        tokio::pin!(taking);
        loop {
            tokio::select! {
                set = &mut taking => return set.expect("no set came").expect("the fleet is there"),
                batch = self.watch.next() => self.events.extend(batch.unwrap().unwrap()),
            }
        }
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Init(scope) => format!("init {scope}"),
        Event::InitDone { scope, unread } => {
            assert!(unread.is_empty());
            format!("done {scope}")
        }
        Event::Confirmed(scope) => format!("confirmed {scope}"),
        Event::Degraded { scope, error } => format!("degraded {scope}: {}", error.report()),
        other => panic!("a fleet has no services: {other:?}"),
    }
}

fn names(set: &MemberSet) -> Vec<&str> {
    set.members.iter().map(|member| member.name.as_str()).collect()
}

fn encode(text: &str) -> String {
    let encoded = serde_json::to_value(k8s_openapi::ByteString(text.into())).unwrap();
    encoded.as_str().unwrap().to_owned()
}

/// A Secret, as the API server shows it.
fn secret(name: &str, created: &str, data: &[(&str, &str)]) -> Bytes {
    let data: serde_json::Map<String, serde_json::Value> = data
        .iter()
        .map(|(key, text)| ((*key).to_owned(), encode(text).into()))
        .collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {
            "name": name, "namespace": "control", "uid": format!("uid-of-{name}"), "resourceVersion": "7",
            "creationTimestamp": created, "labels": { "clusters": "yes" },
        },
    });
    secret.to_string().into()
}

/// A kubeconfig of a cluster of that name.
fn kubeconfig(cluster: &str) -> String {
    sample(&format!("https://{cluster}.example:6443"))
}
