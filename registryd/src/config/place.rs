//! Where the configuration comes from: a file, or what is built in.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::sample;

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The sample that is built in. Its services are in a file in that directory.
    BuiltIn(PathBuf),
}

impl Source {
    /// The same whatever the current directory is. What a registry said last is kept under the path of its file, and
    /// one of that name in another directory is another file.
    #[must_use]
    pub fn absolute(self) -> Self {
        match self {
            Self::File(path) => Self::File(std::path::absolute(&path).unwrap_or(path)),
            built_in => built_in,
        }
    }

    /// The text of the configuration.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn text(&self) -> Result<String, Error> {
        let path = match self {
            Self::File(path) => path,
            Self::BuiltIn(_) => return Ok(sample::CONFIGURATION.to_owned()),
        };
        let read = |source| Error::Read {
            path: path.clone(),
            source,
        };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(read)?;
        file.take(super::LIMIT + 1)
            .read_to_string(&mut text)
            .map_err(read)?;
        if text.len() as u64 > super::LIMIT {
            return Err(read(std::io::Error::other(format!(
                "more than {} bytes",
                super::LIMIT
            ))));
        }
        Ok(text)
    }

    /// What it is called in messages.
    pub fn label(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::BuiltIn(_) => "built-in configuration".to_owned(),
        }
    }

    /// The directory that paths in it are relative to.
    pub fn base(&self) -> &Path {
        match self {
            Self::File(path) => path.parent().unwrap_or(Path::new("")),
            Self::BuiltIn(directory) => directory,
        }
    }

    /// The file to watch, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::BuiltIn(_) => None,
        }
    }
}

/// The file that is used where none is named: the first that exists of the user's and the system's.
pub fn default_source() -> Option<PathBuf> {
    let user = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    user.into_iter()
        .chain([PathBuf::from("/etc")])
        .map(|directory| directory.join("registryd/registryd.yaml"))
        .find(|path| path.exists())
}
