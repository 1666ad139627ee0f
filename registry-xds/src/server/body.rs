//! The two halves of a gRPC call: requests out of an HTTP body, responses into one.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use tonic::Status;

use super::codec::{Outgoing, PREFIX};

/// The longest request. A client that comes back with 100 000 names and what it has of each sends 10 MiB.
pub(super) const LONGEST: usize = 64 * 1024 * 1024;

/// How large a piece of the answer is, give or take a resource: two frames of HTTP/2.
const PIECE: usize = 32 * 1024;

/// The messages in a request's body. Holds no memory between two of them.
#[derive(Debug)]
pub(super) struct Requests<B> {
    body: B,
    read: BytesMut,
}

impl<B: Body<Data = Bytes> + Unpin> Requests<B> {
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            read: BytesMut::new(),
        }
    }

    /// The next message; `None` where the client has no more. Cancel safe.
    ///
    /// # Errors
    ///
    /// A message that is too long, compressed or cut off; or a connection that broke.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.take() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(Status::cancelled("the client is gone")))),
                None if self.read.is_empty() => return Poll::Ready(None),
                None => {
                    return Poll::Ready(Some(Err(Status::invalid_argument("a message is cut off"))));
                }
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((prefix, rest)) = self.read.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *prefix;
        if compressed != 0 {
            return Err(Status::unimplemented("requests cannot be compressed"));
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(Status::resource_exhausted(format!(
                "a request of {length} bytes; {LONGEST} are allowed"
            )));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.read.advance(PREFIX);
        let message = self.read.split_to(length).freeze();
        if self.read.is_empty() {
            // Else the largest request would be held as long as the stream lives.
            self.read = BytesMut::new();
        }
        Ok(Some(message))
    }
}

/// How calls end when their connection does, whatever the reason.
pub(super) fn ends() -> Status {
    Status::unavailable("the server ends this connection: connect again")
}

/// What a call is answered with, one after the other.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<Outgoing, Status>> + Send>>;

/// The body of an answer. The next message is asked for when the last one has left in pieces: a client that does not read
/// has one piece here, and is computed nothing for.
#[derive(Default)]
pub(super) struct AnswerBody {
    answers: Option<Answers>,
    leaving: Option<Outgoing>,
    /// How it ends, once that is known.
    status: Option<Status>,
}

impl AnswerBody {
    pub(super) fn new(answers: Answers) -> Self {
        Self {
            answers: Some(answers),
            ..Self::default()
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let mut piece = BytesMut::new();
        loop {
            if let Some(leaving) = &mut this.leaving {
                // With room for the last resource, so that it does not move all others.
                piece.reserve(leaving.left().min(PIECE + PIECE / 4));
                leaving.fill(&mut piece, PIECE);
                if leaving.left() == 0 {
                    this.leaving = None;
                }
            }
            if piece.len() >= PIECE {
                break;
            }
            let Some(answers) = &mut this.answers else {
                break;
            };
            match answers.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(next))) => this.leaving = Some(next),
                Poll::Ready(end) => {
                    this.answers = None;
                    this.status = Some(end.and_then(Result::err).unwrap_or_else(|| Status::ok("")));
                }
                Poll::Pending if piece.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !piece.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(piece.freeze()))));
        }
        Poll::Ready(this.status.take().map(|status| {
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            Ok(Frame::trailers(trailers))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.answers.is_none() && self.leaving.is_none() && self.status.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::BodyExt;
    use tonic::Code;

    use super::*;

    /// A body that comes in these parts.
    struct Parts(VecDeque<Bytes>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
        }
    }

    fn requests(bytes: &[u8], size: usize) -> Requests<Parts> {
        Requests::new(Parts(bytes.chunks(size).map(Bytes::copy_from_slice).collect()))
    }

    #[tokio::test]
    async fn requests_are_read_however_they_are_cut() {
        let wire = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x02de";
        for size in 1..=wire.len() {
            let mut requests = requests(wire, size);
            for expected in ["abc", "", "de"] {
                assert_eq!(requests.next().await.unwrap().unwrap(), expected);
            }
            assert!(requests.next().await.is_none());
            assert_eq!(requests.read.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn requests_that_are_cut_off_compressed_or_too_long_end_the_stream() {
        for (wire, code) in [
            (&b"\0\0\0\0\x03ab"[..], Code::InvalidArgument),
            (b"\0\0", Code::InvalidArgument),
            (b"\x01\0\0\0\x03abc", Code::Unimplemented),
            (b"\0\xff\xff\xff\xff", Code::ResourceExhausted),
            (b"\0\x04\0\0\x01", Code::ResourceExhausted),
        ] {
            let status = requests(wire, 4).next().await.unwrap().unwrap_err();
            assert_eq!(status.code(), code, "{wire:?}");
        }
    }

    #[tokio::test]
    async fn short_answers_share_a_piece_and_the_status_comes_last() {
        let answers = stream::iter([
            Outgoing::short(b"a"),
            Outgoing::short(b"bc"),
            Err(Status::unavailable("later")),
        ]);
        let mut body = AnswerBody::new(Box::pin(answers));
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, &b"\0\0\0\0\x01a\0\0\0\0\x02bc"[..]);
        assert!(!body.is_end_stream());
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
        assert_eq!(trailers["grpc-message"], "later");
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_is_asked_for_when_the_one_before_has_left() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let answers = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Outgoing::short(&vec![b'x'; PIECE])
        })
        .take(3);
        let mut body = AnswerBody::new(Box::pin(answers));
        for read in 1..=3 {
            let piece = body.frame().now_or_never().unwrap().unwrap().unwrap();
            assert_eq!(piece.into_data().unwrap().len(), PIECE + PREFIX);
            assert_eq!(asked.load(Ordering::Relaxed), read);
        }
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    }
}
