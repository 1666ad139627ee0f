//! Hearing of changes: directories are watched, never files.
//!
//! A file that is watched is lost as soon as an editor renames another over it. So the directories are watched in
//! which a step of the way to a file is looked up: its parent, and the parent of every symbolic link on the way, as in
//! the volumes of Kubernetes, where `vms.yaml -> ..data/vms.yaml` and `..data -> ..2026_07_01` is swapped.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::files::is_services_file;

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// What of all that happens in the watched directories matters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Interest {
    /// Directories in which something is looked up.
    directories: HashSet<PathBuf>,
    /// What is looked up there.
    names: HashSet<PathBuf>,
    /// Directories of which all files are read.
    listed: HashSet<PathBuf>,
}

/// Shared with the thread that hears of changes.
struct Ear {
    interest: Mutex<Interest>,
    changed: Arc<Notify>,
    /// A watched directory was removed or renamed: its watch may be dead.
    lost: AtomicBool,
}

/// The watched directories. Dropping it ends the thread behind it.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Option<Identity>>,
    ear: Arc<Ear>,
}

/// Device and inode: another directory of the same name needs a watch of its own.
type Identity = (u64, u64);

impl Watch {
    /// Watches nothing yet; changes will be told to `changed`.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self {
            watcher: None,
            watched: BTreeMap::new(),
            ear: Arc::new(Ear {
                interest: Mutex::default(),
                changed,
                lost: AtomicBool::new(false),
            }),
        }
    }

    /// Watches what matters for these paths. True where a directory was added: what happened there before is unknown.
    pub(crate) fn renew<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) -> Result<bool, notify::Error> {
        let mut interest = Interest::default();
        for path in paths {
            interest.trace(path);
        }
        let wanted: BTreeMap<PathBuf, Option<Identity>> = interest
            .directories
            .iter()
            .map(|directory| (directory.clone(), identity(directory)))
            .collect();
        *self.ear.interest.lock().unwrap_or_else(PoisonError::into_inner) = interest;

        if self.ear.lost.swap(false, Ordering::AcqRel) {
            self.watcher = None;
            self.watched.clear();
        }
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => {
                let ear = self.ear.clone();
                none.insert(notify::recommended_watcher(move |event| ear.hear(&event))?)
            }
        };
        let dropped =
            |(directory, identity): &(&PathBuf, &Option<Identity>)| wanted.get(*directory) != Some(identity);
        for (directory, _) in self.watched.iter().filter(dropped) {
            // Fails where the directory is gone, and the watch with it.
            let _ = watcher.unwatch(directory);
        }
        self.watched
            .retain(|directory, identity| wanted.get(directory) == Some(identity));
        let mut added = false;
        let mut failed = None;
        for (directory, identity) in wanted {
            if self.watched.contains_key(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    added = true;
                    self.watched.insert(directory, identity);
                }
                // The others are watched all the same.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(added), Err)
    }
}

impl Ear {
    fn hear(&self, event: &Result<Event, notify::Error>) {
        let matters = match event {
            Ok(event) => self.matters(event),
            // Something was missed: whatever it was, a look will show.
            Err(_) => true,
        };
        if matters {
            self.changed.notify_one();
        }
    }

    fn matters(&self, event: &Event) -> bool {
        // Our own reading opens and closes files.
        if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
            return false;
        }
        if event.paths.is_empty() || event.need_rescan() {
            return true;
        }
        let interest = self.interest.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        ) && event.paths.iter().any(|path| interest.directories.contains(path))
        {
            self.lost.store(true, Ordering::Release);
        }
        event.paths.iter().any(|path| interest.matches(path))
    }
}

impl Interest {
    fn matches(&self, path: &Path) -> bool {
        self.names.contains(path)
            || self.directories.contains(path)
            || (is_services_file(path) && path.parent().is_some_and(|parent| self.listed.contains(parent)))
    }

    /// Follows a path step by step, as the system does.
    fn trace(&mut self, path: &Path) {
        let mut current = PathBuf::new();
        let mut links = 0;
        let mut steps: VecDeque<OsString> = steps(path);
        while let Some(step) = steps.pop_front() {
            let next = match Path::new(&step).components().next() {
                Some(Component::Normal(name)) => current.join(name),
                Some(Component::ParentDir) => {
                    current.pop();
                    continue;
                }
                Some(Component::CurDir) | None => continue,
                Some(Component::RootDir | Component::Prefix(_)) => {
                    current.push(&step);
                    continue;
                }
            };
            let metadata = fs::symlink_metadata(&next);
            let is_link = metadata.as_ref().is_ok_and(|metadata| metadata.is_symlink());
            if is_link || steps.is_empty() || metadata.is_err() {
                self.directories.insert(current.clone());
                self.names.insert(next.clone());
            }
            if metadata.is_err() {
                return;
            }
            let target = is_link.then(|| fs::read_link(&next)).and_then(Result::ok);
            let Some(target) = target else {
                current = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return;
            }
            if target.is_absolute() {
                current = PathBuf::new();
            }
            for step in self::steps(&target).into_iter().rev() {
                steps.push_front(step);
            }
        }
        if current.is_dir() {
            self.directories.insert(current.clone());
            self.listed.insert(current);
        }
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .map(|step| step.as_os_str().to_owned())
        .collect()
}

#[cfg(unix)]
fn identity(directory: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_directory_on_the_way_in_which_a_link_is_looked_up_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("volume/..one")).unwrap();
        fs::write(root.join("volume/..one/vms.yaml"), "services: []").unwrap();
        symlink("..one", root.join("volume/..data")).unwrap();
        symlink("..data/vms.yaml", root.join("volume/vms.yaml")).unwrap();
        symlink(root.join("volume"), root.join("link")).unwrap();

        let mut interest = Interest::default();
        interest.trace(&root.join("link/vms.yaml"));
        let directories: HashSet<PathBuf> = ["", "volume", "volume/..one"]
            .iter()
            .map(|part| root.join(part).components().collect())
            .collect();
        assert_eq!(interest.directories, directories);
        for name in [
            "link",
            "volume/vms.yaml",
            "volume/..data",
            "volume/..one/vms.yaml",
        ] {
            assert!(interest.matches(&root.join(name)), "{name}");
        }
        assert!(!interest.matches(&root.join("volume/other.yaml")));
    }

    #[test]
    fn a_way_that_ends_early_is_watched_where_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut interest = Interest::default();
        interest.trace(&root.join("missing/deep/vms.yaml"));
        assert_eq!(interest.directories, HashSet::from([root.clone()]));
        assert!(interest.matches(&root.join("missing")));
    }

    #[test]
    fn links_in_a_circle_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let mut interest = Interest::default();
        interest.trace(&dir.path().join("a"));
        assert!(!interest.directories.is_empty());
    }
}
