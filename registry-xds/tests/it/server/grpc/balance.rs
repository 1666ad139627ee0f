//! Where calls go: by the weights of localities, and by how near they are.

use registry_core::Locality;
use registry_testkit::grpc::Answered;
use registry_xds::{LocalityMode, XdsConfig};

use super::{ECHO, Mesh, at, call, call_until, servers, service, spread, start, waiting};

fn zone(zone: &str) -> Locality {
    Locality {
        region: "eu".into(),
        zone: zone.into(),
        ..Locality::default()
    }
}

/// Localities get calls by the sum of their endpoints' weights.
#[tokio::test]
async fn acceptance_4_calls_are_divided_by_the_weights_of_localities() {
    let [a, b, c] = servers(["a", "b", "c"]).await;
    let record = service(
        "echo",
        [
            at(&a).weight(2).locality(zone("eu-1a")),
            at(&b).weight(2).locality(zone("eu-1a")),
            at(&c).weight(1).locality(zone("eu-1b")),
        ],
    );
    let mesh = Mesh::start([record], XdsConfig::default()).await;
    let mut client = mesh.client(&[]).await;
    for id in ["a", "b", "c"] {
        let called = |answer: &Answered| answer.server.as_deref() == Some(id);
        call_until(&mut client, &waiting(ECHO), "all connections", called).await;
    }
    let shares = spread(&mut client, &call(ECHO), 500).await;
    eprintln!("weights 4 : 1: {shares:?}");
    // A fifth is expected; six standard deviations of it are 54 calls.
    assert!((46..=154).contains(&shares["c"]), "{shares:?}");
    assert!(shares["a"].abs_diff(shares["b"]) <= 60, "{shares:?}");
}

/// With `nearest` a client stays in its zone, goes to its region when that is gone, and comes back.
#[tokio::test]
async fn acceptance_4_the_nearest_endpoints_are_called_and_the_next_when_they_are_gone() {
    let [mut a, b] = servers(["a", "b"]).await;
    let near = at(&a).locality(zone("eu-1a"));
    let record = service("echo", [near, at(&b).locality(zone("eu-1b"))]);
    let config = XdsConfig {
        locality: LocalityMode::Nearest,
        ..XdsConfig::default()
    };
    let mesh = Mesh::start([record], config).await;
    let mut bootstrap = mesh.bootstrap();
    bootstrap.locality = zone("eu-1a");
    let mut client = start(&bootstrap, &[]).await;
    let shares = spread(&mut client, &waiting(ECHO), 50).await;
    assert_eq!(shares.get("a"), Some(&50), "{shares:?}");

    // From the other zone the other one is near.
    bootstrap.locality = zone("eu-1b");
    let mut other = start(&bootstrap, &[]).await;
    let shares = spread(&mut other, &waiting(ECHO), 50).await;
    assert_eq!(shares.get("b"), Some(&50), "{shares:?}");
    let views = mesh.xds.clients().list();
    assert_eq!(views.len(), 2, "{views:?}");

    // The nearest one breaks, though no registry says so.
    let address = a.address();
    assert!(a.calls().await.unwrap() >= 50);
    a.end(std::time::Duration::ZERO).await.unwrap();
    let far = |answer: &Answered| answer.server.as_deref() == Some("b");
    call_until(&mut client, &waiting(ECHO), "the next zone", far).await;
    let _a = registry_testkit::grpc::GrpcServer::start_at(address, "a")
        .await
        .unwrap();
    let near = |answer: &Answered| answer.server.as_deref() == Some("a");
    call_until(&mut client, &waiting(ECHO), "the own zone again", near).await;
}
