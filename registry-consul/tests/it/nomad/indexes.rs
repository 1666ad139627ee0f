//! Indexes that go back, stand still, or belong to a server that is behind.

use registry_consul::{ChecksConfig, Ghosts};
use registry_core::{ErrorKind, Guard, Phase};
use registry_testkit::nomad::{Cause, Registration, Rights};
use registry_testkit::witness::Witness;
use registry_testkit::{Fault, FaultProxy, Match, Rule};

use super::{
    config, degraded, discover, discover_guarded, instances, pause, play, requests_from, shown, synced,
    truth, until_degraded, until_healthy, until_shown, until_true,
};
use crate::support::{phase, ready, status, until, until_phase};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restored_is_believed_as_a_whole() {
    let nomad = play(&[("web", 2), ("api", 2)]).await;
    let past = nomad.save();
    nomad.register(&instances("web", 3));
    nomad.register(&instances("young", 1));
    let discovery = synced(&nomad, config(&nomad.url())).await;
    let witness = Witness::call(&discovery);
    nomad.restore(past);
    until_true("the past", &discovery, &nomad).await;
    // Where it stands is where it goes on from, though it is below what was seen before.
    nomad.register(&instances("api", 3));
    until_true("after the past", &discovery, &nomad).await;
    nomad.deregister("default", "api", 1);
    until_true("a removal after the past", &discovery, &nomad).await;
    let missing = witness.missing().unwrap().what;
    assert!(
        missing
            .iter()
            .all(|what| !what.starts_with("web.default 10.0.0.1")),
        "{missing:?}"
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_wiped_is_held_back_by_the_guard_and_followed_when_it_is_filled_again() {
    let nomad = play(&[("web", 6), ("api", 6)]).await;
    let discovery = discover_guarded(config(&nomad.url()), Some(Guard::default()));
    ready(&discovery).await;
    until_true("the start", &discovery, &nomad).await;
    let (before, witness) = (truth(&nomad), Witness::call(&discovery));
    nomad.wipe();
    until("endpoints to be held back", &discovery, |_| {
        status(&discovery).held.is_some()
    })
    .await;
    let held: Vec<_> = shown(&discovery.snapshot()).keys().cloned().collect();
    assert_eq!(held, before.keys().cloned().collect::<Vec<_>>());
    for name in ["web", "api"] {
        nomad.register(&instances(name, 6));
    }
    until("nothing to be held back", &discovery, |_| {
        status(&discovery).held.is_none()
    })
    .await;
    until_true("filled again", &discovery, &nomad).await;
    witness.saw_everything("while the server was empty", &discovery);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_behind_is_not_believed_and_the_leader_is_asked() {
    let nomad = play(&[("web", 3), ("api", 1)]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    nomad.hold_follower(true);
    for count in [4, 5] {
        nomad.register(&instances("web", count));
        until_true("more of it", &discovery, &nomad).await;
    }
    nomad.deregister("default", "web", 1);
    until_true("less of it", &discovery, &nomad).await;
    nomad.register(&instances("young", 2));
    until_true("another one", &discovery, &nomad).await;
    nomad.remove(Cause::Unpublished, |one| one.service_name == "api");
    until_true("one gone without a word", &discovery, &nomad).await;
    assert_eq!(
        (degraded(&discovery).len(), phase(&discovery)),
        (0, Phase::Synced)
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_stands_still_while_names_vanish_removes_nothing() {
    let nomad = play(&[("web", 2)]).await;
    nomad.register(&[Registration::within("other", "api", 1)]);
    nomad.grant("t", Rights::namespaces(&["default", "other"]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "t").unwrap();
    let mut config = config(&nomad.url());
    config.token_file = Some(file);
    let discovery = synced(&nomad, config).await;
    let (before, witness) = (truth(&nomad), Witness::call(&discovery));
    nomad.grant("t", Rights::namespaces(&["default"]));
    until("the loss of rights to be told", &discovery, |_| {
        degraded(&discovery)
            .values()
            .any(|kind| *kind == ErrorKind::Denied)
    })
    .await;
    pause(1.0).await;
    assert_eq!(shown(&discovery.snapshot()), before);
    witness.saw_everything("while a namespace was hidden", &discovery);
    nomad.grant("t", Rights::All);
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_list_lacks_is_read_before_it_counts_as_gone() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    let proxy = FaultProxy::start(nomad.addr()).await.unwrap();
    let discovery = synced(&nomad, config(&proxy.url())).await;
    let witness = Witness::call(&discovery);
    // A list that does not say the truth, at an index that moved.
    let rule = proxy.inject(Rule::new(
        Match::path("/v1/services"),
        Fault::replace_body(r#"[{"Namespace":"default","Services":[{"ServiceName":"api","Tags":[]}]}]"#),
    ));
    for count in [2, 3, 4] {
        nomad.register(&instances("api", count));
        until_true("web is kept", &discovery, &nomad).await;
    }
    witness.saw_everything("while a list lacked a name", &discovery);
    drop(witness);
    nomad.remove(Cause::Client, |one| one.service_name == "web");
    until_true("web is gone in earnest", &discovery, &nomad).await;
    proxy.remove(rule);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_registry_is_complete_knowledge_and_what_comes_is_seen() {
    let nomad = play(&[]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    until_phase(&discovery, Phase::Synced).await;
    nomad.register(&instances("web", 1));
    until_true("the first service", &discovery, &nomad).await;
    nomad.deregister("default", "web", 1);
    until_shown("none again", &discovery, &super::Shown::new()).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_leader_degrades_and_loses_nothing() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    let (before, witness) = (truth(&nomad), Witness::call(&discovery));
    nomad.set_leader(false);
    until_degraded(&discovery, "registry", ErrorKind::Unavailable).await;
    until_phase(&discovery, Phase::Stale).await;
    assert_eq!(shown(&discovery.snapshot()), before);
    nomad.register(&instances("web", 3));
    nomad.set_leader(true);
    until_true("a leader again", &discovery, &nomad).await;
    until_healthy(&discovery).await;
    until_phase(&discovery, Phase::Synced).await;
    witness.saw_everything("while there was no leader", &discovery);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_names_the_region_and_only_instances_may_be_read_from_any_server() {
    for stale in [true, false] {
        let nomad = play(&[("web", 2)]).await;
        let mut config = config(&nomad.url());
        config.region = Some("global".to_owned());
        config.stale = stale;
        config.ghosts = Ghosts::Mark;
        config.checks = Some(ChecksConfig::default());
        let discovery = discover(config);
        for path in [
            "/v1/services",
            "/v1/service/web",
            "/v1/event/stream",
            "/v1/allocations",
            "/v1/allocation/",
        ] {
            until(path, &discovery, |_| requests_from(&nomad, 0, path) > 0).await;
        }
        for request in nomad.requests() {
            let target = &request.target;
            assert_eq!(request.query("region").as_deref(), Some("global"), "{target}");
            let of_any = stale && request.path() == "/v1/service/web";
            assert_eq!(request.query("stale").is_some(), of_any, "{target}");
        }
        discovery.shutdown().await;
    }
}
