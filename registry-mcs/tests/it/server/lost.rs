//! Clusters that are lost: what becomes of their exports is said for each, and is never decided by a watch that broke.

use std::time::Duration;

use registry_core::{Outage, Phase, Service};
use registry_testkit::kubernetes::{Clusterset, Kubernetes};
use registry_testkit::witness::Witness;

use crate::observer::{Observer, Recording, endpoints};
use crate::stage::{Plan, Stage, a_second_later, headless, pods, web};

const BOTH: [&str; 2] = ["a 10.1.0.1 http=8080", "b 10.2.0.1 http=8080"];

/// `web`, exported by both; the older export is that of `a`.
async fn publish(stage: &Stage) {
    stage.a().serve("web", &web(), &pods(&["10.1.0.1"])).await;
    stage.b().serve("web", &headless(), &pods(&["10.2.0.1"])).await;
    stage.a().export("web").await;
    a_second_later().await;
    stage.b().export("web").await;
}

/// Watches both with these policies for the first of them.
async fn observe(stage: &Stage, outage: Outage) -> Observer {
    let observer = stage.observe_as(&Plan {
        outages: [outage, Outage::Keep],
        ..Plan::default()
    });
    observer.ready().await;
    observer.until_endpoints("web", &BOTH).await;
    observer
}

const CONFLICT: [&str; 2] = [
    "a Valid=True/Valid Conflict=True/TypeConflict",
    "b Valid=True/Valid Conflict=True/TypeConflict",
];

#[tokio::test(flavor = "multi_thread")]
async fn idea_37_the_exports_of_a_lost_cluster_are_kept_expire_or_go_as_its_policy_says() {
    let stage = Stage::behind_proxies().await;
    publish(&stage).await;
    let moment = Outage::KeepFor(Duration::from_secs(3));
    let (keep, expire, go) = tokio::join!(
        observe(&stage, Outage::Keep),
        observe(&stage, moment),
        observe(&stage, Outage::Drop)
    );
    let witness = Witness::call(&keep.discovery);
    stage.a().cut_off();

    // The type is decided by who is left, and so are the conditions.
    for observer in [&go, &expire] {
        observer.until_endpoints("web", &BOTH[1..]).await;
        let alone = ["Headless", "port http 80/tcp", BOTH[1]];
        observer.until_lines("web", &alone).await;
        assert_eq!(observer.registry("a").phase, Phase::Stale);
    }
    keep.until_phase("a", Phase::Stale).await;
    keep.until_statuses("web", &CONFLICT).await;
    assert_eq!(endpoints(&keep.get("web")), BOTH);

    // All that the other cluster does goes on to count.
    stage.b().slice("web-2", "web", &pods(&["10.2.0.2"])).await;
    let more = [
        "a 10.1.0.1 http=8080",
        "b 10.2.0.1 http=8080",
        "b 10.2.0.2 http=8080",
    ];
    keep.until_endpoints("web", &more).await;
    go.until_endpoints("web", &more[1..]).await;

    stage.a().let_in();
    for observer in [&keep, &expire, &go] {
        observer.until_endpoints("web", &more).await;
        observer.until_phase("a", Phase::Synced).await;
        observer.until_statuses("web", &CONFLICT).await;
    }
    witness.saw_everything("while a was away", &keep.discovery);
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_37_watches_that_fail_remove_no_cluster() {
    let stage = Stage::behind_proxies().await;
    publish(&stage).await;
    // Even what is dropped in an outage is not dropped for watches that had to be opened anew.
    let (keep, go) = tokio::join!(observe(&stage, Outage::Keep), observe(&stage, Outage::Drop));
    let recordings = [&keep, &go].map(Recording::begin);
    for round in 0..2 {
        for member in &stage.members {
            member.proxy().reset_all();
        }
        // What comes afterwards proves that both are watched again.
        for (member, net) in stage.members.iter().zip([1, 2]) {
            let pod = format!("10.{net}.1.{round}");
            member
                .slice(&format!("web-more-{round}"), "web", &pods(&[&pod]))
                .await;
        }
        let count = 2 * (round + 2);
        for observer in [&keep, &go] {
            let hostname = observer.hostname("web");
            observer
                .until(&format!("{count} endpoints"), |snapshot| {
                    snapshot
                        .get(&hostname)
                        .is_some_and(|web| web.endpoints().len() == count)
                })
                .await;
        }
        // Several failures in a row, without a word in between, would be an outage.
        go.until("an end of all trouble", |_| {
            let all = go.discovery.status();
            all.iter().all(|status| status.degraded.is_empty())
        })
        .await;
    }
    for (observer, recording) in [&keep, &go].into_iter().zip(recordings) {
        let mut most = 0;
        for seen in recording.of(observer, "web").await {
            let count = seen.unwrap().endpoints().len();
            assert!(count >= most, "{count} after {most}");
            most = count;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_dies_in_the_middle_of_a_merge_takes_nothing_along() {
    // Of its own: one of them is killed.
    registry_testkit::init_tls();
    let mut clusters = Clusterset::start_as(&Kubernetes::builder().persistent(), 2)
        .await
        .unwrap();
    let namespace = clusters.new_namespace("mcs").await.unwrap();
    let stage = Stage::of(&clusters, namespace);
    publish(&stage).await;
    let observer = stage.observe().await;
    observer.until_endpoints("web", &BOTH).await;
    let witness = Witness::call(&observer.discovery);

    // An export is on its way when the server goes.
    stage.b().serve("pay", &web(), &pods(&["10.2.0.5"])).await;
    stage.a().serve("pay", &web(), &pods(&["10.1.0.5"])).await;
    let (_, killed) = tokio::join!(stage.b().export("pay"), clusters.get_mut(0).kill());
    killed.unwrap();
    observer.until_endpoints("pay", &["b 10.2.0.5 http=8080"]).await;
    observer.until_phase("a", Phase::Stale).await;
    observer.until_statuses("web", &CONFLICT).await;
    witness.saw_everything("while a was dead", &observer.discovery);

    clusters.get_mut(0).restart().await.unwrap();
    observer.until_phase("a", Phase::Synced).await;
    stage.a().export("pay").await;
    observer
        .until_endpoints("pay", &["a 10.1.0.5 http=8080", "b 10.2.0.5 http=8080"])
        .await;
    observer.until_endpoints("web", &BOTH).await;
    witness.saw_everything("when a came back", &observer.discovery);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_down_at_a_restart_is_still_called_as_it_called_itself() {
    let stage = Stage::behind_proxies().await;
    publish(&stage).await;
    let state = tempfile::tempdir().unwrap();
    let plan = Plan {
        ids: [None, None],
        state: Some(state.path().to_owned()),
        ..Plan::default()
    };
    let observer = stage.observe_as(&plan);
    observer.ready().await;
    let (hostname, both) = (observer.hostname("web"), |web: &Service| {
        web.endpoints().len() == 2
    });
    let snapshot = observer
        .until("both", |snapshot| {
            snapshot.get(&hostname).is_some_and(|web| both(web))
        })
        .await;
    let before = endpoints(snapshot.get(&hostname).unwrap());
    assert!(
        before.iter().all(|line| line.contains('-')),
        "these are uids: {before:?}"
    );
    let statuses = observer.statuses("web");
    observer.discovery.shutdown().await;

    stage.a().cut_off();
    let observer = stage.observe_as(&plan);
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    observer.until_endpoints("web", &before).await;
    observer.until_phase("b", Phase::Synced).await;
    assert_eq!(endpoints(&observer.get("web")), before);
    assert_eq!(observer.statuses("web"), statuses);
    let a = observer.registry("a");
    assert!(a.restored && a.phase == Phase::Stale, "{a:?}");
    stage.a().let_in();
    observer.until_phase("a", Phase::Synced).await;
    assert_eq!(endpoints(&observer.get("web")), before);
}
