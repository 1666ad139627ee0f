//! An xDS server in this process whose services a test changes, and Envoys that know nothing but where it is.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use registry_core::{
    Address, AppProtocol, Discovery, DiscoveryBuilder, Endpoint, EndpointBuilder, Labels, Locality,
    ServiceId, ServiceMeta, ServicePort, ServiceRecord, StaticHandle, StaticRegistry, Vip,
};
use registry_testkit::envoy::{Envoy, Options};
use registry_testkit::{ports, wait};
use registry_xds::{
    Bootstrap, BootstrapFormat, ClientStatus, Error, Kind, OutboundConfig, ResourceType, Variant, Warning,
    Xds, XdsConfig,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::PATIENCE;

/// Both protocols, for tests that have nothing to tell them apart.
pub(crate) const VARIANTS: [Variant; 2] = [Variant::Sotw, Variant::Delta];

/// A server, and where its Envoys have their shared listener.
pub(crate) struct Stage {
    pub(crate) xds: Xds,
    pub(crate) address: SocketAddr,
    /// The shared listener of an Envoy.
    pub(crate) outbound: SocketAddr,
    handle: StaticHandle,
    discovery: Discovery,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), Error>>,
}

impl Stage {
    /// A server of these services, on a port of its own.
    pub(crate) async fn set(records: impl IntoIterator<Item = ServiceRecord>, config: XdsConfig) -> Self {
        Self::set_at((Ipv4Addr::LOCALHOST, 0).into(), records, config).await
    }

    /// The same at an address. Envoys listen where the configuration says; where it says nothing, on a free port.
    pub(crate) async fn set_at(
        address: SocketAddr,
        records: impl IntoIterator<Item = ServiceRecord>,
        config: XdsConfig,
    ) -> Self {
        let registry = StaticRegistry::new(records);
        let handle = registry.handle();
        let builder = Discovery::builder().registry("here", registry).unwrap();
        Self::of(builder, handle, address, config).await
    }

    /// A server of several registries, one of which has that handle.
    pub(crate) async fn of(
        builder: DiscoveryBuilder,
        handle: StaticHandle,
        address: SocketAddr,
        mut config: XdsConfig,
    ) -> Self {
        if config.outbound.listen == XdsConfig::default().outbound.listen {
            config.outbound.listen = local(free_port());
        }
        let outbound = config.outbound.listen;
        let discovery = builder.start().unwrap();
        let stop = CancellationToken::new();
        let xds = Xds::start(discovery.clone(), config, stop.clone()).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        discovery.ready().await;
        let (server, token) = (xds.clone(), stop.clone());
        let serving = tokio::spawn(async move { server.serve(listener, token).await });
        Self {
            xds,
            address,
            outbound,
            handle,
            discovery,
            stop,
            serving,
        }
    }

    /// These are all services now.
    pub(crate) fn say(&self, records: impl IntoIterator<Item = ServiceRecord>) {
        self.handle.set(records);
    }

    /// Ends the server as a daemon does that is told to, and waits for that.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.serving)
            .await
            .expect("it ends in time")
            .unwrap()
            .unwrap();
        self.discovery.shutdown().await;
    }

    /// What an Envoy has to know.
    pub(crate) fn bootstrap(&self, variant: Variant) -> Bootstrap {
        bootstrap(&[self.address], variant)
    }

    /// An Envoy that is ready.
    pub(crate) async fn envoy(&self, variant: Variant) -> Envoy {
        start(&self.bootstrap(variant)).await
    }

    /// The only stream there is, once it is there.
    pub(crate) async fn client(&self) -> ClientStatus {
        wait::until("one client", PATIENCE, async || {
            let mut clients = self.xds.clients().list();
            (clients.len() == 1).then(|| clients.remove(0))
        })
        .await
        .unwrap()
    }

    /// How many responses of each type the only client got.
    pub(crate) async fn responses(&self) -> BTreeMap<ResourceType, u64> {
        let types = self.client().await.types.into_iter();
        types
            .map(|(type_, status)| (type_, status.channel.responses))
            .collect()
    }

    /// How many resources of a type were ever sent.
    pub(crate) fn sent(&self, type_: ResourceType) -> u64 {
        self.xds.clients().metrics().resources[&type_]
    }

    /// Waits until every client has answered for all that it got.
    pub(crate) async fn settled(&self) {
        let settled = async || {
            let clients = self.xds.clients().list();
            let mut types = clients.iter().flat_map(|client| client.types.values());
            (!clients.is_empty() && types.all(|status| !status.channel.pending)).then_some(())
        };
        wait::until("all responses are answered", PATIENCE, settled)
            .await
            .unwrap();
    }

    /// Nothing was refused, as far as this server knows.
    pub(crate) fn assert_nothing_refused(&self) {
        let refused: Vec<_> = (self.xds.clients().list().into_iter())
            .flat_map(|client| client.types.into_values())
            .filter_map(|status| status.last_nack)
            .collect();
        assert!(refused.is_empty(), "{refused:?}");
        let nacks = self.xds.clients().metrics().nacks;
        assert!(nacks.values().all(|count| *count == 0), "{nacks:?}");
    }

    /// What is warned of.
    pub(crate) fn warnings_of(&self, hostname: &str) -> Vec<String> {
        let warnings = self.xds.views().warnings().into_iter();
        let of_it = warnings.filter(|warning: &Warning| warning.hostname == *hostname);
        of_it.map(|warning| warning.problem).collect()
    }
}

/// What an Envoy has to know of these servers, the preferred one first.
pub(crate) fn bootstrap(servers: &[SocketAddr], variant: Variant) -> Bootstrap {
    Bootstrap {
        kind: Kind::Envoy,
        servers: servers.iter().map(ToString::to_string).collect(),
        variant,
        node_id: "vm-1".to_owned(),
        node_cluster: "vms".to_owned(),
        locality: Locality::default(),
        network: None,
        services: Vec::new(),
        admin: None,
        tls_ca: None,
        tls_name: None,
        tls_client: None,
        sds: Vec::new(),
    }
}

/// An Envoy that is ready.
pub(crate) async fn start(bootstrap: &Bootstrap) -> Envoy {
    start_text(&bootstrap.render(BootstrapFormat::Yaml)).await
}

/// The same from a bootstrap that was written.
pub(crate) async fn start_text(bootstrap: &str) -> Envoy {
    let mut envoy = Envoy::start(bootstrap, &Options::default()).await.unwrap();
    envoy.ready(PATIENCE).await.unwrap();
    envoy
}

/// An Envoy took all that it got, and waits for nothing.
pub(crate) async fn assert_content(envoy: &Envoy) {
    envoy
        .until("no cluster is warming", PATIENCE, async |envoy| {
            let warming = envoy.stat("cluster_manager.warming_clusters").await?;
            Ok((warming == 0).then_some(()))
        })
        .await
        .unwrap();
    let stats = envoy.stats("update_rejected|init_fetch_timeout").await.unwrap();
    let bad: Vec<_> = stats.iter().filter(|(_, count)| **count > 0).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

/// Waits until a look at an Envoy, or at what is behind it, finds what it looks for.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    wait::until(what, PATIENCE, look).await.unwrap()
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(crate) fn free_port() -> u16 {
    ports::free(1).unwrap()[0]
}

/// An address of the loopback that no other test process listens on.
pub(crate) fn virtual_address(last: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x40, low, last)
}

/// A service with one port.
#[derive(Clone)]
pub(crate) struct Service {
    name: &'static str,
    port: ServicePort,
    vip: Option<Ipv4Addr>,
    labels: Labels,
    endpoints: Vec<Endpoint>,
}

impl Service {
    /// One that speaks this on that port.
    pub(crate) fn new(name: &'static str, protocol: &str, number: u16) -> Self {
        let port = ServicePort {
            number: Some(number),
            app_protocol: AppProtocol::from(protocol),
            ..ServicePort::new("main")
        };
        Self {
            name,
            port,
            vip: None,
            labels: Labels::default(),
            endpoints: Vec::new(),
        }
    }

    /// With a virtual address.
    pub(crate) fn at(mut self, vip: Ipv4Addr) -> Self {
        self.vip = Some(vip);
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        let label = (key.into(), value.into());
        let labels = self
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        self.labels = labels.chain([label]).collect();
        self
    }

    /// With one more endpoint.
    pub(crate) fn on(self, address: SocketAddr) -> Self {
        self.with(address, |endpoint| endpoint)
    }

    /// With one more endpoint of which more is said.
    pub(crate) fn with(
        mut self,
        address: SocketAddr,
        more: impl FnOnce(EndpointBuilder) -> EndpointBuilder,
    ) -> Self {
        // Several at one IP address are told apart by their ids.
        let endpoint = Endpoint::builder(Address::from(address.ip()))
            .id(address.to_string())
            .port("main", address.port());
        self.endpoints.push(more(endpoint).build());
        self
    }

    /// As the registry says it.
    pub(crate) fn record(self) -> ServiceRecord {
        let vips = self.vip.map(|ip| Vip {
            cluster: "".into(),
            addresses: vec![Address::V4(ip)],
        });
        let meta = ServiceMeta::builder(ServiceId::named(self.name))
            .ports([self.port])
            .addresses(vips)
            .labels(self.labels)
            .build();
        ServiceRecord::new(meta, self.endpoints)
    }
}

/// A configuration whose Envoys have their shared listener there.
pub(crate) fn outbound(port: u16) -> XdsConfig {
    XdsConfig {
        outbound: OutboundConfig {
            listen: local(port),
            ..OutboundConfig::default()
        },
        ..XdsConfig::default()
    }
}
