//! The event stream is a trigger: it makes changes quick, and what it misses is seen all the same.

use std::time::Duration;

use futures_util::future::join_all;
use registry_core::{Guard, Phase};
use registry_testkit::nomad::{Cause, Registration, Settings, StreamFault};
use registry_testkit::witness::Witness;

use super::{
    config, degraded, discover_guarded, instances, pause, play, play_with, requests_from, synced,
    until_streams, until_true,
};
use crate::support::{phase, ready, status, until};

#[tokio::test(flavor = "multi_thread")]
async fn idea_19_frames_that_come_byte_by_byte_and_with_two_events_are_read() {
    let cases = [1, 3, 64, usize::MAX].map(async |piece| {
        let settings = Settings {
            piece,
            heartbeat: Duration::from_millis(20),
            ..Settings::default()
        };
        let nomad = play_with(settings, &[("web", 1), ("api", 1), ("idle", 1)]).await;
        let mut config = config(&nomad.url());
        // Comparisons would read what nobody told of.
        config.compare_reads_per_second = 0;
        let discovery = synced(&nomad, config).await;
        let first = nomad.requests().len();
        for round in 2..5 {
            let both = [instances("web", round), instances("api", round)].concat();
            nomad.register(&both);
            until_true("two services in one write", &discovery, &nomad).await;
        }
        nomad.remove(Cause::Other("JobDeregistered"), |one| one.service_name != "idle");
        until_true("two services gone in one write", &discovery, &nomad).await;
        // Once where the first write came before the list that shows that nothing was missed while the stream opened.
        let reads = requests_from(&nomad, first, "/v1/service/idle");
        assert!(reads <= 1, "{reads} reads of what nobody told of");
        assert_eq!(
            requests_from(&nomad, first, "/v1/event/stream"),
            0,
            "one stream is enough"
        );
        discovery.shutdown().await;
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_19_what_no_event_tells_of_is_seen_by_the_list() {
    let nomad = play(&[("web", 1), ("api", 3)]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    for turn in 0..2 {
        nomad.lose_events(true);
        nomad.register(&instances("web", 2 + turn));
        nomad.deregister("default", "api", 1 + turn);
        nomad.lose_events(false);
        until_true("a gap", &discovery, &nomad).await;
        // The stream that missed it is another one now, and it counts again.
        until_streams(&nomad, 1).await;
    }
    nomad.remove(Cause::Unpublished, |one| one.service_name == "api");
    until_true("a removal of a kind without an event", &discovery, &nomad).await;
    assert_eq!(
        (degraded(&discovery).len(), phase(&discovery)),
        (0, Phase::Synced)
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_19_a_memory_that_ran_over_while_the_stream_was_away_is_made_up_for() {
    let settings = Settings {
        memory: 3,
        ..Settings::default()
    };
    let nomad = play_with(settings, &[("web", 1), ("api", 1)]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    for count in 2..4 {
        nomad.cut_streams();
        nomad.register(&instances("web", count));
        nomad.register(&instances("api", count));
        nomad.write_elsewhere(10);
        until_true("forgotten by the stream", &discovery, &nomad).await;
        until_streams(&nomad, 1).await;
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_19_a_stream_that_fell_silent_is_replaced_at_the_next_change() {
    let nomad = play(&[("web", 1), ("api", 1)]).await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    let witness = Witness::call(&discovery);
    for count in 2..4 {
        let first = nomad.requests().len();
        nomad.mute_streams();
        nomad.register(&instances("web", count));
        until_true("told by nobody", &discovery, &nomad).await;
        until("another stream", &discovery, |_| {
            requests_from(&nomad, first, "/v1/event/stream") > 0
        })
        .await;
        until_streams(&nomad, 1).await;
    }
    assert_eq!(
        (degraded(&discovery).len(), phase(&discovery)),
        (0, Phase::Synced)
    );
    witness.saw_everything("while streams were silent", &discovery);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_19_streams_that_are_refused_silent_closed_or_wrong_cost_nothing_but_reads() {
    let respond = |status: u16| StreamFault::Respond(status, "No cluster leader".to_owned());
    let cases = [
        StreamFault::Refuse,
        StreamFault::Silent,
        StreamFault::Close,
        respond(500),
        respond(404),
        respond(403),
    ]
    .map(async |fault| {
        let nomad = play(&[("web", 2), ("api", 1)]).await;
        nomad.fail_streams(std::iter::repeat_n(fault.clone(), 3));
        let mut config = config(&nomad.url());
        config.compare_reads_per_second = 0;
        let discovery = discover_guarded(config, None);
        ready(&discovery).await;
        until_true("the start", &discovery, &nomad).await;
        let witness = Witness::call(&discovery);
        nomad.register(&instances("web", 3));
        until_true(&format!("{fault:?}"), &discovery, &nomad).await;
        assert_eq!(
            (degraded(&discovery).len(), phase(&discovery)),
            (0, Phase::Synced),
            "{fault:?}"
        );
        until_streams(&nomad, 1).await;
        until("a note no more", &discovery, |_| {
            status(&discovery).note.is_none()
        })
        .await;
        nomad.register(&instances("api", 2));
        until_true("by a stream", &discovery, &nomad).await;
        witness.saw_everything("without a stream", &discovery);
        discovery.shutdown().await;
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_events_reads_all_that_may_have_changed() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    let mut config = config(&nomad.url());
    config.events = false;
    let discovery = synced(&nomad, config).await;
    nomad.register(&instances("web", 3));
    until_true("more", &discovery, &nomad).await;
    nomad.deregister("default", "web", 1);
    until_true("less", &discovery, &nomad).await;
    assert_eq!(requests_from(&nomad, 0, "/v1/event/stream"), 0);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_an_event_announces_is_not_held_back_and_a_mere_absence_is() {
    let cases = [
        (true, Cause::Client),
        (true, Cause::Other("AllocationUpdated")),
        (true, Cause::Other("NodeDeregistration")),
        (false, Cause::Unpublished),
    ]
    .map(async |(announced, cause)| {
        let nomad = play(&[("web", 20), ("api", 1)]).await;
        let discovery = discover_guarded(config(&nomad.url()), Some(Guard::default()));
        ready(&discovery).await;
        until_streams(&nomad, 1).await;
        until_true("the start", &discovery, &nomad).await;
        nomad.remove(cause, |one| one.service_name == "web" && one.port > 8002);
        if announced {
            until_true(&format!("{cause:?}"), &discovery, &nomad).await;
        } else {
            until("endpoints to be held back", &discovery, |_| {
                status(&discovery).held.is_some_and(|held| held.endpoints > 0)
            })
            .await;
            let snapshot = discovery.snapshot();
            assert_eq!(snapshot.get("web.default").unwrap().endpoints().len(), 20);
        }
        discovery.shutdown().await;
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_namespace_is_not_read_anew_for_what_others_write() {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    let mut config = config(&nomad.url());
    config.namespaces = vec!["default".to_owned()];
    config.compare_reads_per_second = 0;
    let discovery = discover_guarded(config, None);
    ready(&discovery).await;
    until_streams(&nomad, 1).await;
    let before = super::shown(&discovery.snapshot());
    // The first of these may be taken for a gap.
    nomad.register(&[Registration::within("noisy", "noise", 1)]);
    pause(5.0).await;
    let first = nomad.requests().len();
    for number in 2..12 {
        nomad.register(&[Registration::within("noisy", "noise", number)]);
        pause(0.3).await;
    }
    pause(3.0).await;
    let reads = requests_from(&nomad, first, "/v1/service/");
    assert!(reads <= 4, "{reads} reads for the changes of another namespace");
    assert_eq!(super::shown(&discovery.snapshot()), before);
    nomad.register(&instances("web", 3));
    until("its own change", &discovery, |snapshot| {
        snapshot
            .get("web.default")
            .is_some_and(|web| web.endpoints().len() == 3)
    })
    .await;
    discovery.shutdown().await;
}
