//! Names in DNS: of services, and of the endpoints of headless ones.

use serde_json::json;

use crate::observer::names;
use crate::stage::{Plan, Stage, headless, named_pods, pods, web};

#[tokio::test(flavor = "multi_thread")]
async fn idea_36_endpoints_of_headless_services_are_named_after_host_and_cluster() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    // The same host name in both clusters, and one that only one of them has.
    a.serve(
        "db",
        &headless(),
        &named_pods(&[("db-0", "10.1.0.1"), ("db-1", "10.1.0.2")]),
    )
    .await;
    b.serve("db", &headless(), &named_pods(&[("db-0", "10.2.0.1")]))
        .await;
    // One that has no name is called after its address.
    b.slice("db-2", "db", &pods(&["10.2.0.2"])).await;
    a.export("db").await;
    b.export("db").await;
    // An id may have two labels.
    let observer = stage.observe_as(&Plan {
        ids: [Some("a".to_owned()), Some("b.eu".to_owned())],
        ..Plan::default()
    });
    observer.ready().await;
    let wanted = [
        "a 10.1.0.1 http=8080",
        "a 10.1.0.2 http=8080",
        "b.eu 10.2.0.1 http=8080",
        "b.eu 10.2.0.2 http=8080",
    ];
    observer.until_endpoints("db", &wanted).await;
    let zone = observer.hostname("db");
    let expected = [
        format!("10-2-0-2.b.eu.{zone} 10.2.0.2"),
        format!("db-0.a.{zone} 10.1.0.1"),
        format!("db-0.b.eu.{zone} 10.2.0.1"),
        format!("db-1.a.{zone} 10.1.0.2"),
    ];
    assert_eq!(names(&observer.get("db")), expected);

    // Nothing is found below the service by the cluster alone, nor by a part of its id.
    let snapshot = observer.discovery.snapshot();
    assert!(snapshot.get(&zone).is_some());
    for cluster in ["a", "b.eu", "eu", "b"] {
        assert!(
            snapshot.get(&format!("{cluster}.{zone}")).is_none(),
            "{cluster}.{zone}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_36_only_endpoints_of_headless_services_have_names() {
    let stage = Stage::open().await;
    let a = stage.a();
    a.serve("web", &web(), &named_pods(&[("web-0", "10.1.0.1")]))
        .await;
    a.export("web").await;
    // Without ports of its own it is a service all the same.
    a.service("bare", &json!({ "clusterIP": "None" })).await;
    let mut bare = named_pods(&[("bare-0", "10.1.0.2")]);
    bare["ports"] = json!([]);
    a.slice("bare-1", "bare", &bare).await;
    a.export("bare").await;
    let observer = stage.observe().await;
    observer.until_endpoints("web", &["a 10.1.0.1 http=8080"]).await;
    observer.until_lines("bare", &["Headless", "a 10.1.0.2"]).await;
    assert!(names(&observer.get("web")).is_empty());
    let zone = observer.hostname("bare");
    assert_eq!(
        names(&observer.get("bare")),
        [format!("bare-0.a.{zone} 10.1.0.2")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_36_an_endpoint_that_is_not_ready_keeps_its_name_and_gets_no_traffic() {
    let stage = Stage::open().await;
    let a = stage.a();
    let mut both = named_pods(&[("db-0", "10.1.0.1"), ("db-1", "10.1.0.2")]);
    both["endpoints"][1]["conditions"] = json!({ "ready": false, "serving": false, "terminating": false });
    a.serve("db", &headless(), &both).await;
    a.export("db").await;
    let observer = stage.observe().await;
    let wanted = ["a 10.1.0.1 http=8080", "a 10.1.0.2 http=8080"];
    observer.until_endpoints("db", &wanted).await;
    let db = observer.get("db");
    assert_eq!(names(&db).len(), 2);
    let ready: Vec<String> = db
        .routable_endpoints()
        .filter_map(|endpoint| db.endpoint_dns_name(endpoint))
        .collect();
    assert_eq!(ready, [format!("db-0.a.{}", observer.hostname("db"))]);
}
