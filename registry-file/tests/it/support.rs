//! A directory of files, a watch of it, and the picture that its events paint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use registry_core::{
    Control, Discovery, Event, EventStream, Health, PortDefaults, Resync, Scope, ServiceRegistry, Snapshot,
};
use registry_file::{FileConfig, FileRegistry};
use tempfile::TempDir;

/// Longer than anything takes here on a busy machine: only a failing test waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Notices changes by notification alone: the poll is too far away to help.
pub(crate) fn by_notification(path: &str) -> FileConfig {
    FileConfig {
        debounce: Duration::from_millis(50),
        poll_interval: Duration::from_secs(600),
        ..FileConfig::new(path)
    }
}

/// Looks often, too.
pub(crate) fn by_poll(path: &str) -> FileConfig {
    FileConfig {
        poll_interval: Duration::from_millis(100),
        ..by_notification(path)
    }
}

pub(crate) struct Dir(TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes in place.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    /// Writes beside and renames, as editors do.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let beside = self.at(name).with_extension("tmp~");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.at(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.at(name)).unwrap();
    }

    pub(crate) fn make_dir(&self, name: &str) {
        std::fs::create_dir_all(self.at(name)).unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn link(&self, target: &str, name: &str) {
        std::os::unix::fs::symlink(target, self.at(name)).unwrap();
    }

    pub(crate) fn registry(&self, config: FileConfig) -> FileRegistry {
        FileRegistry::try_new(config).unwrap().relative_to(self.path())
    }

    pub(crate) async fn watch(&self, config: FileConfig) -> Watching {
        Watching::new(&self.registry(config)).await
    }
}

/// A file that says one service with one endpoint.
pub(crate) fn one(service: &str, address: &str) -> String {
    format!("services:\n  - name: {service}\n    endpoints:\n      - {{ address: {address}, port: 80 }}\n")
}

/// A running watch, and what it said so far.
pub(crate) struct Watching {
    pub(crate) control: Control,
    stream: EventStream,
    /// Service to addresses, as an obedient reader holds them.
    pub(crate) services: BTreeMap<String, Vec<String>>,
    /// Scopes that could not be read, and why.
    pub(crate) degraded: BTreeMap<Scope, String>,
    /// Every event, as a short text.
    pub(crate) log: Vec<String>,
}

impl Watching {
    pub(crate) async fn new(registry: &FileRegistry) -> Self {
        let control = Control::new("files".parse().unwrap(), PortDefaults::default());
        let stream = registry.watch(control.clone()).await.unwrap();
        Self {
            control,
            stream,
            services: BTreeMap::new(),
            degraded: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// Takes the next batch.
    pub(crate) async fn batch(&mut self) {
        let batch = tokio::time::timeout(DEADLINE, self.stream.next())
            .await
            .unwrap_or_else(|_| panic!("no word from the watch; so far {:?}", self.log))
            .expect("the watch ended")
            .unwrap();
        let mut listing: Option<(Scope, BTreeSet<String>)> = None;
        for event in batch {
            match event {
                Event::Init(scope) => {
                    self.log.push(format!("init {scope}"));
                    listing = Some((scope, BTreeSet::new()));
                }
                Event::Apply { record, .. } => {
                    let (_, applied) = listing.as_mut().expect("a file is always told whole");
                    applied.insert(record.id().to_string());
                    let mut addresses: Vec<String> = record
                        .endpoints()
                        .iter()
                        .map(|endpoint| endpoint.address().to_string())
                        .collect();
                    addresses.sort();
                    self.services.insert(record.id().to_string(), addresses);
                }
                Event::InitDone { scope, unread } => {
                    self.log.push(format!("done {scope}"));
                    let (begun, applied) = listing.take().expect("an Init before");
                    assert_eq!(begun, scope);
                    let within = |id: &str, scope: &Scope| match scope {
                        Scope::Group(group) => id.starts_with(&format!("{group}/")),
                        _ => true,
                    };
                    self.services.retain(|id, _| {
                        applied.contains(id)
                            || !within(id, &scope)
                            || unread.iter().any(|(scope, _)| within(id, scope))
                    });
                    self.degraded.retain(|held, _| !scope.covers(held));
                    self.degraded
                        .extend(unread.into_iter().map(|(scope, error)| (scope, error.report())));
                }
                Event::Confirmed(scope) => {
                    self.log.push(format!("confirmed {scope}"));
                    self.degraded.remove(&scope);
                }
                Event::Degraded { scope, error } => {
                    self.log.push(format!("degraded {scope}"));
                    self.degraded.insert(scope, error.report());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(listing.is_none(), "a listing is one batch");
    }

    /// Takes batches until the picture is right.
    pub(crate) async fn until(&mut self, what: &str, right: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !right(self) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: {:?}, degraded {:?}",
                self.services,
                self.degraded
            );
            self.batch().await;
        }
    }

    /// Takes batches until the service has that address alone.
    pub(crate) async fn until_at(&mut self, service: &str, address: &str) {
        self.until(&format!("{service} at {address}"), |seen| {
            seen.is_at(service, address)
        })
        .await;
    }

    pub(crate) fn is_at(&self, service: &str, address: &str) -> bool {
        self.services
            .get(service)
            .is_some_and(|addresses| addresses == &[address])
    }

    /// Why a file is degraded.
    pub(crate) fn trouble(&self, group: &str) -> Option<&str> {
        self.degraded.get(&Scope::Group(group.into())).map(String::as_str)
    }

    pub(crate) async fn until_trouble(&mut self, group: &str) -> String {
        self.until(&format!("{group} degraded"), |seen| seen.trouble(group).is_some())
            .await;
        self.trouble(group).unwrap().to_owned()
    }

    /// Asks for everything, and takes the answer.
    pub(crate) async fn resync(&mut self) {
        let before = self.log.len();
        self.control.request_resync(Resync {
            scope: Scope::Registry,
            strong: false,
        });
        self.until("an answer to a resync", |seen| {
            seen.log[before..].iter().any(|event| event == "done registry")
        })
        .await;
    }
}

/// Waits until the snapshot is right.
pub(crate) async fn until(discovery: &Discovery, what: &str, right: impl Fn(&Snapshot) -> bool) {
    let mut changes = discovery.changes();
    let waiting = async {
        while !right(&discovery.snapshot()) {
            // What changes outside of content (staleness) brings no delta.
            let _ = tokio::time::timeout(Duration::from_millis(20), changes.next()).await;
        }
    };
    if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
        panic!("{what}: {:?}", discovery.status());
    }
}

/// The health of the only endpoint of a service.
pub(crate) fn health(snapshot: &Snapshot, hostname: &str) -> Option<Health> {
    let service = snapshot.get(hostname)?;
    let mut endpoints = service.endpoints().iter();
    let only = endpoints.next()?;
    assert!(
        endpoints.next().is_none(),
        "one endpoint: {:?}",
        service.endpoints()
    );
    Some(only.health())
}
