//! The rules of delta, 9 to 12.

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use registry_testkit::xds::decode;

use super::*;

#[tokio::test]
async fn rule_9_what_the_client_has_is_not_sent_again_and_what_is_gone_is_removed() {
    let (served, _handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut before = Client::<Delta>::open(&served);
    before.get(C, &[]).await;
    let held = before.versions(C);
    let web = held[&long(C, "web")].as_str();

    let mut client = Client::<Delta>::open(&served);
    client.resume(C, &[], &[], &[("web", web), ("api", "0"), ("old", "1")]);
    // A removal waits until it is known what else the client has.
    assert_eq!(client.hear().await, "c +api");
    client.ack(C);
    assert_eq!(client.hear().await, "c -old");
}

#[tokio::test]
async fn rule_9_the_first_wish_for_everything_is_answered_though_there_is_nothing_to_say() {
    let (served, _handle) = serve([]).await;
    let mut client = Client::<Delta>::open(&served);
    assert_eq!(client.get(C, &[]).await, "c");
    client.quiet().await;

    let (served, _handle) = serve([plain("web", 1)]).await;
    let mut before = Client::<Delta>::open(&served);
    before.get(C, &[]).await;
    let web = before.versions(C)[&long(C, "web")].clone();
    let mut client = Client::<Delta>::open(&served);
    client.resume(C, &[], &[], &[("web", &web)]);
    assert_eq!(client.hear().await, "c");
    client.ack(C);
    client.quiet().await;
}

#[tokio::test]
async fn rule_10_a_name_that_is_subscribed_to_is_sent_whatever_the_client_has() {
    let (served, _handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut before = Client::<Delta>::open(&served);
    before.get(E, &["web"]).await;
    let web = before.versions(E)[&long(E, "web")].clone();

    let mut client = Client::<Delta>::open(&served);
    client.resume(E, &["web"], &[], &[("web", &web)]);
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    assert_eq!(client.get(E, &["web"]).await, "e +web", "a second time");
    client.quiet().await;
}

#[tokio::test]
async fn rule_11_what_does_not_exist_is_denied_at_once_and_sent_when_it_appears() {
    let (served, handle) = serve([plain("web", 1)]).await;
    let mut client = Client::<Delta>::open(&served);
    assert_eq!(client.get(E, &["later"]).await, "e !later -later");
    client.quiet().await;
    handle.set([plain("web", 1), plain("later", 1)]);
    assert_eq!(client.hear().await, "e +later");
    client.ack(E);
    handle.set([plain("web", 1)]);
    assert_eq!(client.hear().await, "e !later -later");
}

#[tokio::test]
async fn rule_11_endpoints_of_a_cluster_without_any_are_sent_empty() {
    let (served, _handle) = serve([plain("web", 0)]).await;
    let mut client = Client::<Delta>::open(&served);
    assert_eq!(client.get(C, &[]).await, "c +web");
    assert_eq!(client.get(E, &["web"]).await, "e +web");
    let body = client.last[E].resources[0].resource.as_ref().unwrap();
    let assignment: ClusterLoadAssignment = decode(body);
    assert!(
        assignment
            .endpoints
            .iter()
            .all(|group| group.lb_endpoints.is_empty())
    );
}

#[tokio::test]
async fn rule_12_names_beside_everything_go_without_taking_it_along() {
    let (served, handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Delta>::open(&served);
    assert_eq!(client.get(C, &[]).await, "c +api +web");
    client.change(C, &[], &["phantom"]);
    client.quiet().await;
    assert_eq!(client.get(C, &["web", "none"]).await, "c !none +web -none");
    handle.set([plain("web", 1), touched("api", 1)]);
    assert_eq!(client.hear().await, "c +api", "still everything");
    client.ack(C);
    client.change(C, &[], &["web", "none"]);
    assert_eq!(client.hear().await, "c +web -none", "it is not forgotten");
    client.ack(C);
    assert_eq!(client.get(C, &["web"]).await, "c +web");
    client.change(C, &[], &["*"]);
    client.quiet().await;
    handle.set([touched("web", 1), plain("api", 1)]);
    assert_eq!(client.hear().await, "c +web", "and nothing else any more");
    client.ack(C);
    assert_eq!(client.get(C, &["*"]).await, "c +api");
}

#[tokio::test]
async fn rule_12_subscriptions_count_whatever_the_nonce() {
    let (served, _handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Delta>::open(&served);
    client.get(E, &["web"]).await;
    client.stream.send(DeltaDiscoveryRequest {
        type_url: E.to_owned(),
        response_nonce: "stale".to_owned(),
        resource_names_subscribe: vec![long(E, "api")],
        resource_names_unsubscribe: vec![long(E, "phantom")],
        ..DeltaDiscoveryRequest::default()
    });
    assert_eq!(client.hear().await, "e +api");
}

#[tokio::test]
async fn rule_12_a_name_that_went_and_came_in_one_request_is_subscribed_to() {
    let (served, handle) = serve([plain("web", 1)]).await;
    let mut client = Client::<Delta>::open(&served);
    client.get(E, &["web"]).await;
    client.change(E, &["web"], &["web"]);
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    handle.set([plain("web", 2)]);
    assert_eq!(client.hear().await, "e +web");
}
