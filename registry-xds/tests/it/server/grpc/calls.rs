//! Calls while endpoints, services and the server itself come and go.

use std::time::Duration;

use registry_core::{Health, ServiceRecord};
use registry_testkit::grpc::{Answered, GrpcClient, GrpcServer};
use registry_testkit::wait::until;
use registry_xds::XdsConfig;
use tokio::time::Instant;

use super::{ECHO, Mesh, at, call, call_until, echo, servers, service, spread, waiting};
use crate::support::PATIENCE;

/// How often endpoints change; 60 for a thorough look.
fn flips() -> usize {
    let said = std::env::var("REGISTRY_XDS_FLIPS").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(15)
}

/// A client takes everything that it was sent.
async fn assert_all_acked(client: &mut GrpcClient) {
    let statuses = client.statuses().await.unwrap();
    let kinds: Vec<&str> = statuses.keys().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "Cluster",
            "ClusterLoadAssignment",
            "Listener",
            "RouteConfiguration"
        ],
        "{statuses:?}"
    );
    assert!(statuses.values().all(|status| status == "ACKED"), "{statuses:?}");
}

/// Waits until the server gets calls again and again.
async fn is_called(server: &mut GrpcServer) {
    let before = server.calls().await.unwrap();
    until(format!("calls of {}", server.id()), PATIENCE, async || {
        (server.calls().await.ok()? >= before + 5).then_some(())
    })
    .await
    .unwrap();
}

/// Facts §9.10: round robin, then one endpoint or the other or both under load, with the server started anew among it.
#[tokio::test]
async fn acceptance_10_no_call_fails_while_endpoints_flip_and_the_server_restarts() {
    let [mut a, mut b] = servers(["a", "b"]).await;
    let mut mesh = Mesh::start([echo([&a, &b])], XdsConfig::default()).await;
    let mut client = mesh.client(&[]).await;

    let first = client.call(&call(ECHO)).await.unwrap();
    assert_eq!(first.code, "OK", "{first:?}");
    eprintln!("first call: {:.3} s", first.seconds);
    for id in ["a", "b"] {
        let called = |answer: &Answered| answer.server.as_deref() == Some(id);
        call_until(&mut client, &call(ECHO), "both connections", called).await;
    }
    let shares = spread(&mut client, &call(ECHO), 100).await;
    assert!((40..=60).contains(&shares["a"]), "{shares:?}");
    assert_all_acked(&mut client).await;

    client.start_load(&waiting(ECHO), 2).await.unwrap();
    let flips = flips();
    for flip in 0..flips {
        let record: ServiceRecord = match flip % 3 {
            0 => echo([&a]),
            1 => echo([&b]),
            _ => echo([&a, &b]),
        };
        if flip % 5 == 4 {
            // The client hears of the change from another server than it had.
            mesh.restart([record]).await;
        } else {
            mesh.services.set([record]);
        }
        match flip % 3 {
            0 => is_called_alone(&mut a, &mut b).await,
            1 => is_called_alone(&mut b, &mut a).await,
            _ => {
                is_called(&mut a).await;
                is_called(&mut b).await;
            }
        }
    }
    let report = client.stop_load().await.unwrap();
    eprintln!("{flips} flips: {report:?}");
    assert_eq!(report.by_code.keys().collect::<Vec<_>>(), ["OK"], "{report:?}");
    assert!(
        report.by_server["a"] > 0 && report.by_server["b"] > 0,
        "{report:?}"
    );
    assert_all_acked(&mut client).await;
    assert_eq!(mesh.xds.clients().metrics().nacks.values().sum::<u64>(), 0);
}

/// Waits until all calls go to the one.
async fn is_called_alone(server: &mut GrpcServer, other: &mut GrpcServer) {
    until("calls to one alone", PATIENCE, async || {
        let before = other.calls().await.ok()?;
        is_called(server).await;
        (other.calls().await.ok()? == before).then_some(())
    })
    .await
    .unwrap();
}

/// What health means to gRPC, and what a service says that has nobody to answer; then one that goes and comes back.
#[tokio::test]
async fn acceptance_18_what_is_degraded_is_called_and_what_fails_is_unavailable_at_once() {
    let [a, b] = servers(["a", "b"]).await;
    let of_health = |health: [Health; 2]| {
        let [first, second] = health;
        service("echo", [at(&a).health(first), at(&b).health(second)])
    };
    let other = || service("other", [at(&a)]);
    let degraded = of_health([Health::Degraded, Health::Healthy]);
    let mesh = Mesh::start([degraded, other()], XdsConfig::default()).await;
    let mut client = mesh.client(&[]).await;
    for id in ["a", "b"] {
        let called = |answer: &Answered| answer.server.as_deref() == Some(id);
        call_until(&mut client, &waiting(ECHO), "both", called).await;
    }
    let shares = spread(&mut client, &call(ECHO), 50).await;
    assert!((20..=30).contains(&shares["a"]), "{shares:?}");

    // Drained: the other one alone.
    mesh.services
        .set([of_health([Health::Draining, Health::Healthy]), other()]);
    until("calls to the other alone", PATIENCE, async || {
        let shares = spread(&mut client, &call(ECHO), 20).await;
        (shares.get("b") == Some(&20)).then_some(())
    })
    .await
    .unwrap();

    // Nobody is left.
    mesh.services
        .set([of_health([Health::Unhealthy, Health::Unhealthy]), other()]);
    let unavailable = |answer: &Answered| answer.code == "UNAVAILABLE";
    let failed = call_until(&mut client, &call(ECHO), "no endpoint", unavailable).await;
    assert!(failed.details.contains("weighted_target"), "{failed:?}");
    let failed = client.call(&call(ECHO)).await.unwrap();
    assert_eq!(failed.code, "UNAVAILABLE");
    eprintln!("all failing: {:.3} s, {:?}", failed.seconds, failed.details);

    mesh.services
        .set([of_health([Health::Healthy, Health::Unhealthy]), other()]);
    let back = client.call(&waiting(ECHO)).await.unwrap();
    assert_eq!(back.server.as_deref(), Some("a"), "{back:?}");

    // The whole service goes, others stay.
    mesh.services.set([other()]);
    let gone = call_until(&mut client, &call(ECHO), "the service is gone", unavailable).await;
    eprintln!("gone: {:?}", gone.details);
    let stays = client.call(&call("xds:///other.static")).await.unwrap();
    assert_eq!(stays.code, "OK", "{stays:?}");
    let start = Instant::now();
    mesh.services.set([echo([&b]), other()]);
    let back = |answer: &Answered| answer.server.as_deref() == Some("b");
    call_until(&mut client, &call(ECHO), "the service is back", back).await;
    eprintln!("back after {:?}", start.elapsed());
    // Nothing of it took a timeout of the protocol.
    assert!(start.elapsed() < Duration::from_secs(14), "{:?}", start.elapsed());
}
