//! A running discovery, under virtual time, with backends that misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use registry_core::{
    Control, Discovery, Error, ErrorKind, Event, EventStream, Lookup, Phase, RegistryError, RegistryOptions,
    Scope, ServiceId, ServiceRecord, ServiceRegistry, Snapshot, StaticRegistry, async_trait,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::engine::{endpoint, hostname, id, record};

type Item = Result<Vec<Event>, RegistryError>;

/// What happens when a watch is opened.
#[derive(Clone, Copy, PartialEq)]
enum Opening {
    Works,
    Fails,
    Panics,
    Hangs,
}

/// A backend that says what it is told, and counts how often it is opened.
#[derive(Clone)]
struct Scripted(Arc<Script>);

struct Script {
    opening: Mutex<Opening>,
    opened: AtomicUsize,
    line: Mutex<Option<mpsc::UnboundedSender<Item>>>,
    records: Mutex<Vec<ServiceRecord>>,
}

impl Scripted {
    fn new(records: impl IntoIterator<Item = ServiceRecord>) -> Self {
        Self(Arc::new(Script {
            opening: Mutex::new(Opening::Works),
            opened: AtomicUsize::new(0),
            line: Mutex::default(),
            records: Mutex::new(records.into_iter().collect()),
        }))
    }

    fn opens(self, opening: Opening) -> Self {
        *self.0.opening.lock().unwrap() = opening;
        self
    }

    fn opened(&self) -> usize {
        self.0.opened.load(Ordering::Relaxed)
    }

    fn say(&self, item: Item) {
        // A watch that has ended hears nothing.
        let _ = self.0.line.lock().unwrap().as_ref().map(|line| line.send(item));
    }

    fn end(&self) {
        self.0.line.lock().unwrap().take();
    }
}

#[async_trait]
impl ServiceRegistry for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn watch(&self, _: Control) -> Result<EventStream, RegistryError> {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let opening = *self.0.opening.lock().unwrap();
        match opening {
            Opening::Works => {}
            Opening::Fails => return Err(RegistryError::new(ErrorKind::Unreachable, "nobody there")),
            Opening::Panics => panic!("a bug"),
            Opening::Hangs => std::future::pending().await,
        }
        let (line, items) = mpsc::unbounded_channel();
        let records = self.0.records.lock().unwrap().clone();
        line.send(Ok(Event::listing(Scope::Registry, records))).unwrap();
        *self.0.line.lock().unwrap() = Some(line);
        Ok(Box::pin(stream::unfold(items, |mut items| async {
            items.recv().await.map(|item| (item, items))
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

fn web() -> ServiceRecord {
    record("web", [endpoint(1, 80)])
}

fn start(registries: &[(&str, &Scripted)]) -> Discovery {
    let add = |builder: registry_core::DiscoveryBuilder, (name, registry): &(&str, &Scripted)| {
        builder
            .registry_with(name, (*registry).clone(), hostname(&format!("{{name}}.{name}")))
            .unwrap()
    };
    registries.iter().fold(Discovery::builder(), add).start().unwrap()
}

async fn until(discovery: &Discovery, wanted: impl Fn(&Snapshot) -> bool) {
    let looking = async {
        while !wanted(&discovery.snapshot()) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(
        timeout(Duration::from_secs(600), looking).await.is_ok(),
        "{:?}",
        discovery.status()
    );
}

fn phase(snapshot: &Snapshot, name: &str) -> Option<Phase> {
    snapshot.registry(&id(name)).map(|registry| registry.phase())
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_is_restarted_and_nobody_else_notices() {
    let (bad, good) = (
        Scripted::new([web()]).opens(Opening::Panics),
        Scripted::new([web()]),
    );
    let discovery = start(&[("bad", &bad), ("good", &good)]);
    until(&discovery, |snapshot| snapshot.get("web.good").is_some()).await;
    let revision = discovery.snapshot().get("web.good").unwrap().revision();
    sleep(Duration::from_secs(60)).await;
    let status = discovery.status();
    assert!(status[0].panics > 3, "{status:?}");
    assert!(status[0].last_error.as_ref().unwrap().message.contains("a bug"));
    assert_eq!(good.opened(), 1);
    let _ = bad.clone().opens(Opening::Works);
    until(&discovery, |snapshot| snapshot.get("web.bad").is_some()).await;
    assert_eq!(discovery.snapshot().get("web.good").unwrap().revision(), revision);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_stay_through_errors_ends_and_silence() {
    for trouble in ["error", "end", "silence"] {
        let registry = Scripted::new([web()]);
        let discovery = start(&[("a", &registry)]);
        until(&discovery, |snapshot| phase(snapshot, "a") == Some(Phase::Synced)).await;
        let _ = registry.clone().opens(if trouble == "silence" {
            Opening::Hangs
        } else {
            Opening::Fails
        });
        match trouble {
            "error" => registry.say(Err(RegistryError::new(ErrorKind::Unavailable, "it broke"))),
            "end" => registry.end(),
            _ => {}
        }
        until(&discovery, |snapshot| phase(snapshot, "a") == Some(Phase::Stale)).await;
        sleep(Duration::from_secs(300)).await;
        assert!(discovery.snapshot().get("web.a").is_some(), "{trouble}");
        assert!(registry.opened() > 1, "{trouble}: it is tried again");
        let _ = registry.clone().opens(Opening::Works);
        until(&discovery, |snapshot| phase(snapshot, "a") == Some(Phase::Synced)).await;
        discovery.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_wait_longer_and_longer_up_to_ten_seconds() {
    let registry = Scripted::new([]).opens(Opening::Fails);
    let discovery = start(&[("a", &registry)]);
    sleep(Duration::from_secs(600)).await;
    // At the cap a delay is five seconds on average.
    let attempts = registry.opened();
    assert!(
        (60..250).contains(&attempts),
        "{attempts} attempts in ten minutes"
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_asks_for_patience_gets_it() {
    let registry = Scripted::new([web()]);
    let discovery = start(&[("a", &registry)]);
    until(&discovery, |snapshot| snapshot.get("web.a").is_some()).await;
    let patience = Some(Duration::from_secs(120));
    registry.say(Err(
        RegistryError::new(ErrorKind::Unavailable, "later").with_retry_after(patience)
    ));
    sleep(Duration::from_secs(119)).await;
    assert_eq!(registry.opened(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(registry.opened(), 2);

    // But none is left alone for good.
    until(&discovery, |snapshot| phase(snapshot, "a") == Some(Phase::Synced)).await;
    let endless = Some(Duration::MAX);
    registry.say(Err(
        RegistryError::new(ErrorKind::Unavailable, "never").with_retry_after(endless)
    ));
    sleep(Duration::from_secs(601)).await;
    assert_eq!(registry.opened(), 3);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn acceptance_6_only_an_optional_registry_may_be_down_for_ever() {
    for required in [false, true] {
        let (down, up) = (Scripted::new([]).opens(Opening::Fails), Scripted::new([web()]));
        let options = RegistryOptions {
            required,
            ..hostname("{name}.down")
        };
        let discovery = Discovery::builder()
            .registry_with("down", down, options)
            .unwrap()
            .registry_with("up", up, hostname("{name}.up"))
            .unwrap()
            .start()
            .unwrap();
        let started = Instant::now();
        let ready = timeout(Duration::from_secs(300), discovery.ready()).await;
        assert_eq!(ready.is_ok(), !required);
        assert_eq!(discovery.readiness().awaited, [id("down")]);
        if !required {
            assert!(started.elapsed() >= Duration::from_secs(30));
        }
        assert!(
            discovery.snapshot().get("web.up").is_some(),
            "the rest is served either way"
        );
        discovery.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pain_12_the_first_change_is_published_at_once_and_a_storm_at_intervals_with_its_last_value() {
    let registry = Scripted::new([web()]);
    let discovery = start(&[("a", &registry)]);
    until(&discovery, |snapshot| phase(snapshot, "a") == Some(Phase::Synced)).await;
    sleep(Duration::from_secs(1)).await;
    let before = discovery.snapshot().revision();
    let started = Instant::now();
    let mut changes = discovery.changes();
    registry.say(Ok(vec![Event::apply(record("web", [endpoint(1, 81)]))]));
    changes.next().await.unwrap();
    assert_eq!(
        started.elapsed(),
        Duration::ZERO,
        "after a quiet spell nothing waits"
    );

    for n in 0..1000_u32 {
        registry.say(Ok(vec![Event::apply(record(
            "web",
            [endpoint(1, 80).weight(n + 2)],
        ))]));
        sleep(Duration::from_millis(1)).await;
    }
    let weight = |snapshot: &Snapshot| {
        snapshot
            .get("web.a")
            .unwrap()
            .endpoints()
            .iter()
            .next()
            .unwrap()
            .weight()
    };
    until(&discovery, |snapshot| weight(snapshot) == 1001).await;
    let publications = discovery.snapshot().revision() - before;
    assert!(publications <= 103, "{publications} in a second");

    let delta = changes.next().await.unwrap();
    assert_eq!(
        (delta.to, delta.updated.len()),
        (discovery.snapshot().revision(), 1),
        "one delta for all of it"
    );
    assert!(timeout(Duration::from_secs(5), changes.next()).await.is_err());
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_replaced_backend_keeps_what_is_held_until_it_knows_better() {
    let old = Scripted::new([web()]);
    let discovery = start(&[("a", &old)]);
    until(&discovery, |snapshot| snapshot.get("web.a").is_some()).await;
    let new = Scripted::new([record("api", [endpoint(2, 80)])]).opens(Opening::Fails);
    let backend: Arc<dyn ServiceRegistry> = Arc::new(new.clone());
    discovery
        .replace(id("a"), Some(backend), hostname("{name}.a"))
        .await
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(
        discovery.snapshot().get("web.a").is_some(),
        "nothing better is known"
    );
    old.say(Ok(vec![Event::Delete {
        id: ServiceId::named("web"),
        explicit: true,
    }]));
    sleep(Duration::from_secs(1)).await;
    assert!(
        discovery.snapshot().get("web.a").is_some(),
        "the old backend has no say any more"
    );
    let _ = new.clone().opens(Opening::Works);
    until(&discovery, |snapshot| snapshot.get("api.a").is_some()).await;
    assert!(discovery.snapshot().get("web.a").is_none());
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn registries_come_and_go_at_run_time() {
    let discovery = start(&[]);
    discovery.ready().await;
    let backend = || -> Arc<dyn ServiceRegistry> { Arc::new(StaticRegistry::new([web()])) };
    for _ in 0..1000 {
        discovery
            .add(id("x"), backend(), hostname("{name}.x"))
            .await
            .unwrap();
        let again = discovery.add(id("x"), backend(), hostname("{name}.x")).await;
        assert!(matches!(again, Err(Error::DuplicateRegistry { .. })));
        discovery.remove(id("x")).await.unwrap();
    }
    assert!(matches!(
        discovery.remove(id("x")).await,
        Err(Error::UnknownRegistry { .. })
    ));
    until(&discovery, |snapshot| {
        snapshot.is_empty() && snapshot.registries().is_empty()
    })
    .await;
    assert!(discovery.is_running());
    discovery.shutdown().await;
    assert!(!discovery.is_running());
    assert!(matches!(
        discovery.add(id("x"), backend(), hostname("{name}.x")).await,
        Err(Error::Closed)
    ));
}

#[tokio::test(start_paused = true)]
async fn published_waits_for_the_publication_of_all_that_was_told_before() {
    let discovery = start(&[("a", &Scripted::new([web()]))]);
    until(&discovery, |snapshot| snapshot.get("web.a").is_some()).await;
    let hostname_now = |name: &str| discovery.snapshot().get(name).is_some();
    let rename = async |template: &str| {
        discovery
            .replace(id("a"), None, hostname(template))
            .await
            .unwrap();
    };

    // A quiet spell, then one change at once and one that has to wait for its turn.
    sleep(Duration::from_secs(1)).await;
    rename("{name}.b").await;
    discovery.published().await.unwrap();
    assert!(hostname_now("web.b") && !hostname_now("web.a"));
    rename("{name}.c").await;
    assert!(!hostname_now("web.c"), "publications have a distance");
    let started = Instant::now();
    discovery.published().await.unwrap();
    assert!(hostname_now("web.c") && !hostname_now("web.b"));
    assert_ne!(started.elapsed(), Duration::ZERO);

    // Where nothing is to be published nobody waits.
    let started = Instant::now();
    discovery.published().await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    discovery.shutdown().await;
    assert!(matches!(discovery.published().await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_every_watch() {
    let registries = [
        Scripted::new([web()]),
        Scripted::new([]).opens(Opening::Hangs),
        Scripted::new([]).opens(Opening::Fails),
    ];
    let discovery = start(&[
        ("a", &registries[0]),
        ("b", &registries[1]),
        ("c", &registries[2]),
    ]);
    until(&discovery, |snapshot| snapshot.get("web.a").is_some()).await;
    let mut changes = discovery.changes();
    let started = Instant::now();
    discovery.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(changes.next().await.is_none());
    assert!(
        registries[0].0.line.lock().unwrap().as_ref().unwrap().is_closed(),
        "the stream was dropped"
    );
    assert!(
        discovery.snapshot().get("web.a").is_some(),
        "what was published stays valid"
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_every_watch() {
    let registry = Scripted::new([web()]);
    let discovery = start(&[("a", &registry)]);
    until(&discovery, |snapshot| snapshot.get("web.a").is_some()).await;
    drop(discovery);
    sleep(Duration::from_secs(1)).await;
    assert!(registry.0.line.lock().unwrap().as_ref().unwrap().is_closed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_never_go_backwards_for_any_reader() {
    let registry = StaticRegistry::new([web()]);
    let handle = registry.handle();
    let discovery = Discovery::builder()
        .publish_interval(Duration::ZERO)
        .registry("a", registry)
        .unwrap()
        .start()
        .unwrap();
    discovery.ready().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let started = Arc::new(std::sync::Barrier::new(5));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (discovery, stop, started) = (discovery.clone(), stop.clone(), started.clone());
            std::thread::spawn(move || {
                let (mut last, mut loads) = (0, 0_u64);
                started.wait();
                while loads == 0 || !stop.load(Ordering::Relaxed) {
                    let snapshot = discovery.snapshot();
                    assert!(snapshot.revision() >= last);
                    let weight = snapshot
                        .get("web.static")
                        .unwrap()
                        .endpoints()
                        .iter()
                        .next()
                        .unwrap()
                        .weight();
                    assert!(weight > 0);
                    last = snapshot.revision();
                    loads += 1;
                }
                loads
            })
        })
        .collect();
    started.wait();
    for n in 1..2000 {
        handle.set([record("web", [endpoint(1, 80).weight(n)])]);
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn no_name_is_absent_before_anybody_has_spoken() {
    let registry = Scripted::new([web()]);
    let discovery = start(&[("a", &registry)]);
    assert!(matches!(
        discovery.snapshot().lookup("web.a"),
        Lookup::Undecided(_)
    ));
    until(&discovery, |snapshot| phase(snapshot, "a") == Some(Phase::Synced)).await;
    assert!(matches!(discovery.snapshot().lookup("web.a"), Lookup::Found(_)));
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_replacements_leave_one_watch() {
    let old: Vec<Scripted> = (0..1000).map(|_| Scripted::new([web()])).collect();
    let discovery = start(&[("a", &old[0])]);
    for registry in &old[1..] {
        let backend: Arc<dyn ServiceRegistry> = Arc::new(registry.clone());
        discovery
            .replace(id("a"), Some(backend), hostname("{name}.a"))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_secs(1)).await;
    let watched = |registry: &&Scripted| {
        let line = registry.0.line.lock().unwrap();
        line.as_ref().is_some_and(|line| !line.is_closed())
    };
    assert_eq!(old.iter().filter(watched).count(), 1);
    assert_eq!(
        Arc::strong_count(&old[0].0),
        1,
        "nothing of the first one is left"
    );
    assert!(discovery.snapshot().get("web.a").is_some());
    discovery.shutdown().await;
}

/// Begins a listing, and goes wrong when it is let go.
struct Unruly(Arc<AtomicUsize>);

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bug at the end");
    }
}

#[async_trait]
impl ServiceRegistry for Unruly {
    fn kind(&self) -> &'static str {
        "unruly"
    }

    async fn watch(&self, _: Control) -> Result<EventStream, RegistryError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let bomb = Bomb;
        Ok(Box::pin(stream::iter([Event::Init(Scope::Registry)]).map(
            move |event| {
                let _ = &bomb;
                Ok(vec![event])
            },
        )))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_panics_at_its_end_is_opened_again_ever_more_slowly() {
    let opened = Arc::new(AtomicUsize::new(0));
    let discovery = Discovery::builder()
        .registry("a", Unruly(opened.clone()))
        .unwrap()
        .start()
        .unwrap();
    sleep(Duration::from_secs(600)).await;
    let attempts = opened.load(Ordering::Relaxed);
    assert!(
        (60..250).contains(&attempts),
        "{attempts} attempts in ten minutes"
    );
    assert!(discovery.status()[0].panics >= 60);
    assert_eq!(discovery.status()[0].phase, Phase::Connecting);
    discovery.shutdown().await;
}
