//! Daemons, and those that read them.

use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;

use registry_core::{
    Address, Discovery, Endpoint, EndpointBuilder, Health, RegistryOptions, RegistryStatus, ServiceId,
    ServiceMeta, ServicePort, ServiceRecord, ServiceRegistry, Snapshot,
};
use registry_remote::{DaemonConfig, DaemonRegistry};
use registry_testkit::scripted::{ScriptHandle, ScriptedRegistry, Step};
use registryd::http::{HttpOptions, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take. The machine may be slow, and busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How often a daemon says something at least.
pub(crate) const KEEPALIVE: Duration = Duration::from_millis(200);

/// The API of one discovery.
pub(crate) struct Daemon {
    pub(crate) discovery: Discovery,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Daemon {
    pub(crate) async fn serving(discovery: Discovery) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::at(listener, discovery, HttpOptions::default()).await
    }

    pub(crate) async fn at(listener: TcpListener, discovery: Discovery, options: HttpOptions) -> Self {
        init();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let options = HttpOptions {
            keepalive: KEEPALIVE,
            grace: Duration::from_millis(100),
            ..options
        };
        let task = tokio::spawn(serve(listener, discovery.clone(), options, stop.clone()));
        Self {
            discovery,
            address,
            stop,
            task,
        }
    }

    /// A daemon with one registry, `vms`, that says what the handle does.
    pub(crate) async fn scripted(records: impl IntoIterator<Item = ServiceRecord>) -> (Self, ScriptHandle) {
        let registry = ScriptedRegistry::new([Step::list(records)]);
        let handle = registry.handle();
        let discovery = discovery([("vms", registry)]);
        discovery.ready().await;
        (Self::serving(discovery).await, handle)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it, and lets go of its port.
    pub(crate) async fn end(self) -> SocketAddr {
        self.discovery.shutdown().await;
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        self.address
    }
}

/// For `http://` as well a client wants to know how TLS would be done.
fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(registry_testkit::init_tls);
}

/// A discovery with these registries, whose services have the hostnames `NAME.mesh` and may be merged.
pub(crate) fn discovery<R: ServiceRegistry>(
    registries: impl IntoIterator<Item = (&'static str, R)>,
) -> Discovery {
    let builder = registries
        .into_iter()
        .fold(Discovery::builder(), |builder, (id, registry)| {
            builder
                .registry_with(id, registry, merging("{name}.mesh"))
                .unwrap()
        });
    builder.start().unwrap()
}

pub(crate) fn merging(hostname: &str) -> RegistryOptions {
    RegistryOptions {
        hostname: Some(hostname.parse().unwrap()),
        ..RegistryOptions::default()
    }
}

pub(crate) fn config(urls: impl IntoIterator<Item = String>) -> DaemonConfig {
    let mut config = DaemonConfig {
        urls: urls.into_iter().collect(),
        silence: Duration::from_secs(5),
        ..DaemonConfig::default()
    };
    config.http.connect_timeout = Duration::from_secs(5);
    config
}

pub(crate) fn registry(urls: impl IntoIterator<Item = String>) -> DaemonRegistry {
    init();
    DaemonRegistry::try_new(config(urls)).unwrap()
}

/// A discovery that reads these daemons as one registry, `parent`.
pub(crate) fn leaf(urls: impl IntoIterator<Item = String>) -> Discovery {
    leaf_of(registry(urls))
}

pub(crate) fn leaf_of(registry: DaemonRegistry) -> Discovery {
    Discovery::builder()
        .registry("parent", registry)
        .unwrap()
        .start()
        .unwrap()
}

pub(crate) fn endpoint(n: u8) -> EndpointBuilder {
    Endpoint::builder(Address::V4([10, 0, 0, n].into()))
        .id(format!("i-{n}"))
        .port("http", 8080)
        .health(Health::Healthy)
        .status("up")
}

pub(crate) fn record(name: &str, endpoints: impl IntoIterator<Item = u8>) -> ServiceRecord {
    record_of(name, endpoints.into_iter().map(endpoint))
}

pub(crate) fn record_of(name: &str, endpoints: impl IntoIterator<Item = EndpointBuilder>) -> ServiceRecord {
    let meta = ServiceMeta::builder(ServiceId::named(name))
        .ports([ServicePort::new("http")])
        .build();
    let endpoints: Vec<Endpoint> = endpoints.into_iter().map(EndpointBuilder::build).collect();
    ServiceRecord::new(meta, endpoints)
}

/// The addresses of a service's endpoints, by their last number; `None` where there is no such service.
pub(crate) fn addresses(snapshot: &Snapshot, name: &str) -> Option<Vec<u8>> {
    let endpoints = snapshot.get(name)?.endpoints().iter();
    let mut last: Vec<u8> = endpoints
        .filter_map(|endpoint| match endpoint.address() {
            Address::V4(ip) => Some(ip.octets()[3]),
            _ => None,
        })
        .collect();
    last.sort_unstable();
    Some(last)
}

/// Waits until the discovery is as it should be.
pub(crate) async fn until(discovery: &Discovery, what: &str, wanted: impl Fn(&Discovery) -> bool) {
    let start = tokio::time::Instant::now();
    while !wanted(discovery) {
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}: {:?} {:#?}",
            discovery.snapshot(),
            discovery.status()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All about the registry that is a daemon.
pub(crate) fn status(discovery: &Discovery) -> RegistryStatus {
    let mut status = discovery.status().into_iter();
    status.find(|status| status.kind == "registryd").unwrap()
}
