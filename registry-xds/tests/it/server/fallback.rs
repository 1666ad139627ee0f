//! Two registries that have a service, the later one in reserve: who gets the requests through Envoy, and who through gRPC.
//!
//! Envoy leaves a priority by degrees: it takes each healthy endpoint of those that it knows of for 1.4, and what is then
//! missing to all of them goes to the next one. Which it knows of is what `unhealthy` decides.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use registry_core::{
    Discovery, Fallback, Health, RegistryOptions, ServiceRecord, StaticHandle, StaticRegistry,
};
use registry_testkit::grpc::{Call, GrpcClient, GrpcServer};
use registry_xds::{Bootstrap, BootstrapFormat, Kind, UnhealthyMode, Variant, XdsConfig};

use super::stage::{Service, Stage, assert_content, local, until};

/// How many calls show where they go.
const CALLS: u32 = 40;

/// The service, as a registry has it: with these endpoints.
fn hello(endpoints: &[(&GrpcServer, Health)]) -> ServiceRecord {
    let service = Service::new("hello", "grpc", 80);
    let with = |service: Service, (server, health): &(&GrpcServer, Health)| {
        service.with(server.address(), |endpoint| endpoint.health(*health))
    };
    endpoints.iter().fold(service, with).record()
}

/// A stage of two registries that say the same name; the handle of the first one is the stage's own.
async fn stage(config: XdsConfig) -> (Stage, StaticHandle) {
    let registries = [StaticRegistry::new([]), StaticRegistry::new([])];
    let [first, second] = registries.each_ref().map(StaticRegistry::handle);
    let mut builder = Discovery::builder().policy("*", Fallback);
    for (id, registry) in ["first", "second"].into_iter().zip(registries) {
        let options = RegistryOptions {
            hostname: Some("{name}.static".parse().unwrap()),
            // What a test takes away is meant to go.
            guard: None,
            ..RegistryOptions::default()
        };
        builder = builder.registry_with(id, registry, options).unwrap();
    }
    (Stage::of(builder, first, local(0), config).await, second)
}

/// By Envoy, and without it.
struct Clients {
    proxied: (GrpcClient, Call),
    direct: (GrpcClient, Call),
}

type Shares = BTreeMap<String, u32>;

impl Clients {
    async fn of(stage: &Stage, outbound: SocketAddr) -> Self {
        let bootstrap = Bootstrap {
            kind: Kind::Grpc,
            ..stage.bootstrap(Variant::Sotw)
        };
        let bootstrap = bootstrap.render(BootstrapFormat::Json);
        let through = Call {
            authority: Some("hello.static".to_owned()),
            ..Call::to(outbound.to_string())
        };
        Self {
            proxied: (GrpcClient::start(None, &[]).await.unwrap(), through),
            direct: (
                GrpcClient::start(Some(&bootstrap), &[]).await.unwrap(),
                Call::to("xds:///hello.static"),
            ),
        }
    }

    /// Waits until calls go where they are to go: by Envoy, and without it.
    async fn until(
        &mut self,
        what: &str,
        by_envoy: impl Fn(&Shares) -> bool,
        by_grpc: impl Fn(&Shares) -> bool,
    ) {
        let expected: [&dyn Fn(&Shares) -> bool; 2] = [&by_envoy, &by_grpc];
        for ((client, call), expected) in [&mut self.proxied, &mut self.direct].into_iter().zip(expected) {
            until(&format!("{what} ({})", call.target), async || {
                let shares = shares(client, call).await;
                expected(&shares).then_some(())
            })
            .await;
        }
    }

    /// The same for both.
    async fn until_all_at(&mut self, what: &str, server: &str) {
        let all = |shares: &Shares| shares.get(server) == Some(&CALLS);
        self.until(what, all, all).await;
    }
}

/// Who answers, and which codes come instead.
async fn shares(client: &mut GrpcClient, call: &Call) -> Shares {
    let mut shares = Shares::new();
    for answer in client.calls(call, CALLS, 4).await.unwrap() {
        *shares.entry(answer.server.unwrap_or(answer.code)).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn a_reserve_serves_while_the_first_registry_has_nothing_that_works() {
    use Health::{Degraded, Healthy, Unhealthy};
    let servers = ["a", "b", "reserve"].map(GrpcServer::start);
    let servers = futures_util::future::join_all(servers).await;
    let servers: Vec<GrpcServer> = servers.into_iter().map(Result::unwrap).collect();
    let [a, b, reserve] = &servers[..] else {
        panic!("three servers")
    };
    for unhealthy in [UnhealthyMode::Omit, UnhealthyMode::Send] {
        let config = XdsConfig {
            unhealthy,
            ..XdsConfig::default()
        };
        let (stage, second) = stage(config).await;
        stage.say([hello(&[(a, Healthy)])]);
        second.set([hello(&[(reserve, Healthy)])]);
        let envoy = stage.envoy(Variant::Delta).await;
        let mut clients = Clients::of(&stage, stage.outbound).await;
        clients.until_all_at("the first", "a").await;

        stage.say([hello(&[(a, Unhealthy)])]);
        clients
            .until_all_at("the reserve, as nothing else works", "reserve")
            .await;
        stage.say([hello(&[(a, Healthy)])]);
        clients.until_all_at("the first again", "a").await;
        stage.say([]);
        clients
            .until_all_at("the reserve, as nothing else is there", "reserve")
            .await;

        // Half of the first one works. What is left out is not missed; of what is sent 1.4 times a half is 70 %.
        stage.say([hello(&[(a, Healthy), (b, Unhealthy)])]);
        let all_at_a = |shares: &Shares| shares.get("a") == Some(&CALLS);
        let by_envoy = |shares: &Shares| match unhealthy {
            UnhealthyMode::Omit => all_at_a(shares),
            UnhealthyMode::Send => {
                let reserve = shares.get("reserve").copied().unwrap_or_default();
                shares.len() == 2 && (1..CALLS / 2).contains(&reserve)
            }
        };
        clients.until("half of the first", by_envoy, all_at_a).await;

        // Envoy prefers a reserve that is healthy to what is degraded; gRPC knows no such thing.
        stage.say([hello(&[(a, Degraded)])]);
        let all_at_reserve = |shares: &Shares| shares.get("reserve") == Some(&CALLS);
        clients.until("degraded", all_at_reserve, all_at_a).await;
        stage.say([hello(&[(a, Healthy)])]);
        clients.until_all_at("the first after all", "a").await;

        assert_content(&envoy).await;
        stage.settled().await;
        stage.assert_nothing_refused();
    }
}
