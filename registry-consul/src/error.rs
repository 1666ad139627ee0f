//! What can go wrong, and how it is told to the supervisor.

use std::time::Duration;

use registry_core::{ErrorKind, LONGEST_REST, RegistryError};
use registry_http::{RedactedUrl, Response};

/// What can go wrong with a registry of Consul or Nomad.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be used.
    #[error("{field}: {problem}")]
    Config {
        /// The field of the configuration.
        field: &'static str,
        /// What was found, and what was expected.
        problem: String,
    },
    /// The request did not get an answer.
    #[error(transparent)]
    Http(#[from] registry_http::Error),
    /// The server answered with an error.
    #[error("{url}: {status} {text}")]
    Status {
        /// What was asked for.
        url: RedactedUrl,
        /// The status.
        status: u16,
        /// The beginning of the answer's text.
        text: Box<str>,
        /// How long the server asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is not what such a server sends.
    #[error("{url}: the answer cannot be read")]
    Decode {
        /// What was asked for.
        url: RedactedUrl,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is not text.
    #[error("{url}: the answer is not UTF-8")]
    Encoding {
        /// What was asked for.
        url: RedactedUrl,
    },
    /// The answer says itself that it is something else.
    #[error("{url}: found content of the type {found:?}, expected application/json")]
    ContentType {
        /// What was asked for.
        url: RedactedUrl,
        /// The type that it is of.
        found: String,
    },
    /// The answer is about another service than the one that was asked for.
    #[error("{url}: the answer is about the service {found:?}")]
    Foreign {
        /// What was asked for.
        url: RedactedUrl,
        /// The service that it is about.
        found: String,
    },
    /// The answer lacks what the token may not see, or may not be seen without one.
    #[error("{url}: {problem}")]
    Filtered {
        /// What was asked for.
        url: RedactedUrl,
        /// How it shows.
        problem: &'static str,
    },
    /// The answer does not say up to which index it holds everything.
    #[error(
        "{url}: the answer has no index: this is no Nomad, or something on the way takes its headers out"
    )]
    Index {
        /// What was asked for.
        url: RedactedUrl,
    },
    /// An answer without an end is over. A server may end it so where the token lacks rights: it refuses in silence.
    #[error("{url}: the server ended the event stream")]
    StreamEnded {
        /// What was asked for.
        url: RedactedUrl,
    },
    /// The servers have no leader, or are too far behind it.
    #[error("{url}: {problem}")]
    Behind {
        /// What was asked for.
        url: RedactedUrl,
        /// How it shows.
        problem: String,
    },
}

impl Error {
    /// The error that an answer of any other status than 200 stands for.
    pub(crate) fn status(response: &Response) -> Self {
        Self::Status {
            url: response.url().clone(),
            status: response.status().as_u16(),
            text: response.error_text().into(),
            retry_after: response.retry_after().map(|asked| asked.min(LONGEST_REST)),
        }
    }

    /// True where rights are missing.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: 401 | 403,
                ..
            } | Self::Filtered { .. }
        )
    }

    /// True where nobody answered at all: the server is gone, not merely unable.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Http(error) if error.kind() == "connect" || error.kind() == "tls")
    }

    /// True where the connection failed, or the gateway's to the server: another server may answer from now on.
    pub(crate) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Http(error) => matches!(
                error.kind(),
                "connect" | "tls" | "closed_early" | "reset" | "protocol" | "timeout" | "body"
            ),
            // Consul itself sends neither.
            Self::Status { status, .. } => matches!(status, 502 | 504),
            _ => false,
        }
    }

    /// True where the server closed a new connection at once, as it does above its limit for one client.
    pub(crate) fn is_refused_by_limit(&self) -> bool {
        matches!(
            self,
            Self::Http(registry_http::Error::ClosedEarly { .. }) | Self::Status { status: 429, .. }
        )
    }
}

impl From<Error> for RegistryError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Config { .. } => ErrorKind::Configuration,
            Error::Http(http) => http.registry_kind(),
            error if error.is_denied() => ErrorKind::Denied,
            Error::Status { .. }
            | Error::Filtered { .. }
            | Error::Behind { .. }
            | Error::StreamEnded { .. } => ErrorKind::Unavailable,
            Error::Index { .. }
            | Error::Decode { .. }
            | Error::Encoding { .. }
            | Error::ContentType { .. }
            | Error::Foreign { .. } => ErrorKind::Malformed,
        };
        let retry_after = match &error {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let message = error.to_string();
        Self::new(kind, message)
            .with_retry_after(retry_after)
            .with_causes_of(error)
    }
}
