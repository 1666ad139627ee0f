//! What the play alone can do: misbehave on demand, and tell what it saw.

use std::time::Duration;

use registry_testkit::nomad::{
    Cause, Denied, NomadApi, NomadPlay, Registration, Rights, Settings, StreamFault,
};
use registry_testkit::{Fault, FaultProxy, Match, Rule, wait};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DEADLINE, event, frame};

async fn start(settings: Settings) -> (NomadPlay, NomadApi) {
    let play = NomadPlay::start_with(settings).await.unwrap();
    let api = NomadApi::new(&play.url(), None).unwrap();
    (play, api)
}

fn web(count: u8) -> Vec<Registration> {
    (1..=count)
        .map(|number| Registration::new("web", number))
        .collect()
}

#[tokio::test]
async fn what_is_registered_as_it_is_writes_nothing() {
    let (play, api) = start(Settings::default()).await;
    let index = play.register(&web(2));
    assert_eq!(play.register(&web(2)), index);
    assert_eq!(api.get("/v1/services").await.unwrap().index(), Some(index));
    assert_eq!(play.deregister("default", "web", 3), index);
    assert_eq!(play.deregister("default", "web", 2), index + 1);
    assert_eq!(api.instances("default", "web").await.unwrap().len(), 1);
    assert_eq!(play.services().len(), 1);
}

#[tokio::test]
async fn the_order_of_lists_changes_and_their_content_does_not() {
    let (play, api) = start(Settings::default()).await;
    let many: Vec<_> = ["a", "b", "c", "d", "e"]
        .map(|name| Registration::new(name, 1))
        .to_vec();
    play.register(&many);
    let mut bodies = std::collections::BTreeSet::new();
    for _ in 0..20 {
        bodies.insert(api.get("/v1/services").await.unwrap().text);
    }
    assert!(bodies.len() > 1, "{bodies:?}");
    let lengths: std::collections::BTreeSet<usize> = bodies.iter().map(String::len).collect();
    assert_eq!(lengths.len(), 1);
}

#[tokio::test]
async fn one_write_is_one_frame_and_a_removal_bears_the_name_of_its_cause() {
    let (play, api) = start(Settings::default()).await;
    let (_, mut lines) = api.events("topic=Service&namespace=*").await.unwrap();
    play.register(&web(2));
    assert_eq!(
        frame(&mut lines).await["Events"].as_array().map(Vec::len),
        Some(2)
    );
    play.remove(Cause::Other("AllocationUpdated"), |one| one.port == 8001);
    assert_eq!(event(&mut lines, "web").await["Type"], "AllocationUpdated");
    play.remove(Cause::Unpublished, |_| true);
    play.register(&web(1));
    assert_eq!(event(&mut lines, "web").await["Type"], "ServiceRegistration");
}

#[tokio::test]
async fn the_memory_of_the_stream_is_short_and_what_it_lost_is_no_error() {
    let (play, api) = start(Settings {
        memory: 3,
        ..Settings::default()
    })
    .await;
    let index = play.register(&web(1));
    play.write_elsewhere(3);
    let (status, mut lines) = api.events(&format!("topic=Service&index={index}")).await.unwrap();
    assert_eq!(status, 200);
    play.register(&web(2));
    let first = frame(&mut lines).await;
    assert_eq!(first["Events"][0]["Payload"]["Service"]["Port"], 8002, "{first}");

    play.lose_events(true);
    play.register(&web(3));
    play.lose_events(false);
    play.register(&web(4));
    assert_eq!(
        frame(&mut lines).await["Events"][0]["Payload"]["Service"]["Port"],
        8004
    );
}

#[tokio::test]
async fn streams_beat_fall_silent_and_end() {
    let (play, api) = start(Settings {
        heartbeat: Duration::from_millis(50),
        denied: Denied::End(Duration::from_millis(10)),
        piece: 1,
        ..Settings::default()
    })
    .await;
    let (_, mut lines) = api.events("topic=Service").await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            timeout(DEADLINE, lines.next()).await.unwrap().as_deref(),
            Some("{}")
        );
    }
    play.mute_streams();
    let quiet = async { while timeout(Duration::from_millis(300), lines.next()).await.is_ok() {} };
    timeout(DEADLINE, quiet).await.unwrap();

    let (_, mut lines) = api.events("topic=Service").await.unwrap();
    assert_eq!(
        timeout(DEADLINE, lines.next()).await.unwrap().as_deref(),
        Some("{}")
    );
    play.cut_streams();
    timeout(DEADLINE, async { while lines.next().await.is_some() {} })
        .await
        .unwrap();

    play.grant("token", Rights::none());
    let (status, mut lines) = api.events("topic=Service").await.unwrap();
    assert_eq!(
        (status, timeout(DEADLINE, lines.next()).await.unwrap()),
        (200, None)
    );
}

#[tokio::test]
async fn streams_fail_as_they_are_told_one_after_the_other() {
    let (play, api) = start(Settings::default()).await;
    play.fail_streams([
        StreamFault::Refuse,
        StreamFault::Respond(500, "no".to_owned()),
        StreamFault::Close,
        StreamFault::Silent,
        StreamFault::CutAfter(140),
    ]);
    assert!(api.events("topic=Service").await.is_err());
    assert_eq!(api.events("topic=Service").await.unwrap().0, 500);
    let (_, mut lines) = api.events("topic=Service").await.unwrap();
    assert_eq!(timeout(DEADLINE, lines.next()).await.unwrap(), None);
    let (_, mut lines) = api.events("topic=Service").await.unwrap();
    assert!(timeout(Duration::from_millis(200), lines.next()).await.is_err());
    let (_, mut lines) = api.events("topic=Service").await.unwrap();
    play.register(&web(1));
    timeout(DEADLINE, async { while lines.next().await.is_some() {} })
        .await
        .unwrap();
    let (_, mut lines) = api.events("topic=Service").await.unwrap();
    assert_eq!(
        timeout(DEADLINE, lines.next()).await.unwrap().as_deref(),
        Some("{}")
    );
}

#[tokio::test]
async fn a_lost_leader_fails_what_has_to_be_consistent_and_shows_in_what_has_not() {
    let (play, api) = start(Settings::default()).await;
    play.register(&web(1));
    play.set_leader(false);
    assert_eq!(api.get("/v1/services").await.unwrap().status, 500);
    let stale = api.get("/v1/services?stale").await.unwrap();
    assert_eq!(
        (stale.status, stale.header("X-Nomad-Knownleader")),
        (200, Some("false"))
    );
    play.set_leader(true);
    play.hold_follower(true);
    play.register(&web(2));
    let count = async |path: &str| api.get(path).await.unwrap().json().as_array().map(Vec::len);
    assert_eq!(count("/v1/service/web?stale").await, Some(1));
    assert_eq!(count("/v1/service/web").await, Some(2));
    play.hold_follower(false);
    assert_eq!(count("/v1/service/web?stale").await, Some(2));
}

#[tokio::test]
async fn a_restored_server_has_the_indexes_of_its_past() {
    let (play, _) = start(Settings::default()).await;
    play.register(&web(1));
    let saved = play.save();
    play.register(&web(2));
    let index = play.index();
    play.restore(saved);
    assert!(play.index() < index);
    // The connection is gone, and a pool may find out too late.
    let api = NomadApi::new(&play.url(), None).unwrap();
    assert_eq!(api.instances("default", "web").await.unwrap().len(), 1);
    play.wipe();
    let api = NomadApi::new(&play.url(), None).unwrap();
    let list = api.get("/v1/services?namespace=*").await.unwrap();
    assert_eq!((list.index(), list.text.as_str()), (Some(1), "[]"));
}

#[tokio::test]
async fn beyond_its_connections_there_is_a_429_that_nobody_asked_for() {
    let (play, _) = start(Settings {
        connections: 2,
        ..Settings::default()
    })
    .await;
    let mut held = Vec::new();
    for open in 1..=2 {
        held.push(TcpStream::connect(play.addr()).await.unwrap());
        let opened = wait::until("the connection to count", DEADLINE, async || {
            (play.connections_open() == open).then_some(())
        });
        opened.await.unwrap();
    }
    let mut third = TcpStream::connect(play.addr()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, third.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert_eq!((play.connections_max(), play.connections_total()), (2, 3));
}

#[tokio::test]
async fn a_proxy_passes_events_on_as_they_come_and_can_stop_them() {
    let (play, _) = start(Settings::default()).await;
    let proxy = FaultProxy::start(play.addr()).await.unwrap();
    let api = NomadApi::new(&proxy.url(), None).unwrap();
    let (_, mut lines) = api.events("topic=Service").await.unwrap();
    assert_eq!(
        timeout(DEADLINE, lines.next()).await.unwrap().as_deref(),
        Some("{}")
    );
    play.register(&web(1));
    assert_eq!(event(&mut lines, "web").await["Type"], "ServiceRegistration");

    let rule = proxy.inject(Rule::new(Match::path("/v1/event/stream"), Fault::StallAfter(10)));
    play.register(&web(2));
    assert!(timeout(Duration::from_millis(300), lines.next()).await.is_err());
    proxy.remove(rule);
    assert_eq!(event(&mut lines, "web").await["Payload"]["Service"]["Port"], 8002);
    play.cut_streams();
    assert_eq!(timeout(DEADLINE, lines.next()).await.unwrap(), None);
}
