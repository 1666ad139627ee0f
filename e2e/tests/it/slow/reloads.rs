//! A thousand configurations, one after the other: nothing of those that are gone may stay.

use std::time::Duration;

use registry_core::{Discovery, RegistryId};
use registry_testkit::consul::Consul;
use registry_testkit::{FaultProxy, init_tls, wait};
use registryd::config::{self, Source};
use registryd::run::{self, Reloader};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::daemon::{DEADLINE, Daemon};
use crate::figures::Figures;

const RELOADS: usize = 1_000;

/// By then all that is made once was made.
const WARM: usize = 100;

/// How much memory may grow, in kB. A leaked registry is some 100 kB, so one in ten reloads would show.
const GROWTH: usize = 12_000;

/// How many more files, connections or tasks there may be: how many connections a registry uses depends on how its
/// requests fall together. A leak of one in a hundred reloads would show.
const SPREAD: usize = 6;

/// The first and last configuration of each round.
const BASE: usize = 0;

const SERVICES: &str = "\
services:
  - name: payments
    ports: [{ name: http, number: 80 }]
    endpoints:
      - { address: 10.0.0.7, ports: { http: 8080 } }
";

/// Each changes, renames, adds or removes registries of the one before it; the last one leads back to the first.
fn registries(variant: usize, consul: &str) -> String {
    let file = |name: &str, more: &str| {
        format!(
            "  - {{ name: {name}, hostname: \"{{name}}.{name}\", file: {{ path: services.yaml, poll_interval: 1m{more} }} }}\n"
        )
    };
    let server = |name: &str, wait: &str| {
        format!(
            "  - {{ name: {name}, hostname: \"{{name}}.{name}\", consul: {{ address: \"{consul}\", wait: {wait} }} }}\n"
        )
    };
    let all = match variant {
        BASE => [file("a", ""), file("b", ""), server("consul", "10s")].concat(),
        1 => [
            file("a", ", debounce: 100ms"),
            file("b", ""),
            server("consul", "10s"),
        ]
        .concat(),
        2 => [file("a", ""), file("renamed", ""), server("consul", "10s")].concat(),
        3 => [
            file("a", ""),
            file("renamed", ""),
            file("more", ""),
            server("consul", "10s"),
        ]
        .concat(),
        4 => [file("a", ""), file("more", ""), server("consul", "11s")].concat(),
        5 => [file("a", ""), file("more", ""), server("moved", "11s")].concat(),
        6 => [file("a", ""), file("b", "")].concat(),
        _ => [file("b", ""), file("a", ""), server("consul", "10s")].concat(),
    };
    format!("start_deadline: 2s\nregistries:\n{all}")
}

/// The variant of a reload: all of them in turn, and the base where figures are taken.
fn variant(reload: usize) -> usize {
    if reload.is_multiple_of(WARM) {
        BASE
    } else {
        reload % 8
    }
}

/// A Consul with a service, and what counts the connections to it.
async fn server() -> (Consul, FaultProxy) {
    let consul = Consul::builder().start().await.unwrap();
    let service = json!({ "ID": "web-1", "Name": "web", "Address": "10.0.1.7", "Port": 80 });
    consul.api().register(&service).await.unwrap();
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    (consul, proxy)
}

/// Waits until the registries are those of the base, and all is quiet.
async fn settled(daemon: &Daemon, proxy: &FaultProxy) -> (Figures, usize) {
    let synced = async || {
        let (_, all) = daemon.get("/v1/registries").await;
        let all = all["registries"].as_array()?.clone();
        let ids: Vec<_> = all
            .iter()
            .filter_map(|registry| registry["id"].as_str())
            .collect();
        let synced = all.iter().all(|registry| registry["phase"] == "synced");
        (ids == ["a", "b", "consul"] && synced).then_some(())
    };
    daemon.wait("the registries of the base", synced).await;
    let look = || (daemon.figures(), proxy.connections_open());
    let mut last = look();
    let mut since = Instant::now();
    let start = since;
    while since.elapsed() < Duration::from_millis(700) && start.elapsed() < DEADLINE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = look();
        if (now.0.files, now.0.threads, now.1) != (last.0.files, last.0.threads, last.1) {
            (last, since) = (now, Instant::now());
        }
    }
    look()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_leave_no_file_socket_thread_or_memory_behind() {
    let (_consul, proxy) = server().await;
    let mut daemon = Daemon::new();
    let config = |daemon: &Daemon, reload: usize| {
        format!("{}{}", daemon.head(), registries(variant(reload), &proxy.url()))
    };
    daemon.write("services.yaml", SERVICES);
    daemon.write("registryd.yaml", &config(&daemon, 0));
    daemon.start();
    daemon.ready().await;
    let start = Instant::now();
    let mut early = None;
    for reload in 1..=RELOADS {
        let config = config(&daemon, reload);
        daemon.reload(&config, true).await;
        if reload == WARM {
            let look = settled(&daemon, &proxy).await;
            println!("reload {reload}: {}; {} connections to consul", look.0, look.1);
            early = Some(look);
        }
    }
    let took = start.elapsed();
    let (early, connections) = early.unwrap();
    let mut late = settled(&daemon, &proxy).await;
    // Threads for blocking work and pooled connections end by themselves, but not at once.
    let same = async || {
        late = (daemon.figures(), proxy.connections_open());
        let (late, open) = late;
        let no_more = late.files <= early.files + SPREAD
            && late.sockets <= early.sockets + SPREAD
            && late.watches <= early.watches
            && late.threads <= early.threads + SPREAD
            && open <= connections + SPREAD;
        no_more.then_some(())
    };
    let same = wait::until("the figures of before", DEADLINE, same).await;
    let (late, open) = late;
    println!(
        "reload {RELOADS}: {late}; {open} connections to consul; {:.1} s",
        took.as_secs_f64()
    );
    assert!(
        same.is_ok(),
        "{early}, {connections} connections\n{late}, {open} connections"
    );
    let grown = late.resident.saturating_sub(early.resident);
    assert!(grown < GROWTH, "memory grew by {grown} kB");
    daemon.assert_no_panic();
    // What is known of registries that are gone is gone as well.
    let states = async || {
        let files = std::fs::read_dir(daemon.path("state")).ok()?.flatten();
        let mut names: Vec<_> = files.map(|file| file.file_name().display().to_string()).collect();
        names.retain(|name| name != ".lock");
        names.sort();
        (names == ["a.state", "b.state", "consul.state"]).then_some(())
    };
    daemon.wait("the state of the base on disk", states).await;
}

/// Waits until the registries are those of the base, and counts tasks then.
async fn tasks(discovery: &Discovery) -> usize {
    let base = ["a", "b", "consul"].map(|id| id.parse::<RegistryId>().unwrap());
    let synced = async || {
        let snapshot = discovery.snapshot();
        let known = snapshot
            .registries()
            .iter()
            .filter(|registry| registry.is_known());
        let known: Vec<_> = known.map(|registry| registry.id().clone()).collect();
        (known == base && snapshot.registries().len() == base.len()).then_some(())
    };
    wait::until("the registries of the base", DEADLINE, synced)
        .await
        .unwrap();
    // What was dropped has to run once more to end; then the fewest of a while count.
    let mut fewest = usize::MAX;
    for _ in 0..50 {
        fewest = fewest.min(Handle::current().metrics().num_alive_tasks());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fewest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_leave_no_task_behind() {
    init_tls();
    let consul = Consul::builder().start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registryd.yaml");
    let write = |reload: usize| std::fs::write(&path, registries(variant(reload), consul.url())).unwrap();
    std::fs::write(directory.path().join("services.yaml"), SERVICES).unwrap();
    write(0);
    let source = Source::File(path.clone());
    let current = config::load(&source).unwrap();
    let (discovery, fleets) = run::start(&current, Some(&directory.path().join("state"))).unwrap();
    discovery.ready().await;
    let mut reloader = Reloader::new(source, current, discovery.clone(), fleets);
    let mut early = 0;
    for reload in 1..=RELOADS {
        write(reload);
        reloader.reload().await;
        if reload == WARM {
            early = tasks(&discovery).await;
        }
    }
    let late = tasks(&discovery).await;
    println!("{early} tasks after {WARM} reloads, {late} after {RELOADS}");
    assert!(
        late <= early + SPREAD,
        "{early} tasks after {WARM} reloads, {late} after {RELOADS}"
    );
    discovery.shutdown().await;
}
