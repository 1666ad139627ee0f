//! What it costs a server: connections, and requests while nothing changes or nobody tells what does.

use std::time::Duration;

use registry_consul::{NomadConfig, NomadRegistry};
use registry_core::Phase;
use registry_testkit::nomad::{NomadPlay, Registration, Settings, StreamFault};
use registry_testkit::witness::Witness;
use tokio::time::Instant;

use super::{config, instances, pause, play_with, requests_from, synced, until_healthy, until_true};
use crate::support::{phase, status, until};

/// A server with so many services of one instance.
async fn many(services: usize, settings: Settings) -> NomadPlay {
    let nomad = play_with(settings, &[]).await;
    let all: Vec<_> = (0..services)
        .map(|number| Registration::new(&format!("s-{number}"), 1))
        .collect();
    nomad.register(&all);
    nomad
}

/// The most requests of a path within any second.
fn busiest_second(nomad: &NomadPlay, first: usize, path: &str) -> usize {
    let requests = nomad.requests();
    let reads = requests.iter().skip(first);
    let times: Vec<Instant> = reads
        .filter(|one| one.path().starts_with(path))
        .map(|one| one.at)
        .collect();
    let within = |start: &Instant| {
        let until = *start + Duration::from_secs(1);
        times.iter().filter(|at| **at >= *start && **at < until).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_services_take_ten_connections_and_next_to_no_requests_while_idle() {
    let nomad = many(1000, Settings::default()).await;
    let config = config(&nomad.url());
    let wait = config.wait;
    let discovery = synced(&nomad, config).await;
    assert!(
        nomad.connections_max() <= 10,
        "{} connections",
        nomad.connections_max()
    );

    pause(1.0).await;
    let (first, start) = (nomad.requests().len(), Instant::now());
    until("the comparison", &discovery, |_| {
        requests_from(&nomad, first, "/v1/service/") > 0
    })
    .await;
    let (begun, from) = (nomad.requests().len(), Instant::now());
    pause(5.0).await;
    let compared = requests_from(&nomad, begun, "/v1/service/");
    let most = 2.0 * from.elapsed().as_secs_f64() + 3.0;
    let others = requests_from(&nomad, first, "/v1/") - requests_from(&nomad, first, "/v1/service/");
    let elapsed = start.elapsed();
    println!(
        "idle for {elapsed:?}: {others} requests; {compared} of the comparison in its first five seconds"
    );
    // A list for each wait; with the default of 30 s that is two a minute.
    let waits = elapsed.as_secs_f64() / wait.as_secs_f64();
    assert!((others as f64) <= waits + 3.0, "{others} in {waits} waits");
    assert!((compared as f64) <= most, "{compared} of at most {most}");
    assert!(
        nomad.connections_max() <= 10,
        "{} connections",
        nomad.connections_max()
    );

    // One change, told by the stream, is one reading, or two where the list has it as well.
    let first = nomad.requests().len();
    nomad.register(&instances("s-7", 2));
    until_true("one change", &discovery, &nomad).await;
    assert!(requests_from(&nomad, first, "/v1/service/s-7") <= 2);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_tells_of_is_looked_for_at_fifty_reads_a_second() {
    let nomad = many(300, Settings::default()).await;
    nomad.fail_streams(std::iter::repeat_n(StreamFault::Refuse, 10_000));
    let mut config = config(&nomad.url());
    config.compare_reads_per_second = 0;
    let discovery = super::discover(config);
    crate::support::ready(&discovery).await;
    until_true("the start", &discovery, &nomad).await;
    pause(3.0).await;
    let first = nomad.requests().len();
    nomad.register(&instances("s-7", 2));
    until_true("one change", &discovery, &nomad).await;
    until("all to be read", &discovery, |_| {
        requests_from(&nomad, first, "/v1/service/") >= 300
    })
    .await;
    pause(1.0).await;
    let (reads, most) = (
        requests_from(&nomad, first, "/v1/service/"),
        busiest_second(&nomad, first, "/v1/service/"),
    );
    println!("{reads} reads, {most} in the busiest second");
    assert!(reads <= 305, "{reads} reads");
    // A machine that stops for a moment makes up for at most a tenth of a second.
    assert!(most <= 60, "{most} in a second");
    assert!(
        nomad.connections_max() <= 10,
        "{} connections",
        nomad.connections_max()
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_20_a_server_with_few_connections_left_is_served_by_fewer() {
    let settings = Settings {
        connections: 4,
        ..Settings::default()
    };
    let nomad = many(100, settings).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    until_healthy(&discovery).await;
    let witness = Witness::call(&discovery);
    let total = nomad.connections_total();
    for count in 2..6 {
        let more: Vec<_> = (0..100)
            .map(|number| Registration::new(&format!("s-{number}"), count))
            .collect();
        nomad.register(&more);
        until_true("all of them change", &discovery, &nomad).await;
    }
    until_healthy(&discovery).await;
    assert_eq!(phase(&discovery), Phase::Synced);
    witness.saw_everything("while connections were refused", &discovery);
    let dialled = nomad.connections_total() - total;
    assert!(
        dialled <= 40,
        "{dialled} connections dialled, {:?}",
        status(&discovery)
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_namespaces_get_the_connections_they_need_and_too_few_are_refused_in_words() {
    let nomad = play_with(Settings::default(), &[("web", 1)]).await;
    let namespaces: Vec<String> = (0..8).map(|number| format!("ns-{number}")).collect();
    for name in &namespaces {
        nomad.register(&[Registration::within(name, "web", 1)]);
    }
    let mut listed = config(&nomad.url());
    listed.namespaces = [vec!["default".to_owned()], namespaces].concat();
    let discovery = synced(&nomad, listed.clone()).await;
    nomad.register(&[Registration::within("ns-7", "web", 2)]);
    until_true("one of nine", &discovery, &nomad).await;
    assert!(
        nomad.connections_max() <= 24,
        "{} connections",
        nomad.connections_max()
    );
    discovery.shutdown().await;

    let mut few: NomadConfig = listed;
    few.http.max_connections = 6;
    let error = NomadRegistry::try_new(few).unwrap_err().to_string();
    assert!(
        error.contains("namespaces") && error.contains("max_connections"),
        "{error}"
    );
}
