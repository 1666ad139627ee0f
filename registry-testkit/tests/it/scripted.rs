//! The scripted registry, alone and under a discovery.

use std::time::Duration;

use futures_util::StreamExt;
use registry_core::{
    Address, Control, Discovery, Endpoint, ErrorKind, Event, Phase, PortDefaults, Resync, Scope, ServiceId,
    ServiceMeta, ServiceRecord, ServiceRegistry,
};
use registry_testkit::scripted::{ScriptedRegistry, Step};
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(600);

fn record(name: &str) -> ServiceRecord {
    let meta = ServiceMeta::builder(ServiceId::named(name)).build();
    let address: Address = "10.0.0.1".parse().unwrap();
    ServiceRecord::new(meta, [Endpoint::builder(address).id("one").build()])
}

fn control() -> Control {
    Control::new("r".parse().unwrap(), PortDefaults::default())
}

fn everything() -> Resync {
    Resync {
        scope: Scope::Registry,
        strong: true,
    }
}

#[tokio::test(start_paused = true)]
async fn steps_are_played_in_their_order_and_time() {
    let registry = ScriptedRegistry::new([
        Step::list([record("web")]),
        Step::Wait(Duration::from_secs(5)),
        Step::confirm(),
        Step::Fail(ErrorKind::Unavailable, "over".to_owned()),
    ])
    .then([Step::End]);
    let handle = registry.handle();
    let start = Instant::now();
    let mut watch = registry.watch(control()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 3);
    assert_eq!(start.elapsed(), Duration::ZERO);
    let batch = watch.next().await.unwrap().unwrap();
    assert!(
        matches!(batch.as_slice(), [Event::Confirmed(Scope::Registry)]),
        "{batch:?}"
    );
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(watch.next().await.unwrap().unwrap_err().report(), "over");
    assert_eq!((handle.seen().opened, handle.seen().gone), (1, 0));
    assert!(watch.next().await.is_none());
    assert_eq!((handle.seen().opened, handle.seen().gone), (1, 1));

    for opened in 2..4 {
        let mut watch = registry.watch(control()).await.unwrap();
        assert!(watch.next().await.is_none(), "the last script is played again");
        assert_eq!(handle.seen().opened, opened);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_can_be_kept_from_opening() {
    let registry = ScriptedRegistry::new([Step::Fail(ErrorKind::Denied, "no".to_owned())]).then([Step::Hang]);
    let refused = registry.watch(control()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(timeout(DEADLINE, registry.watch(control())).await.is_err());
    let seen = registry.handle().seen();
    assert_eq!((seen.opened, seen.gone), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn wishes_are_written_down_and_answered_as_told() {
    let registry = ScriptedRegistry::new([
        Step::AwaitResync,
        Step::list([]),
        Step::Wait(Duration::from_secs(60)),
        Step::confirm(),
    ])
    .answering([record("web"), record("api")]);
    let handle = registry.handle();
    let (control, start) = (control(), Instant::now());
    let mut watch = registry.watch(control.clone()).await.unwrap();
    control.request_resync(everything());
    assert_eq!(
        watch.next().await.unwrap().unwrap().len(),
        2,
        "the script's own answer"
    );

    let web = Scope::Service(ServiceId::named("web"));
    control.request_resync(Resync {
        scope: web.clone(),
        strong: false,
    });
    let answer = watch.next().await.unwrap().unwrap();
    assert!(
        matches!(answer.as_slice(), [Event::Init(scope), Event::Apply { .. }, Event::InitDone { .. }] if *scope == web),
        "{answer:?}"
    );
    watch.next().await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 60, "the wait went on");

    handle.answer_with(None);
    control.request_resync(everything());
    assert!(
        timeout(DEADLINE, watch.next()).await.is_err(),
        "nothing is answered"
    );
    let seen = handle.seen();
    assert_eq!(seen.resyncs.len(), 3);
    assert_eq!(seen.resyncs[0], everything());
    assert_eq!(seen.resyncs[1].scope, web);

    handle.set([record("db")]);
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_discovery_that_is_steered_by_hand_survives_all_of_it() {
    let registry = ScriptedRegistry::new([Step::list([record("web")])])
        .with_freshness_bound(Duration::from_secs(10))
        .with_target("a script");
    let handle = registry.handle();
    let discovery = Discovery::builder()
        .registry("scripted", registry)
        .unwrap()
        .start()
        .unwrap();
    timeout(DEADLINE, discovery.ready()).await.unwrap();
    let known = || discovery.snapshot().get("web.scripted").is_some();
    assert!(known());

    handle.play(Step::Panic("a test".to_owned()));
    timeout(DEADLINE, handle.until(|seen| seen.opened == 2))
        .await
        .unwrap();
    assert!(known());
    handle.play(Step::Hang);
    timeout(DEADLINE, handle.until(|seen| seen.opened == 3))
        .await
        .unwrap();
    assert!(known(), "silence removes nothing");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(discovery.status()[0].panics, 1);
    assert_eq!(discovery.status()[0].phase, Phase::Synced);

    handle.say(vec![Event::Delete {
        id: ServiceId::named("web"),
        explicit: true,
    }]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!known());
    discovery.shutdown().await;
    assert_eq!(handle.seen().gone, 3, "nothing is left of its watches");
}

#[tokio::test]
async fn probes_are_counted_and_fail_as_told() {
    let registry = ScriptedRegistry::new([]);
    registry.probe().await.unwrap();
    let handle = registry.handle();
    handle.set_probe(Some((ErrorKind::Denied, "no".to_owned())));
    assert_eq!(registry.probe().await.unwrap_err().kind(), ErrorKind::Denied);
    handle.set_probe(None);
    registry.probe().await.unwrap();
    assert_eq!(handle.seen().probes, 3);
}
