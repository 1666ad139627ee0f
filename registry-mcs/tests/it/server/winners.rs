//! Who wins: the oldest export, whatever clocks say, whoever is heard first and however long it lives.

use registry_core::Service;
use registry_testkit::{Fault, Match, Rule};
use serde_json::json;

use crate::observer::{Observer, Recording, endpoints, kind};
use crate::stage::{IDS, Member, Plan, Stage, a_second_later, created, headless, pods, web};

/// A service of `a` with a cluster IP, and of `b` without one; nothing is exported yet.
async fn serve(stage: &Stage, name: &str) {
    stage.a().serve(name, &web(), &pods(&["10.1.0.1"])).await;
    stage.b().serve(name, &headless(), &pods(&["10.2.0.1"])).await;
}

async fn until_kind(observer: &Observer, name: &str, wanted: &str) {
    let hostname = observer.hostname(name);
    let is_so = |service: &Service| kind(service) == wanted && endpoints(service).len() == 2;
    observer
        .until(&format!("{name} to be {wanted}"), |snapshot| {
            snapshot.get(&hostname).is_some_and(|service| is_so(service))
        })
        .await;
}

const CONFLICT: [&str; 2] = [
    "a Valid=True/Valid Conflict=True/TypeConflict",
    "b Valid=True/Valid Conflict=True/TypeConflict",
];

#[tokio::test(flavor = "multi_thread")]
async fn idea_33_of_exports_of_one_second_that_of_the_first_cluster_by_id_wins() {
    let stage = Stage::open().await;
    serve(&stage, "web").await;
    stage.export_at_once("web").await;
    for order in [[0, 1], [1, 0]] {
        // The names of the registries and their order settle nothing.
        for (ids, winner) in [
            (["a", "b"], "ClusterSetIP"),
            (["z", "b"], "Headless"),
            (["b.x", "b"], "Headless"),
        ] {
            let observer = stage.observe_as(&Plan {
                ids: ids.map(|id| Some(id.to_owned())),
                order,
                ..Plan::default()
            });
            until_kind(&observer, "web", winner).await;
            let first = observer.statuses("web")[0].clone();
            let wanted = if winner == "Headless" { "b" } else { "a" };
            assert!(first.starts_with(&format!("{wanted} ")), "{ids:?}: {first}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_winner_goes_the_next_one_decides_and_who_comes_back_is_the_youngest() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    serve(&stage, "web").await;
    b.export_as("web", &json!({ "exportedLabels": { "team": "red" } }))
        .await;
    a_second_later().await;
    a.export_as("web", &json!({ "exportedLabels": { "team": "red" } }))
        .await;
    let observer = stage.observe().await;
    until_kind(&observer, "web", "Headless").await;
    let of_b = ["b", "a"].map(|id| format!("{id} Valid=True/Valid Conflict=True/TypeConflict"));
    observer
        .until_statuses("web", &of_b.each_ref().map(String::as_str))
        .await;

    let recording = Recording::begin(&observer);
    b.unexport("web").await;
    let rest = [
        "ClusterSetIP",
        "port http 80/tcp",
        "label team=red",
        "a 10.1.0.1 http=8080",
    ];
    observer.until_lines("web", &rest).await;
    observer
        .until_statuses("web", &["a Valid=True/Valid Conflict=False/NoConflicts"])
        .await;
    a_second_later().await;
    b.export_as("web", &json!({ "exportedLabels": { "team": "red" } }))
        .await;
    until_kind(&observer, "web", "ClusterSetIP").await;
    observer.until_statuses("web", &CONFLICT).await;
    // It was Headless, then never again, and there all the time.
    let kinds: Vec<&str> = recording
        .of(&observer, "web")
        .await
        .iter()
        .map(|seen| kind(seen.as_ref().unwrap()))
        .collect();
    let flip = kinds.iter().position(|kind| *kind == "ClusterSetIP").unwrap();
    assert!(kinds[..flip].iter().all(|kind| *kind == "Headless"), "{kinds:?}");
    assert!(
        kinds[flip..].iter().all(|kind| *kind == "ClusterSetIP"),
        "{kinds:?}"
    );
}

/// From now on the clock of a cluster seems to have been in another year when it wrote what it has.
fn in_the_year(member: &Member, year: &'static str) {
    let skewed = move |line: &str| {
        let mut skewed = String::with_capacity(line.len());
        let mut rest = line;
        while let Some((before, after)) = rest.split_once(r#""creationTimestamp":""#) {
            let Some(after) = after.get(4..) else { break };
            skewed.extend([before, r#""creationTimestamp":""#, year]);
            rest = after;
        }
        skewed.push_str(rest);
        Some(skewed)
    };
    member
        .proxy()
        .inject(Rule::new(Match::any(), Fault::map_line(skewed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_decide_by_what_they_wrote_whoever_is_heard_first() {
    let stage = Stage::behind_proxies().await;
    let (a, b) = (stage.a(), stage.b());
    serve(&stage, "web").await;
    let older = created(&a.export("web").await);
    a_second_later().await;
    let newer = created(&b.export("web").await);
    assert!(older < newer);
    // The clock of b is years late, so its export looks like the older one, and that of a may even be in the future.
    in_the_year(b, "2021");
    for year in [None, Some("2099")] {
        if let Some(year) = year {
            in_the_year(a, year);
        }
        for late in [0, 1] {
            stage.members[late].cut_off();
            let observer = stage.observe_as(&Plan::default());
            let alone = format!("{} Valid=True/Valid Conflict=False/NoConflicts", IDS[1 - late]);
            observer.until_statuses("web", &[&alone]).await;
            stage.members[late].let_in();
            until_kind(&observer, "web", "Headless").await;
            observer.until_statuses("web", &[CONFLICT[1], CONFLICT[0]]).await;
        }
    }
    // Once the clock was set right, the next export is what it is.
    b.proxy().clear();
    a.proxy().clear();
    let observer = stage.observe().await;
    until_kind(&observer, "web", "ClusterSetIP").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_has_no_conflict_any_more_says_so() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    a.serve("web", &web(), &pods(&["10.1.0.1"])).await;
    a.export("web").await;
    let other = json!({ "ports": [{ "name": "http", "port": 81 }], "sessionAffinity": "ClientIP" });
    b.serve("web", &other, &pods(&["10.2.0.1"])).await;
    a_second_later().await;
    b.export("web").await;
    let observer = stage.observe().await;
    let conflict =
        IDS.map(|id| format!("{id} Valid=True/Valid Conflict=True/PortConflict,SessionAffinityConflict"));
    observer
        .until_statuses("web", &conflict.each_ref().map(String::as_str))
        .await;
    observer.until_endpoints("web", &["a 10.1.0.1 http=8080"]).await;
    let mended = json!({ "spec": {
        "ports": [{ "name": "http", "port": 80 }], "sessionAffinity": "None", "sessionAffinityConfig": null,
    } });
    b.patch_service("web", &mended).await;
    let none = IDS.map(|id| format!("{id} Valid=True/Valid Conflict=False/NoConflicts"));
    observer
        .until_statuses("web", &none.each_ref().map(String::as_str))
        .await;
    observer
        .until_endpoints("web", &["a 10.1.0.1 http=8080", "b 10.2.0.1 http=8080"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_of_one_id_both_serve_and_that_is_told() {
    let stage = Stage::open().await;
    for (member, pod) in stage.members.iter().zip(["10.1.0.1", "10.2.0.1"]) {
        member.serve("web", &web(), &pods(&[pod])).await;
        member.export("web").await;
    }
    let observer = stage.observe_as(&Plan {
        ids: ["same", "same"].map(|id| Some(id.to_owned())),
        ..Plan::default()
    });
    observer
        .until_endpoints("web", &["same 10.1.0.1 http=8080", "same 10.2.0.1 http=8080"])
        .await;
    let told = ["same Valid=True/Valid Conflict=True/ClusterIDConflict"; 2];
    observer.until_statuses("web", &told).await;
}
