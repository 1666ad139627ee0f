//! What can go wrong, and how it is told to the supervisor.

use std::time::Duration;

pub(crate) use registry_core::short;
use registry_core::{ErrorKind, RegistryError};
use registry_http::RedactedUrl;

/// What can go wrong with a Eureka registry.
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
        /// What it means, or the beginning of the answer's text.
        text: Box<str>,
        /// How long the server asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is not what Eureka sends.
    #[error("{url}: the answer cannot be read")]
    Decode {
        /// What was asked for.
        url: RedactedUrl,
        /// Where and why.
        #[source]
        source: crate::wire::DecodeError,
    },
}

impl Error {
    /// The status of the answer, where there is one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// How long the server asked to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// True where the server is well, and does not answer this question.
    pub(crate) fn is_refusal(&self) -> bool {
        match self.status() {
            // To sign in, to be in time and to come later are other matters.
            Some(401 | 408 | 429) => false,
            Some(status) => matches!(status, 200..=299 | 400..=501),
            None => false,
        }
    }

    /// True where the head of an answer came, and its body was not what it should be.
    pub(crate) fn is_of_the_body(&self) -> bool {
        match self {
            Self::Http(error) => matches!(error.kind(), "body" | "body_too_large"),
            Self::Decode { .. } => true,
            Self::Config { .. } | Self::Status { .. } => false,
        }
    }

    /// True where the fault is on this side: another server would get the same request.
    pub(crate) fn is_our_own(&self) -> bool {
        match self {
            Self::Config { .. } => true,
            Self::Http(error) => matches!(error.kind(), "config" | "credential" | "busy"),
            Self::Status { .. } | Self::Decode { .. } => false,
        }
    }
}

impl From<Error> for RegistryError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Config { .. } => ErrorKind::Configuration,
            Error::Http(http) if http.kind() == "busy" => ErrorKind::Unavailable,
            // A body that cannot be decompressed is told apart from one that broke off by its cause only.
            Error::Http(http) => http.registry_kind(),
            Error::Status { status: 401, .. } => ErrorKind::Denied,
            Error::Status { .. } => ErrorKind::Unavailable,
            Error::Decode { .. } => ErrorKind::Malformed,
        };
        let retry_after = error.retry_after();
        Self::new(kind, error.to_string())
            .with_retry_after(retry_after)
            .with_causes_of(error)
    }
}
