//! Answers that are wrong, too large, silent, or half.

use std::time::Duration;

use registry_core::{Discovery, ErrorKind, Event, Phase, Scope};
use registry_remote::DaemonRegistry;
use registry_testkit::{Fault, FaultProxy, Match, Rule};

use super::stage::{Daemon, addresses, config, leaf, leaf_of, record, status, until};

fn any(fault: Fault) -> Rule {
    Rule::new(Match::any(), fault)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_be_read_keeps_what_it_had_and_the_others_go_on() {
    let (parent, handle) = Daemon::scripted([record("web", [1]), record("api", [2])]).await;
    let proxy = FaultProxy::start(parent.address).await.unwrap();
    let leaf = leaf([proxy.url()]);
    leaf.ready().await;
    let odd = proxy.inject(any(Fault::map_line(|line| {
        let is_web = line.contains("\"hostname\":\"web.mesh\"");
        Some(if is_web {
            line.replace("\"healthy\"", "\"splendid\"")
        } else {
            line.to_owned()
        })
    })));
    handle.say(vec![
        Event::apply(record("web", [1, 3])),
        Event::apply(record("api", [2, 4])),
    ]);
    until(&leaf, "the service that can be read", |leaf| {
        addresses(&leaf.snapshot(), "api.mesh") == Some(vec![2, 4])
    })
    .await;
    let told = |leaf: &Discovery| {
        let degraded = status(leaf).degraded;
        let [told] = degraded.as_slice() else { return false };
        told.kind == ErrorKind::Malformed
            && matches!(&told.scope, Scope::Service(id) if id.name() == "web.mesh")
    };
    until(&leaf, "the trouble", told).await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some(vec![1]));
    // Also where everything is told anew.
    leaf.resync("parent".parse().unwrap()).await;
    until(&leaf, "the comparison", |leaf| status(leaf).skipped >= 2).await;
    assert_eq!(addresses(&leaf.snapshot(), "web.mesh"), Some(vec![1]));
    proxy.remove(odd);
    handle.say(vec![Event::apply(record("web", [1, 3, 5]))]);
    until(&leaf, "the service", |leaf| {
        addresses(&leaf.snapshot(), "web.mesh") == Some(vec![1, 3, 5])
    })
    .await;
    assert!(status(&leaf).degraded.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_breaks_off_anywhere_changes_nothing() {
    let (parent, handle) = Daemon::scripted((0..5).map(|n| record(&format!("s{n}"), [n]))).await;
    let proxy = FaultProxy::start(parent.address).await.unwrap();
    let leaf = leaf([proxy.url()]);
    leaf.ready().await;
    handle.say(vec![Event::apply(record("s0", [100]))]);
    until(&leaf, "a change", |leaf| {
        addresses(&leaf.snapshot(), "s0.mesh") == Some(vec![100])
    })
    .await;
    let before = leaf.snapshot();
    for bytes in [1, 30, 200, 400, 700, 1_100, 1_600, 2_000] {
        let cut = proxy.inject(any(Fault::CutBody(bytes)));
        let requests = proxy.requests_total();
        leaf.resync("parent".parse().unwrap()).await;
        until(&leaf, "an attempt", |_| proxy.requests_total() > requests + 1).await;
        proxy.remove(cut);
        until(&leaf, "the mending", |leaf| {
            status(leaf).phase == Phase::Synced && status(leaf).degraded.is_empty()
        })
        .await;
        assert_eq!(leaf.snapshot().root_hash(), before.root_hash(), "{bytes}");
    }
    handle.say(vec![Event::apply(record("s1", [101]))]);
    until(&leaf, "a change", |leaf| {
        addresses(&leaf.snapshot(), "s1.mesh") == Some(vec![101])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_parent_is_left_for_another() {
    let (first, _first_handle) = Daemon::scripted([record("web", [1])]).await;
    let (second, _second_handle) = Daemon::scripted([record("web", [1])]).await;
    let proxy = FaultProxy::start(first.address).await.unwrap();
    let mut config = config([proxy.url(), second.url()]);
    config.silence = Duration::from_secs(2);
    let leaf = leaf_of(DaemonRegistry::try_new(config).unwrap());
    leaf.ready().await;
    proxy.black_hole(true);
    until(&leaf, "the other parent", |leaf| {
        status(leaf).instance == Some(second.discovery.instance())
    })
    .await;
    assert!(status(&leaf).degraded.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_too_large_is_refused_by_the_name_of_the_setting() {
    let (parent, _handle) = Daemon::scripted((0..20).map(|n| record(&format!("s{n}"), 0..50))).await;
    let mut state = config([parent.url()]);
    state.max_state_bytes = 10_000;
    let mut service = config([parent.url()]);
    service.http.max_body_bytes = 5_000;
    for (config, named) in [
        (state, "max_state_bytes = 10000"),
        (service, "max_body_bytes = 5000"),
    ] {
        let leaf = leaf_of(DaemonRegistry::try_new(config).unwrap());
        until(&leaf, named, |leaf| {
            let degraded = status(leaf).degraded;
            degraded
                .iter()
                .any(|told| told.kind == ErrorKind::Limit && told.error.contains(named))
        })
        .await;
        assert_eq!(
            (status(&leaf).phase, leaf.snapshot().len()),
            (Phase::Connecting, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_daemon_is_named() {
    let page = registry_testkit::ReplayServer::start().await.unwrap();
    let leaf = leaf([page.url()]);
    until(&leaf, "the trouble", |leaf| status(leaf).last_error.is_some()).await;
    let error = status(&leaf).last_error.unwrap();
    assert!(
        error.message.contains(&page.url().replace("http://", "")),
        "{}",
        error.message
    );
    assert_eq!(leaf.snapshot().len(), 0);
}
