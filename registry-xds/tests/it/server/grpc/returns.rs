//! A client that comes back after its target got another cluster, and the one that it had went. Rule 15.

use registry_core::{ServiceId, ServiceMeta, ServiceRecord};
use registry_testkit::grpc::GrpcServer;
use registry_testkit::wait::until;
use registry_xds::{ResourceType, XdsConfig};

use super::{ECHO, Mesh, at, grpc_port, servers, waiting};
use crate::support::PATIENCE;

/// The service of most tests, on that port, which its cluster is called by.
fn echo(server: &GrpcServer, number: u16) -> ServiceRecord {
    let ports = [grpc_port("grpc", number)];
    let meta = ServiceMeta::builder(ServiceId::named("echo"))
        .ports(ports)
        .build();
    ServiceRecord::new(meta, [at(server).build()])
}

#[tokio::test]
async fn a_target_that_got_another_cluster_meanwhile_is_called_without_a_failure() {
    let [a] = servers(["a"]).await;
    let mut mesh = Mesh::start([echo(&a, 50_051)], XdsConfig::default()).await;
    let mut client = mesh.client(&[]).await;
    client.call(&waiting(ECHO)).await.unwrap();
    client.start_load(&super::call(ECHO), 2).await.unwrap();
    for number in [50_052, 50_051, 50_052] {
        mesh.restart([echo(&a, number)]).await;
        until("it has the new cluster alone", PATIENCE, async || {
            let clients = mesh.xds.clients().list();
            let [client] = clients.as_slice() else {
                return None;
            };
            let done = |type_| {
                let status = client.types.get(&type_)?;
                (status.channel.names == 1 && status.channel.responses > 0 && !status.channel.pending)
                    .then_some(())
            };
            ResourceType::ALL.into_iter().try_for_each(done)?;
            // Endpoints come last, and only what exists is sent.
            (mesh.xds.clients().metrics().resources[&ResourceType::Endpoints] > 0).then_some(())
        })
        .await
        .unwrap();
    }
    let report = client.stop_load().await.unwrap();
    assert_eq!(report.by_code.keys().collect::<Vec<_>>(), ["OK"], "{report:?}");
    assert_eq!(mesh.xds.clients().metrics().nacks.values().sum::<u64>(), 0);
}
