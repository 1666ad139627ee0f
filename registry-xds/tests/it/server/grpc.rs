//! gRPC's own client (its C core), which finds the endpoints of `xds:///` targets at this server.

mod balance;
mod calls;
mod fleet;
mod names;
mod returns;
mod routes;
mod tls;

use std::net::SocketAddr;

use registry_core::{
    Address, Discovery, Endpoint, EndpointBuilder, Health, RegistryOptions, ServiceId, ServiceMeta,
    ServicePort, ServiceRecord, StaticHandle, StaticRegistry,
};
use registry_testkit::grpc::{Answered, Call, GrpcClient, GrpcServer};
use registry_testkit::wait::until;
use registry_xds::{Bootstrap, BootstrapFormat, Error, Kind, Variant, Xds, XdsConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::PATIENCE;

/// The service of most tests, as gRPC's target has it.
const ECHO: &str = "xds:///echo.static";

/// A server of services that a test states, which can be started anew at the same place.
struct Mesh {
    services: StaticHandle,
    xds: Xds,
    address: SocketAddr,
    discovery: Discovery,
    config: XdsConfig,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), Error>>,
}

impl Mesh {
    async fn start(records: impl IntoIterator<Item = ServiceRecord>, config: XdsConfig) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), records, config).await
    }

    async fn start_at(
        address: SocketAddr,
        records: impl IntoIterator<Item = ServiceRecord>,
        config: XdsConfig,
    ) -> Self {
        let registry = StaticRegistry::new(records);
        let services = registry.handle();
        // What a test takes away is meant to go.
        let options = RegistryOptions {
            guard: None,
            ..RegistryOptions::default()
        };
        let builder = Discovery::builder();
        let discovery = builder.registry_with("here", registry, options).unwrap();
        let discovery = discovery.start().unwrap();
        Self::serve(address, discovery, services, config).await
    }

    async fn serve(
        address: SocketAddr,
        discovery: Discovery,
        services: StaticHandle,
        config: XdsConfig,
    ) -> Self {
        let stop = CancellationToken::new();
        let xds = Xds::start(discovery.clone(), config.clone(), stop.clone()).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = {
            let (xds, stop) = (xds.clone(), stop.clone());
            async move { xds.serve(listener, stop).await }
        };
        Self {
            services,
            xds,
            address,
            discovery,
            config,
            stop,
            ended: tokio::spawn(serving),
        }
    }

    /// Ends it with all that it knows, and starts another one at its address, which knows these services.
    async fn restart(&mut self, records: impl IntoIterator<Item = ServiceRecord>) {
        self.stop.cancel();
        (&mut self.ended).await.unwrap().unwrap();
        self.discovery.shutdown().await;
        *self = Self::start_at(self.address, records, self.config.clone()).await;
    }

    /// What `registryd bootstrap grpc` prints for a node.
    fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            kind: Kind::Grpc,
            servers: vec![self.address.to_string()],
            variant: Variant::Sotw,
            node_id: "grpc-1".to_owned(),
            node_cluster: "test".to_owned(),
            locality: registry_core::Locality::default(),
            network: None,
            services: Vec::new(),
            admin: None,
            tls_ca: None,
            tls_name: None,
            tls_client: None,
            sds: Vec::new(),
        }
    }

    /// A client with that bootstrap, and these variables.
    async fn client(&self, environment: &[(&str, &str)]) -> GrpcClient {
        start(&self.bootstrap(), environment).await
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn start(bootstrap: &Bootstrap, environment: &[(&str, &str)]) -> GrpcClient {
    let text = bootstrap.render(BootstrapFormat::Json);
    GrpcClient::start(Some(&text), environment).await.unwrap()
}

/// A call that gives up when the tests do.
fn call(target: &str) -> Call {
    Call {
        timeout: PATIENCE,
        ..Call::to(target)
    }
}

/// A call that waits for an endpoint.
fn waiting(target: &str) -> Call {
    Call {
        wait_for_ready: true,
        ..call(target)
    }
}

/// Servers with these ids.
async fn servers<const N: usize>(ids: [&str; N]) -> [GrpcServer; N] {
    let started = futures_util::future::join_all(ids.map(GrpcServer::start)).await;
    let started: Vec<GrpcServer> = started.into_iter().map(Result::unwrap).collect();
    started.try_into().unwrap()
}

/// A port of that number, on which gRPC is spoken.
fn grpc_port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        number: Some(number),
        app_protocol: "grpc".into(),
        ..ServicePort::new(name)
    }
}

/// A healthy endpoint at that server.
fn at(server: &GrpcServer) -> EndpointBuilder {
    let address: Address = server.address().ip().to_string().parse().unwrap();
    // By their address alone endpoints of one host were one.
    Endpoint::builder(address)
        .id(server.id())
        .port("grpc", server.address().port())
        .health(Health::Healthy)
}

/// A service on port 50051, with these endpoints.
fn service(name: &str, endpoints: impl IntoIterator<Item = EndpointBuilder>) -> ServiceRecord {
    let ports = [grpc_port("grpc", 50_051)];
    let meta = ServiceMeta::builder(ServiceId::named(name)).ports(ports).build();
    let endpoints: Vec<Endpoint> = endpoints.into_iter().map(EndpointBuilder::build).collect();
    ServiceRecord::new(meta, endpoints)
}

/// The service of most tests.
fn echo<'a>(servers: impl IntoIterator<Item = &'a GrpcServer>) -> ServiceRecord {
    service("echo", servers.into_iter().map(at))
}

/// Calls until an answer is as wanted, and returns that.
async fn call_until(
    client: &mut GrpcClient,
    call: &Call,
    what: &str,
    wanted: impl Fn(&Answered) -> bool,
) -> Answered {
    let last = std::sync::Mutex::new(None);
    let found = until(what, PATIENCE, async || {
        let answer = client.call(call).await.ok()?;
        let is_wanted = wanted(&answer);
        *last.lock().unwrap() = Some(answer.clone());
        is_wanted.then_some(answer)
    })
    .await;
    found.unwrap_or_else(|error| panic!("{error}; the last answer: {:?}", last.lock().unwrap()))
}

/// How many of so many calls each of the servers got.
async fn spread(client: &mut GrpcClient, call: &Call, calls: u32) -> std::collections::BTreeMap<String, u32> {
    let mut spread = std::collections::BTreeMap::new();
    for answer in client.calls(call, calls, 4).await.unwrap() {
        let server = answer.server.clone().unwrap_or_else(|| panic!("{answer:?}"));
        *spread.entry(server).or_default() += 1;
    }
    spread
}
