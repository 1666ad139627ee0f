//! A stream on which every request is the test's own.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use futures_util::stream::poll_fn;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::protocol::{Protocol, Service, Subscription};
use crate::Error;

/// One stream of a client.
///
/// The first request carries the node, others do not. Nothing is read from the server while nobody receives, beyond a
/// response or two: a test that does not receive is a client that has stalled. Dropping it resets the stream.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use std::time::Duration;
///
/// use registry_testkit::xds::{CDS, Delta, Service, Stream, channel, envoy_node};
///
/// let channel = channel(([127, 0, 0, 1], 18_000).into())?;
/// let mut stream = Stream::<Delta>::open(channel, Service::Aggregated, envoy_node("vm-1", ""));
/// stream.subscribe(CDS, &[], &[]);
/// let response = stream.recv(Duration::from_secs(60)).await?;
/// stream.ack(&response);
/// stream.expect_nothing(Duration::from_millis(200)).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Stream<P: Protocol> {
    node: Option<Node>,
    auto_ack: bool,
    subscriptions: BTreeMap<String, Subscription>,
    /// `None` once the client has said that it has no more requests.
    requests: Option<mpsc::UnboundedSender<P::Request>>,
    responses: mpsc::Receiver<Result<P::Response, Status>>,
    _task: AbortOnDropHandle<()>,
}

impl<P: Protocol> Stream<P> {
    /// Opens a stream. It does not wait for the server: what goes wrong is told when a response is received.
    #[must_use]
    pub fn open(channel: Channel, service: Service, node: Node) -> Self {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let (incoming, responses) = mpsc::channel(1);
        let path = service.path(P::METHOD);
        let task = tokio::spawn(carry::<P>(channel, path, outgoing, incoming));
        Self {
            node: Some(node),
            auto_ack: false,
            subscriptions: BTreeMap::new(),
            requests: Some(requests),
            responses,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Acknowledges every response as soon as it is received.
    #[must_use]
    pub fn acknowledging(mut self) -> Self {
        self.auto_ack = true;
        self
    }

    /// Begins with the versions that an earlier stream of the client ended with, as first requests in state-of-the-world
    /// say.
    #[must_use]
    pub fn resuming(mut self, earlier: &Self) -> Self {
        for (type_url, subscription) in &earlier.subscriptions {
            let resumed = self.subscriptions.entry(type_url.clone()).or_default();
            resumed.version.clone_from(&subscription.version);
        }
        self
    }

    /// Sends a request as it is; the first one of the stream gets the node unless it has one.
    pub fn send(&mut self, mut request: P::Request) {
        if let Some(node) = self.node.take()
            && !P::has_node(&request)
        {
            request = P::with_node(request, node);
        }
        let (type_url, names) = P::asked(&request);
        let names = names.map(<[String]>::to_vec);
        let subscription = self.subscriptions.entry(type_url.to_owned()).or_default();
        subscription.asked = true;
        if let Some(names) = names {
            subscription.names = names;
        }
        if let Some(requests) = &self.requests {
            // A stream that has ended says so to who receives.
            let _ = requests.send(request);
        }
    }

    /// Sends a request without a node although it is the stream's first.
    pub fn send_without_node(&mut self, request: P::Request) {
        self.node = None;
        self.send(request);
    }

    /// Asks for names: in state-of-the-world for `names` instead of all that were asked for before, in delta for
    /// `names` and no more for `dropped`. In the first request of CDS and LDS no names mean everything.
    pub fn subscribe(&mut self, type_url: &str, names: &[&str], dropped: &[&str]) {
        self.subscribe_with(type_url, names, dropped, BTreeMap::new());
    }

    /// As [`subscribe`](Self::subscribe), and says which versions the client holds, as the first request of a delta
    /// stream does after a reconnect.
    pub fn subscribe_with(
        &mut self,
        type_url: &str,
        names: &[&str],
        dropped: &[&str],
        versions: BTreeMap<String, String>,
    ) {
        let own = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
        let mut subscription = self.subscriptions.get(type_url).cloned().unwrap_or_default();
        subscription.names = own(names);
        let request = P::subscribe(type_url, &subscription, &own(names), &own(dropped), versions);
        self.send(request);
    }

    /// Whether there was a request of the type.
    pub(super) fn has_asked(&self, type_url: &str) -> bool {
        self.subscriptions
            .get(type_url)
            .is_some_and(|subscription| subscription.asked)
    }

    /// The next response.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when there is none in time, [`Error::Rpc`] when the stream has ended: with the status, or
    /// with the code `Ok` where the server ended it in order.
    pub async fn recv(&mut self, deadline: Duration) -> Result<P::Response, Error> {
        let Ok(received) = tokio::time::timeout(deadline, self.responses.recv()).await else {
            return Err(Error::Deadline {
                what: "a response of the xDS server".to_owned(),
                after: deadline,
            });
        };
        let ended = Status::ok("the server ended the stream");
        let response = received.unwrap_or(Err(ended)).map_err(|status| Error::Rpc {
            code: format!("{:?}", status.code()),
            message: status.message().to_owned(),
        })?;
        let type_url = P::type_url(&response).to_owned();
        self.subscriptions.entry(type_url).or_default().nonce = P::nonce(&response).to_owned();
        if self.auto_ack {
            self.ack(&response);
        }
        Ok(response)
    }

    /// Makes sure that there is no response for that long.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] with the response when there is one, [`Error::Rpc`] when the stream has ended.
    pub async fn expect_nothing(&mut self, time: Duration) -> Result<(), Error> {
        match self.recv(time).await {
            Ok(response) => Err(Error::Unexpected {
                what: format!("a response: {response:?}"),
            }),
            Err(Error::Deadline { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says that the response is accepted.
    pub fn ack(&mut self, response: &P::Response) {
        let subscription = self
            .subscriptions
            .entry(P::type_url(response).to_owned())
            .or_default();
        subscription.version = P::version(response).to_owned();
        let request = P::reply(response, subscription, None);
        self.send(request);
    }

    /// Says that the response is refused, and why.
    pub fn nack(&mut self, response: &P::Response, reason: &str) {
        let subscription = self.subscriptions.entry(P::type_url(response).to_owned());
        let request = P::reply(response, subscription.or_default(), Some(reason));
        self.send(request);
    }

    /// Says that there are no more requests; the server may still respond.
    pub fn finish(&mut self) {
        self.requests = None;
    }
}

/// Carries a stream's requests and responses, until one of the two ends is gone.
async fn carry<P: Protocol>(
    channel: Channel,
    path: String,
    mut outgoing: mpsc::UnboundedReceiver<P::Request>,
    incoming: mpsc::Sender<Result<P::Response, Status>>,
) {
    let call = async {
        let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
        let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX);
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        grpc.ready().await.map_err(unavailable)?;
        let requests = Request::new(poll_fn(move |context| outgoing.poll_recv(context)));
        let codec = ProstCodec::<P::Request, P::Response>::default();
        let mut responses = grpc.streaming(requests, path, codec).await?.into_inner();
        while let Some(response) = responses.message().await? {
            if incoming.send(Ok(response)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    if let Err(status) = call.await {
        let _ = incoming.send(Err(status)).await;
    }
}
