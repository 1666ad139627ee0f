//! Random histories of servers and of the way to them, under the whole of a watch: session, supervisor, removal guard.
//!
//! Whatever happened, once it is over and some time has passed what is published is what is true, and nothing is published
//! after that. Until then nothing goes of which nobody said that it is gone, nothing counts as fresh that was not heard
//! of, and nobody is asked too often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use proptest::prelude::*;
use registry_core::{
    Control, Discovery, EventStream, Phase, RegistryError, RegistryOptions, ServiceRegistry, Snapshot,
    async_trait,
};
use tokio::time::sleep;

use super::world::{Fault, Key, Millis, World};
use crate::config::{Alignment, EurekaConfig};
use crate::registry::EurekaRegistry;
use crate::session::Session;
use crate::transport::{Fetch, Transport};

const SECOND: Duration = Duration::from_secs(1);

/// Until what is published is what is true, once nothing is wrong any more: the longest rest that a server asked for, the
/// longest time between two full fetches, what the guard holds back, leases and caches.
const UNTIL_TRUE: u64 = 15 * 60;

/// For so long after that nothing is published.
const QUIET: u64 = 20 * 60;

/// Requests within a minute, whatever happens, and where nothing does.
const MOST_REQUESTS: usize = 100;
const MOST_QUIET: usize = 8;

#[derive(Debug, Clone)]
enum Deed {
    Register(Key, u8, bool),
    Cancel(Key),
    Die(Key),
    /// As many new instances as old ones go: the counts stay equal. Deltas may never tell of it.
    Deploy(u8, bool),
    Fault(usize, Fault, u64),
    Restart {
        peer: usize,
        seconds: u64,
        synced: bool,
        refuses: u64,
    },
    Isolate(usize, u64),
    Resync,
}

fn deed() -> impl Strategy<Value = Deed> {
    let key = || (0..4_u8, 0..10_u8);
    let fault = prop_oneof![
        Just(Fault::Refused),
        Just(Fault::Hangs),
        Just(Fault::BreaksOff),
        Just(Fault::CutShort),
        Just(Fault::Html),
        Just(Fault::Nothing),
        Just(Fault::NoRegistry),
        prop::sample::select(vec![401, 403, 404, 429, 500, 503]).prop_map(Fault::Status),
        (1..300_u16).prop_map(Fault::Rest),
        Just(Fault::NoDelta),
        Just(Fault::OddDelta),
        Just(Fault::DeltaHangs),
    ];
    prop_oneof![
        6 => (key(), 0..8_u8, any::<bool>()).prop_map(|(key, status, other)| Deed::Register(key, if status > 4 { 0 } else { status }, other)),
        4 => key().prop_map(Deed::Cancel),
        2 => key().prop_map(Deed::Die),
        2 => (0..4_u8, any::<bool>()).prop_map(|(app, is_told)| Deed::Deploy(app, is_told)),
        5 => (0..3_usize, fault, 1..400_u64).prop_map(|(url, fault, seconds)| Deed::Fault(url, fault, seconds)),
        2 => (0..3_usize, 0..120_u64, any::<bool>(), prop_oneof![Just(0), 1..120_u64])
            .prop_map(|(peer, seconds, synced, refuses)| Deed::Restart { peer, seconds, synced, refuses }),
        1 => (0..3_usize, 1..600_u64).prop_map(|(peer, seconds)| Deed::Isolate(peer, seconds)),
        1 => Just(Deed::Resync),
    ]
}

/// Which peers are behind which URL.
fn urls(setting: u8) -> &'static [&'static [usize]] {
    match setting % 4 {
        0 => &[&[0]],
        1 => &[&[0], &[1]],
        2 => &[&[0, 1]],
        _ => &[&[0], &[1, 2], &[2]],
    }
}

/// A registry of pretended servers.
struct Pretending {
    config: Arc<EurekaConfig>,
    registry: EurekaRegistry,
    world: Arc<World>,
}

#[async_trait]
impl ServiceRegistry for Pretending {
    fn kind(&self) -> &'static str {
        self.registry.kind()
    }

    fn freshness_bound(&self) -> Duration {
        self.registry.freshness_bound()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let transport = Transport::new(self.config.clone())?.pretending(self.world.clone());
        let session = Session::new(transport, self.config.clone(), control);
        Ok(Box::pin(stream::unfold(session, |mut session| async move {
            let batch = session.next_batch().await;
            Some((Ok(batch), session))
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// Status and version of an instance.
type Seen = (String, String);

fn seen(snapshot: &Snapshot) -> BTreeMap<Key, Seen> {
    let endpoints = snapshot.services().flat_map(|service| service.endpoints().iter());
    let instance = |endpoint: &Arc<registry_core::Endpoint>| {
        let address = endpoint.address().to_string();
        let mut parts = address.split('.').skip(2).map(|part| part.parse().unwrap());
        let key = (parts.next().unwrap(), parts.next().unwrap());
        let claim = endpoint.claims().next().unwrap();
        let version = endpoint.labels().get("version").unwrap();
        (key, (claim.status.to_string(), version.to_string()))
    };
    endpoints.map(instance).collect()
}

/// Who watches what is published.
struct Observer {
    discovery: Discovery,
    world: Arc<World>,
    bound: Duration,
    revision: u64,
    held: BTreeMap<Key, Seen>,
    /// When each came.
    came: BTreeMap<Key, Millis>,
}

impl Observer {
    async fn pass(&mut self, seconds: u64) -> Result<(), TestCaseError> {
        for _ in 0..seconds {
            sleep(SECOND).await;
            self.look()?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), TestCaseError> {
        let world = self.world.now();
        let now = world.time();
        let status = self.discovery.status().remove(0);
        prop_assert_eq!(
            (status.attempts, status.panics),
            (1, 0),
            "the watch lives on: {:?}",
            status.last_error
        );
        if status.phase == Phase::Synced {
            let bound = u64::try_from(self.bound.as_millis()).unwrap() + 2_000;
            prop_assert!(
                world.answered.is_some_and(|answered| answered + bound >= now),
                "fresh without an answer at {}",
                now
            );
        }
        let snapshot = self.discovery.snapshot();
        if snapshot.revision() == self.revision {
            return Ok(());
        }
        self.revision = snapshot.revision();
        let present = seen(&snapshot);
        for key in self.held.keys().filter(|key| !present.contains_key(key)) {
            let came = self.came.remove(key).unwrap();
            let denied = world.denied.get(key).copied();
            prop_assert!(
                denied.is_some_and(|denied| denied >= came),
                "{:?} went at {} and was never denied since {}",
                key,
                now,
                came
            );
        }
        for key in present.keys().filter(|key| !self.held.contains_key(key)) {
            self.came.insert(*key, now.saturating_sub(5_000));
        }
        self.held = present;
        Ok(())
    }

    fn requests(&self, since: Millis, what: Option<Fetch>) -> usize {
        let world = self.world.now();
        world
            .asked
            .iter()
            .filter(|(at, _, asked)| *at >= since && what.is_none_or(|what| what == *asked))
            .count()
    }
}

#[derive(Debug, Clone)]
struct Setting {
    seed: u64,
    urls: u8,
    caches: bool,
    aligned: bool,
    zones: bool,
}

fn setting() -> impl Strategy<Value = Setting> {
    (any::<u64>(), 0..4_u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(seed, urls, caches, aligned, zones)| Setting {
            seed,
            urls,
            caches,
            aligned,
            zones,
        },
    )
}

fn config(setting: &Setting) -> EurekaConfig {
    let mut urls: Vec<String> = (0..urls(setting.urls).len())
        .map(|n| format!("http://server-{n}.test:8761/eureka"))
        .collect();
    let mut config = EurekaConfig {
        alignment: if setting.aligned {
            Alignment::Learn
        } else {
            Alignment::Never
        },
        ..EurekaConfig::default()
    };
    if setting.zones {
        config.zones = [("own".to_owned(), vec![urls.remove(0)])].into();
        config.zone = Some("own".to_owned());
    }
    config.urls = urls;
    config
}

async fn run(setting: Setting, deeds: Vec<(Deed, u64)>) -> Result<(), TestCaseError> {
    let world = Arc::new(World::new(setting.seed, urls(setting.urls), setting.caches));
    for key in (0..4).flat_map(|app| (0..6).map(move |n| (app, n))) {
        world.now().register(key, 0, false);
    }
    sleep(Duration::from_secs(100)).await;
    let config = config(&setting);
    let registry = EurekaRegistry::try_new(config.clone()).unwrap();
    let bound = registry.freshness_bound();
    let pretending = Pretending {
        config: Arc::new(config),
        registry,
        world: world.clone(),
    };
    let options = RegistryOptions {
        // What the session does by itself is enough.
        compare: None,
        ..RegistryOptions::default()
    };
    let discovery = Discovery::builder()
        .registry_with("eureka", pretending, options)
        .unwrap()
        .start()
        .unwrap();
    tokio::time::timeout(Duration::from_secs(600), discovery.ready())
        .await
        .expect("all is well at the beginning");
    let mut observer = Observer {
        discovery,
        world: world.clone(),
        bound,
        revision: 0,
        held: BTreeMap::new(),
        came: BTreeMap::new(),
    };
    observer.look()?;
    for (deed, gap) in deeds {
        match deed {
            Deed::Register(key, status, is_other) => world.now().register(key, status, is_other),
            Deed::Cancel(key) => world.now().cancel(key),
            Deed::Die(key) => world.now().die(key),
            Deed::Deploy(app, is_told) => {
                let mut world = world.now();
                let old: Vec<Key> = world.alive.keys().copied().filter(|key| key.0 == app).collect();
                for (at, key) in old.into_iter().enumerate().take(4) {
                    if let Some(n) = (0..10).find(|n| !world.alive.contains_key(&(app, *n))) {
                        let status = world.alive[&key].status;
                        world.cancel(key);
                        world.register((app, n), status, at % 2 == 0);
                    }
                }
                if !is_told {
                    world.forget();
                }
            }
            Deed::Fault(url, fault, seconds) => world.now().fault(url, fault, seconds),
            Deed::Restart {
                peer,
                seconds,
                synced,
                refuses,
            } => world.now().restart(peer, seconds, synced, refuses),
            Deed::Isolate(peer, seconds) => world.now().isolate(peer, seconds),
            Deed::Resync => observer.discovery.resync("eureka".parse().unwrap()).await,
        }
        observer.pass(gap).await?;
    }
    world.now().heal();
    observer.pass(UNTIL_TRUE).await?;
    let truth = |world: &World| -> BTreeMap<Key, Seen> {
        let world = world.now();
        let alive = world.alive.iter();
        alive
            .map(|(key, truth)| (*key, (truth.word().to_owned(), format!("v{}", truth.version))))
            .collect()
    };
    prop_assert_eq!(&observer.held, &truth(&world));
    let (revision, since) = (observer.revision, world.now().time());
    observer.pass(QUIET).await?;
    prop_assert_eq!(observer.revision, revision, "nothing changed");
    let status = observer.discovery.status().remove(0);
    prop_assert!(
        status.phase == Phase::Synced && status.degraded.is_empty() && status.held.is_none(),
        "{:?}",
        status
    );
    let minutes = usize::try_from(QUIET / 60).unwrap();
    let requests = observer.requests(since, None);
    prop_assert!(
        requests >= minutes && requests <= MOST_QUIET * minutes,
        "{} requests",
        requests
    );
    let fulls = observer.requests(since, Some(Fetch::Full));
    prop_assert!(fulls <= minutes * 3 / 4, "everything was fetched {} times", fulls);
    let asked: Vec<Millis> = world.now().asked.iter().map(|(at, ..)| *at).collect();
    let most = (0..asked.len())
        .map(|at| {
            asked[at..]
                .iter()
                .take_while(|later| **later < asked[at] + 60_000)
                .count()
        })
        .max();
    if std::env::var_os("HISTORY_FIGURES").is_some() {
        println!("most {most:?} quiet {requests} fulls {fulls}");
    }
    prop_assert!(most.unwrap() <= MOST_REQUESTS, "{:?} requests in a minute", most);
    observer.discovery.shutdown().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_servers_and_networks_do_what_is_published_becomes_what_is_true(
        setting in setting(),
        deeds in prop::collection::vec((deed(), 0..90_u64), 1..40),
    ) {
        registry_testkit::init_tls();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(setting, deeds))?;
    }
}
