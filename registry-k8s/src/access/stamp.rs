//! Telling that a file changed without reading it.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a stat shows of each of some files; of a file that cannot be looked at, nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// The inode is part of it because Kubernetes swaps symbolic links below mounted files, and editors rename: both can
/// keep length and time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl Stamps {
    /// Looks at a file, before it is read: a change between the two then shows as a change.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), stamp(path)));
    }

    /// Whether any of the files is another one by now. Blocks.
    pub(super) fn are_outdated(&self) -> bool {
        self.0.iter().any(|(path, held)| stamp(path) != *held)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        len: metadata.len(),
        inode: inode(&metadata),
    })
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_made_or_removed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let [there, missing] = ["there", "missing"].map(|name| dir.path().join(name));
        std::fs::write(&there, "a").unwrap();
        let look = || {
            let mut stamps = Stamps::default();
            stamps.add(&there);
            stamps.add(&missing);
            stamps
        };
        let stamps = look();
        assert!(!stamps.are_outdated());
        let other = dir.path().join("other");
        std::fs::write(&other, "b").unwrap();
        std::fs::rename(&other, &there).unwrap();
        assert!(stamps.are_outdated());
        let stamps = look();
        std::fs::write(&missing, "c").unwrap();
        assert!(stamps.are_outdated());
        let stamps = look();
        std::fs::remove_file(&there).unwrap();
        assert!(stamps.are_outdated());
    }
}
