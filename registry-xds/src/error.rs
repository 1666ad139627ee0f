//! What can go wrong before anything is served.

use std::path::PathBuf;

/// Why xDS cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be meant.
    #[error("xds.{field}: found {found}, expected {expected}")]
    Config {
        /// The setting, dotted, below `xds`.
        field: String,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// A file with a certificate or key that cannot be used.
    #[error("{}: {problem}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A description of a node that cannot be understood.
    #[error("node: {0}")]
    Node(String),
    /// The listener broke.
    #[error("the xDS listener")]
    Listener(#[from] std::io::Error),
}
