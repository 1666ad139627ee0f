//! Directory, lock and files: names, permissions, and replacing a file as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::StoreError;

const LOCK: &str = ".lock";
const EXTENSION: &str = "state";

/// The name of the file of a registry: `.` and all that a registry's name may hold but `/` stand for themselves, the
/// rest is percent-encoded, so no name leads out of the directory and no two are the same file. A leading dot is
/// encoded too (registry names have none): hidden files are none of the registries'.
pub(super) fn name(registry: &str) -> String {
    let mut name = String::with_capacity(registry.len() + EXTENSION.len() + 1);
    for (at, byte) in registry.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name.push('.');
    name.push_str(EXTENSION);
    name
}

/// The name under which the file at `path` is written.
fn temporary(path: &Path, turn: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{turn}.tmp"));
    name.into()
}

/// Only what [`temporary`] makes: whatever else an operator has put here is not ours to remove.
fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp")
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(file, turn)| {
            file.strip_suffix(EXTENSION)
                .is_some_and(|registry| registry.ends_with('.'))
                && turn.parse::<u64>().is_ok()
        })
}

pub(super) fn create_directory(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| StoreError::Directory {
        path: path.to_owned(),
        source,
    })
}

/// Options for a file that nobody but its owner may look into.
fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes the lock of the directory, which lasts as long as the file is open: the system frees it with the process.
pub(super) fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let failed = |source| StoreError::Lock {
        path: path.clone(),
        source,
    };
    what_stands_at(&path)?;
    let file = private()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Removes what writers that were killed have left.
pub(super) fn remove_leftovers(directory: &Path) -> Result<(), StoreError> {
    let unusable = |source| StoreError::Directory {
        path: directory.to_owned(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        let is_file = entry.file_type().map_err(unusable)?.is_file();
        if is_file && entry.file_name().to_str().is_some_and(is_temporary) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| StoreError::Remove { path, source })?;
        }
    }
    Ok(())
}

/// True where there is a regular file, false where there is nothing; anything else is an error. Opening a pipe would
/// wait for its other end, and a link may lead anywhere.
fn what_stands_at(path: &Path) -> Result<bool, StoreError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => {
            return Err(StoreError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let found = if kind.is_file() {
        return Ok(true);
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else {
        "a device, pipe or socket"
    };
    Err(StoreError::NotAFile {
        path: path.to_owned(),
        found,
    })
}

/// The regular file at `path` and its size; `None` where there is nothing.
pub(super) fn open(path: &Path) -> Result<Option<(File, u64)>, StoreError> {
    if !what_stands_at(path)? {
        return Ok(None);
    }
    let read = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    Ok(Some((file, metadata.len())))
}

/// Writes a file beside `path` and puts it in its place when it is on disk.
pub(super) fn replace(
    directory: &Path,
    path: &Path,
    turn: u64,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let beside = temporary(path, turn);
    let mut file = private().create_new(true).open(&beside)?;
    let written = write(&mut file)
        // Before the rename: else a power cut could leave the new name with nothing behind it.
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell; what cannot be removed now, the next start removes.
        fs::remove_file(&beside).ok();
    }
    written.and_then(|()| sync(directory))
}

pub(super) fn remove(directory: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync(directory),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a rename or removal last. Elsewhere than on Unix a directory cannot be opened for that.
#[cfg(unix)]
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_registries_share_a_file_and_none_leaves_the_directory() {
        for (registry, file) in [
            ("consul-dc1", "consul-dc1.state"),
            ("k8s/eu.west-1", "k8s%2Feu.west-1.state"),
            ("a/../b", "a%2F..%2Fb.state"),
            ("..", "%2E..state"),
            (".lock", "%2Elock.state"),
            ("a%2Fb", "a%252%46b.state"),
        ] {
            assert_eq!(name(registry), file);
        }
        // The longest there is, all of it encoded and being written, still is a file name.
        assert!(
            temporary(Path::new(&name(&"/".repeat(63))), u64::MAX)
                .as_os_str()
                .len()
                <= 255
        );
    }

    #[test]
    fn only_what_was_being_written_counts_as_temporary() {
        for name in ["a.state.0.tmp", "k8s%2Feu.state.17.tmp"] {
            assert!(is_temporary(name), "{name}");
        }
        for name in [
            "a.state",
            ".lock",
            "a.tmp",
            "notes.7.tmp",
            "a.state.x.tmp",
            "astate.1.tmp",
            "a.state.1.tmp.state",
        ] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
