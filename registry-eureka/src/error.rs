//! What can go wrong, and how it is told to the supervisor.

use std::time::Duration;

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
    #[error("{url}: {source}")]
    Decode {
        /// What was asked for.
        url: RedactedUrl,
        /// Where and why.
        source: crate::wire::DecodeError,
    },
}

impl From<Error> for RegistryError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Config { .. } => ErrorKind::Configuration,
            Error::Http(_) => ErrorKind::Unreachable,
            Error::Status { .. } => ErrorKind::Unavailable,
            Error::Decode { .. } => ErrorKind::Malformed,
        };
        RegistryError::new(kind, error.to_string())
    }
}
