//! Acceptance test 18: a service of which nothing is usable says so, and says the same to Envoy and gRPC.

use registry_core::Health;
use registry_testkit::grpc::{Call, GrpcClient, GrpcServer};
use registry_testkit::upstream::client;
use registry_xds::{Bootstrap, BootstrapFormat, Kind, UnhealthyMode, Variant, XdsConfig};

use super::stage::{Service, Stage, assert_content, until};

#[tokio::test]
async fn acceptance_18_a_service_without_a_usable_endpoint_is_503_and_unavailable() {
    let hello = GrpcServer::start("hello-1").await.unwrap();
    let service = |health| {
        let all = |endpoint: registry_core::EndpointBuilder| endpoint.health(health);
        [Service::new("hello", "grpc", 80)
            .with(hello.address(), all)
            .record()]
    };
    for unhealthy in [UnhealthyMode::Omit, UnhealthyMode::Send] {
        let config = XdsConfig {
            unhealthy,
            ..XdsConfig::default()
        };
        let stage = Stage::set(service(Health::Healthy), config).await;
        let envoy = stage.envoy(Variant::Delta).await;
        let bootstrap = Bootstrap {
            kind: Kind::Grpc,
            ..stage.bootstrap(Variant::Sotw)
        };
        let bootstrap = bootstrap.render(BootstrapFormat::Json);
        let mut without_proxy = GrpcClient::start(Some(&bootstrap), &[]).await.unwrap();
        let mut by_proxy = GrpcClient::start(None, &[]).await.unwrap();
        let direct = Call::to("xds:///hello.static");
        let proxied = Call {
            authority: Some("hello.static".to_owned()),
            ..Call::to(stage.outbound.to_string())
        };
        for (client, call) in [(&mut without_proxy, &direct), (&mut by_proxy, &proxied)] {
            let answer = client.call(call).await.unwrap();
            assert_eq!(answer.code, "OK", "{answer:?}");
        }

        stage.say(service(Health::Unhealthy));
        for (client, call) in [(&mut without_proxy, &direct), (&mut by_proxy, &proxied)] {
            let answer = until("it is unavailable", async || {
                let answer = client.call(call).await.unwrap();
                (answer.code != "OK").then_some(answer)
            })
            .await;
            assert_eq!(answer.code, "UNAVAILABLE", "{unhealthy:?}: {answer:?}");
        }
        // It stays so: no panic mode spreads requests over what does not work.
        let before = hello_calls(&stage).await;
        assert_eq!(before, [503; 20], "{unhealthy:?}");
        assert_content(&envoy).await;

        stage.say(service(Health::Healthy));
        for (client, call) in [(&mut without_proxy, &direct), (&mut by_proxy, &proxied)] {
            let back = async || (client.call(call).await.unwrap().code == "OK").then_some(());
            until("it is back", back).await;
        }
        stage.settled().await;
        stage.assert_nothing_refused();
    }
}

async fn hello_calls(stage: &Stage) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(
            client::http2(stage.outbound, "hello.static", "/")
                .await
                .unwrap()
                .status,
        );
    }
    statuses
}
