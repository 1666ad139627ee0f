use std::sync::atomic::{AtomicUsize, Ordering};

use registry_core::{
    Address, Control, Endpoint, Event, EventStream, RegistryError, RegistryStatus, Scope, ServiceId,
    ServiceMeta, ServiceRecord, StaticRegistry, async_trait,
};
use registry_testkit::wait;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::registries::{Member, MemberSet};

const DEADLINE: Duration = Duration::from_secs(60);

/// The list of members: known as soon as a set is in force.
struct List {
    known: watch::Sender<bool>,
    target: &'static str,
}

#[async_trait]
impl ServiceRegistry for List {
    fn kind(&self) -> &'static str {
        "list"
    }

    fn target(&self) -> String {
        self.target.to_owned()
    }

    fn freshness_bound(&self) -> Duration {
        Duration::MAX
    }

    async fn watch(&self, _: Control) -> Result<EventStream, RegistryError> {
        let known = self.known.subscribe();
        let listings = futures_util::stream::unfold(known, async |mut known| {
            known.wait_for(|known| *known).await.ok()?;
            Some((Ok(Event::listing(Scope::Registry, [])), known))
        });
        // One listing, and then silence.
        Ok(Box::pin(futures_util::StreamExt::chain(
            futures_util::StreamExt::take(listings, 1),
            futures_util::stream::pending(),
        )))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// A cluster with one service, which counts how often it is watched.
struct Cluster {
    inner: StaticRegistry,
    watched: Arc<AtomicUsize>,
    down: bool,
    target: String,
}

#[async_trait]
impl ServiceRegistry for Cluster {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn target(&self) -> String {
        self.target.clone()
    }

    fn freshness_bound(&self) -> Duration {
        Duration::MAX
    }

    fn default_hostname(&self) -> String {
        "{name}.cluster".to_owned()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        self.watched.fetch_add(1, Ordering::SeqCst);
        if self.down {
            return Ok(Box::pin(futures_util::stream::pending()));
        }
        self.inner.watch(control).await
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

struct Fake {
    sets: mpsc::UnboundedSender<MemberSet>,
    known: watch::Sender<bool>,
    watched: Arc<AtomicUsize>,
}

struct Sets(mpsc::UnboundedReceiver<MemberSet>);

#[async_trait]
impl Members for Sets {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    async fn next(&mut self) -> Option<MemberSet> {
        self.0.recv().await
    }
}

impl Fake {
    fn new(target: &'static str) -> (Self, Built) {
        let (sets, receiver) = mpsc::unbounded_channel();
        let known = watch::Sender::new(false);
        let registry = Arc::new(List {
            known: known.clone(),
            target,
        });
        let built = Built {
            registry,
            members: Some(Box::new(Sets(receiver))),
        };
        let fake = Self {
            sets,
            known,
            watched: Arc::default(),
        };
        (fake, built)
    }

    /// The members are these, each with the address of its one endpoint.
    fn set(&self, members: &[(&str, &str)]) {
        self.set_with(members, false);
    }

    /// As [`set`](Self::set); nobody can reach any of them where `down`.
    fn set_with(&self, members: &[(&str, &str)], down: bool) {
        let member = |(name, address): &(&str, &str)| {
            let meta = ServiceMeta::builder(ServiceId::named(*name)).build();
            let endpoint = Endpoint::builder(address.parse::<Address>().unwrap())
                .port("http", 80)
                .build();
            Member {
                name: (*name).to_owned(),
                registry: Arc::new(Cluster {
                    inner: StaticRegistry::new([ServiceRecord::new(meta, [endpoint])]),
                    watched: self.watched.clone(),
                    down,
                    target: format!("https://{name}"),
                }),
                fingerprint: xxhash_rust::xxh3::xxh3_128(address.as_bytes()),
            }
        };
        let known = self.known.clone();
        let set = MemberSet {
            members: members.iter().map(member).collect(),
            certain: false,
            done: Box::new(move || {
                known.send_replace(true);
            }),
        };
        assert!(self.sets.send(set).is_ok());
    }

    fn watched(&self) -> usize {
        self.watched.load(Ordering::SeqCst)
    }
}

fn id(text: &str) -> RegistryId {
    text.parse().unwrap()
}

fn begin(built: Built, options: RegistryOptions, state_dir: Option<&Path>) -> (Discovery, Fleets) {
    let mut builder = Discovery::builder().start_deadline(Duration::from_millis(50));
    if let Some(directory) = state_dir {
        builder = builder.state_dir(directory);
    }
    let (builder, awaiting) = add(builder, &id("clusters"), built, options, state_dir);
    let discovery = builder.start().unwrap();
    let fleets = Fleets::new(
        discovery.clone(),
        Duration::from_secs(30),
        state_dir,
        awaiting.into_iter().collect(),
    );
    (discovery, fleets)
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    wait::until(what, DEADLINE, async || look().then_some(()))
        .await
        .unwrap();
}

fn address(discovery: &Discovery, host: &str) -> Option<String> {
    let snapshot = discovery.snapshot();
    let service = snapshot.get(host)?;
    let endpoint = service.endpoints().iter().next()?;
    Some(endpoint.address().to_string())
}

fn names(discovery: &Discovery) -> Vec<String> {
    let mut names: Vec<String> = discovery
        .status()
        .iter()
        .map(|status| status.id.to_string())
        .collect();
    names.sort();
    names
}

fn status(discovery: &Discovery, of: &str) -> RegistryStatus {
    discovery
        .status()
        .into_iter()
        .find(|status| status.id.as_str() == of)
        .unwrap()
}

fn unguarded() -> RegistryOptions {
    RegistryOptions {
        guard: None,
        ..RegistryOptions::default()
    }
}

#[tokio::test]
async fn members_join_change_and_leave_and_the_others_notice_nothing() {
    let (fake, built) = Fake::new("x");
    let (discovery, _fleets) = begin(built, unguarded(), None);
    fake.set(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    until("both", || {
        address(&discovery, "a.cluster").is_some() && address(&discovery, "b.cluster").is_some()
    })
    .await;
    assert_eq!(fake.watched(), 2);

    fake.set(&[("a", "10.0.0.1"), ("b", "10.0.0.3")]);
    until("the change", || {
        address(&discovery, "b.cluster").as_deref() == Some("10.0.0.3")
    })
    .await;
    assert_eq!(fake.watched(), 3, "the unchanged one goes on");
    assert_eq!(status(&discovery, "clusters/a").attempts, 1);

    fake.set(&[("c", "10.0.0.4"), ("a", "10.0.0.1")]);
    until("the removal", || {
        names(&discovery) == ["clusters", "clusters/a", "clusters/c"]
    })
    .await;
    assert_eq!(address(&discovery, "b.cluster"), None);
    assert_eq!(
        address(&discovery, "c.cluster").as_deref(),
        Some("10.0.0.4"),
        "it was known before the other left"
    );
    assert_eq!(fake.watched(), 4);
}

#[tokio::test]
async fn a_required_fleet_holds_readiness_until_its_members_are_known() {
    let (fake, built) = Fake::new("x");
    let (discovery, _fleets) = begin(built, unguarded(), None);
    // Past the deadline of optional registries.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!discovery.readiness().ready);
    assert_eq!(discovery.readiness().awaited, [id("clusters")]);
    fake.set(&[("a", "10.0.0.1")]);
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    assert_eq!(address(&discovery, "a.cluster").as_deref(), Some("10.0.0.1"));
    assert!(status(&discovery, "clusters/a").required);
}

#[tokio::test]
async fn a_start_whose_list_lacks_what_was_remembered_believes_that_late() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (fake, built) = Fake::new("x");
    let (discovery, fleets) = begin(built, RegistryOptions::default(), Some(path));
    fake.set(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    discovery.shutdown().await;
    drop(fleets);

    let (fake, built) = Fake::new("x");
    let (discovery, _fleets) = begin(built, RegistryOptions::default(), Some(path));
    fake.set(&[]);
    until("the list", || *fake.known.borrow()).await;
    assert_eq!(names(&discovery), ["clusters", "clusters/a", "clusters/b"]);
    fake.set(&[("a", "10.0.0.1"), ("b", "10.0.0.9")]);
    until("the change", || {
        address(&discovery, "b.cluster").as_deref() == Some("10.0.0.9")
    })
    .await;
    until("both to be heard", || !status(&discovery, "clusters/a").restored).await;
    fake.set(&[]);
    until("what was heard to leave at once", || {
        names(&discovery) == ["clusters"]
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn a_member_that_is_back_before_its_successor_is_known_was_never_away() {
    let (fake, built) = Fake::new("x");
    let (discovery, _fleets) = begin(built, unguarded(), None);
    fake.set(&[("a", "10.0.0.1")]);
    until("a", || address(&discovery, "a.cluster").is_some()).await;
    fake.set_with(&[("b", "10.0.0.2")], true);
    until("b", || {
        names(&discovery) == ["clusters", "clusters/a", "clusters/b"]
    })
    .await;
    fake.set(&[("a", "10.0.0.1")]);
    until("b to leave", || names(&discovery) == ["clusters", "clusters/a"]).await;
    assert_eq!(fake.watched(), 2, "a was never away");
    assert_eq!(status(&discovery, "clusters/a").attempts, 1);
}

#[tokio::test]
async fn changed_options_apply_to_all_members_and_to_those_that_come() {
    let (fake, built) = Fake::new("x");
    let (discovery, fleets) = begin(built, unguarded(), None);
    fake.set(&[("a", "10.0.0.1")]);
    until("a", || address(&discovery, "a.cluster").is_some()).await;
    let options = RegistryOptions {
        hostname: Some("{name}.renamed".parse().unwrap()),
        ..unguarded()
    };
    fleets.adjust(&id("clusters"), &options).await;
    until("the new name", || address(&discovery, "a.renamed").is_some()).await;
    fake.set(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    until("b", || address(&discovery, "b.renamed").is_some()).await;
    assert_eq!(fake.watched(), 2);
}

#[tokio::test]
async fn another_backend_takes_over_the_members_that_both_have() {
    let (fake, built) = Fake::new("x");
    let (discovery, mut fleets) = begin(built, unguarded(), None);
    fake.set(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    until("both", || address(&discovery, "b.cluster").is_some()).await;
    let roster = fleets.stop(&id("clusters")).await;
    let (other, built) = Fake::new("y");
    let members = built.members.unwrap();
    fleets
        .follow(&id("clusters"), &*built.registry, members, unguarded(), roster)
        .await;
    assert!(
        address(&discovery, "a.cluster").is_some(),
        "nothing is known of the new list yet"
    );
    other.set(&[("a", "10.0.0.1"), ("c", "10.0.0.3")]);
    until("the others", || {
        names(&discovery) == ["clusters", "clusters/a", "clusters/c"]
    })
    .await;
    assert_eq!((fake.watched(), other.watched()), (2, 1));
    assert!(fake.sets.is_closed(), "nobody follows the old list");
}

#[tokio::test]
async fn a_start_without_the_list_serves_what_members_said_last_and_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (fake, built) = Fake::new("x");
    let (discovery, fleets) = begin(built, unguarded(), Some(path));
    fake.set(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    discovery.shutdown().await;
    drop(fleets);

    let (fake, built) = Fake::new("x");
    let (discovery, _fleets) = begin(built, unguarded(), Some(path));
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    assert_eq!(address(&discovery, "a.cluster").as_deref(), Some("10.0.0.1"));
    assert!(status(&discovery, "clusters/b").restored);
    fake.set(&[("a", "10.0.0.1")]);
    until("the list", || names(&discovery) == ["clusters", "clusters/a"]).await;
    until("a to be heard", || !status(&discovery, "clusters/a").restored).await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn a_start_that_cannot_tell_the_members_is_not_ready() {
    for other in ["other", "damaged", "gone"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (fake, built) = Fake::new("x");
        let (discovery, fleets) = begin(built, unguarded(), Some(path));
        fake.set(&[("a", "10.0.0.1")]);
        tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
        discovery.shutdown().await;
        drop(fleets);
        let memory = path.join("clusters.members");
        match other {
            "damaged" => std::fs::write(&memory, "{").unwrap(),
            "gone" => std::fs::remove_file(&memory).unwrap(),
            _ => {}
        }
        let (_fake, built) = Fake::new(if other == "other" { "y" } else { "x" });
        let (discovery, _fleets) = begin(built, unguarded(), Some(path));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(names(&discovery), ["clusters"], "{other}");
        assert!(!discovery.readiness().ready, "{other}");
        discovery.shutdown().await;
    }
}
