//! Servers that restart, vanish, fail or talk nonsense.

use futures_util::future::join_all;
use registry_core::{ErrorKind, Phase};
use registry_testkit::witness::Witness;
use registry_testkit::{Fault, FaultProxy, Match, Rule};

use super::{
    config, degraded, instances, play, shown, synced, truth, until_degraded, until_healthy, until_streams,
    until_true,
};
use crate::support::{phase, status, until, until_phase};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_followed_again() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    let witness = Witness::call(&discovery);
    for count in 3..6 {
        nomad.restart();
        nomad.register(&instances("web", count));
        until_true("restarted", &discovery, &nomad).await;
        until_streams(&nomad, 1).await;
    }
    until_healthy(&discovery).await;
    witness.saw_everything("while the server restarted", &discovery);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_makes_the_registry_stale_and_nothing_else() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    let (before, witness) = (truth(&nomad), Witness::call(&discovery));
    nomad.refuse(true);
    until_degraded(&discovery, "registry", ErrorKind::Unreachable).await;
    until_phase(&discovery, Phase::Stale).await;
    assert_eq!(shown(&discovery.snapshot()), before);
    nomad.register(&instances("web", 3));
    nomad.deregister("default", "api", 1);
    nomad.register(&instances("young", 1));
    nomad.refuse(false);
    until("back", &discovery, |snapshot| shown(snapshot) == truth(&nomad)).await;
    until_phase(&discovery, Phase::Synced).await;
    until_healthy(&discovery).await;
    let missing = witness.missing().unwrap().what;
    assert!(
        missing.iter().all(|what| what.starts_with("api.default")),
        "{missing:?}"
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_that_cannot_be_read_leaves_the_others_alone() {
    let cases = [
        (Fault::respond(500, &[], "rpc error"), ErrorKind::Unavailable),
        (Fault::respond(403, &[], "Permission denied"), ErrorKind::Denied),
        (Fault::replace_body("<html>"), ErrorKind::Malformed),
        (Fault::remove_header("X-Nomad-Index"), ErrorKind::Malformed),
    ]
    .map(async |(fault, kind)| {
        let nomad = play(&[("web", 2), ("api", 1)]).await;
        let proxy = FaultProxy::start(nomad.addr()).await.unwrap();
        let discovery = synced(&nomad, config(&proxy.url())).await;
        let witness = Witness::call(&discovery);
        let rule = proxy.inject(Rule::new(Match::path("/v1/service/web"), fault));
        nomad.register(&instances("web", 3));
        nomad.register(&instances("api", 2));
        until_degraded(&discovery, "service default/default/web", kind).await;
        until("api", &discovery, |snapshot| {
            shown(snapshot)["api.default"] == truth(&nomad)["api.default"]
        })
        .await;
        assert_eq!(degraded(&discovery).len(), 1, "{:?}", degraded(&discovery));
        assert_eq!(shown(&discovery.snapshot())["web.default"].len(), 2);
        proxy.remove(rule);
        // What is denied is looked for again at the next change of the table at the latest.
        nomad.register(&instances("web", 4));
        until_true("readable again", &discovery, &nomad).await;
        until_healthy(&discovery).await;
        witness.saw_everything("while one could not be read", &discovery);
        discovery.shutdown().await;
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_wrong_degrade_and_remove_nothing() {
    let cases = [
        (Fault::respond(500, &[], "rpc error"), ErrorKind::Unavailable),
        (Fault::replace_body("[]x"), ErrorKind::Malformed),
        (Fault::replace_body("{}"), ErrorKind::Malformed),
        (Fault::replace_body("[]"), ErrorKind::Malformed),
    ]
    .map(async |(fault, kind)| {
        let emptied = matches!(&fault, Fault::ReplaceBody(body) if &body[..] == b"[]");
        let nomad = play(&[("web", 2), ("api", 1)]).await;
        let proxy = FaultProxy::start(nomad.addr()).await.unwrap();
        let discovery = synced(&nomad, config(&proxy.url())).await;
        let (before, witness) = (truth(&nomad), Witness::call(&discovery));
        let rule = proxy.inject(Rule::new(Match::path("/v1/services"), fault));
        if emptied {
            // Each name is read before it counts as gone.
            nomad.write_elsewhere(1);
            super::pause(3.0).await;
        } else {
            until_degraded(&discovery, "registry", kind).await;
        }
        assert_eq!(shown(&discovery.snapshot()), before);
        proxy.remove(rule);
        nomad.register(&instances("web", 3));
        until_true("right again", &discovery, &nomad).await;
        until_healthy(&discovery).await;
        witness.saw_everything("while lists were wrong", &discovery);
        discovery.shutdown().await;
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_no_error_and_a_black_hole_is_noticed() {
    let nomad = play(&[("web", 2)]).await;
    let secret = "0f0e0d0c-aaaa-bbbb-cccc-0123456789ab";
    nomad.grant(secret, registry_testkit::nomad::Rights::All);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, secret).unwrap();
    let proxy = FaultProxy::start(nomad.addr()).await.unwrap();
    let mut config = config(&proxy.url());
    config.token_file = Some(file);
    config.http.request_timeout = std::time::Duration::from_secs(2);
    let discovery = synced(&nomad, config).await;
    let witness = Witness::call(&discovery);
    proxy.black_hole(true);
    until_phase(&discovery, Phase::Stale).await;
    until("an error that says where", &discovery, |_| {
        let error = status(&discovery).last_error;
        error.is_some_and(|error| error.message.contains(&proxy.addr().to_string()))
    })
    .await;
    let told = format!("{:?}", discovery.status());
    assert!(!told.contains(secret), "{told}");
    nomad.register(&instances("web", 3));
    proxy.black_hole(false);
    until_true("out of the hole", &discovery, &nomad).await;
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(phase(&discovery), Phase::Synced);
    witness.saw_everything("in a black hole", &discovery);
    discovery.shutdown().await;
}
