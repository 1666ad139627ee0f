//! The rules of state of the world, 1 to 8.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use registry_testkit::wait::until;
use registry_xds::ResourceType;

use super::*;

#[tokio::test]
async fn rule_1_the_first_request_of_each_type_is_answered_whatever_version_it_states() {
    let (served, _handle) = serve([plain("web", 1)]).await;
    let mut before = envoy::<Sotw>(&served, &["web"]).await;
    before.quiet().await;
    let mut client = Client::<Sotw>::open(&served);
    for (type_, names, answer) in [
        (C, &[][..], "c +web"),
        (E, &["web"], "e +web"),
        (L, &[], "l +outbound_127.0.0.1_15001"),
    ] {
        client.stream.send(DiscoveryRequest {
            type_url: type_.to_owned(),
            version_info: before.version(type_),
            response_nonce: "of another stream".to_owned(),
            resource_names: names.iter().map(|name| long(type_, name)).collect(),
            ..DiscoveryRequest::default()
        });
        assert_eq!(client.hear().await, answer);
        assert_eq!(client.version(type_), before.version(type_), "nothing changed");
        client.ack(type_);
    }
    assert_eq!(client.get(R, &[ROUTES]).await, "r +http.15001");
    client.quiet().await;
}

#[tokio::test]
async fn rule_2_a_stale_nonce_is_dropped_with_its_names() {
    let (served, handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    client.get(E, &["web"]).await;
    let stale = client.last[E].nonce.clone();
    handle.set([plain("web", 2), plain("api", 1)]);
    assert_eq!(client.hear().await, "e +web");
    client.stream.send(DiscoveryRequest {
        type_url: E.to_owned(),
        response_nonce: stale,
        resource_names: vec![long(E, "web"), long(E, "api")],
        ..DiscoveryRequest::default()
    });
    client.quiet().await;
    client.ask(E, &["web", "api"]);
    assert_eq!(client.hear().await, "e +api");
}

#[tokio::test]
async fn rule_2_what_was_refused_is_not_sent_again_before_it_changes() {
    let (served, handle) = serve([plain("web", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    client.get(C, &[]).await;
    handle.set([touched("web", 1)]);
    assert_eq!(client.hear().await, "c +web");
    for _ in 0..3 {
        client.nack(C, "no such filter");
        client.quiet().await;
    }
    let clients = served.xds.clients().list();
    let clusters = &clients[0].types[&ResourceType::Cluster];
    assert_eq!((clusters.channel.nacks, clusters.channel.responses), (3, 2));
    assert_eq!(clusters.last_nack.as_ref().unwrap().message, "no such filter");
    handle.set([plain("web", 1), plain("api", 1)]);
    assert_eq!(client.hear().await, "c +api +web");
}

#[tokio::test]
async fn rule_3_new_names_are_sent_though_unchanged_and_dropped_ones_are_forgotten() {
    let (served, handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    assert_eq!(client.get(E, &["web"]).await, "e +web");
    assert_eq!(client.get(E, &["web", "api"]).await, "e +api");
    client.ask(E, &["api"]);
    client.quiet().await;
    handle.set([plain("web", 2), plain("api", 2)]);
    assert_eq!(client.hear().await, "e +api");
}

#[tokio::test]
async fn rule_4_who_asks_again_with_an_acknowledged_nonce_is_answered_again() {
    let (served, _handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    client.get(E, &["web", "api"]).await;
    for _ in 0..2 {
        assert_eq!(client.get(E, &["web", "api"]).await, "e +api +web");
        client.quiet().await;
    }
}

#[tokio::test]
async fn rule_5_clusters_are_stated_in_full_and_endpoints_as_they_change() {
    let (served, handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    assert_eq!(client.get(C, &[]).await, "c +api +web");
    assert_eq!(client.get(E, &["web", "api"]).await, "e +api +web");
    handle.set([plain("web", 2), plain("api", 1)]);
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    handle.set([plain("web", 2)]);
    assert_eq!(client.hear().await, "c +web", "an absence deletes");
    client.ack(C);
    client.ask(E, &["web"]);
    handle.set([]);
    // The listing of nothing, which deletes all. What is said of endpoints deletes none.
    let mut heard = client.hear().await;
    if heard.starts_with('e') {
        heard = client.hear().await;
    }
    assert_eq!(heard, "c");
}

#[tokio::test]
async fn rule_6_no_names_are_all_names_until_the_first_name() {
    let (served, handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    assert_eq!(client.get(C, &[]).await, "c +api +web");
    assert_eq!(client.get(C, &["web"]).await, "c +web");
    client.ask(C, &[]);
    client.quiet().await;
    handle.set([touched("web", 1), plain("api", 1)]);
    client.ask(E, &["none"]);
    assert_eq!(client.hear().await, "e !none");
    client.ack(E);
    assert_eq!(client.get(C, &["*", "none"]).await, "c !none +api +web");
    handle.set([touched("web", 1), touched("api", 1)]);
    assert_eq!(client.hear().await, "c +api +web", "explicitly everything");
    client.ask(C, &["none"]);
    client.quiet().await;
    handle.set([plain("web", 1), plain("api", 1), plain("none", 1)]);
    // Now that there is one of that name, and never any of the others.
    assert_eq!(client.hear().await, "c +none");
}

#[tokio::test]
async fn rule_7_versions_are_functions_of_content_and_nonces_are_unique() {
    let (here, _handle) = serve([plain("web", 1), plain("api", 2)]).await;
    let (there, handle) = serve([plain("api", 1), touched("web", 3), plain("old", 1)]).await;
    let mut watcher = Client::<Sotw>::open(&there);
    watcher.get(C, &[]).await;
    handle.set([plain("api", 2), plain("web", 1)]);
    assert_eq!(watcher.hear().await, "c +api +web");

    let mut said = Vec::new();
    for served in [&here, &there] {
        let client = envoy::<Sotw>(served, &["web", "api"]).await;
        let versions: Vec<_> = [C, E, L, R].map(|type_| client.version(type_)).into();
        let nonces: BTreeSet<_> = client.last.values().map(|response| &response.nonce).collect();
        assert_eq!(nonces.len(), 4);
        assert!(versions.iter().all(|version| !version.is_empty()));
        said.push(versions);
    }
    assert_eq!(said[0], said[1]);
}

#[tokio::test]
async fn rule_8_no_response_has_a_name_twice() {
    let (served, _handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    assert_eq!(client.get(E, &["web", "api", "web", "web"]).await, "e +api +web");
    assert_eq!(client.get(C, &["web", "*", "web", "*"]).await, "c +api +web");
    assert_eq!(client.hear().await, "e +api +web", "by rule 13");
    client.ack(E);
    client.quiet().await;
}

/// Facts §4, of all types: one that is not served costs nothing, and the stream goes on.
#[tokio::test]
async fn a_type_that_is_not_served_is_never_answered() {
    let (served, _handle) = serve([plain("web", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    client.stream.send(DiscoveryRequest {
        type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret".to_owned(),
        resource_names: vec!["certificate".to_owned()],
        ..DiscoveryRequest::default()
    });
    client.quiet().await;
    assert_eq!(client.get(C, &[]).await, "c +web");
    // It is known who asked, though that was told with a type that is not served.
    until("the node is shown", PATIENCE, async || {
        let clients = served.xds.clients().list();
        (clients[0].node.as_ref()?.id == "vm-1").then_some(())
    })
    .await
    .unwrap();
}
