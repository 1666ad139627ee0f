//! Bodies of answers: in pieces, and the beginnings of those that tell of an error.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body::Body as _;
use registry_core::{ErrorKind, RegistryError};
use tokio::time::{Instant, timeout_at};

use super::cause::Cause;

/// A body as a stream. It ends after an error, and dropping it half-way closes its connection.
pub(super) struct Pieces {
    body: Option<kube::client::Body>,
    asked: String,
    _live: Arc<()>,
}

impl Pieces {
    /// `asked` is for messages; `live` is held for as long as the body is.
    pub(super) fn new(body: kube::client::Body, asked: String, live: Arc<()>) -> Self {
        Self {
            body: Some(body),
            asked,
            _live: live,
        }
    }

    /// As much of the body as comes until then, and no more than that.
    pub(super) async fn beginning(mut self, most: usize, deadline: Instant) -> Vec<u8> {
        let mut beginning = Vec::new();
        while beginning.len() < most
            && let Ok(Some(Ok(piece))) = timeout_at(deadline, self.next()).await
        {
            let room = most - beginning.len();
            beginning.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        beginning
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => {
                    self.body = None;
                    return Poll::Ready(None);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    // Trailers say nothing here.
                    Ok(_) | Err(_) => {}
                },
                Some(Err(error)) => {
                    self.body = None;
                    let text = format!("{}: the answer broke off: {}", self.asked, Cause::of(&error).text);
                    return Poll::Ready(Some(Err(RegistryError::new(ErrorKind::Unreachable, text))));
                }
            }
        }
    }
}
