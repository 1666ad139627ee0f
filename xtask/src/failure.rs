//! Why a chore did not succeed.

use std::fmt;

/// A chore's failure: a message for a person and the exit code that goes with it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// Something went wrong on the way.
    Message(String),
    /// Everything has been said already, for example by the final line of the tests.
    Reported,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Message(message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Usage(message) | Self::Message(message) => Some(message),
            Self::Reported => None,
        }
    }

    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_))
    }

    pub(crate) fn code(&self) -> u8 {
        if self.is_usage() { 2 } else { 1 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().unwrap_or("failed"))
    }
}
