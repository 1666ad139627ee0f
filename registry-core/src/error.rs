//! Errors: of registries, and of this crate.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::model::RegistryId;

/// The kind of failure, as a bounded set of words for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nobody answered: refused, reset, timed out, no route.
    Unreachable,
    /// The registry answered that it cannot: a server error, no leader, overload.
    Unavailable,
    /// The registry refused the credentials, or filtered the answer for lack of rights.
    Denied,
    /// What came is no valid answer.
    Malformed,
    /// A limit on the size of an answer was exceeded.
    Limit,
    /// The configuration or a local file is wrong.
    Configuration,
    /// The backend broke its contract or panicked.
    Internal,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Unavailable,
        Self::Denied,
        Self::Malformed,
        Self::Limit,
        Self::Configuration,
        Self::Internal,
    ];

    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::Configuration => "configuration",
            Self::Internal => "internal",
        }
    }
}

/// Why a registry, or a part of it, could not be read.
///
/// The message says what was asked of whom and what came of it (a URL, a file and line, a field), never a secret.
///
/// ```
/// use registry_core::{ErrorKind, RegistryError};
///
/// let error = RegistryError::new(ErrorKind::Denied, "GET http://127.0.0.1:8500/v1/catalog/services: 403 Forbidden");
/// assert_eq!(error.kind().as_str(), "denied");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RegistryError {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl RegistryError {
    /// An error of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// The cause behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The causes of an error whose own message this one tells already, as a backend does that turns its errors into these.
    ///
    /// ```
    /// use registry_core::{ErrorKind, RegistryError};
    ///
    /// let cause = RegistryError::new(ErrorKind::Malformed, "found a comma");
    /// let error = RegistryError::new(ErrorKind::Malformed, "the answer cannot be read").with_source(cause);
    /// let told = RegistryError::new(ErrorKind::Malformed, format!("GET /apps: {error}")).with_causes_of(error);
    /// assert_eq!(told.report(), "GET /apps: the answer cannot be read: found a comma");
    /// ```
    #[must_use]
    pub fn with_causes_of(self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = error.into();
        if error.source().is_none() {
            return self;
        }
        self.with_source(Causes(error))
    }

    /// How long the registry asked to be left alone; the next attempt waits at least this.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How long the registry asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The message and those of all causes, joined by colons.
    pub fn report(&self) -> String {
        report(self)
    }
}

/// An error that stands for its first cause: its own message was told already.
#[derive(Debug)]
struct Causes(Box<dyn StdError + Send + Sync>);

impl Causes {
    fn first(&self) -> &(dyn StdError + 'static) {
        self.0.source().unwrap_or(&*self.0)
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.first(), f)
    }
}

impl StdError for Causes {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.first().source()
    }
}

/// What can go wrong in setting up discovery.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two registries have the same name.
    #[error("registry {id}: there is one of this name already")]
    DuplicateRegistry {
        /// The name.
        id: RegistryId,
    },
    /// A name that is no registry name.
    #[error(transparent)]
    RegistryId(#[from] crate::model::RegistryIdError),
    /// No registry of that name.
    #[error("registry {id}: there is none of this name")]
    UnknownRegistry {
        /// The name.
        id: RegistryId,
    },
    /// A hostname template that cannot be used.
    #[error(transparent)]
    Template(#[from] crate::hostname::TemplateError),
    /// Discovery was shut down.
    #[error("discovery was shut down")]
    Closed,
    /// There is no Tokio runtime to run on.
    #[error("discovery has to be started from within a Tokio runtime")]
    NoRuntime,
}

/// The message of an error and those of all its causes, joined by colons.
pub(crate) fn report(error: &dyn StdError) -> String {
    let mut report = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !report.ends_with(&text) {
            report.push_str(": ");
            report.push_str(&text);
        }
        cause = error.source();
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str) -> RegistryError {
        RegistryError::new(ErrorKind::Internal, message)
    }

    #[test]
    fn causes_of_an_error_are_told_without_the_error_itself() {
        let nested = error("a").with_source(error("b").with_source(error("c")));
        let told = error("x").with_causes_of(nested);
        assert_eq!(told.report(), "x: b: c");
        let cause = told.source().unwrap();
        assert_eq!(
            (cause.to_string(), report(cause)),
            ("b".to_owned(), "b: c".to_owned())
        );
        assert!(error("x").with_causes_of(error("a")).source().is_none());
    }
}
