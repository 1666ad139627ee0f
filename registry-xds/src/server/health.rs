//! `grpc.health.v1.Health`: whether this server answers yet.

use std::future::pending;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::Body;
use prost::Message;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::body::{Requests, ends};
use super::codec::Outgoing;
use super::method::is_service;

/// Of `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const SERVING: u32 = 1;
const NOT_SERVING: u32 = 2;
const SERVICE_UNKNOWN: u32 = 3;

/// A call of `Check`, or of `Watch`.
#[derive(Debug)]
pub(super) struct Health<B> {
    pub(super) requests: Requests<B>,
    /// True once discovery is ready.
    pub(super) ready: watch::Receiver<bool>,
    /// Cancelled when the connection is to end.
    pub(super) ending: CancellationToken,
    /// Whether changes are wanted.
    pub(super) follow: bool,
}

/// How far a call got.
enum Step<B> {
    Asked(Health<B>),
    Told(Health<B>),
    Over,
}

impl<B> Health<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// The answers, and the status that ends them where that is not OK.
    pub(super) fn answers(self) -> impl Stream<Item = Result<Outgoing, Status>> {
        stream::unfold(Step::Asked(self), |step| async {
            match step {
                Step::Asked(mut health) => {
                    let answer = health.first().await;
                    let next = match &answer {
                        Ok(_) if health.follow => Step::Told(health),
                        _ => Step::Over,
                    };
                    Some((answer, next))
                }
                Step::Told(mut health) => {
                    let answer = health.change().await;
                    let next = match &answer {
                        Ok(_) => Step::Told(health),
                        Err(_) => Step::Over,
                    };
                    Some((answer, next))
                }
                Step::Over => None,
            }
        })
    }

    async fn first(&mut self) -> Result<Outgoing, Status> {
        let message = tokio::select! {
            message = self.requests.next() => message,
            () = self.ending.cancelled() => return Err(ends()),
        };
        let message = message.unwrap_or_else(|| Err(Status::invalid_argument("no request")))?;
        // Its one field is a text at number 1, and so is that of the message that prost reads texts from.
        let service = String::decode(message)
            .map_err(|error| Status::invalid_argument(format!("not a request: {error}")))?;
        if is_service(&service) {
            return self.now();
        }
        if !self.follow {
            return Err(Status::not_found("no such service"));
        }
        // Which services there are never changes.
        self.ready = watch::channel(false).1;
        tell(SERVICE_UNKNOWN)
    }

    async fn change(&mut self) -> Result<Outgoing, Status> {
        tokio::select! {
            () = changed(&mut self.ready) => self.now(),
            () = self.ending.cancelled() => Err(ends()),
        }
    }

    fn now(&mut self) -> Result<Outgoing, Status> {
        tell(if *self.ready.borrow_and_update() {
            SERVING
        } else {
            NOT_SERVING
        })
    }
}

async fn changed(ready: &mut watch::Receiver<bool>) {
    if ready.changed().await.is_err() {
        pending::<()>().await;
    }
}

fn tell(status: u32) -> Result<Outgoing, Status> {
    // Its one field is a number at number 1: see above.
    Outgoing::short(&status.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::{FutureExt, StreamExt};
    use http_body_util::Full;
    use tonic::Code;

    use super::*;

    fn call(
        service: &str,
        follow: bool,
    ) -> (
        watch::Sender<bool>,
        CancellationToken,
        impl Stream<Item = Result<Outgoing, Status>>,
    ) {
        let mut message = service.to_owned().encode_to_vec();
        let length = u8::try_from(message.len()).unwrap();
        message.splice(..0, [0, 0, 0, 0, length]);
        let (sender, ready) = watch::channel(false);
        let ending = CancellationToken::new();
        let health = Health {
            requests: Requests::new(Full::new(Bytes::from(message)), &Arc::default()),
            ready,
            ending: ending.clone(),
            follow,
        };
        (sender, ending, Box::pin(health.answers()))
    }

    fn status(answer: Option<Result<Outgoing, Status>>) -> u8 {
        let mut piece = bytes::BytesMut::new();
        answer.unwrap().unwrap().fill(&mut piece, 100);
        assert_eq!(piece[..6], [0, 0, 0, 0, 2, 8]);
        piece[6]
    }

    #[tokio::test]
    async fn check_answers_once_and_knows_the_services() {
        for (service, ready) in [
            ("", false),
            ("", true),
            ("envoy.service.discovery.v3.AggregatedDiscoveryService", true),
        ] {
            let (sender, _ending, mut answers) = call(service, false);
            sender.send(ready).unwrap();
            assert_eq!(status(answers.next().await), if ready { 1 } else { 2 });
            assert!(answers.next().await.is_none());
        }
        let (_sender, _ending, mut answers) = call("grpc.nosuch", false);
        let error = answers.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
    }

    #[tokio::test]
    async fn watch_tells_each_change_until_the_connection_ends() {
        let (sender, ending, mut answers) = call("", true);
        assert_eq!(status(answers.next().await), 2);
        assert!(answers.next().now_or_never().is_none());
        sender.send(true).unwrap();
        assert_eq!(status(answers.next().await), 1);
        drop(sender);
        assert!(answers.next().now_or_never().is_none());
        ending.cancel();
        let error = answers.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        assert!(answers.next().await.is_none());

        let (sender, _ending, mut answers) = call("grpc.nosuch", true);
        assert_eq!(status(answers.next().await), 3);
        sender.send_replace(true);
        assert!(answers.next().now_or_never().is_none());
    }
}
