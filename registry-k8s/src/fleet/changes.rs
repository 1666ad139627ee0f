//! Hearing of changes in a directory, where the system tells of them.
//!
//! The directory itself is watched, not its files: those that are replaced would be lost. In volumes of Kubernetes the
//! link `..data` is swapped, which is a change in the directory too. What changes behind other links is found by the
//! regular look.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A directory that is watched. Dropping it ends the thread behind it.
pub(super) struct Changes {
    watched: Option<(RecommendedWatcher, Identity)>,
    changed: Arc<Notify>,
    /// The directory was removed or renamed, and its watch may be dead.
    lost: Arc<AtomicBool>,
}

/// Device and inode: another directory of the same name needs a watch of its own.
type Identity = (u64, u64);

impl Changes {
    /// Watches nothing yet; changes will be told to `changed`.
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self {
            watched: None,
            changed,
            lost: Arc::default(),
        }
    }

    /// Watches the directory that is at this path now, where it is another one than before. Blocks.
    pub(super) fn renew(&mut self, directory: &Path) -> Result<(), notify::Error> {
        let identity = identity(directory)?;
        let lost = self.lost.swap(false, Ordering::AcqRel);
        if !lost
            && self
                .watched
                .as_ref()
                .is_some_and(|(_, watched)| *watched == identity)
        {
            return Ok(());
        }
        self.watched = None;
        let (changed, lost, root) = (self.changed.clone(), self.lost.clone(), directory.to_owned());
        let mut watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
            // An error means that something was missed: whatever it was, a look will show.
            if let Ok(event) = &event {
                let moved = matches!(
                    event.kind,
                    EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
                );
                if moved && event.paths.contains(&root) {
                    lost.store(true, Ordering::Release);
                }
                // Our own reading opens and closes files.
                let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
                if matches!(event.kind, EventKind::Access(_)) && event.kind != written {
                    return;
                }
            }
            changed.notify_one();
        })?;
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        self.watched = Some((watcher, identity));
        Ok(())
    }
}

#[cfg(unix)]
fn identity(directory: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(directory)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(directory: &Path) -> std::io::Result<Identity> {
    fs::metadata(directory).map(|_| (0, 0))
}
