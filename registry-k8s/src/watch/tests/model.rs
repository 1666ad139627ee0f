//! A feed against a small server that keeps objects, forgets history, breaks connections and loses its etcd: once it has
//! recovered the feed knows what it knows, and never said that it does before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use registry_core::{Control, PortDefaults};
use tokio::time::{Instant, timeout_at};

use super::script::{manner, name, resource, secs};
use super::world::{Fault, World};
use crate::transport::Transport;
use crate::watch::{Feed, Told};

/// What an operator, or the world, does to the server.
#[derive(Debug, Clone)]
enum Deed {
    Put(u8),
    Delete(u8),
    /// The history so far is forgotten, and so are tokens.
    Compact,
    /// Objects of another kind change.
    Tick,
    /// Connections break, and the server comes back with an older version and other objects.
    Wipe,
    ListAgain,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => (0..8_u8).prop_map(Deed::Put),
        5 => (0..8_u8).prop_map(Deed::Delete),
        1 => Just(Deed::Compact),
        2 => Just(Deed::Tick),
        1 => Just(Deed::Wipe),
        1 => Just(Deed::ListAgain),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let bytes = 0..600_usize;
    let refusal = prop_oneof![
        Just(400_u16),
        Just(401),
        Just(403),
        Just(404),
        Just(410),
        Just(429),
        Just(500),
        Just(504)
    ];
    prop_oneof![
        3 => Just(Fault::None),
        2 => refusal.prop_map(Fault::Refuse),
        1 => Just(Fault::Never),
        2 => bytes.clone().prop_map(Fault::ResetAfter),
        2 => bytes.clone().prop_map(Fault::EndAfter),
        2 => bytes.prop_map(Fault::HangAfter),
        1 => (0..40_u64).prop_map(|seconds| Fault::EndAt(secs(seconds))),
        1 => prop_oneof![Just(410_u16), Just(422), Just(500)].prop_map(Fault::ErrorEvent),
        1 => Just(Fault::Html),
    ]
}

/// What was told, taken as a consumer takes it.
#[derive(Debug, Default)]
struct Mirror {
    objects: BTreeMap<String, String>,
    listed: BTreeSet<String>,
}

impl Mirror {
    fn put(&mut self, object: &bytes::Bytes) {
        let told = name(object);
        let (name, version) = told.split_once('@').unwrap();
        self.objects.insert(name.to_owned(), version.to_owned());
        self.listed.insert(name.to_owned());
    }

    fn take(&mut self, told: &Told) {
        match told {
            Told::Begin => self.listed.clear(),
            Told::Listed(object) | Told::Changed(object) => self.put(object),
            Told::Complete => self.objects.retain(|name, _| self.listed.contains(name)),
            Told::Removed(object) => {
                let told = name(object);
                self.objects.remove(told.split_once('@').unwrap().0);
            }
            Told::Skipped(what) => assert!(what.contains("found no JSON"), "all else can be read: {what}"),
            Told::Confirmed | Told::Failed(_) => {}
        }
    }
}

struct Run {
    world: Arc<World>,
    feed: Feed,
    mirror: Mirror,
    /// When it was last known that nothing is missing.
    confirmed: Option<Instant>,
}

impl Run {
    async fn until(&mut self, end: Instant) {
        while let Ok(batch) = timeout_at(end, self.feed.next()).await {
            assert!(!batch.is_empty(), "at least one thing");
            for told in &batch {
                self.mirror.take(told);
                if matches!(told, Told::Complete | Told::Confirmed) {
                    self.confirmed = Some(Instant::now());
                    // An answer takes its time, and a page that fails is asked for again.
                    let slack = if matches!(told, Told::Complete) {
                        secs(120)
                    } else {
                        secs(12)
                    };
                    assert!(
                        self.world.was(&self.mirror.objects, slack),
                        "{told:?} is no lie: {:?}, not {:?}",
                        self.mirror.objects,
                        self.world.objects()
                    );
                }
            }
        }
    }
}

async fn run(streaming: bool, chunks: Vec<usize>, faults: Vec<Fault>, deeds: Vec<(u64, Deed)>) {
    let world = Arc::new(World::new(streaming, chunks, faults));
    for i in 0..5 {
        world.put(i);
    }
    let transport: Arc<dyn Transport> = world.clone();
    let control = Control::new("k8s".parse().unwrap(), PortDefaults::default());
    let mut run = Run {
        world,
        feed: Feed::new(transport, resource(), manner(true), control),
        mirror: Mirror::default(),
        confirmed: None,
    };
    for (wait, deed) in deeds {
        run.until(Instant::now() + Duration::from_millis(wait)).await;
        match deed {
            Deed::Put(i) => run.world.put(i),
            Deed::Delete(i) => run.world.delete(i),
            Deed::Compact => run.world.compact(),
            Deed::Tick => run.world.tick(),
            Deed::Wipe => run.world.wipe(),
            Deed::ListAgain => run.feed.list_again(),
        }
    }
    run.world.mend();
    // The longest rest is 45 s, and a dead connection is found in 40.
    run.until(Instant::now() + secs(150)).await;
    assert_eq!(
        run.mirror.objects,
        run.world.objects(),
        "no ghosts, and nothing missing"
    );
    let confirmed = run.confirmed.expect("it was confirmed");
    assert!(confirmed.elapsed() <= secs(41), "{:?}", confirmed.elapsed());
    // And it stays up to date.
    run.world.put(0);
    run.world.delete(1);
    run.until(Instant::now() + secs(1)).await;
    assert_eq!(run.mirror.objects, run.world.objects());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_the_feed_ends_up_with_what_the_server_has(
        streaming in any::<bool>(),
        chunks in proptest::collection::vec(1..300_usize, 1..20),
        faults in proptest::collection::vec(fault(), 0..25),
        deeds in proptest::collection::vec((0..12_000_u64, deed()), 0..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(streaming, chunks, faults, deeds));
    }
}
