//! Notices that the configuration file changed, by looking at it: that works on every file system, and with files that
//! are replaced by renaming or by switching a symbolic link.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// How long a changed file has to rest before it is read.
const REST: Duration = Duration::from_millis(200);

/// A file that never rests is read after that many looks.
const LOOKS: usize = 20;

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    device: u64,
    inode: u64,
    length: u64,
}

/// A watched file.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl FileWatch {
    /// Watches that file for changes from its present state.
    pub fn new(path: &Path) -> Self {
        let mut watch = Self {
            path: path.to_owned(),
            seen: None,
        };
        watch.note();
        watch
    }

    /// The present state is no change any more.
    pub fn note(&mut self) {
        self.seen = self.look();
    }

    /// Waits for a change. A file that is gone is no change: it may be about to be replaced. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let mut now = self.look();
            if now.is_none() || now == self.seen {
                continue;
            }
            for _ in 0..LOOKS {
                tokio::time::sleep(REST).await;
                let next = self.look();
                if next == now {
                    break;
                }
                now = next;
            }
            if now.is_some() {
                self.seen = now;
                return;
            }
        }
    }

    fn look(&self) -> Option<Stamp> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some(Stamp {
            modified: metadata.modified().ok(),
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn replaced_files_are_noticed_and_missing_ones_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registryd.yaml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::new(&path);
        let minute = Duration::from_secs(60);
        assert!(
            tokio::time::timeout(minute, watch.changed()).await.is_err(),
            "nothing changed"
        );

        std::fs::remove_file(&path).unwrap();
        assert!(
            tokio::time::timeout(minute, watch.changed()).await.is_err(),
            "gone is no change"
        );

        let new = directory.path().join("new");
        std::fs::write(&new, "bb").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(tokio::time::timeout(minute, watch.changed()).await.is_ok());
        assert!(
            tokio::time::timeout(minute, watch.changed()).await.is_err(),
            "once is enough"
        );

        std::fs::write(&path, "ccc").unwrap();
        watch.note();
        assert!(
            tokio::time::timeout(minute, watch.changed()).await.is_err(),
            "noted already"
        );
    }
}
