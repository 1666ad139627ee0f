//! A fleet of all kinds at one server.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use registry_core::{Endpoint, Health, ServiceId, ServiceMeta, ServicePort, ServiceRecord};
use registry_testkit::envoy::{Envoy, Options};
use registry_testkit::grpc::Call;
use registry_testkit::ports;
use registry_testkit::upstream::{Kind as Speaks, Upstream, client};
use registry_xds::{Bootstrap, BootstrapFormat, Kind, OutboundConfig, Variant, XdsConfig};
use serde_json::{Value, json};

use super::{ECHO, Mesh, echo, servers, waiting};
use crate::support::PATIENCE;

fn web(upstream: &Upstream) -> ServiceRecord {
    let port = ServicePort {
        number: Some(80),
        app_protocol: "http".into(),
        ..ServicePort::new("http")
    };
    let meta = ServiceMeta::builder(ServiceId::named("web"))
        .ports([port])
        .build();
    let address: registry_core::Address = "127.0.0.1".parse().unwrap();
    let endpoint = Endpoint::builder(address)
        .port("http", upstream.port())
        .health(Health::Healthy)
        .build();
    ServiceRecord::new(meta, vec![endpoint])
}

/// An Envoy that listens there, which is a wish of its own and not the server's.
fn envoy(mesh: &Mesh, variant: Variant, outbound: SocketAddr) -> String {
    let bootstrap = Bootstrap {
        kind: Kind::Envoy,
        variant,
        node_id: format!("envoy-{variant:?}"),
        ..mesh.bootstrap()
    };
    let text = bootstrap.render(BootstrapFormat::Json);
    let mut document: Value = serde_json::from_str(&text).unwrap();
    document["node"]["metadata"] = json!({ "registryd.outbound": outbound.to_string() });
    document.to_string()
}

/// Facts §9.11: Envoy by either protocol and gRPC, each with its own view of the same services.
#[tokio::test]
async fn acceptance_11_each_kind_of_a_mixed_fleet_gets_its_own_view() {
    let [a] = servers(["a"]).await;
    let upstream = Upstream::start("web-1", Speaks::Http).await.unwrap();
    let free = ports::free(3).unwrap();
    let place = |at: usize| SocketAddr::from(([127, 0, 0, 1], free[at]));
    let config = XdsConfig {
        outbound: OutboundConfig {
            listen: place(0),
            ..OutboundConfig::default()
        },
        ..XdsConfig::default()
    };
    let mesh = Mesh::start([echo([&a]), web(&upstream)], config).await;
    let mut grpc = mesh.client(&[]).await;
    let answer = grpc.call(&waiting(ECHO)).await.unwrap();
    assert_eq!(answer.server.as_deref(), Some("a"), "{answer:?}");

    let mut envoys = Vec::new();
    for (variant, outbound) in [(Variant::Sotw, place(1)), (Variant::Delta, place(2))] {
        let bootstrap = envoy(&mesh, variant, outbound);
        let mut envoy = Envoy::start(&bootstrap, &Options::default()).await.unwrap();
        envoy.ready(PATIENCE).await.unwrap();
        let answer = client::http(outbound, "web.static", "/").await.unwrap();
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "web-1"),
            "{variant:?}"
        );
        let through = Call {
            authority: Some("echo.static".to_owned()),
            ..waiting(&outbound.to_string())
        };
        let answer = grpc.call(&through).await.unwrap();
        assert_eq!(answer.server.as_deref(), Some("a"), "{variant:?}: {answer:?}");

        let dump = envoy.config_dump().await.unwrap().to_string();
        assert!(dump.contains(&format!("outbound_{}_{}", outbound.ip(), outbound.port())));
        assert!(
            !dump.contains("api_listener") && !dump.contains("grpc|"),
            "{dump}"
        );
        for rejected in ["cluster_manager.cds", "listener_manager.lds"] {
            let name = format!("{rejected}.update_rejected");
            assert_eq!(envoy.stat(&name).await.unwrap(), 0, "{variant:?} {name}");
        }
        envoys.push(envoy);
    }

    // gRPC has what it asked for, and none of what others listen at.
    let csds = grpc.csds().await.unwrap().to_string();
    assert!(
        csds.contains("apiListener") && !csds.contains("outbound_"),
        "{csds}"
    );
    assert!(
        !csds.contains("web.static") && !csds.contains("http.80"),
        "{csds}"
    );
    let statuses = grpc.statuses().await.unwrap();
    assert_eq!(statuses.len(), 4, "{statuses:?}");

    let clients = mesh.xds.clients().list();
    let kinds: BTreeSet<_> = clients
        .iter()
        .map(|client| (client.kind, client.variant))
        .collect();
    let expected = [
        (Some(Kind::Envoy), Variant::Sotw),
        (Some(Kind::Envoy), Variant::Delta),
        (Some(Kind::Grpc), Variant::Sotw),
    ];
    assert_eq!(kinds, BTreeSet::from(expected), "{clients:?}");
    assert_eq!(clients.len(), 3, "{clients:?}");
    assert_eq!(mesh.xds.clients().metrics().nacks.values().sum::<u64>(), 0);
}
