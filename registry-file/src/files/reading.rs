//! Reading one file so that what was read is what stood there at one moment.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::error::Error;

/// A file that was changed less than this before it was read may change again without another time of change: clocks
/// of file systems tick slowly.
const TICK: Duration = Duration::from_secs(2);

/// How often a file that changes while it is read is read again at once.
const ATTEMPTS: usize = 3;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    place: (u64, u64),
    changed: (i64, i64),
}

/// What was read.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Absent where the file is so young that its stamp proves nothing.
    pub(super) stamp: Option<Stamp>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            place: place(metadata),
            changed: changed(metadata),
        }
    }

    fn is_settled(&self) -> bool {
        self.modified
            .and_then(|modified| SystemTime::now().duration_since(modified).ok())
            .is_some_and(|age| age >= TICK)
    }
}

#[cfg(unix)]
fn place(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(unix)]
fn changed(metadata: &Metadata) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn place(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> (i64, i64) {
    (0, 0)
}

/// The state of a file, where it can be had.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))
}

/// Reads a whole file.
pub(super) fn read(shown: &str, path: &Path, limit: u64) -> Result<Content, Error> {
    let failed = |source: io::Error| Error::Read {
        file: shown.to_owned(),
        source,
    };
    for _ in 0..ATTEMPTS {
        let metadata = fs::metadata(path).map_err(failed)?;
        // To open a pipe would wait for somebody to write into it.
        if !metadata.is_file() {
            let what = if metadata.is_dir() {
                "a directory"
            } else {
                "no regular file"
            };
            return Err(failed(io::Error::other(format!("found {what}, expected a file"))));
        }
        let too_large = |found| Error::TooLarge {
            file: shown.to_owned(),
            found,
            limit,
        };
        if metadata.len() > limit {
            return Err(too_large(metadata.len()));
        }
        let file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        let mut limited = file.take(limit.saturating_add(1));
        limited.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(too_large(bytes.len() as u64));
        }
        // The path names the same file in the same state before and after: nobody wrote or renamed meanwhile.
        let before = Stamp::of(&metadata);
        let after = Stamp::of(&fs::metadata(path).map_err(failed)?);
        if before == after && bytes.len() as u64 == after.length {
            let stamp = after.is_settled().then_some(after);
            return Ok(Content { bytes, stamp });
        }
    }
    Err(Error::Unsettled {
        file: shown.to_owned(),
    })
}
