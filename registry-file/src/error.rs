//! What can be wrong with the settings, a file, or what is in it.

use std::io;

use registry_core::{ErrorKind, RegistryError};

/// Why a file, or the set of them, cannot be used.
///
/// Every message begins with where: the file as it is configured, then line and column where there are any, counted
/// from one as editors do. A running watch keeps what the file said before.
///
/// ```
/// use registry_file::{FileConfig, FileRegistry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("vms.yaml"), "services:\n  - nam: payments\n")?;
/// let registry = FileRegistry::new(FileConfig::new("vms.yaml")).relative_to(dir.path());
/// let errors: Vec<String> = registry.check().iter().map(ToString::to_string).collect();
/// assert_eq!(errors, [
///     "vms.yaml:2:5: services[0].nam: found an unknown field, expected `name`",
///     "vms.yaml:2:5: services[0].name: found nothing, expected the name of the service",
/// ]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be used.
    #[error("{field}: found {found}, expected {expected}")]
    Config {
        /// The name of the setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A file or directory that cannot be read: missing, forbidden, of another kind.
    #[error("{file}: cannot be read")]
    Read {
        /// The file, as configured.
        file: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file beyond the limit.
    #[error("{file}: found {found} bytes, expected at most {limit}")]
    TooLarge {
        /// The file, as configured.
        file: String,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A file of no bytes, which is taken for one that is just being written.
    #[error("{file}: found an empty file, expected `services:` (`services: []` where there are none)")]
    Empty {
        /// The file, as configured.
        file: String,
    },
    /// A file that kept changing while it was read.
    #[error("{file}: found to change while it was read, expected it to rest for a moment")]
    Unsettled {
        /// The file, as configured.
        file: String,
    },
    /// A file that is no UTF-8 text.
    #[error("{file}:{line}:{column}: found bytes that are not UTF-8, expected text")]
    NotUtf8 {
        /// The file, as configured.
        file: String,
        /// The line of the first such byte.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// A text that is neither YAML nor JSON.
    #[error(
        "{file}:{line}:{column}: found a mistake in the syntax ({found}), expected one document of YAML or JSON"
    )]
    Syntax {
        /// The file, as configured.
        file: String,
        /// The line at which the parser gave up.
        line: u64,
        /// The column.
        column: u64,
        /// What the parser says.
        found: String,
    },
    /// A value that does not belong where it is.
    #[error("{file}:{line}:{column}: {field}: found {found}, expected {expected}")]
    Value {
        /// The file, as configured.
        file: String,
        /// The line of the value.
        line: u32,
        /// Its column.
        column: u32,
        /// The way to it, such as `services[0].endpoints[1].port`.
        field: String,
        /// What is there.
        found: String,
        /// What belongs there.
        expected: String,
    },
}

impl Error {
    /// The kind of failure, a bounded set of words for metrics.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            Self::Read { .. } | Self::Unsettled { .. } => ErrorKind::Unavailable,
            Self::TooLarge { .. } => ErrorKind::Limit,
            Self::Empty { .. } | Self::NotUtf8 { .. } | Self::Syntax { .. } => ErrorKind::Malformed,
            Self::Config { .. } | Self::Value { .. } => ErrorKind::Configuration,
        }
    }

    /// True where it may pass by itself; all others need somebody to mend the file or the settings.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Read { .. } | Self::Unsettled { .. } | Self::Empty { .. }
        )
    }

    /// The message and that of the cause, joined by a colon.
    pub fn report(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

impl From<Error> for RegistryError {
    fn from(error: Error) -> Self {
        let told = Self::new(error.kind(), error.to_string());
        match error {
            Error::Read { source, .. } => told.with_source(source),
            _ => told,
        }
    }
}

/// All that is wrong with one file as one error: the first one, and how many more there are.
pub(crate) fn summary(mut errors: Vec<Error>) -> RegistryError {
    let more = errors.len().saturating_sub(1);
    let Some(first) = (!errors.is_empty()).then(|| errors.swap_remove(0)) else {
        return RegistryError::new(ErrorKind::Internal, "a file failed without an error");
    };
    match more {
        0 => first.into(),
        more => RegistryError::new(first.kind(), format!("{first} (and {more} more in this file)")),
    }
}
