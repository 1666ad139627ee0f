//! List, get, and what a watch adds up to: always the same, whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use registry_core::{Discovery, Health, Labels, ServiceId, ServiceMeta, ServiceRecord};
use serde_json::Value;

use super::client::{Event, Watching, get};
use super::setup::{DEADLINE, Daemon, Script, Scripted, endpoint, merging};

/// A small generator: the same changes in every run of a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// What a client has that follows a watch.
struct Replay {
    path: &'static str,
    watching: Watching,
    services: BTreeMap<String, Value>,
    resets: usize,
}

impl Replay {
    async fn open(daemon: &Daemon, path: &'static str) -> Self {
        let mut watching = Watching::open(daemon.at, path, &[]).await;
        watching.head().await;
        Self {
            path,
            watching,
            services: BTreeMap::new(),
            resets: 0,
        }
    }

    async fn resume(&mut self, daemon: &Daemon) {
        let id = self.watching.last_id.clone();
        self.watching = Watching::open(daemon.at, self.path, &[("last-event-id", &id)]).await;
        self.watching.last_id = id;
        self.watching.head().await;
    }

    fn take(&mut self, event: &Event) {
        let updated = match event.kind.as_str() {
            "reset" => {
                self.services.clear();
                self.resets += 1;
                &event.data["services"]
            }
            _ => &event.data["updated"],
        };
        for hostname in event.data["removed"].as_array().into_iter().flatten() {
            self.services.remove(hostname.as_str().unwrap());
        }
        for service in updated.as_array().unwrap() {
            let hostname = service["hostname"].as_str().unwrap();
            self.services.insert(hostname.to_owned(), service.clone());
        }
    }

    /// Reads until it has exactly this.
    async fn agrees_with(&mut self, expected: &[Value], seed: u64) {
        loop {
            if self.services.values().eq(expected) {
                return;
            }
            let event = tokio::time::timeout(DEADLINE, self.watching.next()).await;
            let Ok(event) = event else {
                panic!(
                    "seed {seed}, {}: {:#?} instead of {expected:#?}",
                    self.path, self.services
                );
            };
            self.take(&event.unwrap());
        }
    }
}

fn random_record(chance: &mut Chance, registry: usize) -> ServiceRecord {
    let name = format!("s{}", chance.below(8));
    let team = ["money", "goods"][chance.below(2)];
    let meta = ServiceMeta::builder(ServiceId::named(name)).labels(Labels::from_iter([("team", team)]));
    let endpoints: Vec<_> = (0..chance.below(4))
        .map(|_| {
            let address = format!("10.0.0.{}", chance.below(5));
            let health = [Health::Healthy, Health::Unhealthy][chance.below(2)];
            let id = format!("{registry}-{address}");
            endpoint(&address, &id).health(health).build()
        })
        .collect();
    ServiceRecord::new(meta.build(), endpoints)
}

fn change(chance: &mut Chance, scripts: &[Script]) {
    let registry = chance.below(scripts.len());
    let script = &scripts[registry];
    match chance.below(20) {
        0 => script.fail(),
        1 => {
            let count = chance.below(8);
            let records: Vec<_> = (0..count).map(|_| random_record(chance, registry)).collect();
            script.list(records);
        }
        2..8 => script.delete(ServiceId::named(format!("s{}", chance.below(8)))),
        _ => script.apply(random_record(chance, registry)),
    }
}

async fn list(daemon: &Daemon, query: &str) -> Vec<Value> {
    let list = get(daemon.at, &format!("/v1/services{query}")).await.json();
    list["services"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_5_list_get_watch_and_delta_agree_after_random_changes() {
    const TEAM: &str = "?label=team:money";
    for seed in 1..=3 {
        let mut chance = Chance(seed);
        let mut builder = Discovery::builder().publish_interval(Duration::from_millis(1));
        let mut scripts = Vec::new();
        for id in ["one", "two", "three"] {
            let (registry, script) = Scripted::new();
            script.list([]);
            scripts.push(script);
            builder = builder.registry_with(id, registry, merging()).unwrap();
        }
        let daemon = Daemon::start(builder).await;
        let mut steady = Replay::open(&daemon, "/v1/watch").await;
        let mut filtered = Replay::open(&daemon, "/v1/watch?label=team:money").await;
        let mut fickle = Replay::open(&daemon, "/v1/watch").await;
        let mut fickle_filtered = Replay::open(&daemon, "/v1/watch?label=team:money").await;
        for replay in [&mut steady, &mut filtered, &mut fickle, &mut fickle_filtered] {
            let reset = replay.watching.next().await.unwrap();
            replay.take(&reset);
        }
        for round in 0..40_u64 {
            for _ in 0..=chance.below(12) {
                change(&mut chance, &scripts);
            }
            settled(&daemon, &scripts, round).await;
            let (all, team) = (list(&daemon, "").await, list(&daemon, TEAM).await);
            for service in &all {
                let hostname = service["hostname"].as_str().unwrap();
                let mut one = get(daemon.at, &format!("/v1/services/{hostname}")).await.json();
                one.as_object_mut().unwrap().remove("registries");
                assert_eq!(one, *service, "seed {seed}");
            }
            steady.agrees_with(&all, seed).await;
            filtered.agrees_with(&team, seed).await;
            if round.is_multiple_of(3) {
                fickle.resume(&daemon).await;
                fickle_filtered.resume(&daemon).await;
                fickle.agrees_with(&all, seed).await;
                fickle_filtered.agrees_with(&team, seed).await;
            }
        }
        assert_eq!(
            (steady.resets, filtered.resets),
            (1, 1),
            "nobody starts over who never left"
        );
    }
}

/// Waits until everything that was said is published: each registry says a word of its own last.
async fn settled(daemon: &Daemon, scripts: &[Script], round: u64) {
    let marker = format!("marker-{round}");
    for script in scripts {
        let meta = ServiceMeta::builder(ServiceId::named(marker.as_str()));
        script.apply(ServiceRecord::new(meta.build(), Vec::new()));
    }
    let hostname = format!("{marker}.mesh.internal");
    let all_said = |s: &registry_core::Snapshot| {
        let found = s.get(&hostname);
        found.is_some_and(|service| service.sources().len() == scripts.len())
    };
    daemon.until(&marker, all_said).await;
    if let Some(before) = round.checked_sub(1) {
        // The markers of the round before go, so that there is always something that was removed.
        for script in scripts {
            script.delete(ServiceId::named(format!("marker-{before}")));
        }
        let hostname = format!("marker-{before}.mesh.internal");
        daemon.until(&marker, |s| s.get(&hostname).is_none()).await;
    }
}
