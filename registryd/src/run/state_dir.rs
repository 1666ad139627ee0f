//! The directory in which the last known state is kept: found, made and locked before any registry is asked.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Source, StateDir};
use crate::error::Error;

/// The directory of the system's daemons.
const SYSTEM: &str = "/var/lib/registryd";

/// The file that is locked as long as a daemon uses the directory: two that overwrite each other's state keep neither.
const LOCK: &str = "lock";

/// A directory that this process alone writes to.
#[derive(Debug)]
pub(super) struct StateLock {
    path: PathBuf,
    _lock: File,
}

impl StateLock {
    /// Takes the configured directory; `None` where no state is kept.
    ///
    /// # Errors
    ///
    /// Where a directory was named that cannot be used.
    pub(super) fn take(config: &StateDir, source: &Source) -> Result<Option<Self>, Error> {
        match config {
            StateDir::Off => Ok(None),
            StateDir::At(path) => match Self::at(path) {
                Ok(taken) => Ok(Some(taken)),
                Err(source) => Err(Error::StateDir {
                    path: path.clone(),
                    source,
                }),
            },
            StateDir::Auto => Ok(Self::first_of(&candidates(source))),
        }
    }

    /// The first directory that can be used. What is not as usual is said in the log.
    fn first_of(candidates: &[PathBuf]) -> Option<Self> {
        let mut refused = Vec::new();
        for path in candidates {
            match Self::at(path) {
                Ok(taken) => {
                    if !refused.is_empty() {
                        tracing::warn!("state is kept in {}; {}", path.display(), refused.join("; "));
                    }
                    return Some(taken);
                }
                Err(error) => refused.push(format!("{} cannot be used: {error}", path.display())),
            }
        }
        tracing::warn!(
            "no state is kept, so a start while registries are down is a start without them; {}",
            refused.join("; ")
        );
        None
    }

    fn at(path: &Path) -> io::Result<Self> {
        // What registries say may be nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another registryd uses it",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Where to look for a directory that nobody named. The sample keeps all it writes in one place.
fn candidates(source: &Source) -> Vec<PathBuf> {
    if let Source::BuiltIn(directory) = source {
        return vec![directory.join("state")];
    }
    let absolute = |path: &PathBuf| path.is_absolute();
    // Of several that systemd names, the first is the unit's own.
    let service = std::env::var("STATE_DIRECTORY").ok();
    let service = service.as_deref().and_then(|paths| paths.split(':').next());
    let service = service.map(PathBuf::from).filter(absolute);
    let user = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(absolute)
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    service
        .into_iter()
        .chain([PathBuf::from(SYSTEM)])
        .chain(user.map(|state| state.join("registryd")))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_that_can_be_used_is_taken_and_made_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let wanted = directory.path().join("a/b");
        let taken = StateLock::first_of(&[file.join("below"), wanted.clone()]).unwrap();
        assert_eq!(taken.path(), wanted);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&wanted), mode(&wanted.join(LOCK))), (0o700, 0o600));
        assert!(StateLock::first_of(&[file.join("below")]).is_none());
    }

    #[test]
    fn a_directory_has_one_daemon_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let named = StateDir::At(directory.path().to_owned());
        let source = Source::BuiltIn(directory.path().to_owned());
        let taken = StateLock::take(&named, &source).unwrap().unwrap();
        let error = StateLock::take(&named, &source).unwrap_err();
        let path = directory.path().display();
        assert_eq!(
            error.report(),
            format!("state_dir: {path} cannot be used: another registryd uses it")
        );
        drop(taken);
        assert!(StateLock::take(&named, &source).unwrap().is_some());
        assert!(StateLock::take(&StateDir::Off, &source).unwrap().is_none());
    }

    #[test]
    fn the_sample_keeps_its_state_beside_its_services() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::BuiltIn(directory.path().to_owned());
        let taken = StateLock::take(&StateDir::Auto, &source).unwrap().unwrap();
        assert_eq!(taken.path(), directory.path().join("state"));
    }
}
