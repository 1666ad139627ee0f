//! What can go wrong, and the exit code that follows.

use std::io;
use std::path::PathBuf;

use crate::config::Problems;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is wrong with a configuration or the files that it names, one fault a line.
    #[error("{0}")]
    Configuration(Problems),
    /// As [`Configuration`](Self::Configuration), found by a registry's own check.
    #[error("{}", .0.join("\n"))]
    Files(Vec<String>),
    /// A configuration that cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An argument that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// A listener that cannot be opened.
    #[error("{setting}: cannot listen on {listen}")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// Its address.
        listen: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A directory for state that was named and cannot be used.
    #[error("state_dir: {} cannot be used", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A registry that cannot be set up.
    #[error("registry {name}: {problem}")]
    Registry {
        /// Its name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// Discovery could not be started.
    #[error("discovery cannot start")]
    Discovery(#[source] registry_core::Error),
    /// xDS cannot be served.
    #[cfg(feature = "xds")]
    #[error("xDS cannot be served")]
    Xds(#[source] registry_xds::Error),
    /// A server that did not answer as it should.
    #[error("{url}: {problem}")]
    Server {
        /// What was asked for.
        url: String,
        /// What came of it.
        problem: String,
    },
    /// Something of the operating system.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What a server says of the question itself.
    #[error("{0}")]
    Answer(String),
    /// A required registry did not answer; which one was shown.
    #[error("a required registry cannot be reached")]
    Unreachable,
}

impl Error {
    /// 2 for wrong input, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Files(_) | Self::Read { .. } | Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// The message and those of all causes, joined by colons.
    pub fn report(&self) -> String {
        let mut report = self.to_string();
        let mut cause = std::error::Error::source(self);
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

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
