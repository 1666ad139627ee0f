//! What `registry-core` costs, beside what was measured of Istio's Pilot at the same sizes.
//!
//! `cargo bench -p registry-core --bench core [-- [--quick] [FILTER]]`. CPU time of the thread; every benchmark asserts
//! on its result. A full run fails where a bar is missed, a quick one only shows the figures.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal that may panic"
)]

mod data;
mod runner;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use arc_swap::ArcSwapAny;
use registry_core::{Event, Interner, Lookup, ServiceRecord, Snapshot};
use tokio::time::Instant;

use data::World;
use runner::{Row, Samples, Settings, counted, timed};

type Benchmark = fn(&Settings) -> Vec<Row>;

const BENCHMARKS: [(&str, Benchmark); 9] = [
    ("change", change),
    ("service", service),
    ("batch", batch),
    ("equal", equal),
    ("load", load),
    ("guard", guard),
    ("lookup", lookup),
    ("readers", readers),
    ("heap", heap),
];

fn main() -> ExitCode {
    let settings = Settings::from_arguments();
    if let Some(alone) = &settings.alone {
        let (_, benchmark) = BENCHMARKS.iter().find(|(name, _)| name == alone).unwrap();
        benchmark(&settings)
            .iter()
            .for_each(|row| println!("{}", row.to_line()));
        return ExitCode::SUCCESS;
    }
    // Each in a process of its own: in the memory that another one left in pieces all would be slower.
    let mut rows = Vec::new();
    for (name, _) in BENCHMARKS.iter().filter(|(name, _)| settings.wants(name)) {
        match settings.run_alone(name) {
            Ok(measured) => rows.extend(measured),
            Err(error) => {
                eprintln!("benchmark {name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let met = runner::print(&rows);
    if met || settings.quick {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

const fn micros(tenths: u64) -> Duration {
    Duration::from_nanos(tenths * 100)
}

/// One endpoint changes: entered as an event, merged, published, and its delta derived.
fn change(settings: &Settings) -> Vec<Row> {
    let sizes = [
        (1_000, 10, micros(63), 4096, "6.3 µs, 2.4 kB"),
        (10_000, 10, micros(65), 4096, "6.5 µs, 2.4 kB"),
        (10_000, 100, micros(434), 4096, "43.4 µs, 18 kB"),
        (100, 1_000, micros(9800), 4096, "980 µs, 236 kB"),
        (50_000, 20, micros(200), 16_384, ""),
        (1, 10_000, micros(500), 16_384, ""),
    ];
    let mut rows = Vec::new();
    for (services, size, bar, bytes_bar, istio) in sizes {
        let mut world = World::new(services, size);
        let mut samples = Samples::default();
        for (service, endpoint) in world.next_changes(settings.runs(4_000)) {
            let record = world.derive(service, endpoint);
            let ((), took) = timed(|| one_change(&mut world, record));
            samples.push(took);
        }
        let mut bytes = 0;
        for (service, endpoint) in world.next_changes(100) {
            let record = world.derive(service, endpoint);
            let ((), allocated) = counted(|| one_change(&mut world, record));
            bytes = bytes.max(allocated);
        }
        let name = format!("one change, {services} x {size}");
        let row = Row::of(&name, &samples, Some(bytes)).bar(&samples, bar, Some((bytes, bytes_bar)));
        rows.push(row.istio(istio));
        if (services, size) == (10_000, 10) {
            rows.extend(with_the_record(settings, &mut world));
        }
    }
    rows
}

fn one_change(world: &mut World, record: ServiceRecord) {
    let snapshot = world.publish(vec![Event::apply(record)]).expect("a change");
    let delta = snapshot.changes_since(&world.last);
    assert!(delta.updated.len() == 1 && delta.removed.is_empty());
    world.last = snapshot;
}

/// The same with what the backend does before: deriving the record from the last one, or building it anew.
fn with_the_record(settings: &Settings, world: &mut World) -> [Row; 2] {
    let (mut derived, mut anew) = (Samples::default(), Samples::default());
    for (service, endpoint) in world.next_changes(settings.runs(4_000)) {
        let ((), took) = timed(|| {
            let record = world.derive(service, endpoint);
            one_change(world, record);
        });
        derived.push(took);
    }
    for (service, endpoint) in world.next_changes(settings.runs(2_000)) {
        let number = u32::try_from(service).unwrap();
        let mut endpoints: Vec<_> = (0..world.size)
            .map(|nth| {
                data::endpoint(&mut world.interner, number, nth, world.size).build_in(&mut world.interner)
            })
            .collect();
        let at = endpoints
            .iter()
            .position(|held| held.id() == endpoint.id())
            .unwrap();
        endpoints[at] = Arc::unwrap_or_clone(endpoint);
        let meta = world.records[service].meta().clone();
        let ((), took) = timed(|| one_change(world, ServiceRecord::new(meta, endpoints)));
        anew.push(took);
    }
    [
        Row::of("  and its record derived", &derived, None),
        Row::of("  and its record built anew", &anew, None),
    ]
}

/// One of 50 000 services comes or goes.
fn service(settings: &Settings) -> Vec<Row> {
    let mut world = World::new(50_000, 20);
    let (mut added, mut removed) = (Samples::default(), Samples::default());
    let (mut bytes_added, mut bytes_removed) = (0, 0);
    for turn in 0..settings.runs(2_000) {
        let at = (turn * 7919) % world.records.len();
        let record = world.records[at].clone();
        let remove = |world: &mut World| {
            let event = Event::Delete {
                id: record.id().clone(),
                explicit: false,
            };
            let snapshot = world.publish(vec![event]).expect("a change");
            assert_eq!(snapshot.changes_since(&world.last).removed.len(), 1);
            world.last = snapshot;
        };
        let add = |world: &mut World| {
            let snapshot = world
                .publish(vec![Event::apply(record.clone())])
                .expect("a change");
            assert_eq!(snapshot.changes_since(&world.last).updated.len(), 1);
            world.last = snapshot;
        };
        if turn % 20 == 0 {
            bytes_removed = bytes_removed.max(counted(|| remove(&mut world)).1);
            bytes_added = bytes_added.max(counted(|| add(&mut world)).1);
        } else {
            removed.push(timed(|| remove(&mut world)).1);
            added.push(timed(|| add(&mut world)).1);
        }
    }
    [("added", added, bytes_added), ("removed", removed, bytes_removed)]
        .into_iter()
        .filter(|(_, samples, _)| samples.runs() > 0)
        .map(|(what, samples, bytes)| {
            Row::of(&format!("one of 50000 services {what}"), &samples, Some(bytes))
                .bar(&samples, micros(500), Some((bytes, 16_384)))
                .istio("34.6 ms, 16 MB (of 10000)")
        })
        .collect()
}

/// 1 000 services change at once.
fn batch(settings: &Settings) -> Vec<Row> {
    let mut world = World::new(50_000, 20);
    let (mut samples, mut dropped) = (Samples::default(), Samples::default());
    for _ in 0..settings.runs(100) {
        let changes = world.next_changes(1_000).into_iter();
        let events = changes
            .map(|(service, endpoint)| Event::apply(world.derive(service, endpoint)))
            .collect();
        let (snapshot, took) = timed(|| {
            let snapshot = world.publish(events).expect("a change");
            assert_eq!(snapshot.changes_since(&world.last).updated.len(), 1_000);
            snapshot
        });
        samples.push(took);
        // Discovery lets old snapshots go after it has published the next one.
        let old = std::mem::replace(&mut world.last, snapshot);
        dropped.push(timed(|| drop(old)).1);
    }
    let row = Row::of("1000 changes in one publication, 50000 x 20", &samples, None);
    vec![
        row.bar(&samples, Duration::from_millis(8), None),
        Row::of("  and letting the snapshot before it go", &dropped, None),
    ]
}

/// What is said again publishes nothing.
fn equal(settings: &Settings) -> Vec<Row> {
    let mut world = World::new(10_000, 10);
    let mut samples = Samples::default();
    for turn in 0..settings.runs(4_000) {
        let service = u32::try_from(turn * 7919 % 10_000).unwrap();
        let record = data::record(&mut world.interner, service, world.size);
        let (published, took) = timed(|| world.publish(vec![Event::apply(record)]));
        assert!(published.is_none(), "equal content was published");
        samples.push(took);
    }
    let whole = data::listing(data::records(&mut world.interner, 10_000, 10));
    assert!(world.publish(whole).is_none(), "an equal listing was published");
    let mut row = Row::of("equal record built anew, 10000 x 10", &samples, None).istio("6.9 µs, 2.4 kB");
    row.bar = "publishes nothing".to_owned();
    row.passed = Some(true);
    vec![row]
}

/// From decoded events to the first publication.
fn load(settings: &Settings) -> Vec<Row> {
    let sizes = [
        (
            "100000 endpoints to the first publication",
            1_000,
            100,
            15,
            100,
            "188 ms",
        ),
        (
            "1 million endpoints to the first publication",
            50_000,
            20,
            5,
            1_500,
            "2.2 s",
        ),
    ];
    let mut rows = Vec::new();
    for (name, services, size, runs, bar, istio) in sizes {
        let mut samples = Samples::default();
        for _ in 0..settings.runs(runs) {
            let mut interner = Interner::default();
            let events = data::listing(data::records(&mut interner, services, size));
            let (mut engine, registry) = data::engine();
            let (snapshot, took) = timed(|| {
                let now = Instant::now();
                engine.apply(&registry, events, now).unwrap();
                engine.tick(now);
                engine.publish(now).expect("the first publication")
            });
            assert_eq!(snapshot.endpoint_count(), (services * size) as usize);
            samples.push(took);
        }
        let row = Row::of(name, &samples, None).bar(&samples, Duration::from_millis(bar), None);
        rows.push(row.istio(istio));
    }
    rows
}

/// All of a registry goes at once, is held back, and comes again.
fn guard(settings: &Settings) -> Vec<Row> {
    let mut world = World::new(1_000, 100);
    let (mut held, mut beside, mut again) = (Samples::default(), Samples::default(), Samples::default());
    let holds = |snapshot: &Snapshot| {
        let status = snapshot.registries()[0].status();
        status.held.map_or(0, |held| held.endpoints)
    };
    for _ in 0..settings.runs(15) {
        let (snapshot, took) = timed(|| world.publish(data::listing(Vec::new())).expect("marks"));
        held.push(took);
        assert_eq!((snapshot.endpoint_count(), holds(&snapshot)), (100_000, 100_000));
        let one = Event::apply(world.records[7].clone());
        let (snapshot, took) = timed(|| world.publish(vec![one]).expect("one service is back"));
        beside.push(took);
        assert_eq!(holds(&snapshot), 99_900);
        let all = data::listing(world.records.clone());
        let (snapshot, took) = timed(|| world.publish(all).expect("all are back"));
        again.push(took);
        assert_eq!((snapshot.endpoint_count(), holds(&snapshot)), (100_000, 0));
    }
    vec![
        Row::of("100000 endpoints are held back", &held, None),
        Row::of("  and one service of 1000 comes again", &beside, None),
        Row::of("  and all of them", &again, None),
    ]
}

/// By hostname, another one each time.
fn lookup(settings: &Settings) -> Vec<Row> {
    const AT_ONCE: u32 = 1_000;
    let mut rows = Vec::new();
    for services in [10_000, 50_000] {
        let world = World::new(services, 2);
        let names: Vec<String> = (0..services)
            .map(|n| data::hostname(n.wrapping_mul(7919) % services))
            .collect();
        let find = |names: &[String]| {
            let found = names
                .iter()
                .filter(|name| black_box(world.last.get(name)).is_some())
                .count();
            assert_eq!(found, names.len());
        };
        let mut samples = Samples::default();
        for run in 0..settings.runs(1_000) {
            let start = run * AT_ONCE as usize % names.len();
            let ((), took) = timed(|| find(&names[start..start + AT_ONCE as usize]));
            samples.push(took / AT_ONCE);
        }
        assert!(matches!(world.last.lookup("absent.static"), Lookup::NotFound));
        let ((), bytes) = counted(|| find(&names[..AT_ONCE as usize]));
        let row = Row::of(
            &format!("look-up by hostname, {services} services"),
            &samples,
            Some(bytes),
        );
        // Istio's number is of 10 000. Of more, nearly all of the time is waiting for memory that is in no cache, which
        // other load on the machine makes several times slower.
        rows.push(match services {
            10_000 => row
                .bar(&samples, Duration::from_nanos(200), Some((bytes, 0)))
                .istio("280 ns, 400 B"),
            _ => row,
        });
    }
    rows
}

/// Eight readers walk whole snapshots while one writer publishes.
///
/// They take the processors and the caches from the writer as any load does, which says nothing about the library. So the
/// writer is measured beside eight that walk what it publishes, and beside eight that walk another snapshot of the same
/// size: the difference is what readers do to a writer.
fn readers(settings: &Settings) -> Vec<Row> {
    const ALONE: usize = 0;
    const OTHERS: usize = 1;
    const READERS: usize = 2;
    type Cell = ArcSwapAny<Arc<Snapshot>, RwLock<()>>;
    let mut world = World::new(10_000, 10);
    let cell = |snapshot: &Arc<Snapshot>| Arc::new(Cell::with_strategy(snapshot.clone(), RwLock::default()));
    let (published, other) = (cell(&world.last), cell(&World::new(10_000, 10).last));
    let mode = Arc::new(AtomicUsize::new(ALONE));
    let end = Arc::new(AtomicBool::new(false));
    let walkers: Vec<_> = (0..8)
        .map(|_| {
            let (published, other) = (published.clone(), other.clone());
            let (mode, end) = (mode.clone(), end.clone());
            std::thread::spawn(move || {
                let mut walked = 0_u64;
                while !end.load(Ordering::Relaxed) {
                    let cell = match mode.load(Ordering::Relaxed) {
                        ALONE => {
                            std::thread::park();
                            continue;
                        }
                        OTHERS => &other,
                        _ => &published,
                    };
                    let snapshot = cell.load_full();
                    let all = snapshot.services().flat_map(|service| service.endpoints().iter());
                    assert_eq!(all.filter(|endpoint| endpoint.weight() > 0).count(), 100_000);
                    walked += 1;
                }
                walked
            })
        })
        .collect();
    let mut samples: [Samples; 3] = Default::default();
    let mut slowest: [Vec<f64>; 3] = Default::default();
    let mut retired: Vec<Arc<Snapshot>> = Vec::new();
    for round in 0..settings.runs(150).max(3) {
        let now = round % samples.len();
        mode.store(now, Ordering::Relaxed);
        walkers.iter().for_each(|walker| walker.thread().unpark());
        let mut round = Samples::default();
        for (service, endpoint) in world.next_changes(settings.runs(1_000)) {
            let record = world.derive(service, endpoint);
            let ((), took) = timed(|| {
                one_change(&mut world, record);
                retired.push(published.swap(world.last.clone()));
            });
            // Discovery lets go of them after it has published.
            retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
            round.push(took);
        }
        slowest[now].push(round.percentile(99).as_secs_f64());
        samples[now].extend(round);
    }
    end.store(true, Ordering::Relaxed);
    walkers.iter().for_each(|walker| walker.thread().unpark());
    let walked: u64 = walkers.into_iter().map(|walker| walker.join().unwrap()).sum();
    assert!(walked > 0, "nobody walked");
    // Round by round, so that a moment in which the machine was busy with others does not decide.
    let mut growth: Vec<f64> = slowest[READERS]
        .iter()
        .zip(&slowest[OTHERS])
        .map(|(a, b)| a / b)
        .collect();
    growth.sort_by(f64::total_cmp);
    let growth = (growth[growth.len() / 2] - 1.0) * 100.0;
    let mut row = Row::of("  beside 8 that walk what it publishes", &samples[READERS], None);
    row.bar = format!("p99 {growth:+.0} %, under +20 %");
    row.passed = Some(growth < 20.0);
    vec![
        Row::of("one change without readers, 10000 x 10", &samples[ALONE], None),
        Row::of("  beside 8 that walk another snapshot", &samples[OTHERS], None),
        row,
    ]
}

/// Live heap of shard, snapshot and interner.
fn heap(_: &Settings) -> Vec<Row> {
    let mut kept = None;
    let info = allocation_counter::measure(|| {
        let mut interner = Interner::default();
        let (mut engine, registry) = data::engine();
        let now = Instant::now();
        let events = data::listing(data::records(&mut interner, 50_000, 20));
        engine.apply(&registry, events, now).unwrap();
        engine.tick(now);
        let snapshot = engine.publish(now).expect("the first publication");
        kept = Some((engine, interner, snapshot));
    });
    let (_, _, snapshot) = kept.as_ref().unwrap();
    assert_eq!(snapshot.endpoint_count(), 1_000_000);
    let each = u64::try_from(info.bytes_current).unwrap() / 1_000_000;
    vec![Row {
        name: "live heap per endpoint, 50000 x 20".to_owned(),
        measured: format!("{each} B"),
        bar: "264 B".to_owned(),
        istio: "1239 B".to_owned(),
        passed: Some(each <= 264),
        ..Row::default()
    }]
}
