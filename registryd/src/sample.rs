//! The sample that runs where nothing is configured: services of two machines in a file that a newcomer can edit, and a
//! Consul on this host as soon as there is one.

use std::io;
use std::path::{Path, PathBuf};

/// The sample configuration.
pub const CONFIGURATION: &str = include_str!("../config/registryd.yaml");

/// The sample services.
pub const SERVICES: &str = include_str!("../config/vms.yaml");

/// The name of the file that the sample configuration watches.
const FILE: &str = "vms.yaml";

/// Puts the sample services where the user can edit them, and returns the directory. A file that is there already stays
/// as it is.
///
/// # Errors
///
/// Where no file can be written, neither with the user's state nor with temporary files.
pub fn unpack() -> io::Result<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    if let Some(state) = state {
        let directory = state.join("registryd/sample");
        match std::fs::create_dir_all(&directory).and_then(|()| unpack_to(&directory)) {
            Ok(()) => return Ok(directory),
            Err(error) => {
                tracing::debug!(directory = %directory.display(), %error, "no place for the sample");
            }
        }
    }
    // A new directory of our own: others may write to that for temporary files.
    let directory = std::env::temp_dir().join(format!("registryd-sample-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    unpack_to(&directory)?;
    Ok(directory)
}

fn unpack_to(directory: &Path) -> io::Result<()> {
    let path = directory.join(FILE);
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
    {
        Ok(mut file) => io::Write::write_all(&mut file, SERVICES.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
