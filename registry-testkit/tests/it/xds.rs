//! The clients of xDS against a server that a test plays itself.

mod peer;

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, Rds,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use registry_testkit::Error;
use registry_testkit::xds::{
    CDS, Delta, EDS, LDS, Model, RDS, Service, Sotw, Stream, channel, decode, envoy_node,
};

use self::peer::Server;

const DEADLINE: Duration = Duration::from_secs(60);

fn pack<M: prost::Message + prost::Name + Clone>(message: &M) -> Any {
    envoy_types::util::pack_any(message.clone())
}

/// A cluster whose endpoints come by EDS.
fn cluster(name: &str, service: &str) -> Any {
    let mut cluster = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        ..Cluster::default()
    };
    cluster.alt_stat_name = service.to_owned();
    pack(&cluster)
}

fn endpoints(name: &str) -> Any {
    pack(&ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        ..ClusterLoadAssignment::default()
    })
}

/// A listener whose routes come by RDS.
fn listener(name: &str, routes: &str) -> Any {
    let rds = Rds {
        route_config_name: routes.to_owned(),
        ..Rds::default()
    };
    let connections = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        ..HttpConnectionManager::default()
    };
    pack(&Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener {
            api_listener: Some(pack(&connections)),
        }),
        ..Listener::default()
    })
}

/// Routes that send everything to the cluster.
fn routes(name: &str, cluster: &str) -> Any {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..RouteAction::default()
    };
    let route = Route {
        action: Some(Action::Route(action)),
        ..Route::default()
    };
    pack(&RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            routes: vec![route],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    })
}

fn delta(type_url: &str, nonce: &str, resources: &[(&str, &str, Any)]) -> DeltaDiscoveryResponse {
    let resources = resources.iter().map(|(name, version, body)| Resource {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        resource: Some(body.clone()),
        ..Resource::default()
    });
    DeltaDiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce: nonce.to_owned(),
        resources: resources.collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

fn sotw(type_url: &str, nonce: &str, resources: Vec<Any>) -> DiscoveryResponse {
    DiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce: nonce.to_owned(),
        version_info: format!("version of {nonce}"),
        resources,
        ..DiscoveryResponse::default()
    }
}

/// What a delta request says, in short.
fn said(request: &DeltaDiscoveryRequest) -> (&str, &str, Vec<&str>, Vec<&str>) {
    (
        request.type_url.as_str(),
        request.response_nonce.as_str(),
        request
            .resource_names_subscribe
            .iter()
            .map(String::as_str)
            .collect(),
        request
            .resource_names_unsubscribe
            .iter()
            .map(String::as_str)
            .collect(),
    )
}

/// What a state-of-the-world request says, in short.
fn told(request: &DiscoveryRequest) -> (&str, &str, &str, Vec<&str>) {
    (
        request.type_url.as_str(),
        request.response_nonce.as_str(),
        request.version_info.as_str(),
        request.resource_names.iter().map(String::as_str).collect(),
    )
}

#[tokio::test]
async fn a_stream_says_who_asks_once_and_answers_as_it_is_told() {
    let mut server = Server::start().await;
    let channel = channel(server.address).unwrap();
    let mut stream = Stream::<Sotw>::open(channel, Service::Aggregated, envoy_node("vm-1", "a"));
    stream.subscribe(EDS, &["web"], &[]);
    let mut session = server.sotw().await;
    let first = session.request().await;
    assert_eq!(told(&first), (EDS, "", "", vec!["web"]));
    let node = first.node.unwrap();
    assert_eq!(
        (node.id.as_str(), node.locality.unwrap().zone.as_str()),
        ("vm-1", "a")
    );

    session.respond(sotw(EDS, "1", vec![endpoints("web")])).await;
    let response = stream.recv(DEADLINE).await.unwrap();
    let found: ClusterLoadAssignment = decode(&response.resources[0]);
    assert_eq!(found.cluster_name, "web");
    stream.ack(&response);
    let ack = session.request().await;
    assert_eq!(told(&ack), (EDS, "1", "version of 1", vec!["web"]));
    assert!(ack.node.is_none() && ack.error_detail.is_none());

    session.respond(sotw(EDS, "2", vec![])).await;
    let response = stream.recv(DEADLINE).await.unwrap();
    stream.nack(&response, "no");
    let nack = session.request().await;
    assert_eq!(told(&nack), (EDS, "2", "version of 1", vec!["web"]));
    assert_eq!(nack.error_detail.unwrap().message, "no");
    stream.subscribe(EDS, &["web", "shop"], &[]);
    let more = session.request().await;
    assert_eq!(told(&more), (EDS, "2", "version of 1", vec!["web", "shop"]));

    stream.expect_nothing(Duration::from_millis(50)).await.unwrap();
    session.respond(sotw(EDS, "3", vec![])).await;
    let unexpected = stream.expect_nothing(DEADLINE).await.unwrap_err();
    assert!(matches!(unexpected, Error::Unexpected { .. }), "{unexpected}");
    session.end(tonic::Status::unavailable("no longer")).await;
    let end = stream.recv(DEADLINE).await.unwrap_err();
    assert!(
        matches!(&end, Error::Rpc { code, message } if code == "Unavailable" && message == "no longer"),
        "{end}"
    );
}

#[tokio::test]
async fn the_model_warms_clusters_before_it_acknowledges_them_and_asks_as_envoy_does() {
    let mut server = Server::start().await;
    let model = Model::<Delta>::start(channel(server.address).unwrap(), envoy_node("vm-1", ""));
    let mut session = server.delta().await;
    assert_eq!(said(&session.request().await), (CDS, "", vec![], vec![]));

    session
        .respond(delta(CDS, "c1", &[("web", "1", cluster("web", ""))]))
        .await;
    assert_eq!(said(&session.request().await), (EDS, "", vec!["web"], vec![]));
    session
        .respond(delta(EDS, "e1", &[("web", "1", endpoints("web"))]))
        .await;
    assert_eq!(said(&session.request().await), (EDS, "e1", vec![], vec![]));
    assert_eq!(said(&session.request().await), (CDS, "c1", vec![], vec![]));
    assert_eq!(said(&session.request().await), (LDS, "", vec![], vec![]));

    session
        .respond(delta(LDS, "l1", &[("http", "1", listener("http", "http"))]))
        .await;
    assert_eq!(said(&session.request().await), (LDS, "l1", vec![], vec![]));
    assert_eq!(said(&session.request().await), (RDS, "", vec!["http"], vec![]));
    session
        .respond(delta(RDS, "r1", &[("http", "1", routes("http", "web"))]))
        .await;
    assert_eq!(said(&session.request().await), (RDS, "r1", vec![], vec![]));
    let state = model
        .until("routes", DEADLINE, |state| state.names(RDS) == ["http"])
        .await
        .unwrap();
    assert!(state.violations.is_empty(), "{:?}", state.violations);

    // It changes: the model waits for its endpoints, and it serves as it was.
    session
        .respond(delta(CDS, "c2", &[("web", "2", cluster("web", "other"))]))
        .await;
    session
        .respond(delta(RDS, "r2", &[("http", "2", routes("http", "shop"))]))
        .await;
    assert_eq!(said(&session.request().await), (RDS, "r2", vec![], vec![]));
    let state = model.state();
    assert_eq!(state.warming.iter().collect::<Vec<_>>(), ["web"]);
    assert_eq!(state.active.iter().collect::<Vec<_>>(), ["web"]);
    assert_eq!(
        state.violations,
        ["the routes http send to shop, which is not active"]
    );

    // The stream ends; on the next one the model says what it holds.
    session.end(tonic::Status::unavailable("restarting")).await;
    let mut session = server.delta().await;
    let first = session.request().await;
    assert_eq!(said(&first), (CDS, "", vec![], vec![]));
    assert_eq!(first.initial_resource_versions["web"], "2");
    let second = session.request().await;
    assert_eq!(said(&second), (EDS, "", vec!["web"], vec![]));
    assert_eq!(second.initial_resource_versions["web"], "1");
    let routes = session.request().await;
    assert_eq!(said(&routes), (RDS, "", vec!["http"], vec![]));
    let listeners = session.request().await;
    assert_eq!(listeners.initial_resource_versions["http"], "1");

    let mut gone = delta(CDS, "c3", &[]);
    gone.removed_resources = vec!["web".to_owned(), "never".to_owned()];
    session.respond(gone).await;
    assert_eq!(said(&session.request().await), (EDS, "", vec![], vec!["web"]));
    assert_eq!(said(&session.request().await), (CDS, "c3", vec![], vec![]));
    let state = model.state();
    assert!(state.active.is_empty() && state.names(CDS).is_empty() && state.names(EDS).is_empty());
    let last = state.seen.last().unwrap();
    assert_eq!(
        (last.stream, last.removed.as_slice()),
        (2, ["web".to_owned()].as_slice())
    );
}

#[tokio::test]
async fn the_model_asks_for_endpoints_again_where_the_world_is_sent_whole() {
    let mut server = Server::start().await;
    let model = Model::<Sotw>::start(channel(server.address).unwrap(), envoy_node("vm-1", ""));
    let mut session = server.sotw().await;
    assert_eq!(told(&session.request().await), (CDS, "", "", vec![]));
    let both = vec![cluster("shop", ""), cluster("web", "")];
    session.respond(sotw(CDS, "c1", both)).await;
    let asked = session.request().await;
    assert_eq!(told(&asked), (EDS, "", "", vec!["shop", "web"]));
    session
        .respond(sotw(EDS, "e1", vec![endpoints("shop"), endpoints("web")]))
        .await;
    let ack = session.request().await;
    assert_eq!(told(&ack), (EDS, "e1", "version of e1", vec!["shop", "web"]));
    assert_eq!(
        told(&session.request().await),
        (CDS, "c1", "version of c1", vec![])
    );
    assert_eq!(told(&session.request().await), (LDS, "", "", vec![]));

    // One is gone, the other has changed.
    session
        .respond(sotw(CDS, "c2", vec![cluster("web", "other")]))
        .await;
    let again = session.request().await;
    assert_eq!(told(&again), (EDS, "e1", "version of e1", vec!["web"]));
    session
        .respond(sotw(CDS, "c3", vec![cluster("web", "third")]))
        .await;
    let again = session.request().await;
    assert_eq!(told(&again), (EDS, "e1", "version of e1", vec!["web"]));
    assert_eq!(model.state().names(CDS), ["web"]);

    // On another server it begins with the versions that it had accepted.
    let mut second = Server::start().await;
    model.move_to(channel(second.address).unwrap());
    let mut session = second.sotw().await;
    assert_eq!(told(&session.request().await), (CDS, "", "version of c1", vec![]));
    let asked = session.request().await;
    assert_eq!(told(&asked), (EDS, "", "version of e1", vec!["web"]));
}
