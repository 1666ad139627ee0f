//! One GET request, independent of the server it will go to.

use std::{borrow::Cow, fmt, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::ACCEPT};

/// Which part of the budget a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lane {
    /// A short read.
    Read,
    /// A long poll, parked for most of its life; it cannot take what is reserved for reads.
    Watch,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// One request at a time on a connection.
    Http1,
    /// Many requests on a connection; spoken only over TLS, where both ends agree on it.
    Http2,
}

/// Which failures make the client move on to the next base URL.
///
/// A connection that cannot be made always does, and the same request is tried at the next one, so it has no flag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailOver {
    /// An answer of 500 or above: the request is tried at the next base URL, and the last answer is returned.
    pub on_server_error: bool,
    /// The deadline passed: the next request goes elsewhere (this one has no time left).
    pub on_timeout: bool,
    /// The connection closed before an answer: the request is tried at the next base URL.
    pub on_close: bool,
}

/// A GET request.
///
/// ```
/// use std::time::Duration;
/// use registry_http::Request;
///
/// let poll = Request::get("/v1/health/service/web")
///     .with_query("index", "17")
///     .with_query("wait", "30s")
///     .with_wait(Duration::from_secs(30));
/// // 30 s, a sixteenth of it as jitter of the server, and 10 s of slack.
/// assert_eq!(poll.deadline(), Some(Duration::from_millis(41_875)));
/// ```
#[derive(Clone)]
pub struct Request {
    path: String,
    query: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    headers: HeaderMap,
    deadline: Option<Duration>,
    lane: Lane,
    fail_over: FailOver,
}

// === impl Lane ===

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lane::Read => "read",
            Lane::Watch => "watch",
        })
    }
}

// === impl FailOver ===

impl FailOver {
    /// Moves on after each of them: for servers that are replicas of each other.
    pub fn always() -> Self {
        Self {
            on_server_error: true,
            on_timeout: true,
            on_close: true,
        }
    }
}

// === impl Request ===

impl Request {
    /// What time a long poll has beyond its wait, besides a sixteenth of it: for the answer's way and a slow body.
    pub const WAIT_SLACK: Duration = Duration::from_secs(10);

    /// A short read of a path below the base URL: empty, or starting with a slash; it may have a query.
    ///
    /// Names in it go through [`encode_segment`](crate::encode_segment). A path that would leave its place by `..` is
    /// refused when it is sent.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            deadline: None,
            lane: Lane::Read,
            fail_over: FailOver::default(),
        }
    }

    /// Adds a query parameter; key and value are encoded.
    #[must_use]
    pub fn with_query(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.query.push((key.into(), value.into()));
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the `Accept` header.
    #[must_use]
    pub fn with_accept(self, media_type: &'static str) -> Self {
        self.with_header(ACCEPT, HeaderValue::from_static(media_type))
    }

    /// Sets the hard deadline of the whole exchange, body included, in place of the client's `request_timeout`.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Makes it a long poll that the server parks for up to `wait`: the watch lane, and a deadline of
    /// `wait + wait/16 + 10 s` (servers add up to a sixteenth so that not all polls end at once).
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.lane = Lane::Watch;
        self.with_deadline(wait + wait / 16 + Self::WAIT_SLACK)
    }

    /// Sets the lane.
    #[must_use]
    pub fn with_lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Says which failures, besides a failed connect, move on to the next base URL.
    #[must_use]
    pub fn with_fail_over(mut self, fail_over: FailOver) -> Self {
        self.fail_over = fail_over;
        self
    }

    /// The path, with the query given in it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query parameters added to it.
    pub fn query(&self) -> &[(Cow<'static, str>, Cow<'static, str>)] {
        &self.query
    }

    /// The deadline, where it has one of its own.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The lane.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn fail_over(&self) -> FailOver {
        self.fail_over
    }
}

/// Neither header values nor query values are shown: backends may put a token there.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        f.debug_struct("Request")
            .field("path", &path)
            .field(
                "query",
                &self.query.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            )
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("deadline", &self.deadline)
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}
