//! Parents that come and go: restarts, fail-over, resumption.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use registry_core::{DegradedScope, Discovery, ErrorKind, Event, Phase, RegistryOptions, Scope};
use registry_testkit::scripted::{ScriptedRegistry, Step};
use registry_testkit::{Fault, FaultProxy, Match, Rule};
use registryd::http::HttpOptions;
use tokio::net::TcpListener;

use super::stage::{
    Daemon, addresses, discovery, endpoint, leaf, leaf_of, merging, record, record_of, registry, status,
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn failing_over_between_parents_with_the_same_registries_publishes_nothing() {
    let records = || [record("web", 1..=20), record("api", [30, 31])];
    let (first, _first_handle) = Daemon::scripted(records()).await;
    let (second, second_handle) = Daemon::scripted(records()).await;
    assert_eq!(
        first.discovery.snapshot().root_hash(),
        second.discovery.snapshot().root_hash()
    );
    let leaf = leaf([first.url(), second.url()]);
    leaf.ready().await;
    assert_eq!(status(&leaf).instance, Some(first.discovery.instance()));
    let before = leaf.snapshot();

    first.end().await;
    let other = second.discovery.instance();
    until(&leaf, "the other parent", |leaf| {
        status(leaf).instance == Some(other)
    })
    .await;
    // What comes next is the first that is published since.
    second_handle.say(vec![Event::apply(record("api", [30, 31, 32]))]);
    until(&leaf, "a change", |leaf| {
        addresses(&leaf.snapshot(), "api.mesh") == Some(vec![30, 31, 32])
    })
    .await;
    assert_eq!(leaf.snapshot().revision(), before.revision() + 1);
    assert_eq!(status(&leaf).phase, Phase::Synced);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_leaves_of_two_equal_parents_have_equal_hashes() {
    let records = || [record("web", 1..=20), record("api", [30, 31])];
    let (first, _first_handle) = Daemon::scripted(records()).await;
    let (second, _second_handle) = Daemon::scripted(records()).await;
    let leaves = [leaf([first.url()]), leaf([second.url()])];
    for leaf in &leaves {
        leaf.ready().await;
    }
    assert_eq!(leaves[0].snapshot().root_hash(), leaves[1].snapshot().root_hash());
}

/// Counts the full states that pass a proxy.
fn count_full_states(proxy: &FaultProxy) -> Arc<AtomicUsize> {
    let full = Arc::new(AtomicUsize::new(0));
    let counted = full.clone();
    let count = Fault::map_line(move |line| {
        if line.starts_with("data: {\"from\":null") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Some(line.to_owned())
    });
    proxy.inject(Rule::new(Match::any(), count));
    full
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_resumed_without_the_full_state() {
    let (parent, handle) = Daemon::scripted([record("web", 1..=20), record("api", [30])]).await;
    let proxy = FaultProxy::start(parent.address).await.unwrap();
    let full = count_full_states(&proxy);
    let leaf = leaf([proxy.url()]);
    leaf.ready().await;
    for n in 31..=35 {
        let connections = proxy.connections_total();
        proxy.refuse(true);
        proxy.reset_all();
        handle.say(vec![
            Event::apply(record("api", [n])),
            Event::apply(record("web", 1..=n)),
        ]);
        until(&parent.discovery, "a change", |parent| {
            addresses(&parent.snapshot(), "api.mesh") == Some(vec![n])
        })
        .await;
        proxy.refuse(false);
        until(&leaf, "what was missed", |leaf| {
            addresses(&leaf.snapshot(), "api.mesh") == Some(vec![n])
        })
        .await;
        assert!(proxy.connections_total() > connections);
    }
    // Nothing was missed this time.
    proxy.reset_all();
    until(&leaf, "the connection", |leaf| {
        status(leaf).connections == 1 && status(leaf).phase == Phase::Synced
    })
    .await;
    assert_eq!(full.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_that_all_break_off_after_the_full_state_are_rested_from() {
    let full = Arc::new(AtomicUsize::new(0));
    let mut parents = Vec::new();
    let mut proxies = Vec::new();
    for _ in 0..2 {
        let (parent, handle) = Daemon::scripted([record("web", 1..=20)]).await;
        let proxy = Arc::new(FaultProxy::start(parent.address).await.unwrap());
        let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
        let counted = full.clone();
        let tell = Fault::map_line(move |line| {
            if line.starts_with("event: end") {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = ended.send(());
            }
            Some(line.to_owned())
        });
        proxy.inject(Rule::new(Match::any(), tell));
        let breaking = proxy.clone();
        tokio::spawn(async move {
            while ends.recv().await.is_some() {
                // The rest of the event is on its way.
                tokio::time::sleep(Duration::from_millis(20)).await;
                breaking.reset_all();
            }
        });
        parents.push((parent, handle));
        proxies.push(proxy);
    }
    let leaf = leaf(proxies.iter().map(|proxy| proxy.url()));
    leaf.ready().await;
    let told = |leaf: &Discovery| status(leaf).last_error.is_some();
    until(&leaf, "the trouble", told).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Two for each rest, which grow; without them there were more than a hundred.
    let full = full.load(Ordering::SeqCst);
    assert!(full < 50, "{full} full states");
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some((1..=20).collect()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_is_not_ready_is_no_knowledge() {
    let silent = ScriptedRegistry::new([]);
    let handle = silent.handle();
    let parent = Daemon::serving(discovery([("vms", silent)])).await;
    let leaf = leaf([parent.url()]);
    until(&leaf, "the trouble", |leaf| {
        status(leaf)
            .last_error
            .is_some_and(|error| error.message.contains("not ready"))
    })
    .await;
    assert_eq!(status(&leaf).phase, Phase::Connecting);
    assert!(!leaf.readiness().ready);
    handle.set([record("web", [1])]);
    leaf.ready().await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some(vec![1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parent_that_is_ready_is_taken_where_another_is_not() {
    let waiting = Daemon::serving(discovery([("vms", ScriptedRegistry::new([]))])).await;
    let (ready, _handle) = Daemon::scripted([record("web", [1])]).await;
    let leaf = leaf([waiting.url(), ready.url()]);
    leaf.ready().await;
    assert_eq!(status(&leaf).instance, Some(ready.discovery.instance()));
    assert!(status(&leaf).degraded.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_restarts_and_has_forgotten_everything_wipes_nothing() {
    let (parent, _handle) = Daemon::scripted([record("web", 1..=20), record("api", [30])]).await;
    let leaf = leaf([parent.url()]);
    leaf.ready().await;
    let address = parent.end().await;
    let forgetful = discovery([("vms", ScriptedRegistry::new([Step::list([record("api", [30])])]))]);
    forgetful.ready().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let parent = Daemon::at(listener, forgetful, HttpOptions::default()).await;
    until(&leaf, "what the new one lacks", |leaf| {
        status(leaf).held.is_some()
    })
    .await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some((1..=20).collect()));
    assert_eq!(status(&leaf).held.unwrap().endpoints, 20);
    drop(parent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_by_a_registry_that_a_restarted_parent_never_heard_stays_until_it_is_heard() {
    let with = |consul: ScriptedRegistry| {
        let vms = ScriptedRegistry::new([Step::list([record("api", [30])])]);
        let optional = RegistryOptions {
            required: false,
            ..merging("{name}.mesh")
        };
        let builder = Discovery::builder()
            .registry_with("vms", vms, merging("{name}.mesh"))
            .and_then(|builder| builder.registry_with("consul", consul, optional))
            .unwrap();
        let discovery = builder.start_deadline(Duration::from_millis(100)).start();
        discovery.unwrap()
    };
    let all = [record("web", [1]), record("old", [2])];
    let parent = Daemon::serving(with(ScriptedRegistry::new([Step::list(all)]))).await;
    let leaf = leaf([parent.url()]);
    until(&leaf, "everything", |leaf| leaf.snapshot().len() == 3).await;
    until(&leaf, "the phase of it", |leaf| {
        let mut behind = status(leaf).behind.into_iter();
        behind.all(|behind| behind.phase == Phase::Synced)
    })
    .await;
    let address = parent.end().await;

    let silent = ScriptedRegistry::new([]);
    let handle = silent.handle();
    let listener = TcpListener::bind(address).await.unwrap();
    let parent = Daemon::at(listener, with(silent), HttpOptions::default()).await;
    let instance = parent.discovery.instance();
    until(&leaf, "the parent, as far as it is ready", |leaf| {
        let status = status(leaf);
        let unread = |told: &DegradedScope| matches!(told.scope, Scope::Service(_));
        status.instance == Some(instance) && status.degraded.iter().filter(|told| unread(told)).count() == 2
    })
    .await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some(vec![1]));
    assert_eq!(addresses(&leaf.snapshot(), "old.mesh"), Some(vec![2]));

    // What is gone of it since is no change at that parent, which never had it.
    handle.set([record("web", [1])]);
    until(&leaf, "what is gone", |leaf| {
        addresses(&leaf.snapshot(), "old.mesh").is_none()
    })
    .await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some(vec![1]));
    assert!(status(&leaf).degraded.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parent_holds_back_is_held_back_at_the_leaf() {
    let (parent, handle) = Daemon::scripted([record("web", 1..=20)]).await;
    let leaf = leaf([parent.url()]);
    leaf.ready().await;
    handle.say(vec![Event::apply(record_of("web", [endpoint(1)]))]);
    let held = |leaf: &Discovery| {
        let snapshot = leaf.snapshot();
        let endpoints = snapshot.get("web.mesh").unwrap().endpoints().iter();
        endpoints.filter(|endpoint| endpoint.held()).count()
    };
    until(&leaf, "what is held back there", |leaf| held(leaf) == 19).await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some((1..=20).collect()));
    assert!(status(&leaf).held.is_none(), "the parent lists it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_everything_is_answered_with_everything() {
    let (parent, _handle) = Daemon::scripted([record("web", 1..=20)]).await;
    let proxy = FaultProxy::start(parent.address).await.unwrap();
    let full = count_full_states(&proxy);
    let leaf = leaf([proxy.url()]);
    leaf.ready().await;
    leaf.resync("parent".parse().unwrap()).await;
    until(&leaf, "another full state", |_| full.load(Ordering::SeqCst) == 2).await;
    until(&leaf, "calm", |leaf| status(leaf).phase == Phase::Synced).await;
    assert_eq!(leaf.snapshot().endpoint_count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_wants_a_token_gets_the_one_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "wrong").unwrap();
    let registry_behind = ScriptedRegistry::new([Step::list([record("web", [1])])]);
    let parent = discovery([("vms", registry_behind)]);
    parent.ready().await;
    let options = HttpOptions {
        token: Some("s3cret-5f".to_owned().into()),
        ..HttpOptions::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let parent = Daemon::at(listener, parent, options).await;
    let mut config = super::stage::config([parent.url()]);
    config.credentials.token_file = Some(file.clone());
    let leaf = leaf_of(registry_remote::DaemonRegistry::try_new(config).unwrap());
    until(&leaf, "the refusal", |leaf| {
        let told = status(leaf).degraded;
        told.iter()
            .any(|told| told.kind == ErrorKind::Denied && told.scope == Scope::Registry)
    })
    .await;
    assert!(!format!("{:?}", status(&leaf)).contains("s3cret"));
    std::fs::write(&file, "s3cret-5f").unwrap();
    leaf.ready().await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some(vec![1]));
    drop(registry([parent.url()]));
}
