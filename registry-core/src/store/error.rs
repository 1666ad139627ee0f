//! What can go wrong between a registry's state and the disk.

use std::io;
use std::path::PathBuf;

/// Why the state of a registry could not be kept or found again. Never a reason not to start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The directory is not there and cannot be made, or cannot be listed.
    #[error("state directory {}: it cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file system refuses to lock.
    #[error("lock file {}: it cannot be locked", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process has the directory: two would overwrite each other's files.
    #[error("state directory {}: another process is using it", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("state file {}: it cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file cannot be written; the one before it stays.
    #[error("state file {}: it cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file cannot be removed.
    #[error("state file {}: it cannot be removed", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something else stands in the file's place. Nothing but a regular file is opened.
    #[error("state file {}: found {found}, expected a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// The file is not what was once written.
    #[error("state file {}: it is damaged: found {found}, expected {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is in it.
        found: String,
        /// What would have to be there.
        expected: String,
    },
    /// The file was written by a program of another version.
    #[error("state file {}: found version {found}, expected version {expected}", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The version that this program reads and writes.
        expected: u64,
    },
    /// The file is of a registry that has since been pointed elsewhere.
    #[error("state file {}: found the state of {found}, expected that of {expected}", path.display())]
    OtherTarget {
        /// The file.
        path: PathBuf,
        /// Name, kind and target in the file.
        found: String,
        /// Name, kind and target of the registry.
        expected: String,
    },
}
