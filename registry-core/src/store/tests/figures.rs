//! What keeping 100 000 endpoints costs; `cargo test --release -p registry-core store::tests::figures -- --nocapture`.

use std::time::Duration;

use tokio::time::Instant;

use super::*;

fn records(services: u32, size: u32) -> Vec<ServiceRecord> {
    let mut interner = Interner::default();
    (0..services)
        .map(|service| record(&mut interner, service, size))
        .collect()
}

/// Labels, ids and machines as of a real one: two versions of each service, three zones, 5 000 machines.
fn record(interner: &mut Interner, service: u32, size: u32) -> ServiceRecord {
    let name = format!("service-{service:06}");
    let endpoint = |nth: u32, interner: &mut Interner| {
        let number = service * size + nth;
        let node = number % 5_000;
        let labels = [
            ("app", name.clone()),
            ("version", format!("v{}", nth % 2)),
            ("team", format!("team-{}", service % 100)),
            ("environment", "production".to_owned()),
            ("release", format!("release-{}", service % 10)),
        ];
        let mut builder = Endpoint::builder(Address::V4((0x0A00_0000 + number).into()))
            .port(interner.text("http"), 8080)
            .health(Health::Healthy)
            .status(interner.text("passing"))
            .node(interner.text(&format!("node-{node:04}.example.internal")))
            .id(format!(
                "{number:08x}-{:04x}-{:014x}",
                number % 9973,
                u64::from(number) * 2_654_435_761
            ))
            .locality(Locality {
                region: interner.text("eu-west"),
                zone: interner.text(["eu-west-1a", "eu-west-1b", "eu-west-1c"][node as usize % 3]),
                ..Locality::default()
            });
        for (key, value) in labels {
            builder = builder.label(interner.text(key), interner.text(&value));
        }
        builder.build_in(interner)
    };
    let endpoints: Vec<Endpoint> = (0..size).map(|nth| endpoint(nth, interner)).collect();
    let port = ServicePort {
        number: Some(80),
        app_protocol: interner.text("http"),
        ..ServicePort::new(interner.text("http"))
    };
    let meta = ServiceMeta::builder(ServiceId::named(interner.text(&name)))
        .ports([port])
        .build();
    ServiceRecord::new(meta, endpoints)
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

#[test]
fn saving_and_loading_many_endpoints_is_quick() {
    let (services, runs) = if cfg!(debug_assertions) {
        (100, 1)
    } else {
        (1_000, 9)
    };
    let (_directory, store) = store();
    let original = saved(records(services, 100));
    let (mut saving, mut loading) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let start = Instant::now();
        store.save(&id(), &original).unwrap();
        saving.push(start.elapsed());
        let start = Instant::now();
        let restored = load(&store).unwrap().unwrap();
        loading.push(start.elapsed());
        assert_same(&restored, &original);
    }
    let (saving, loading) = (median(saving), median(loading));
    let size = std::fs::metadata(store.path(&id())).unwrap().len();
    println!("{services} x 100 endpoints, {size} bytes: save {saving:?}, load {loading:?}");
    // Five times the bars of 300 and 250 ms: other load on the machine is no failure.
    assert!(saving < Duration::from_millis(1_500), "{saving:?}");
    assert!(loading < Duration::from_millis(1_250), "{loading:?}");
}

#[test]
fn what_is_restored_takes_no_more_memory_than_a_listing() {
    let (_directory, store) = store();
    let mut fresh = None;
    let listed = allocation_counter::measure(|| fresh = Some(saved(records(100, 100))));
    store.save(&id(), fresh.as_ref().unwrap()).unwrap();
    let mut restored = None;
    let loaded = allocation_counter::measure(|| restored = load(&store).unwrap());
    assert_same(&restored.unwrap(), &fresh.unwrap());
    println!(
        "retained: listed {} bytes, restored {} bytes (at most {})",
        listed.bytes_current, loaded.bytes_current, loaded.bytes_max
    );
    assert!(loaded.bytes_current <= listed.bytes_current + listed.bytes_current / 20);
}
