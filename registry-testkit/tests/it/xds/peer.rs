//! A server of the aggregated service whose every response is a test's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use futures_util::Stream;
use futures_util::stream::poll_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

const DEADLINE: Duration = Duration::from_secs(60);

/// A server; the streams that clients open are taken from it.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    sotw: mpsc::UnboundedReceiver<Session<DiscoveryRequest, DiscoveryResponse>>,
    delta: mpsc::UnboundedReceiver<Session<DeltaDiscoveryRequest, DeltaDiscoveryResponse>>,
    _task: AbortOnDropHandle<()>,
}

/// A stream, from the server's side.
pub(super) struct Session<Q, S> {
    requests: Streaming<Q>,
    responses: mpsc::Sender<Result<S, Status>>,
}

struct Handler {
    sotw: mpsc::UnboundedSender<Session<DiscoveryRequest, DiscoveryResponse>>,
    delta: mpsc::UnboundedSender<Session<DeltaDiscoveryRequest, DeltaDiscoveryResponse>>,
}

type Responses<S> = Pin<Box<dyn Stream<Item = Result<S, Status>> + Send>>;

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to_sotw, sotw) = mpsc::unbounded_channel();
        let (to_delta, delta) = mpsc::unbounded_channel();
        let service = AggregatedDiscoveryServiceServer::new(Handler {
            sotw: to_sotw,
            delta: to_delta,
        });
        let task = tokio::spawn(async move {
            // Connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                let connection = Builder::new(TokioExecutor::new());
                connections
                    .spawn(async move { connection.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        Self {
            address,
            sotw,
            delta,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(super) async fn sotw(&mut self) -> Session<DiscoveryRequest, DiscoveryResponse> {
        let session = tokio::time::timeout(DEADLINE, self.sotw.recv()).await;
        session.expect("a client opens a stream").unwrap()
    }

    pub(super) async fn delta(&mut self) -> Session<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
        let session = tokio::time::timeout(DEADLINE, self.delta.recv()).await;
        session.expect("a client opens a stream").unwrap()
    }
}

impl<Q, S> Session<Q, S> {
    pub(super) async fn request(&mut self) -> Q {
        let request = tokio::time::timeout(DEADLINE, self.requests.message()).await;
        let request = request.expect("a request in time").expect("a stream in order");
        request.expect("a stream that goes on")
    }

    pub(super) async fn respond(&self, response: S) {
        assert!(
            self.responses.send(Ok(response)).await.is_ok(),
            "the client is gone"
        );
    }

    pub(super) async fn end(self, status: Status) {
        assert!(
            self.responses.send(Err(status)).await.is_ok(),
            "the client is gone"
        );
    }
}

fn open<Q, S: Send + 'static>(requests: Streaming<Q>) -> (Session<Q, S>, Response<Responses<S>>) {
    let (responses, mut outgoing) = mpsc::channel(16);
    let outgoing: Responses<S> = Box::pin(poll_fn(move |context| outgoing.poll_recv(context)));
    (Session { requests, responses }, Response::new(outgoing))
}

#[registry_core::async_trait]
impl AggregatedDiscoveryService for Handler {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (session, response) = open(request.into_inner());
        self.sotw
            .send(session)
            .map_err(|_| Status::cancelled("the test is over"))?;
        Ok(response)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (session, response) = open(request.into_inner());
        self.delta
            .send(session)
            .map_err(|_| Status::cancelled("the test is over"))?;
        Ok(response)
    }
}
