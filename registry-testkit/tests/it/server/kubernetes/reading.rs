//! Lists, pages, watches and streaming lists.

use registry_testkit::Error;
use registry_testkit::kubernetes::{Kubernetes, services_path};
use serde_json::{Value, json};

use super::{DEADLINE, names, services, status};

const STREAMING: &str =
    "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

fn end_of_initial_events(event: &Value) -> bool {
    event["type"] == "BOOKMARK"
        && event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
}

#[tokio::test]
async fn a_long_list_comes_in_pages_of_one_moment() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("pages").await.unwrap();
    services(api, namespace.name(), &["a", "b", "c", "d", "e"]).await;
    let list = services_path(namespace.name());
    let first = api.get(&format!("{list}?limit=2")).await.unwrap();
    assert_eq!(first["kind"], "ServiceList");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    // What changes meanwhile is in none of the following pages.
    services(api, namespace.name(), &["f"]).await;
    api.delete(&format!("{list}/d")).await.unwrap();
    let mut found = first["items"].as_array().unwrap().clone();
    let mut page = first.clone();
    while let Some(token) = page["metadata"]["continue"].as_str() {
        page = api
            .get(&format!("{list}?limit=2&continue={token}"))
            .await
            .unwrap();
        assert_eq!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        found.extend(page["items"].as_array().unwrap().clone());
    }
    assert_eq!(names(&found), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_watch_tells_what_happened_since_a_list_and_ends_in_its_time() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("watch").await.unwrap();
    let list = services_path(namespace.name());
    services(api, namespace.name(), &["before"]).await;
    let version = api.resource_version(&list).await.unwrap();
    services(api, namespace.name(), &["web"]).await;
    let label = json!({ "metadata": { "labels": { "team": "blue" } } });
    let labelled = api.patch(&format!("{list}/web"), &label).await.unwrap();
    api.delete(&format!("{list}/web")).await.unwrap();
    let path = format!("{list}?watch=1&resourceVersion={version}&timeoutSeconds=3");
    let events = api.watch(&path).await.unwrap().rest(DEADLINE).await.unwrap();
    assert_eq!(types(&events), ["ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(events[0]["object"]["kind"], "Service");
    assert_eq!(events[1]["object"], labelled);
    // The last state, with the version of the deletion.
    assert_eq!(events[2]["object"]["metadata"]["labels"]["team"], "blue");
    assert_ne!(
        events[2]["object"]["metadata"]["resourceVersion"],
        labelled["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn leaving_a_selection_is_a_deletion() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("selection").await.unwrap();
    let list = services_path(namespace.name());
    services(api, namespace.name(), &["web"]).await;
    let version = api.resource_version(&list).await.unwrap();
    let label = |team: Value| json!({ "metadata": { "labels": { "team": team } } });
    let path = format!("{list}?watch=1&resourceVersion={version}&labelSelector=team%3Dblue");
    let mut watch = api.watch(&path).await.unwrap();
    api.patch(&format!("{list}/web"), &label(json!("blue")))
        .await
        .unwrap();
    api.patch(&format!("{list}/web"), &label(Value::Null))
        .await
        .unwrap();
    for expected in ["ADDED", "DELETED"] {
        let event = watch.next(DEADLINE).await.unwrap().unwrap();
        assert_eq!(event["type"], expected);
    }
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_marked_bookmark_and_goes_on_as_a_watch() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("stream").await.unwrap();
    let list = services_path(namespace.name());
    services(api, namespace.name(), &["a", "b"]).await;
    let mut watch = api.watch(&format!("{list}?{STREAMING}")).await.unwrap();
    let mut initial = Vec::new();
    let end = loop {
        let event = watch.next(DEADLINE).await.unwrap().unwrap();
        if event["type"] != "ADDED" {
            break event;
        }
        initial.push(event["object"].clone());
    };
    assert_eq!(names(&initial), ["a", "b"]);
    assert!(end_of_initial_events(&end), "{end}");
    assert_eq!(end["object"]["kind"], "Service");
    assert_eq!(end["object"]["metadata"].get("name"), None);
    services(api, namespace.name(), &["c"]).await;
    let event = watch.next(DEADLINE).await.unwrap().unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("c"))
    );

    // A list of nothing is a list, too.
    let empty = kubernetes.new_namespace("stream").await.unwrap();
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?{STREAMING}",
        empty.name()
    );
    let event = api
        .watch(&path)
        .await
        .unwrap()
        .next(DEADLINE)
        .await
        .unwrap()
        .unwrap();
    assert!(end_of_initial_events(&event), "{event}");
    // The required fields are there and empty: a bookmark is no slice.
    assert_eq!(
        (&event["object"]["addressType"], &event["object"]["endpoints"]),
        (&json!(""), &Value::Null)
    );
}

#[tokio::test]
async fn a_streaming_list_has_to_be_asked_for_in_full() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let path = "/api/v1/services?watch=1&sendInitialEvents=true&allowWatchBookmarks=true";
    let answer = kubernetes.api().answer(path, &[]).await.unwrap();
    assert_eq!(answer.status, 422);
    let status = status(&answer.body);
    assert_eq!(status["reason"], "Invalid");
    assert_eq!(
        status["message"],
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires \
         setting resourceVersionMatch to NotOlderThan"
    );
}

#[tokio::test]
async fn an_old_server_forbids_streaming_lists() {
    let old = Kubernetes::builder()
        .feature_gate("WatchList=false")
        .start()
        .await
        .unwrap();
    let answer = old
        .api()
        .answer(&format!("/api/v1/services?{STREAMING}"), &[])
        .await
        .unwrap();
    assert_eq!(answer.status, 422);
    let status = status(&answer.body);
    assert_eq!(
        status["details"]["causes"][0]["field"], "sendInitialEvents",
        "{status}"
    );
    let list = old.api().watch(&format!("/api/v1/services?{STREAMING}")).await;
    assert!(matches!(list, Err(Error::Status { status: 422, .. })));
}

#[tokio::test]
async fn metadata_can_be_had_without_the_rest() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    api.node("node-a", &json!({ "topology.kubernetes.io/zone": "eu-a" }))
        .await
        .unwrap();
    let list = (
        "Accept",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    );
    let nodes = api.answer("/api/v1/nodes", &[list]).await.unwrap().json();
    assert_eq!(nodes["kind"], "PartialObjectMetadataList");
    assert_eq!(nodes["apiVersion"], "meta.k8s.io/v1");
    let node = &nodes["items"][0];
    assert_eq!(node["kind"], "PartialObjectMetadata");
    assert_eq!(node["metadata"]["labels"]["topology.kubernetes.io/zone"], "eu-a");
    assert!(node.get("status").is_none());
    let one = (
        "Accept",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    );
    let watch = "/api/v1/nodes?watch=1&resourceVersion=0&timeoutSeconds=1";
    let event = api.answer(watch, &[one]).await.unwrap();
    let event: Value = serde_json::from_str(event.body.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["kind"]),
        (&json!("ADDED"), &json!("PartialObjectMetadata"))
    );
}
