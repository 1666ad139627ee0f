//! Faults as data: what goes wrong, and for which requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What a [`FaultProxy`](crate::FaultProxy) does wrong.
///
/// There are three kinds:
///
/// - *Connection faults* (`Connect…`, [`Fault::TooManyRequests`]) happen right after a connection was accepted,
///   before anything is read from it. Their rules count connections, and ignore the path.
/// - *Exchange faults* change or withhold the answer to a request. Their rules count requests.
/// - *Wire faults* (from [`Fault::Drip`] on) change how that answer is written.
///
/// When several rules match a request, all of their faults apply, in the order of the rules' injection; so
/// `SetHeader` and `CutBody` together give a truncated answer with a wrong header.
///
/// # Streams
///
/// A [stream](crate::proxy#streams) is answered when its head is passed on. Rules that are injected later strike it in
/// the middle, and count it, where their fault is [`Latency`](Self::Latency), [`MapLine`](Self::MapLine),
/// [`Drip`](Self::Drip), [`StallAfter`](Self::StallAfter), [`CutBody`](Self::CutBody) or
/// [`CutAnswer`](Self::CutAnswer); bytes are counted from then on. A rule that is taken back lets a stream go on where
/// it stopped. [`MapBody`](Self::MapBody) and [`Duplicate`](Self::Duplicate) need the whole body: where they are in force
/// as the head arrives, nothing is passed on before the end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is accepted and reset (RST), as Consul 1.8 does beyond its connection limit.
    ConnectReset,
    /// The connection is accepted and closed (FIN) without a byte.
    ConnectClose,
    /// `429 Too Many Requests` is written before the request is read, then the connection is closed, as
    /// current Consul does beyond its connection limit. A pooled client may see it as an unsolicited answer,
    /// as a reset or as a broken pipe.
    TooManyRequests,

    /// The request is read and never answered; the connection stays open.
    BlackHole,
    /// The request is read and the connection is reset; upstream does not see the request.
    Reset,
    /// The request is read and the connection is closed without an answer; upstream does not see the request.
    Close,
    /// The answer is written so much later than it came. In raw mode, and in a stream after its head: each block
    /// of bytes from upstream.
    Latency(Duration),
    /// The proxy answers at once by itself; upstream does not see the request.
    Respond {
        /// The status code.
        status: u16,
        /// All headers but those of the framing.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// The body is replaced, the status and the headers stay.
    ReplaceBody(Bytes),
    /// The body goes through a function. Upstream is asked not to compress it.
    MapBody(BodyMap),
    /// Each line of the body goes through a function: it says what to write instead, or `None` to leave the line out.
    /// It gets the line without its line feed, which is added again. In a stream, lines are passed on when they are
    /// complete. What is no UTF-8, and lines of more than 16 MiB, pass as they are.
    MapLine(LineMap),
    /// A header gets this value, in the place of all that it had. The proxy writes `Content-Length` and
    /// `Transfer-Encoding` itself; to break them see [`Fault::ExcessLength`] and [`Fault::Unterminated`].
    SetHeader(String, String),
    /// A header gets this value beside those that it has.
    AddHeader(String, String),
    /// A header is left out.
    RemoveHeader(String),
    /// When upstream has answered, its first recorded answer for the same path (whatever the query) is sent
    /// in the place of the new one.
    ReplayFirst,
    /// When upstream has answered, the answer that it gave before for the same path is sent instead. The first
    /// answer of a path passes unchanged.
    ReplayPrevious,
    /// The answer is held until another answer for the same path has passed completely, at most for the
    /// given time. Give its rule a limit ([`Match::times`] or [`Match::nth`]): held answers do not let each
    /// other pass.
    HoldUntilNext(Duration),

    /// The head at once, then one byte of the body per interval. In raw mode: one byte from upstream per
    /// interval.
    Drip(Duration),
    /// The head and so many bytes of the body, then nothing; the connection stays open. A body that is not
    /// longer lacks only its end mark: the last chunk, where it is chunked. In raw mode: so many bytes from
    /// upstream per connection.
    StallAfter(usize),
    /// The head and so many bytes of the body, then the connection is closed. Where the body is chunked, the
    /// chunk before the cut is whole and the last chunk is missing.
    CutBody(usize),
    /// So many bytes of the answer, counted from its status line, then the connection is closed. In raw mode:
    /// so many bytes from upstream per connection.
    CutAnswer(usize),
    /// `Content-Length` is too large by so much; after the body the connection is closed. (With a
    /// [`Fault::StallAfter`] beside it, it stays open.)
    ExcessLength(usize),
    /// The body is chunked and complete but for the last chunk; then the connection is closed.
    Unterminated,
    /// The answer is written twice; the client has asked only once.
    Duplicate,
}

impl Fault {
    /// A [`Fault::Respond`].
    pub fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self::Respond {
            status,
            headers,
            body: body.into(),
        }
    }

    /// A [`Fault::ReplaceBody`].
    pub fn replace_body(body: impl Into<Bytes>) -> Self {
        Self::ReplaceBody(body.into())
    }

    /// A [`Fault::MapBody`].
    pub fn map_body(map: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self::MapBody(BodyMap(Arc::new(map)))
    }

    /// A [`Fault::MapLine`].
    ///
    /// ```
    /// use registry_testkit::Fault;
    ///
    /// // Bookmarks are lost, and one slice cannot be decoded.
    /// let fault = Fault::map_line(|line| match line {
    ///     line if line.contains(r#""type":"BOOKMARK""#) => None,
    ///     line if line.contains(r#""name":"web-1""#) => Some(line.replace(r#""IPv4""#, "7")),
    ///     line => Some(line.to_owned()),
    /// });
    /// ```
    pub fn map_line(map: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::MapLine(LineMap::new(map))
    }

    /// A [`Fault::SetHeader`].
    pub fn set_header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::SetHeader(name.into(), value.into())
    }

    /// A [`Fault::AddHeader`].
    pub fn add_header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::AddHeader(name.into(), value.into())
    }

    /// A [`Fault::RemoveHeader`].
    pub fn remove_header(name: impl Into<String>) -> Self {
        Self::RemoveHeader(name.into())
    }

    /// Whether it strikes before anything is read from a connection.
    pub(crate) fn is_connection_fault(&self) -> bool {
        matches!(
            self,
            Self::ConnectReset | Self::ConnectClose | Self::TooManyRequests
        )
    }

    /// Whether it can strike in the middle of a stream.
    pub(crate) fn strikes_streams(&self) -> bool {
        matches!(
            self,
            Self::Latency(_)
                | Self::MapLine(_)
                | Self::Drip(_)
                | Self::StallAfter(_)
                | Self::CutBody(_)
                | Self::CutAnswer(_)
        )
    }

    /// Whether nothing can be written before the body is complete.
    pub(crate) fn needs_whole_body(&self) -> bool {
        matches!(self, Self::MapBody(_) | Self::Duplicate)
    }

    /// Whether a proxy that sees only bytes can do it.
    pub(crate) fn is_raw(&self) -> bool {
        self.is_connection_fault()
            || matches!(
                self,
                Self::Latency(_) | Self::Drip(_) | Self::StallAfter(_) | Self::CutAnswer(_) | Self::BlackHole
            )
    }
}

/// A function from the body of an answer to the body that is sent.
#[derive(Clone)]
pub struct BodyMap(Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>);

impl BodyMap {
    /// Wraps a function.
    pub fn new(map: Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>) -> Self {
        Self(map)
    }

    pub(crate) fn apply(&self, body: Bytes) -> Bytes {
        (self.0)(body)
    }
}

impl fmt::Debug for BodyMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyMap(..)")
    }
}

/// A function from a line of a body to the line that is sent, if any.
#[derive(Clone)]
pub struct LineMap(Arc<MapsLine>);

type MapsLine = dyn Fn(&str) -> Option<String> + Send + Sync;

impl LineMap {
    /// Wraps a function.
    pub fn new(map: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(map))
    }

    pub(crate) fn apply(&self, line: &str) -> Option<String> {
        (self.0)(line)
    }
}

impl fmt::Debug for LineMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineMap(..)")
    }
}

/// Which requests (or, for connection faults, which connections) a rule strikes.
///
/// It narrows in three steps: the target picks, [`Match::nth`] or [`Match::every`] pick among those by number,
/// and [`Match::times`] limits how many are struck altogether.
///
/// ```
/// use registry_testkit::Match;
///
/// // Of the reads of any service's health, every third one, but not more than ten altogether.
/// let when = Match::path("/v1/health/service/").every(3).times(10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Match {
    target: Target,
    turn: Turn,
    times: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Any,
    Prefix(String),
    Contains(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Each,
    Nth(u64),
    Every(u64),
}

impl Match {
    /// All requests, or all connections.
    pub fn any() -> Self {
        Self::new(Target::Any)
    }

    /// Requests whose path starts so.
    pub fn path(prefix: impl Into<String>) -> Self {
        Self::new(Target::Prefix(prefix.into()))
    }

    /// Requests whose path and query, as sent, contain this text.
    pub fn contains(text: impl Into<String>) -> Self {
        Self::new(Target::Contains(text.into()))
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            turn: Turn::Each,
            times: u64::MAX,
        }
    }

    /// Only the n-th since the rule's injection; the first is 1.
    pub fn nth(mut self, n: u64) -> Self {
        self.turn = Turn::Nth(n);
        self
    }

    /// Only every k-th since the rule's injection: k, 2k, 3k, …
    pub fn every(mut self, k: u64) -> Self {
        self.turn = Turn::Every(k.max(1));
        self
    }

    /// At most so many.
    pub fn times(mut self, n: u64) -> Self {
        self.times = n;
        self
    }

    pub(crate) fn is_about(&self, target: &str) -> bool {
        match &self.target {
            Target::Any => true,
            Target::Prefix(prefix) => target.starts_with(prefix.as_str()),
            Target::Contains(text) => target.contains(text.as_str()),
        }
    }

    /// Whether the one with this number is struck, after so many others were.
    pub(crate) fn strikes(&self, number: u64, struck: u64) -> bool {
        let turn = match self.turn {
            Turn::Each => true,
            Turn::Nth(n) => number == n,
            Turn::Every(k) => number.is_multiple_of(k),
        };
        turn && struck < self.times
    }
}

/// A fault and when it strikes.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Which requests or connections.
    pub when: Match,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// A rule from its two halves.
    pub fn new(when: Match, fault: Fault) -> Self {
        Self { when, fault }
    }

    /// A rule for all requests or connections.
    pub fn always(fault: Fault) -> Self {
        Self::new(Match::any(), fault)
    }
}

/// Names an injected [`Rule`]; never used twice by one proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub(crate) u64);
