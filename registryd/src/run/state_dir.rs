//! The directory in which the last known state is kept: found, made and tried before any registry is asked, so that one
//! which was named and cannot be used is told at once.

use std::fs::{DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Source, StateDir};
use crate::error::Error;

/// The directory of the system's daemons.
const SYSTEM: &str = "/var/lib/registryd";

/// The file that discovery keeps locked in a directory that it uses.
const LOCK: &str = ".lock";

/// The directory to use; `None` where no state is kept.
///
/// # Errors
///
/// Where a directory was named that cannot be used.
pub(super) fn find(config: &StateDir, source: &Source) -> Result<Option<PathBuf>, Error> {
    match config {
        StateDir::Off => Ok(None),
        StateDir::At(path) => match attempt(path) {
            Ok(()) => Ok(Some(path.clone())),
            Err(source) => Err(Error::StateDir {
                path: path.clone(),
                source,
            }),
        },
        StateDir::Auto => Ok(first_of(&candidates(source))),
    }
}

/// The first directory that can be used. What is not as usual is said in the log.
fn first_of(candidates: &[PathBuf]) -> Option<PathBuf> {
    let mut refused = Vec::new();
    for path in candidates {
        match attempt(path) {
            Ok(()) => {
                if !refused.is_empty() {
                    tracing::warn!("state is kept in {}; {}", path.display(), refused.join("; "));
                }
                return Some(path.clone());
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

/// Whether the directory can be written and no other daemon uses it. Nothing is held: discovery takes it for good.
fn attempt(path: &Path) -> io::Result<()> {
    // What registries say may be nobody else's business.
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(LOCK))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another registryd uses it"),
        TryLockError::Error(error) => error,
    })
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
        let found = first_of(&[file.join("below"), wanted.clone()]);
        assert_eq!(found, Some(wanted.clone()));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&wanted), mode(&wanted.join(LOCK))), (0o700, 0o600));
        assert_eq!(first_of(&[file.join("below")]), None);
    }

    #[test]
    fn a_directory_has_one_daemon_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let named = StateDir::At(directory.path().to_owned());
        let source = Source::BuiltIn(directory.path().to_owned());
        assert_eq!(find(&named, &source).unwrap().as_deref(), Some(directory.path()));
        let other = std::fs::File::open(directory.path().join(LOCK)).unwrap();
        other.lock().unwrap();
        let error = find(&named, &source).unwrap_err();
        let path = directory.path().display();
        assert_eq!(
            error.report(),
            format!("state_dir: {path} cannot be used: another registryd uses it")
        );
        drop(other);
        assert!(find(&named, &source).unwrap().is_some());
        assert_eq!(find(&StateDir::Off, &source).unwrap(), None);
    }

    #[test]
    fn the_sample_keeps_its_state_beside_its_services() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::BuiltIn(directory.path().to_owned());
        let found = find(&StateDir::Auto, &source).unwrap();
        assert_eq!(found, Some(directory.path().join("state")));
    }
}
