//! A server of a few services, and a client that says and hears what a test wants.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use http::uri::PathAndQuery;
use prost::Message;
use registry_core::{
    Address, Discovery, Endpoint, Health, ServiceId, ServiceMeta, ServicePort, ServiceRecord,
    ServiceRegistry, StaticHandle, StaticRegistry,
};
use registry_xds::{Error, ResourceType, Xds, XdsConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint as Target};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Longest time any test waits for anything; far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a test listens to hear that nothing is said.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

pub(crate) const ADS_SOTW: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
pub(crate) const ADS_DELTA: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// The cluster of the service `web` of [`service`].
pub(crate) const WEB: &str = "outbound|80||web.static";

/// A service that speaks HTTP on port 80, with that many endpoints of that weight.
pub(crate) fn service(name: &str, endpoints: u16, weight: u32) -> ServiceRecord {
    let port = ServicePort {
        number: Some(80),
        ..ServicePort::new("http")
    };
    let meta = ServiceMeta::builder(ServiceId::named(name)).ports([port]).build();
    let endpoints: Vec<_> = (0..endpoints)
        .map(|n| {
            let address: Address = format!("10.0.{}.{}", n / 256, n % 256).parse().unwrap();
            Endpoint::builder(address)
                .port("http", 8080)
                .health(Health::Healthy)
                .weight(weight)
                .build()
        })
        .collect();
    ServiceRecord::new(meta, endpoints)
}

/// A running server.
pub(crate) struct Served {
    pub(crate) xds: Xds,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: JoinHandle<Result<(), Error>>,
    pub(crate) discovery: Discovery,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves what that registry says.
pub(crate) async fn serve_registry(registry: impl ServiceRegistry, config: XdsConfig) -> Served {
    let discovery = Discovery::builder()
        .registry("here", registry)
        .unwrap()
        .start()
        .unwrap();
    serve_discovery(discovery, config).await
}

/// Serves what a discovery knows.
pub(crate) async fn serve_discovery(discovery: Discovery, config: XdsConfig) -> Served {
    let stop = CancellationToken::new();
    let xds = Xds::start(discovery.clone(), config, stop.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = {
        let (xds, stop) = (xds.clone(), stop.clone());
        async move { xds.serve(listener, stop).await }
    };
    Served {
        xds,
        address,
        stop,
        ended: tokio::spawn(serving),
        discovery,
    }
}

/// Serves these services, which the handle changes.
pub(crate) async fn serve(
    records: impl IntoIterator<Item = ServiceRecord>,
    config: XdsConfig,
) -> (Served, StaticHandle) {
    let registry = StaticRegistry::new(records);
    let handle = registry.handle();
    (serve_registry(registry, config).await, handle)
}

/// A connection without TLS, with windows as small as they get.
pub(crate) async fn connect(address: SocketAddr) -> Channel {
    Target::from_shared(format!("http://{address}"))
        .unwrap()
        .initial_stream_window_size(65_535)
        .connect()
        .await
        .unwrap()
}

/// A stream.
pub(crate) struct Talk<Q, R> {
    requests: mpsc::UnboundedSender<Q>,
    responses: Streaming<R>,
}

pub(crate) type Sotw = Talk<DiscoveryRequest, DiscoveryResponse>;
pub(crate) type Delta = Talk<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

impl<Q, R> Talk<Q, R>
where
    Q: Message + Send + Sync + 'static,
    R: Message + Default + std::fmt::Debug + 'static,
{
    /// Opens a stream of that method.
    pub(crate) async fn open(channel: &Channel, path: &'static str) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let response = grpc
            .streaming(
                Request::new(UnboundedReceiverStream::new(receiver)),
                PathAndQuery::from_static(path),
                ProstCodec::<Q, R>::default(),
            )
            .await?;
        Ok(Self {
            requests,
            responses: response.into_inner(),
        })
    }

    /// Says something. Nobody may be listening any more.
    pub(crate) fn say(&self, request: Q) {
        let _ = self.requests.send(request);
    }

    /// What is said next.
    pub(crate) async fn hear(&mut self) -> R {
        self.next().await.unwrap().expect("the stream goes on")
    }

    /// The status with which it ends.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }

    /// Hears that nothing is said.
    pub(crate) async fn hear_nothing(&mut self) {
        let said = tokio::time::timeout(SILENCE, self.responses.message()).await;
        assert!(said.is_err(), "{said:?}");
    }

    async fn next(&mut self) -> Result<Option<R>, Status> {
        tokio::time::timeout(PATIENCE, self.responses.message())
            .await
            .expect("something is said in time")
    }
}

/// An Envoy.
pub(crate) fn envoy() -> Node {
    Node {
        id: "vm-1".to_owned(),
        cluster: "vm".to_owned(),
        user_agent_name: "envoy".to_owned(),
        ..Node::default()
    }
}

/// The first request of a stream for that type: of everything where there are no names.
pub(crate) fn first(type_: ResourceType, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(envoy()),
        type_url: type_.url().to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    }
}

/// The same in delta.
pub(crate) fn first_delta(type_: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(envoy()),
        type_url: type_.url().to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// Says that a response is in use.
pub(crate) fn ack(response: &DiscoveryResponse, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: response.version_info.clone(),
        response_nonce: response.nonce.clone(),
        type_url: response.type_url.clone(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    }
}

/// The same in delta.
pub(crate) fn ack_delta(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        response_nonce: response.nonce.clone(),
        type_url: response.type_url.clone(),
        ..DeltaDiscoveryRequest::default()
    }
}
