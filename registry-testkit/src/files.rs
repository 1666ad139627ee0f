//! Files that a test's servers need.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::Error;

/// A folder that is removed when it is dropped.
pub(crate) fn temporary(prefix: &str) -> Result<TempDir, Error> {
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .map_err(|source| Error::Io {
            what: "cannot make a temporary folder".to_owned(),
            source,
        })
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("cannot write", path))
}

/// Writes a file that is read at any time: a reader sees the old text or the new one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    write(&new, text)?;
    fs::rename(&new, path).map_err(Error::file("cannot write", path))
}

/// Removes a folder with all that is in it; one that is not there is no error.
pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("cannot remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// The kernel makes them, so no crate for random numbers is needed.
pub(crate) fn random_uuid() -> Result<String, Error> {
    let source = "/proc/sys/kernel/random/uuid";
    let uuid = fs::read_to_string(source).map_err(Error::file("cannot read", source))?;
    Ok(uuid.trim().to_owned())
}
