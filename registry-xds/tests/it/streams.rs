//! Streams of each method, with what they answer and refuse.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::google::rpc;
use prost::Message;
use registry_testkit::scripted::ScriptedRegistry;
use registry_testkit::wait::until;
use registry_xds::{Kind, ResourceType, Variant, XdsConfig};
use tonic::Code;

use crate::support::{
    ADS_DELTA, ADS_SOTW, Delta, PATIENCE, Sotw, WEB, ack, ack_delta, connect, envoy, first, first_delta,
    serve, serve_registry, service,
};

#[tokio::test]
async fn ads_answers_each_type_of_the_state_of_the_world() {
    let (served, handle) = serve([service("web", 2, 1)], XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut talk = Sotw::open(&channel, ADS_SOTW).await.unwrap();

    talk.say(first(ResourceType::Cluster, &[]));
    let clusters = talk.hear().await;
    assert_eq!(clusters.type_url, ResourceType::Cluster.url());
    let [any] = &clusters.resources[..] else {
        panic!("{clusters:?}");
    };
    assert_eq!(Cluster::decode(&any.value[..]).unwrap().name, WEB);
    let plane = clusters.control_plane.as_ref().unwrap();
    assert!(
        plane.identifier.starts_with(&served.address.to_string()),
        "{plane:?}"
    );
    talk.say(ack(&clusters, &[]));

    // Only the first request of a stream has a node.
    talk.say(DiscoveryRequest {
        node: None,
        ..first(ResourceType::Endpoints, &[WEB])
    });
    let endpoints = talk.hear().await;
    let assignment = ClusterLoadAssignment::decode(&endpoints.resources[0].value[..]).unwrap();
    assert_eq!(assignment.cluster_name, WEB);
    assert_eq!(assignment.endpoints[0].lb_endpoints.len(), 2);
    talk.say(ack(&endpoints, &[WEB]));

    talk.say(first(ResourceType::Listener, &[]));
    let listeners = talk.hear().await;
    assert_eq!(listeners.resources.len(), 1);
    talk.say(ack(&listeners, &[]));

    talk.say(first(ResourceType::Route, &["http.15001"]));
    let routes = talk.hear().await;
    assert_eq!(routes.resources.len(), 1);
    talk.say(ack(&routes, &["http.15001"]));
    talk.hear_nothing().await;

    handle.set([service("web", 3, 1)]);
    let changed = talk.hear().await;
    assert_eq!(changed.type_url, ResourceType::Endpoints.url());
    assert_ne!(changed.version_info, endpoints.version_info);
    assert_ne!(changed.nonce, endpoints.nonce);
}

#[tokio::test]
async fn ads_answers_in_delta_with_what_changed() {
    let records = |endpoints| [service("web", endpoints, 1), service("api", 1, 1)];
    let (served, handle) = serve(records(2), XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut talk = Delta::open(&channel, ADS_DELTA).await.unwrap();

    talk.say(first_delta(ResourceType::Cluster, &[]));
    let clusters = talk.hear().await;
    assert_eq!(clusters.resources.len(), 2);
    talk.say(ack_delta(&clusters));
    let names = [WEB, "outbound|80||api.static"];
    talk.say(first_delta(ResourceType::Endpoints, &names));
    let endpoints = talk.hear().await;
    assert_eq!(endpoints.resources.len(), 2);
    talk.say(ack_delta(&endpoints));
    talk.hear_nothing().await;

    handle.set(records(3));
    let changed = talk.hear().await;
    assert_eq!(changed.type_url, ResourceType::Endpoints.url());
    let [changed] = &changed.resources[..] else {
        panic!("{changed:?}");
    };
    assert_eq!(changed.name, WEB);
    assert!(
        endpoints
            .resources
            .iter()
            .all(|old| old.version != changed.version)
    );
}

#[tokio::test]
async fn each_type_has_streams_of_its_own() {
    let (served, _handle) = serve([service("web", 2, 1)], XdsConfig::default()).await;
    let channel = connect(served.address).await;
    for (sotw, delta, type_, names) in [
        (
            "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
            "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
            ResourceType::Cluster,
            &[][..],
        ),
        (
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
            ResourceType::Endpoints,
            &[WEB],
        ),
        (
            "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
            "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
            ResourceType::Listener,
            &[],
        ),
        (
            "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
            "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
            ResourceType::Route,
            &["http.15001"],
        ),
    ] {
        let mut talk = Sotw::open(&channel, sotw).await.unwrap();
        // The type of such a stream goes without saying.
        talk.say(DiscoveryRequest {
            type_url: String::new(),
            ..first(type_, names)
        });
        let response = talk.hear().await;
        assert_eq!(response.type_url, type_.url());
        assert_eq!(response.resources.len(), 1, "{type_}");

        let mut talk = Delta::open(&channel, delta).await.unwrap();
        talk.say(first_delta(type_, names));
        let response = talk.hear().await;
        assert_eq!(response.type_url, type_.url());
        assert_eq!(response.resources.len(), 1, "{type_}");
    }
}

#[tokio::test]
async fn nothing_is_answered_before_discovery_is_ready() {
    let registry = ScriptedRegistry::new([]);
    let handle = registry.handle();
    let served = serve_registry(registry, XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut sotw = Sotw::open(&channel, ADS_SOTW).await.unwrap();
    sotw.say(first(ResourceType::Cluster, &[]));
    sotw.say(first(ResourceType::Endpoints, &["outbound|80||nosuch.scripted"]));
    let mut delta = Delta::open(&channel, ADS_DELTA).await.unwrap();
    delta.say(first_delta(ResourceType::Cluster, &[]));
    delta.say(first_delta(
        ResourceType::Endpoints,
        &["outbound|80||nosuch.scripted"],
    ));
    sotw.hear_nothing().await;
    delta.hear_nothing().await;

    handle.set([service("web", 1, 1)]);
    let response = sotw.hear().await;
    assert_eq!(response.type_url, ResourceType::Cluster.url());
    assert_eq!(response.resources.len(), 1, "never half of it");
    let response = delta.hear().await;
    assert_eq!(response.type_url, ResourceType::Cluster.url());
    assert_eq!(response.resources.len(), 1);
}

#[tokio::test]
async fn methods_that_do_not_exist_are_unimplemented() {
    let (served, _handle) = serve([], XdsConfig::default()).await;
    let channel = connect(served.address).await;
    for path in [
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/Nosuch",
        "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
        "/envoy.api.v2.ClusterDiscoveryService/StreamClusters",
    ] {
        let status = Sotw::open(&channel, path).await.err().unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn ads_without_a_type_is_an_invalid_argument() {
    let (served, _handle) = serve([service("web", 2, 1)], XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut talk = Sotw::open(&channel, ADS_SOTW).await.unwrap();
    talk.say(DiscoveryRequest {
        type_url: String::new(),
        ..first(ResourceType::Cluster, &[])
    });
    assert_eq!(talk.end().await.code(), Code::InvalidArgument);
}

/// Facts §9.13: what a client refuses is counted, shown, and not sent again.
#[tokio::test]
async fn a_refused_response_is_shown_and_not_sent_again() {
    let (served, _handle) = serve([service("web", 2, 1)], XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut talk = Delta::open(&channel, ADS_DELTA).await.unwrap();
    talk.say(first_delta(ResourceType::Cluster, &[]));
    let response = talk.hear().await;
    let mut nack = ack_delta(&response);
    nack.error_detail = Some(rpc::Status {
        code: 3,
        message: "no such\nfilter ".repeat(1000),
        details: Vec::new(),
    });
    talk.say(nack);
    talk.hear_nothing().await;

    let client = until("the NACK is seen", PATIENCE, async || {
        let mut clients = served.xds.clients().list();
        let client = clients.pop()?;
        client.types[&ResourceType::Cluster]
            .last_nack
            .is_some()
            .then_some(client)
    })
    .await
    .unwrap();
    assert_eq!(client.variant, Variant::Delta);
    assert_eq!(client.kind, Some(Kind::Envoy));
    assert_eq!(client.node.unwrap().id, envoy().id);
    assert_eq!(client.identity, None);
    let nack = client.types[&ResourceType::Cluster].last_nack.clone().unwrap();
    assert!(
        nack.message.starts_with("no such filter no such"),
        "{}",
        nack.message
    );
    assert!(nack.message.chars().count() < 600);
    let metrics = served.xds.clients().metrics();
    assert_eq!(metrics.nacks[&ResourceType::Cluster], 1);
    assert_eq!(metrics.responses[&ResourceType::Cluster], 1);
    assert_eq!(metrics.resources[&ResourceType::Cluster], 1);
    assert!(metrics.bytes > 0);

    drop(talk);
    until("the stream is gone", PATIENCE, async || {
        served.xds.clients().list().is_empty().then_some(())
    })
    .await
    .unwrap();
}
