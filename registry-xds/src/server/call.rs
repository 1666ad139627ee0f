//! One call: from the head of a request to the body of its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method as Verb, Request, Response, StatusCode, header};
use http_body::Body;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::body::{AnswerBody, Answers, Requests};
use super::budget::Budget;
use super::clients::Clients;
use super::health::Health;
use super::method::Method;
use super::stream::Conversation;
use crate::views::Views;

/// What calls of all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) views: Views,
    pub(super) clients: Arc<Clients>,
    /// Of requests that have come in part.
    pub(super) unfinished: Arc<Budget>,
    /// True once discovery is ready.
    pub(super) ready: watch::Receiver<bool>,
}

/// What calls of one connection share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: SocketAddr,
    /// The name that let the client in, if one was needed; or why it may not have anything.
    pub(super) identity: Result<Option<String>, String>,
    /// How this server is called in responses.
    pub(super) name: Arc<str>,
    /// Cancelled when the connection is to end.
    pub(super) ending: CancellationToken,
}

impl Connection {
    /// Answers a request. Errors of gRPC are answers too.
    pub(super) fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        if request.method() != Verb::POST || !is_grpc(request.headers().get(header::CONTENT_TYPE)) {
            let mut response = Response::new(AnswerBody::default());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        self.call(request).unwrap_or_else(Status::into_http)
    }

    fn call<B>(&self, request: Request<B>) -> Result<Response<AnswerBody>, Status>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let identity = self.identity.clone().map_err(|why| {
            self.shared.clients.refuse();
            Status::permission_denied(why)
        })?;
        let path = request.uri().path();
        let method = Method::of(path).ok_or_else(|| Status::unimplemented("no such method"))?;
        if let Some(encoding) = request.headers().get("grpc-encoding")
            && encoding != "identity"
        {
            return Err(Status::unimplemented("requests cannot be compressed"));
        }
        let requests = Requests::new(request.into_body(), &self.shared.unfinished);
        let answers: Answers = match method {
            Method::Discovery(variant, only) => {
                let registration = self.shared.clients.register(self.peer, identity, variant, only);
                let conversation = Conversation {
                    variant,
                    only,
                    requests,
                    views: self.shared.views.clone(),
                    registration,
                    name: self.name.clone(),
                    ending: self.ending.clone(),
                };
                Box::pin(conversation.responses())
            }
            Method::Check | Method::Watch => {
                let health = Health {
                    requests,
                    ready: self.shared.ready.clone(),
                    ending: self.ending.clone(),
                    follow: method == Method::Watch,
                };
                Box::pin(health.answers())
            }
        };
        let mut response = Response::new(AnswerBody::new(answers));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(response)
    }
}

fn is_grpc(content_type: Option<&HeaderValue>) -> bool {
    let Some(rest) = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc")) else {
        return false;
    };
    // Not `application/grpc-web`, which frames messages otherwise.
    matches!(rest.first(), None | Some(b'+' | b';'))
}
