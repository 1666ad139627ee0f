//! Answers as they come in, each with a time by which something has to have come.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use registry_core::{Control, ErrorKind, RegistryError, duration};
use tokio::time::{Instant, Sleep, sleep_until};

use super::lines::{Line, Lines};
use crate::transport::{Body, Refusal};

/// A watch whose server says nothing for this long after it should have ended it counts as dead.
const GRACE: Duration = Duration::from_secs(10);
/// The first part of a streaming list may pause for this long, beyond what an answer may take.
const PAUSE: Duration = Duration::from_secs(5);
/// A page has to be there within this many times of what its head may take, however steadily it trickles in.
const PATIENCES: u32 = 60;

/// One request, counted when it is over: as failed where that was said of it.
#[derive(Debug)]
pub(super) struct Request {
    control: Control,
    failed: bool,
    /// How it is called in messages.
    pub(super) asked: String,
    pub(super) sent: Instant,
}

/// The future of an answer's head.
pub(super) type Head = Pin<Box<dyn Future<Output = Result<Body, Refusal>> + Send>>;

/// A request that is waiting for the head of its answer.
pub(super) struct Asking {
    request: Request,
    head: Head,
    longest: Duration,
    timer: Pin<Box<Sleep>>,
}

/// The body of a page.
pub(super) struct PageBody {
    request: Request,
    body: Body,
    /// What has come, put together once: a buffer that grows would be copied each time.
    read: Vec<Bytes>,
    length: usize,
    most: usize,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
}

/// The body of a watch.
pub(super) struct WatchBody {
    pub(super) request: Request,
    body: Body,
    lines: Lines,
    ended: bool,
    opened: Instant,
    heard: Instant,
    /// After which the server ends it.
    pub(super) term: Duration,
    /// How long it may be silent, while it is the first part of a streaming list.
    pause: Option<Duration>,
    timer: Pin<Box<Sleep>>,
}

/// What comes of a watch.
#[derive(Debug)]
pub(super) enum Piece {
    Line(Line),
    /// So many bytes, of which the lines follow.
    Heard(usize),
    /// The end, and what was left without the end of a line.
    Ended(Option<Line>),
    Broken(RegistryError),
    /// Nothing has come for too long.
    Silent(RegistryError),
}

// === impl Request ===

impl Request {
    pub(super) fn new(control: &Control, asked: String) -> Self {
        Self {
            control: control.clone(),
            failed: false,
            asked,
            sent: Instant::now(),
        }
    }

    /// The server has answered. Where it is may not have been known before.
    pub(super) fn answered_by(&mut self, base: &str) {
        if self.asked.starts_with("GET /") {
            self.asked.insert_str("GET ".len(), base);
        }
    }

    pub(super) fn has_failed(&mut self) {
        self.failed = true;
    }

    fn error(&self, kind: ErrorKind, what: &str) -> RegistryError {
        RegistryError::new(kind, format!("{}: {what}", self.asked))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.control.meter().count_request(self.failed);
    }
}

// === impl Asking ===

impl Asking {
    /// `longest` is a backstop: the transport keeps the time of the head by itself.
    pub(super) fn new(request: Request, head: Head, longest: Duration) -> Self {
        let timer = Box::pin(sleep_until(request.sent + longest));
        Self {
            request,
            head,
            longest,
            timer,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, Refusal>> {
        if let Poll::Ready(answer) = self.head.as_mut().poll(cx) {
            self.request.failed = answer.is_err();
            return Poll::Ready(answer);
        }
        std::task::ready!(self.timer.as_mut().poll(cx));
        self.request.failed = true;
        let what = format!("no answer within {}", duration::format(self.longest));
        Poll::Ready(Err(Refusal::trouble(
            self.request.error(ErrorKind::Unreachable, &what),
        )))
    }

    pub(super) fn into_request(self) -> Request {
        self.request
    }
}

// === impl PageBody ===

impl PageBody {
    pub(super) fn new(request: Request, body: Body, most: usize, patience: Duration) -> Self {
        Self {
            request,
            body,
            read: Vec::new(),
            length: 0,
            most,
            patience,
            timer: Box::pin(sleep_until(Instant::now() + patience)),
        }
    }

    /// The whole body, and how the request is called.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, RegistryError>> {
        let whole = std::task::ready!(self.poll_whole(cx));
        self.request.failed = whole.is_err();
        Poll::Ready(whole)
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, RegistryError>> {
        let latest = self.request.sent + self.patience * PATIENCES;
        loop {
            match self.body.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    if self.length + chunk.len() > self.most {
                        let what = format!(
                            "found more than {most} bytes, expected a page of at most {most} (max_page_bytes)",
                            most = self.most
                        );
                        return Poll::Ready(Err(self.request.error(ErrorKind::Limit, &what)));
                    }
                    self.length += chunk.len();
                    self.read.push(chunk);
                    let next = (Instant::now() + self.patience).min(latest);
                    self.timer.as_mut().reset(next);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(self.whole())),
                Poll::Pending => break,
            }
        }
        std::task::ready!(self.timer.as_mut().poll(cx));
        let what = format!(
            "the answer stopped after {} bytes, expected more of it within {}",
            self.length,
            duration::format(self.patience)
        );
        Poll::Ready(Err(self.request.error(ErrorKind::Unreachable, &what)))
    }

    fn whole(&mut self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.length);
        for chunk in self.read.drain(..) {
            whole.extend_from_slice(&chunk);
        }
        whole.freeze()
    }

    pub(super) fn into_request(self) -> Request {
        self.request
    }
}

// === impl WatchBody ===

impl WatchBody {
    /// `patience` is set for a streaming list.
    pub(super) fn new(
        request: Request,
        body: Body,
        most: usize,
        term: Duration,
        patience: Option<Duration>,
    ) -> Self {
        let opened = Instant::now();
        let mut reading = Self {
            request,
            body,
            lines: Lines::new(most),
            ended: false,
            opened,
            heard: opened,
            term,
            pause: patience.map(|patience| patience + PAUSE),
            timer: Box::pin(sleep_until(opened)),
        };
        let latest = reading.latest();
        reading.timer.as_mut().reset(latest);
        reading
    }

    /// The streaming list is complete; what comes now is a watch.
    pub(super) fn watch_on(&mut self) {
        self.pause = None;
        let latest = self.latest();
        self.timer.as_mut().reset(latest);
    }

    /// How long ago it was asked for.
    pub(super) fn age(&self) -> Duration {
        self.request.sent.elapsed()
    }

    /// By when something has to have come.
    fn latest(&self) -> Instant {
        match self.pause {
            Some(pause) => self.heard + pause,
            // A server that is late, and still speaks, is not dead.
            None if self.heard > self.opened + self.term => self.heard + self.term + GRACE,
            None => self.opened + self.term + GRACE,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Some(line) = self.lines.next() {
            return Poll::Ready(Piece::Line(line));
        }
        if self.ended {
            return Poll::Ready(Piece::Ended(None));
        }
        match self.body.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                let length = chunk.len();
                if length > 0 {
                    self.heard = Instant::now();
                }
                self.lines.push(chunk);
                return Poll::Ready(Piece::Heard(length));
            }
            Poll::Ready(Some(Err(error))) => {
                self.ended = true;
                return Poll::Ready(Piece::Broken(error));
            }
            Poll::Ready(None) => {
                self.ended = true;
                return Poll::Ready(Piece::Ended(self.lines.finish()));
            }
            Poll::Pending => {}
        }
        // Re-armed only when it fires: there may be a thousand chunks a second.
        loop {
            std::task::ready!(self.timer.as_mut().poll(cx));
            let latest = self.latest();
            if latest <= Instant::now() {
                break;
            }
            self.timer.as_mut().reset(latest);
        }
        let what = format!(
            "nothing was heard for {}, and the server should have ended the watch after {}",
            duration::format(Duration::from_secs(self.heard.elapsed().as_secs())),
            duration::format(self.term)
        );
        Poll::Ready(Piece::Silent(self.request.error(ErrorKind::Unreachable, &what)))
    }
}
