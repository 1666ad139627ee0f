//! ACLs: what is hidden or denied is kept, and told.

use std::time::Duration;

use futures_util::future::join_all;
use registry_core::{ErrorKind, Phase};
use registry_testkit::nomad::{Denied, Job, Rights, Settings, unique, worlds};
use registry_testkit::witness::Witness;

use super::{
    NODE, config, degraded, discover, instances, play, play_with, shown, synced, token_config, truth,
    until_degraded, until_healthy, until_jobs, until_shown, until_streams, until_true,
};
use crate::support::{phase, ready, status, until, until_phase};

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_narrowed_and_widened_in_mid_watch_remove_nothing() {
    let _shared = NODE.read().await;
    for world in worlds(true).await.unwrap() {
        for listed in [false, true] {
            let prefix = unique("rights");
            let world = &*world;
            let (one, two, reader) = (unique("one"), unique("two"), unique("reader"));
            let jobs = [&one, &two].map(|namespace| Job::new(&prefix).within(namespace).count(2));
            for (namespace, job) in [&one, &two].into_iter().zip(&jobs) {
                world.add_namespace(namespace).await.unwrap();
                world.run(job).await.unwrap();
            }
            let token = world.grant(&reader, &[&one, &two]).await.unwrap();
            let (mut config, _token) = token_config(world, &prefix, Some(&token));
            if listed {
                config.namespaces = vec![one.clone(), two.clone()];
            }
            let discovery = discover(config);
            ready(&discovery).await;
            let all = |counts: [usize; 2]| {
                [
                    (&jobs[0], counts[0], "registered"),
                    (&jobs[1], counts[1], "registered"),
                ]
            };
            until_jobs("the start", &discovery, world, &all([2, 2])).await;
            let witness = Witness::call(&discovery);

            world.grant(&reader, &[&one]).await.unwrap();
            until("the loss of rights to be told", &discovery, |_| {
                degraded(&discovery)
                    .values()
                    .any(|kind| *kind == ErrorKind::Denied)
            })
            .await;
            // What is allowed is followed, what is not is kept.
            world.run(&jobs[0].clone().count(3)).await.unwrap();
            until_jobs("what is allowed", &discovery, world, &all([3, 2])).await;
            witness.saw_everything("while rights were missing", &discovery);

            world.run(&jobs[1].clone().count(3)).await.unwrap();
            world.grant(&reader, &[&one, &two]).await.unwrap();
            until_jobs("rights given back", &discovery, world, &all([3, 3])).await;
            until_healthy(&discovery).await;
            witness.saw_everything("while rights came and went", &discovery);
            drop(witness);
            for (namespace, job) in [&one, &two].into_iter().zip(&jobs) {
                world.stop(job, true).await.unwrap();
                world.remove_namespace(namespace).await.unwrap();
            }
            until_jobs("purged", &discovery, world, &all([0, 0])).await;
            discovery.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_20_all_namespaces_without_any_right_is_denied_and_not_empty() {
    let _shared = NODE.read().await;
    for world in worlds(true).await.unwrap() {
        let prefix = unique("nobody");
        let world = &*world;
        let job = Job::new(&prefix);
        world.run(&job).await.unwrap();
        let nobody = world.grant(&unique("nobody"), &[]).await.unwrap();
        for token in [None, Some(nobody.as_str())] {
            let (config, _token) = token_config(world, &prefix, token);
            let discovery = discover(config);
            until("a denial", &discovery, |_| {
                let status = discovery.status();
                let error = status.first().and_then(|status| status.last_error.as_ref());
                error.is_some_and(|error| error.kind == ErrorKind::Denied)
            })
            .await;
            assert_eq!(phase(&discovery), Phase::Connecting, "nothing is known");
            discovery.shutdown().await;
        }
        world.stop(&job, true).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_20_all_rights_taken_in_mid_watch_remove_nothing() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    nomad.grant("t", Rights::All);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "t").unwrap();
    let mut config = config(&nomad.url());
    config.token_file = Some(file);
    let discovery = discover(config);
    ready(&discovery).await;
    until_true("the start", &discovery, &nomad).await;
    let (before, witness) = (truth(&nomad), Witness::call(&discovery));

    // None at all: the list is empty with index 0. No such token: it is 403.
    for gone in [Some(Rights::none()), None] {
        match gone {
            Some(rights) => nomad.grant("t", rights),
            None => nomad.revoke("t"),
        }
        nomad.register(&instances("hidden", 1));
        until_degraded(&discovery, "registry", ErrorKind::Denied).await;
        until_phase(&discovery, Phase::Stale).await;
        assert_eq!(shown(&discovery.snapshot()), before);
        nomad.remove(registry_testkit::nomad::Cause::Client, |one| {
            one.service_name == "hidden"
        });
        nomad.grant("t", Rights::All);
        until_healthy(&discovery).await;
        until_phase(&discovery, Phase::Synced).await;
    }
    witness.saw_everything("while rights were missing", &discovery);
    nomad.register(&instances("web", 3));
    until_true("followed again", &discovery, &nomad).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_in_its_file_is_used_as_soon_as_the_old_one_is_refused() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    nomad.grant("old", Rights::All);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old").unwrap();
    let mut config = config(&nomad.url());
    config.token_file = Some(file.clone());
    let discovery = synced(&nomad, config).await;
    let witness = Witness::call(&discovery);

    std::fs::write(&file, "new").unwrap();
    nomad.grant("new", Rights::All);
    nomad.revoke("old");
    nomad.register(&instances("web", 3));
    until_true("with the new token", &discovery, &nomad).await;
    until_streams(&nomad, 1).await;
    until_healthy(&discovery).await;
    witness.saw_everything("while tokens were replaced", &discovery);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_namespace_leaves_the_others_alone_from_the_start() {
    let nomad = play(&[("web", 2)]).await;
    nomad.register(&[registry_testkit::nomad::Registration::within(
        "secret", "vault", 1,
    )]);
    nomad.grant("t", Rights::namespaces(&["default"]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "t").unwrap();
    let mut config = config(&nomad.url());
    config.token_file = Some(file);
    config.namespaces = vec!["default".to_owned(), "secret".to_owned()];
    let discovery = discover(config);
    ready(&discovery).await;
    let mut allowed = truth(&nomad);
    allowed.remove("vault.secret");
    until_shown("what is allowed", &discovery, &allowed).await;
    until_degraded(&discovery, "group secret", ErrorKind::Denied).await;

    nomad.register(&instances("web", 3));
    allowed.insert("web.default".to_owned(), truth(&nomad)["web.default"].clone());
    until_shown("what is allowed is followed", &discovery, &allowed).await;
    nomad.grant("t", Rights::All);
    until_true("everything", &discovery, &nomad).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_19_a_stream_that_is_denied_by_silence_or_by_its_end_is_told_and_costs_only_reads() {
    let cases = [Denied::Silence, Denied::End(Duration::from_millis(50))].map(async |denied| {
        let settings = Settings {
            denied,
            ..Settings::default()
        };
        let nomad = play_with(settings, &[("web", 2)]).await;
        // A namespace that may not be read denies the stream of all, and no list.
        nomad.add_namespace("secret");
        nomad.grant("t", Rights::namespaces(&["default"]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "t").unwrap();
        let mut config = config(&nomad.url());
        config.token_file = Some(file);
        let discovery = discover(config);
        ready(&discovery).await;
        until("the stream to be told of", &discovery, |_| {
            status(&discovery).note.is_some()
        })
        .await;
        let note = status(&discovery).note.unwrap();
        assert!(note.contains("event stream"), "{note}");
        assert_eq!(
            (degraded(&discovery).len(), phase(&discovery)),
            (0, Phase::Synced),
            "{note}"
        );
        assert_eq!(nomad.streams(), 0);
        for count in [3, 4] {
            nomad.register(&instances("web", count));
            until_true("without a stream", &discovery, &nomad).await;
        }
        nomad.grant("t", Rights::All);
        until_streams(&nomad, 1).await;
        until("nothing to be told", &discovery, |_| {
            status(&discovery).note.is_none()
        })
        .await;
        discovery.shutdown().await;
    });
    join_all(cases).await;
}
