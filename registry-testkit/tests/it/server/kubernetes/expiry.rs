//! Pages and watches that are too old, and versions that are yet to come.

use registry_testkit::kubernetes::{Kubernetes, services_path};
use registry_testkit::wait;
use serde_json::Value;

use super::{DEADLINE, names, services, status};

const PAGE_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter, or use the continue token in this response to retrieve the \
    remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
    created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// A server with three services in `default`, and the first page of them.
async fn first_page(kubernetes: &Kubernetes) -> Value {
    let api = kubernetes.api();
    services(api, "default", &["a", "b", "c"]).await;
    api.get(&format!("{}?limit=1", services_path("default")))
        .await
        .unwrap()
}

async fn assert_expired(kubernetes: &Kubernetes, page: &Value) {
    let api = kubernetes.api();
    let list = services_path("default");
    let token = page["metadata"]["continue"].as_str().unwrap();
    let next = format!("{list}?limit=5&continue={token}");
    let answer = wait::until("the page to expire", DEADLINE, async || {
        let answer = api.answer(&next, &[]).await.ok()?;
        (answer.status != 200).then_some(answer)
    });
    let answer = answer.await.unwrap();
    let status = status(&answer.body);
    assert_eq!((answer.status, &status["reason"]), (410, &Value::from("Expired")));
    assert_eq!(status["message"], PAGE_TOO_OLD);
    // With the token in the refusal the list goes on, inconsistent as it may be.
    let token = status["metadata"]["continue"].as_str().unwrap();
    let rest = api
        .list(&format!("{list}?limit=5&continue={token}"))
        .await
        .unwrap();
    assert_eq!(names(&rest), ["b", "c", "d"]);
}

#[tokio::test]
async fn compaction_expires_the_pages_and_watches_of_a_kind_without_cache_at_once() {
    let kubernetes = Kubernetes::builder()
        .without_watch_cache("services")
        .start()
        .await
        .unwrap();
    let api = kubernetes.api();
    let page = first_page(&kubernetes).await;
    services(api, "default", &["d"]).await;
    let compacted = kubernetes.compact().await.unwrap();
    assert!(compacted > 5, "{compacted}");
    assert_expired(&kubernetes, &page).await;

    let version = page["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = format!("/api/v1/services?resourceVersion={version}&resourceVersionMatch=Exact");
    let answer = api.answer(&exact, &[]).await.unwrap();
    assert_eq!(answer.status, 410);
    let exact = status(&answer.body);
    assert_eq!(
        exact["message"],
        "The resourceVersion for the provided list is too old."
    );

    let watch = format!("/api/v1/services?watch=1&resourceVersion={version}");
    let event = api
        .watch(&watch)
        .await
        .unwrap()
        .next(DEADLINE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (event["type"].as_str(), event["object"]["code"].as_u64()),
        (Some("ERROR"), Some(410))
    );
}

#[tokio::test]
async fn compaction_expires_the_pages_of_the_cache_a_little_later() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let page = first_page(&kubernetes).await;
    services(kubernetes.api(), "default", &["d"]).await;
    kubernetes.compact().await.unwrap();
    // Again, as in production: the count of compactions goes on.
    kubernetes.compact().await.unwrap();
    assert_expired(&kubernetes, &page).await;
}

#[tokio::test]
async fn a_restart_makes_older_watches_too_old() {
    let mut kubernetes = Kubernetes::builder().persistent().start().await.unwrap();
    let page = first_page(&kubernetes).await;
    services(kubernetes.api(), "default", &["d"]).await;
    kubernetes.kill().await.unwrap();
    kubernetes.restart().await.unwrap();
    let version = page["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("/api/v1/services?watch=1&resourceVersion={version}&timeoutSeconds=60");
    let event = kubernetes
        .api()
        .watch(&watch)
        .await
        .unwrap()
        .next(DEADLINE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(event["type"], "ERROR", "{event}");
    assert_eq!(event["object"]["reason"], "Expired");
    let message = event["object"]["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("too old resource version: {version} (")),
        "{message}"
    );
}

#[tokio::test]
async fn a_version_of_the_future_is_refused_in_lists_and_silence_in_watches() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let list = "/api/v1/services?resourceVersion=999999999&resourceVersionMatch=NotOlderThan&limit=1";
    let answer = api.answer(list, &[]).await.unwrap();
    assert_eq!(answer.status, 504);
    let status = status(&answer.body);
    assert_eq!(status["reason"], "Timeout");
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    let watch =
        "/api/v1/services?watch=1&resourceVersion=999999999&allowWatchBookmarks=true&timeoutSeconds=2";
    let events = api.watch(watch).await.unwrap().rest(DEADLINE).await.unwrap();
    assert!(events.is_empty(), "{events:?}");
}
