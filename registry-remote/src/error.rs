//! What can go wrong, and how it is told to the supervisor.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use registry_core::{ErrorKind, LONGEST_REST, RegistryError};
use registry_http::{RedactedUrl, Response};

/// What can go wrong with a registry that others publish.
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
    /// The answer is not what it should be.
    #[error("{url}: {problem}")]
    Document {
        /// What was asked for.
        url: RedactedUrl,
        /// Where in it, what was found, and what was expected.
        problem: String,
    },
    /// The content of a file is not what it should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where in it, what was found, and what was expected.
        problem: String,
    },
    /// A file, or the directory of a pattern, cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file or the pattern.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is larger than `max_body_bytes`.
    #[error("{} is larger than max_body_bytes = {limit}", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    /// The error that an answer of any other status than the expected ones stands for.
    pub(crate) fn status(response: &Response) -> Self {
        Self::Status {
            url: response.url().clone(),
            status: response.status().as_u16(),
            text: response.error_text().into(),
            retry_after: response.retry_after().map(|asked| asked.min(LONGEST_REST)),
        }
    }
}

impl From<Error> for RegistryError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Config { .. } => ErrorKind::Configuration,
            Error::Http(http) => http.registry_kind(),
            Error::Status {
                status: 401 | 403, ..
            } => ErrorKind::Denied,
            Error::Status { .. } | Error::Read { .. } => ErrorKind::Unavailable,
            Error::Document { .. } | Error::File { .. } => ErrorKind::Malformed,
            Error::FileTooLarge { .. } => ErrorKind::Limit,
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
