//! The two halves of a gRPC call: requests out of an HTTP body, responses into one.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::budget::{Budget, Share};
use super::codec::{Outgoing, PREFIX};

/// The longest request. A client that comes back with 100 000 names and what it has of each sends 10 MiB.
pub(super) const LONGEST: usize = 64 * 1024 * 1024;

/// What of each unfinished request no share is taken for. Flow control lets four times as much of it come unread anyway, and
/// calls that hold all there is to share must not keep those from being read that come in two frames.
const FREE: usize = 64 * 1024;

/// How long a request may be under way: the first one from the beginning of the call, others from their first byte.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How large a piece of the answer is, give or take a resource: two frames of HTTP/2.
const PIECE: usize = 32 * 1024;

/// The messages in a request's body. Holds no memory between two of them.
#[derive(Debug)]
pub(super) struct Requests<B> {
    body: B,
    read: BytesMut,
    /// What `read`, where it is long, takes of what all calls may hold.
    share: Share,
    /// A request is under way, or the first one has still to come.
    due: bool,
    late: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Data = Bytes> + Unpin> Requests<B> {
    pub(super) fn new(body: B, unfinished: &Arc<Budget>) -> Self {
        Self {
            body,
            read: BytesMut::new(),
            share: unfinished.share(),
            due: true,
            late: None,
        }
    }

    /// The next message; `None` where the client has no more. Cancel safe.
    ///
    /// # Errors
    ///
    /// A message that is too long, late, compressed or cut off; or a connection that broke.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.take() {
                Ok(None) if self.share.resize(self.read.len().saturating_sub(FREE)) => {}
                Ok(None) => {
                    let status =
                        Status::resource_exhausted("the server reads too many long requests: try later");
                    return Poll::Ready(Some(Err(status)));
                }
                Ok(Some(message)) => {
                    self.share.resize(self.read.len().saturating_sub(FREE));
                    self.due = !self.read.is_empty();
                    self.late = None;
                    return Poll::Ready(Some(Ok(message)));
                }
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.poll_late(cx));
                let status = Status::deadline_exceeded(format!("no request within {LONGEST_WAIT:?}"));
                return Poll::Ready(Some(Err(status)));
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.due |= !data.is_empty();
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

    /// Resolves when a request is under way for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.due {
            return Poll::Pending;
        }
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(LONGEST_WAIT)));
        late.as_mut().poll(cx)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::{Instant, timeout};
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
        let parts = Parts(bytes.chunks(size).map(Bytes::copy_from_slice).collect());
        Requests::new(parts, &Arc::default())
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

    /// These parts, and then nothing.
    fn unfinished(
        parts: &[&'static [u8]],
        budget: &Arc<Budget>,
    ) -> Requests<impl Body<Data = Bytes> + Unpin + use<>> {
        let parts: Vec<_> = (parts.iter())
            .map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from_static(part))))
            .collect();
        Requests::new(
            StreamBody::new(stream::iter(parts).chain(stream::pending())),
            budget,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_request_ends_and_so_does_one_that_stops_in_the_middle_of_one() {
        for (parts, requests) in [
            (&[][..], 0),
            (&[&b"\0\0\0\0\x03ab"[..]], 0),
            (&[b"\0\0\0\0\x03ab", b"c\0"], 1),
        ] {
            let mut read = unfinished(parts, &Arc::default());
            for _ in 0..requests {
                read.next().await.unwrap().unwrap();
            }
            let start = Instant::now();
            let status = read.next().await.unwrap().unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
            assert!(start.elapsed() >= LONGEST_WAIT);
        }
        // Between two requests there is no hurry.
        let mut read = unfinished(&[b"\0\0\0\0\x03ab", b"c"], &Arc::default());
        assert_eq!(read.next().await.unwrap().unwrap(), "abc");
        assert!(timeout(LONGEST_WAIT * 100, read.next()).await.is_err());
    }

    #[tokio::test]
    async fn calls_hold_so_much_together_and_no_more() {
        /// The beginning of a request of 128 KiB.
        static BEGUN: [u8; FREE + 11] = {
            let mut begun = [0; FREE + 11];
            begun[2] = 2;
            begun
        };
        let budget = Arc::new(Budget::new(20));
        let mut first = unfinished(&[&BEGUN], &budget);
        assert!(first.next().now_or_never().is_none());
        let mut rest = budget.share();
        assert!(rest.resize(9) && !rest.resize(10));
        // A short one needs none of what is held.
        let mut short = unfinished(&[b"\0\0\0\0\x06abc", b"def"], &budget);
        assert_eq!(short.next().await.unwrap().unwrap(), "abcdef");
        drop(rest);
        let mut second = unfinished(&[&BEGUN], &budget);
        let status = second.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        drop(first);
        let mut third = unfinished(&[&BEGUN], &budget);
        assert!(third.next().now_or_never().is_none());
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
