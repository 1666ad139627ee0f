//! Daemons that read each other: found out and refused, before either takes back what it said itself.

use std::time::Duration;

use registry_core::{Discovery, ErrorKind, RegistryOptions, Scope};
use registry_remote::DaemonRegistry;
use registry_testkit::FaultProxy;
use registry_testkit::scripted::{ScriptedRegistry, Step};
use registryd::http::HttpOptions;
use tokio::net::TcpListener;

use super::stage::{
    DEADLINE, Daemon, addresses, config, leaf, leaf_of, merging, record, registry, status, until,
};

/// A listener that is known before there is a daemon.
async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A daemon with services of its own, and another one's.
async fn daemon(name: &str, n: u8, parent: DaemonRegistry, listener: TcpListener, required: bool) -> Daemon {
    let own = ScriptedRegistry::new([Step::list([record(name, [n])])]);
    let options = RegistryOptions {
        required,
        ..merging("{hostname}")
    };
    let discovery = Discovery::builder()
        .start_deadline(Duration::from_millis(500))
        .registry_with("vms", own, merging("{name}.mesh"))
        .and_then(|builder| builder.registry_with("other", parent, options))
        .and_then(registry_core::DiscoveryBuilder::start)
        .unwrap();
    Daemon::at(listener, discovery, HttpOptions::default()).await
}

fn is_refused(discovery: &Discovery) -> bool {
    let degraded = status(discovery).degraded;
    degraded.iter().any(|told| {
        told.scope == Scope::Registry
            && told.kind == ErrorKind::Configuration
            && told.error.contains("from this one in turn")
    })
}

async fn all_refused(daemons: &[&Daemon]) {
    for daemon in daemons {
        until(&daemon.discovery, "the refusal", is_refused).await;
    }
}

/// Each has its own service, and none that came back to it.
fn nobody_has_an_echo(daemons: &[(&Daemon, &str, u8)]) {
    for (daemon, name, n) in daemons {
        let snapshot = daemon.discovery.snapshot();
        let service = snapshot.get(name).unwrap();
        let sources: Vec<&str> = service
            .sources()
            .iter()
            .map(|source| source.registry.as_str())
            .collect();
        assert_eq!(
            (addresses(&snapshot, name), sources),
            (Some(vec![*n]), vec!["vms"]),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_that_read_each_other_refuse_each_other() {
    for required in [false, true] {
        let ((a_listener, a_url), (b_listener, b_url)) = (listener().await, listener().await);
        let a = daemon("a", 1, registry([b_url]), a_listener, required).await;
        let b = daemon("b", 2, registry([a_url]), b_listener, required).await;
        all_refused(&[&a, &b]).await;
        nobody_has_an_echo(&[(&a, "a.mesh", 1), (&b, "b.mesh", 2)]);
        // It stays so: the one that refuses is still seen by the other.
        tokio::time::sleep(super::stage::KEEPALIVE * 3).await;
        all_refused(&[&a, &b]).await;
        nobody_has_an_echo(&[(&a, "a.mesh", 1), (&b, "b.mesh", 2)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_daemons_in_a_ring_are_found_out_and_recover_when_it_is_cut() {
    let ((a_listener, a_url), (b_listener, b_url), (c_listener, c_url)) =
        (listener().await, listener().await, listener().await);
    let a = daemon("a", 1, registry([b_url]), a_listener, false).await;
    let b = daemon("b", 2, registry([c_url]), b_listener, false).await;
    let c = daemon("c", 3, registry([a_url]), c_listener, false).await;
    let all = [(&a, "a.mesh", 1), (&b, "b.mesh", 2), (&c, "c.mesh", 3)];
    all_refused(&[&a, &b, &c]).await;
    nobody_has_an_echo(&all);

    c.discovery.remove("other".parse().unwrap()).await.unwrap();
    // What was taken before the ring closed may be there still.
    for daemon in [&a, &b] {
        until(&daemon.discovery, "the end of the refusal", |daemon| {
            !is_refused(daemon)
        })
        .await;
    }
    until(&a.discovery, "services of the others", |a| {
        let snapshot = a.snapshot();
        addresses(&snapshot, "b.mesh") == Some(vec![2]) && addresses(&snapshot, "c.mesh") == Some(vec![3])
    })
    .await;
    // What a ring closed over, a daemon may have kept: whoever reads it takes it until that is gone there.
    for (daemon, name, _) in &all {
        until(&daemon.discovery, "the end of what came round", |daemon| {
            let snapshot = daemon.snapshot();
            snapshot
                .get(name)
                .is_some_and(|service| service.sources().len() == 1)
        })
        .await;
    }
    nobody_has_an_echo(&all);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_the_ring_closed_stays() {
    let ((a_listener, a_url), (b, _b_handle)) =
        (listener().await, Daemon::scripted([record("b", [2])]).await);
    let a = daemon("a", 1, registry([b.url()]), a_listener, false).await;
    until(&a.discovery, "what the other has", |a| {
        addresses(&a.snapshot(), "b.mesh") == Some(vec![2])
    })
    .await;
    let other = registry([a_url]);
    b.discovery
        .add(
            "other".parse().unwrap(),
            std::sync::Arc::new(other),
            merging("{hostname}"),
        )
        .await
        .unwrap();
    all_refused(&[&a, &b]).await;
    assert_eq!(addresses(&a.discovery.snapshot(), "b.mesh"), Some(vec![2]));
    nobody_has_an_echo(&[(&a, "a.mesh", 1), (&b, "b.mesh", 2)]);
}

/// A registry that looks at its other daemons soon.
fn impatient(urls: [String; 2]) -> DaemonRegistry {
    let mut config = config(urls);
    // Longer than a busy machine keeps a daemon waiting.
    config.silence = Duration::from_secs(3);
    DaemonRegistry::try_new(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_parent_is_left_once_another_can_be_taken() {
    let ((a_listener, a_url), (b_listener, b_url)) = (listener().await, listener().await);
    let (good, _handle) = Daemon::scripted([record("good", [3])]).await;
    let proxy = FaultProxy::start(good.address).await.unwrap();
    proxy.refuse(true);
    let a = daemon("a", 1, impatient([b_url, proxy.url()]), a_listener, false).await;
    let b = daemon("b", 2, registry([a_url]), b_listener, false).await;
    all_refused(&[&a, &b]).await;
    nobody_has_an_echo(&[(&a, "a.mesh", 1), (&b, "b.mesh", 2)]);

    proxy.refuse(false);
    for daemon in [&a, &b] {
        until(&daemon.discovery, "what the other parent has", |daemon| {
            addresses(&daemon.snapshot(), "good.mesh") == Some(vec![3]) && !is_refused(daemon)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_other_parents_does_not_end_a_refusal() {
    let ((a_listener, a_url), (b_listener, b_url)) = (listener().await, listener().await);
    let (gone, gone_url) = listener().await;
    let (a_parents, b_parents) = ([b_url, gone_url.clone()], [gone_url, a_url]);
    drop(gone);
    let a = daemon("a", 1, impatient(a_parents), a_listener, false).await;
    let b = daemon("b", 2, impatient(b_parents), b_listener, false).await;
    all_refused(&[&a, &b]).await;
    let requests = || [&a, &b].map(|daemon| status(&daemon.discovery).requests);
    let before = requests();
    let start = tokio::time::Instant::now();
    // Each has looked at the other one again.
    while requests()
        .iter()
        .zip(before)
        .any(|(now, before)| *now < before + 2)
    {
        assert!(start.elapsed() < DEADLINE, "{:?}", requests());
        for (daemon, other) in [(&a, &b), (&b, &a)] {
            assert!(is_refused(&daemon.discovery));
            let behind = status(&daemon.discovery).instance;
            assert_eq!(behind, Some(other.discovery.instance()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    nobody_has_an_echo(&[(&a, "a.mesh", 1), (&b, "b.mesh", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_parents_that_lead_back_one_is_refused_and_does_not_give_way_to_the_other() {
    let ((a_listener, a_url), (b_listener, b_url), (c_listener, c_url)) =
        (listener().await, listener().await, listener().await);
    let a = daemon("a", 1, impatient([b_url, c_url]), a_listener, false).await;
    let b = daemon("b", 2, registry([a_url.clone()]), b_listener, false).await;
    let c = daemon("c", 3, registry([a_url]), c_listener, false).await;
    until(&a.discovery, "one refusal", |discovery| {
        let refused = [&b, &c].map(|daemon| is_refused(&daemon.discovery));
        let has = [&b, &c].map(|daemon| addresses(&daemon.discovery.snapshot(), "a.mesh") == Some(vec![1]));
        is_refused(discovery) && refused.iter().any(|refused| *refused) && has.iter().any(|has| *has)
    })
    .await;
    let (of, before) = (status(&a.discovery).instance, status(&a.discovery).requests);
    let start = tokio::time::Instant::now();
    // Two for each look: at the other, and back again.
    while status(&a.discovery).requests < before + 4 {
        assert!(start.elapsed() < DEADLINE, "{:?}", status(&a.discovery));
        assert_eq!(status(&a.discovery).instance, of);
        assert!(is_refused(&a.discovery));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    nobody_has_an_echo(&[(&a, "a.mesh", 1), (&b, "b.mesh", 2), (&c, "c.mesh", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_does_not_read_itself() {
    let (own_listener, own_url) = listener().await;
    let (other, _handle) = Daemon::scripted([record("b", [2])]).await;
    let alone = leaf([own_url.clone()]);
    let alone = Daemon::at(own_listener, alone, HttpOptions::default()).await;
    until(&alone.discovery, "the refusal", |alone| {
        let degraded = status(alone).degraded;
        degraded
            .iter()
            .any(|told| told.kind == ErrorKind::Configuration && told.error.contains("daemon itself"))
    })
    .await;
    alone.end().await;

    // One URL too many is passed over, and so is one that leads to the same parent twice.
    let (own_listener, own_url) = listener().await;
    let leaf = leaf_of(registry([
        own_url,
        other.url(),
        other.url().replace("127.0.0.1", "localhost"),
    ]));
    let leaf = Daemon::at(own_listener, leaf, HttpOptions::default()).await;
    leaf.discovery.ready().await;
    assert_eq!(addresses(&leaf.discovery.snapshot(), "b.mesh"), Some(vec![2]));
    assert_eq!(status(&leaf.discovery).instance, Some(other.discovery.instance()));
}
