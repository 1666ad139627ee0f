//! A running watch, and the picture that its events paint.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use registry_core::{
    Control, Event, EventStream, PortDefaults, Resync, Scope, ServiceRecord, ServiceRegistry,
};
use registry_remote::{HttpSdConfig, HttpSdRegistry};

/// Longer than anything takes here on a busy machine: only a failing test waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Polls that tests can sit out.
pub(crate) fn config() -> HttpSdConfig {
    registry_testkit::init_tls();
    HttpSdConfig {
        interval: Duration::from_millis(100),
        ..HttpSdConfig::default()
    }
}

pub(crate) fn config_of(url: &str) -> HttpSdConfig {
    HttpSdConfig {
        url: url.to_owned(),
        ..config()
    }
}

pub(crate) struct Watching {
    control: Control,
    stream: EventStream,
    pub(crate) records: BTreeMap<String, ServiceRecord>,
    /// Why not all can be read, while that is so.
    pub(crate) trouble: Option<String>,
    /// Every batch in a word: `listed`, `partly`, `confirmed` or `degraded`.
    pub(crate) log: Vec<&'static str>,
}

impl Watching {
    pub(crate) async fn open(config: HttpSdConfig) -> Self {
        let registry = HttpSdRegistry::try_new(config).unwrap();
        let control = Control::new("sd".parse().unwrap(), PortDefaults::default());
        Self {
            stream: registry.watch(control.clone()).await.unwrap(),
            control,
            records: BTreeMap::new(),
            trouble: None,
            log: Vec::new(),
        }
    }

    /// Opens a watch, and takes its first listing.
    pub(crate) async fn listed(config: HttpSdConfig) -> Self {
        let mut watching = Self::open(config).await;
        assert_eq!(watching.next().await, "listed", "{:?}", watching.trouble);
        watching
    }

    /// Takes the next batch.
    pub(crate) async fn next(&mut self) -> &'static str {
        let batch = tokio::time::timeout(DEADLINE, self.stream.next()).await;
        let batch = batch.unwrap_or_else(|_| panic!("no word; so far {:?}", self.log));
        let word = self.take(batch.expect("the watch ended").unwrap());
        self.log.push(word);
        word
    }

    fn take(&mut self, batch: Vec<Event>) -> &'static str {
        let mut listing: Option<BTreeMap<String, ServiceRecord>> = None;
        let mut word = "";
        for event in batch {
            match event {
                Event::Init(Scope::Registry) => listing = Some(BTreeMap::new()),
                Event::Apply { record, explicit } => {
                    assert!(!explicit, "a document announces nothing");
                    let listing = listing.as_mut().expect("everything is told in listings");
                    listing.insert(record.id().to_string(), record);
                }
                Event::InitDone { scope, unread } => {
                    assert_eq!(scope, Scope::Registry);
                    let listed = listing.take().expect("an Init before");
                    match unread.as_slice() {
                        [] => {
                            (self.records, self.trouble) = (listed, None);
                            word = "listed";
                        }
                        [(Scope::Registry, error)] => {
                            self.records.extend(listed);
                            self.trouble = Some(error.report());
                            word = "partly";
                        }
                        other => panic!("{other:?}"),
                    }
                }
                Event::Confirmed(Scope::Registry) => {
                    self.trouble = None;
                    word = "confirmed";
                }
                Event::Degraded {
                    scope: Scope::Registry,
                    error,
                } => {
                    self.trouble = Some(error.report());
                    word = "degraded";
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(listing.is_none(), "a listing is one batch");
        word
    }

    /// Takes batches until the picture is right.
    pub(crate) async fn until(&mut self, what: &str, right: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !right(self) {
            let late = tokio::time::Instant::now() >= deadline;
            assert!(!late, "{what}: {:?}, trouble {:?}", self.ids(), self.trouble);
            self.next().await;
        }
    }

    /// Takes batches until exactly these targets are known.
    pub(crate) async fn until_ids(&mut self, ids: &[&str]) {
        let wanted: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        self.until(&format!("{ids:?}"), |seen| seen.ids() == wanted).await;
    }

    /// Takes batches until there is trouble of which is told what is expected.
    pub(crate) async fn until_trouble(&mut self, expected: &str) {
        let told = |seen: &Self| seen.trouble.as_ref().is_some_and(|told| told.contains(expected));
        self.until(expected, told).await;
    }

    /// All targets, each after its service: `node 10.0.0.7:9100`.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        let records = self.records.iter();
        let of = |(id, record): (&String, &ServiceRecord)| -> Vec<String> {
            let endpoints = record.endpoints().iter();
            endpoints
                .map(|endpoint| format!("{id} {}", endpoint.id()))
                .collect()
        };
        records.flat_map(of).collect()
    }

    pub(crate) fn ask(&self, strong: bool) {
        self.control.request_resync(Resync {
            scope: Scope::Registry,
            strong,
        });
    }
}
