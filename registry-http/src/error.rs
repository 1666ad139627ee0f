//! What can go wrong with a request, and how the layers below are told apart.

use std::{error::Error as StdError, io, path::PathBuf, time::Duration};

use registry_core::ErrorKind;

use crate::{base::RedactedUrl, gate::DialTimeout, request::Lane};

/// A cause from the layers below, with its URL taken out.
pub type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Why there is no answer.
///
/// An answer with a failing status is *not* an error here: backends need its status and text. Every URL shown has its
/// userinfo and token-like query values taken out; no variant ever holds a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configured value cannot be used; trying again does not help.
    #[error("{field}: {reason}")]
    Config {
        /// Name of the field, or the URL that is wrong.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file named in the configuration cannot be read.
    #[error("{field}: cannot read {}", path.display())]
    File {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Certificates or keys that cannot be used, or a client that TLS cannot be set up for.
    #[error("{field}: not usable for TLS")]
    TlsSetup {
        /// The field and file at fault.
        field: String,
        /// Why not.
        #[source]
        source: Source,
    },
    /// The binary did not install a process-wide rustls provider.
    #[error("no rustls crypto provider is installed: call `install_default()` of one at the start of `main`")]
    NoCryptoProvider,
    /// The credential's file or variable gives nothing that could be sent.
    #[error("credential: {origin} {reason}")]
    Credential {
        /// The file or the environment variable.
        origin: String,
        /// What is wrong with it, never its content.
        reason: &'static str,
        /// The reading error, where there is one.
        #[source]
        source: Option<io::Error>,
    },
    /// A path or header of the request cannot be sent.
    #[error("request path {path:?}: {reason}")]
    Request {
        /// The path without its query.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No connection could be made: refused, unreachable, unknown host, or not in `connect_timeout`.
    #[error("cannot connect for {url}")]
    Connect {
        /// What was asked for.
        url: RedactedUrl,
        /// The dial's error.
        #[source]
        source: Source,
    },
    /// The handshake failed: unknown authority, wrong name, a client certificate wanted.
    #[error("TLS handshake failed for {url}")]
    Tls {
        /// What was asked for.
        url: RedactedUrl,
        /// The TLS error.
        #[source]
        source: Source,
    },
    /// The server took a new connection and closed it at once, before any byte of an answer.
    ///
    /// That is what a server over its connection limit does (Consul: a bare close, or a 429 written before the request
    /// was read); a caller with a budget should shrink it.
    #[error("the server closed a new connection before any answer to {url}")]
    ClosedEarly {
        /// What was asked for.
        url: RedactedUrl,
        /// The connection's error.
        #[source]
        source: Source,
    },
    /// A connection that had worked broke before the answer: the server died or cut it.
    #[error("the connection broke before an answer to {url}")]
    Reset {
        /// What was asked for.
        url: RedactedUrl,
        /// The connection's error.
        #[source]
        source: Source,
    },
    /// What came is not HTTP.
    #[error("no valid HTTP answer to {url}")]
    Protocol {
        /// What was asked for.
        url: RedactedUrl,
        /// The parser's error.
        #[source]
        source: Source,
    },
    /// The hard deadline passed.
    #[error("no complete answer to {url} within {}, {phase}", registry_core::duration::format(*.after))]
    Timeout {
        /// What was asked for.
        url: RedactedUrl,
        /// The deadline that passed.
        after: Duration,
        /// What had been reached by then.
        phase: &'static str,
    },
    /// The answer's body broke off or could not be decoded.
    #[error("the body of {url} cannot be read")]
    Body {
        /// What was asked for.
        url: RedactedUrl,
        /// The reading or decoding error.
        #[source]
        source: Source,
    },
    /// The answer's body is larger than `max_body_bytes`, counted after decompression.
    #[error("the body of {url} is larger than max_body_bytes = {limit}")]
    BodyTooLarge {
        /// What was asked for.
        url: RedactedUrl,
        /// The limit.
        limit: u64,
    },
    /// No connection or request came free in the budget before the deadline.
    #[error("no {lane} slot came free in {} within the request's deadline of {}", budget, registry_core::duration::format(*.after))]
    Busy {
        /// The lane that waited.
        lane: Lane,
        /// The field that sets the budget.
        budget: &'static str,
        /// How long it waited.
        after: Duration,
    },
}

// === impl Error ===

impl Error {
    /// Whether the same request may succeed later although nobody changes the configuration.
    ///
    /// True for all that the network, the server or a late-mounted credential can heal; callers back off before.
    pub fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Error::Config { .. }
                | Error::NoCryptoProvider
                | Error::Request { .. }
                | Error::BodyTooLarge { .. }
        )
    }

    /// What a supervisor makes of it.
    pub fn registry_kind(&self) -> ErrorKind {
        match self.kind() {
            "config" | "credential" => ErrorKind::Configuration,
            "body_too_large" => ErrorKind::Limit,
            "protocol" => ErrorKind::Malformed,
            _ => ErrorKind::Unreachable,
        }
    }

    /// A label out of a small fixed set, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Config { .. } | Error::File { .. } | Error::NoCryptoProvider | Error::Request { .. } => {
                "config"
            }
            Error::TlsSetup { .. } | Error::Tls { .. } => "tls",
            Error::Credential { .. } => "credential",
            Error::Connect { .. } => "connect",
            Error::ClosedEarly { .. } => "closed_early",
            Error::Reset { .. } => "reset",
            Error::Protocol { .. } => "protocol",
            Error::Timeout { .. } => "timeout",
            Error::Body { .. } => "body",
            Error::BodyTooLarge { .. } => "body_too_large",
            Error::Busy { .. } => "busy",
        }
    }
}

/// What is known of the connection a request failed on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Connection {
    /// Dialled for this request, established this long ago.
    Fresh(Duration),
    /// Taken from the pool (or never reached).
    Reused,
}

/// Names the cause of a failure before the answer's head.
///
/// `early` is how soon after connecting a close still counts as the server's refusal: a parked long poll that loses its
/// server after 20 s also ends without a byte, and must not shrink anybody's budget.
pub(crate) fn classify(
    error: reqwest::Error,
    url: RedactedUrl,
    connection: Connection,
    early: Duration,
) -> Error {
    // The URL may carry a token in its query; ours is redacted.
    let error = error.without_url();
    let at_connect = error.is_connect();
    let closed = is_closed(&error);
    let tls = is_tls(&error);
    let dial_timeout = find::<DialTimeout>(&error).is_some();
    let malformed = find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse);
    let source = Source::from(error);
    if tls {
        return Error::Tls { url, source };
    }
    if at_connect {
        // With TLS the limit's close hits the handshake, which is part of the dial.
        return if closed && !dial_timeout {
            Error::ClosedEarly { url, source }
        } else {
            Error::Connect { url, source }
        };
    }
    if malformed && !closed {
        return Error::Protocol { url, source };
    }
    match connection {
        Connection::Fresh(age) if age <= early => Error::ClosedEarly { url, source },
        _ => Error::Reset { url, source },
    }
}

/// Whether TLS failed. An alert after the handshake (TLS 1.3 refuses client certificates so) comes through HTTP/2 as a
/// mere text in an error of this kind, which a socket never gives.
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    find::<rustls::Error>(error).is_some()
        || find::<io::Error>(error).is_some_and(|error| innermost(error).kind() == io::ErrorKind::InvalidData)
}

/// Whether the chain says that the peer went away: end of stream, reset, or a message nobody asked for.
fn is_closed(error: &(dyn StdError + 'static)) -> bool {
    let by_io = find::<io::Error>(error).is_some_and(|error| {
        matches!(
            innermost(error).kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
    });
    by_io
        || find::<hyper::Error>(error)
            .is_some_and(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed())
}

/// An `io::Error` that wraps another one says `Other`; the kind is in the inner one.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<io::Error>())
    {
        error = inner;
    }
    error
}

/// The first `T` in the chain, looking into `io::Error`s, whose `source()` skips what they wrap.
pub(crate) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}
