//! What can go wrong when a test starts or drives a server.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that the testkit reports, one variant per cause.
///
/// A test usually has nothing better to do than to fail with it, so the messages carry what a reader of a
/// CI log needs: the address or file that was involved and, for a server that did not come up, the end of
/// its own log.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's program is not installed; tests never skip for that reason.
    #[error("{program} is not installed (looked in {looked}): run `cargo xtask servers`")]
    ServerMissing {
        /// The program that was looked for, such as `consul/bin/consul`.
        program: String,
        /// The directories that were searched.
        looked: String,
    },
    /// The operating system refused to start the program.
    #[error("{program} could not be started")]
    Spawn {
        /// The program.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The server ended by itself while it was being waited for.
    #[error("{name} ended with {status} before it was ready; the end of its log:\n{log}")]
    Ended {
        /// Which server.
        name: String,
        /// Its exit status.
        status: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// The server runs, but was not ready in time.
    #[error("{name} was not ready after {after:?}, {awaited}; the end of its log:\n{log}")]
    NotReady {
        /// Which server.
        name: String,
        /// How long it was given.
        after: Duration,
        /// What was still missing.
        awaited: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// Something that a test waits for did not happen in time.
    #[error("waited {after:?} in vain for {what}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// A tool that prepares a server (such as `consul tls`) failed.
    #[error("`{command}` failed: {output}")]
    Tool {
        /// The command line.
        command: String,
        /// What it wrote.
        output: String,
    },
    /// The operation needs a running server, or a stopped one.
    #[error("{name} is {state}: {operation} is not possible")]
    State {
        /// Which server.
        name: String,
        /// `running` or `stopped`.
        state: &'static str,
        /// What was asked for.
        operation: &'static str,
    },
    /// The operation needs a server that the test has started itself.
    #[error("{operation} is not possible on an external cluster")]
    External {
        /// What was asked for.
        operation: &'static str,
    },
    /// The kubeconfig file of an external cluster cannot be used.
    #[error("the kubeconfig file {path} cannot be used: {reason}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A signal could not be delivered.
    #[error("{name} could not be signalled")]
    Signal {
        /// Which server.
        name: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// More open files are needed than the system's hard limit permits.
    #[error("{needed} open files are needed, the hard limit is {limit}: raise `ulimit -Hn`")]
    OpenFiles {
        /// How many are needed.
        needed: u64,
        /// How many are permitted.
        limit: u64,
    },
    /// A file, a directory or a port could not be used.
    #[error("{what}")]
    Io {
        /// What was tried, with the path or address.
        what: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The request got no answer.
    #[error("{method} {url} got no answer")]
    Http {
        /// The method of the request.
        method: String,
        /// Its address.
        url: String,
        /// The client's reason.
        #[source]
        source: reqwest::Error,
    },
    /// The server refused the request.
    #[error("{method} {url} was answered with {status}: {body}")]
    Status {
        /// The method of the request.
        method: String,
        /// Its address.
        url: String,
        /// The status code.
        status: u16,
        /// The start of the answer's body.
        body: String,
    },
    /// The answer is not the JSON that was expected.
    #[error("{url} was answered with unexpected JSON")]
    Json {
        /// The address.
        url: String,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// A stream of gRPC has ended.
    #[error("the stream has ended: {code}: {message}")]
    Rpc {
        /// The status code, such as `Unavailable`.
        code: String,
        /// What the server said.
        message: String,
    },
    /// Something came that should not have.
    #[error("unexpected: {what}")]
    Unexpected {
        /// What it was.
        what: String,
    },
    /// A certificate, a key or a name of TLS is of no use.
    #[error("TLS could not be set up")]
    Tls {
        /// The library's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client could not be built, for example from a damaged certificate.
    #[error("the HTTP client could not be built")]
    Client {
        /// The library's reason.
        #[source]
        source: reqwest::Error,
    },
}

impl Error {
    /// An [`Error::Io`] about a path; for `map_err`.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            what: format!("{what} {}", path.display()),
            source,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unwrap_prints_is_the_message_with_its_causes() {
        let error = Error::file("cannot read", "/nowhere")(io::ErrorKind::NotFound.into());
        assert_eq!(format!("{error:?}"), "cannot read /nowhere: entity not found");
    }
}
