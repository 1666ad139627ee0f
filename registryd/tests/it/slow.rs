//! What takes a minute.

use std::time::Duration;

use registry_core::{Address, Discovery, Endpoint, ServiceId, ServiceMeta, ServiceRecord, StaticRegistry};
use registryd::http::{HttpOptions, serve};
use tokio::net::TcpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::stream::Stream;

const SERVICES: usize = 100;

/// How long the client reads nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// All services; the one whose turn it is has a weight of its own in each round.
fn record(service: usize, change: u32) -> ServiceRecord {
    let endpoint = |n: u8| {
        Endpoint::builder(Address::V4([10, 0, u8::try_from(service).unwrap(), n].into()))
            .port("http", 80)
            .weight(change)
            .id(format!("{service}-{n}"))
            .build()
    };
    let meta = ServiceMeta::builder(ServiceId::named(format!("s{service}"))).build();
    ServiceRecord::new(meta, (0..20).map(endpoint).collect::<Vec<_>>())
}

/// Resident memory of this process, in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_9_a_client_that_reads_nothing_for_a_minute_gets_one_coalesced_delta() {
    registry_testkit::init_tls();
    let mut records: Vec<ServiceRecord> = (0..SERVICES).map(|service| record(service, 1)).collect();
    let registry = StaticRegistry::new(records.clone());
    let handle = registry.handle();
    let discovery = Discovery::builder()
        .registry("static", registry)
        .unwrap()
        .start()
        .unwrap();
    discovery.ready().await;
    // Its sockets hold little, so that a slow machine fills them early, too.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(
        listener,
        discovery.clone(),
        HttpOptions::default(),
        stop.clone(),
    ));
    let mut client = Stream::open(&url).await;

    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (started, mut change, mut settled) = (Instant::now(), 1, None);
    while started.elapsed() < SILENCE {
        ticks.tick().await;
        change += 1;
        let service = change as usize % SERVICES;
        records[service] = record(service, change);
        handle.set(records.clone());
        // The buffers of both ends have filled by then.
        if settled.is_none() && started.elapsed() > SILENCE / 4 {
            settled = Some(resident());
        }
    }
    let grown = resident().saturating_sub(settled.unwrap());
    assert!(grown < 20_000, "memory grew by {grown} kB while nobody read");

    let last = format!("s{}.static", change as usize % SERVICES);
    let (mut deltas, mut widest) = (0_u64, 0);
    loop {
        let delta = client.next().await.data;
        deltas += 1;
        widest = widest.max(delta["to"].as_u64().unwrap() - delta["from"].as_u64().unwrap());
        let updated = delta["updated"].as_array().unwrap();
        let mut found = updated
            .iter()
            .filter(|service| service["hostname"] == last.as_str());
        if found.any(|service| service["endpoints"][0]["weight"] == change) {
            break;
        }
    }
    let published = discovery.snapshot().revision();
    println!(
        "memory grew by {grown} kB; the widest of {deltas} deltas spans {widest} of {published} publications"
    );
    assert!(
        widest > published / 2,
        "the widest of {deltas} deltas spans {widest} of {published} publications"
    );

    stop.cancel();
    discovery.shutdown().await;
    server.await.unwrap().unwrap();
}
