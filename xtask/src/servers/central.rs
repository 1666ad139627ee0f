//! Files of Maven Central that need no build: programs in Java that are published ready to run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{failed, pinned};
use crate::failure::Failure;
use crate::prerequisites::in_path;
use crate::run;

/// The variable that names a mirror to use instead of [`CENTRAL`].
pub(crate) const MIRROR: &str = "REGISTRY_MAVEN_CENTRAL";

const CENTRAL: &str = "https://repo.maven.apache.org/maven2";

const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// Files that make one server.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) files: &'static [File],
}

/// A file, pinned.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it is, from the root of the repository.
    pub(crate) path: &'static str,
    pub(crate) sha256: &'static str,
    /// What it is called here.
    pub(crate) name: &'static str,
}

// === impl Files ===

impl Files {
    /// What this machine lacks to install the files, in words.
    pub(crate) fn missing_tools(&self, server: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for tool in ["curl", "sha256sum"] {
            if !in_path(tool) {
                missing.push(format!(
                    "{tool} is needed to install {server} (apt install curl coreutils)"
                ));
            }
        }
        missing
    }

    /// All checksums in one line.
    pub(crate) fn pins(&self) -> String {
        let pins: Vec<&str> = self.files.iter().map(|file| file.sha256).collect();
        pins.join(" ")
    }

    /// Downloads the files below `work`; returns the folder that holds them.
    pub(crate) fn download(&self, work: &Path) -> Result<PathBuf, Failure> {
        let folder = work.join("root");
        fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, &error))?;
        let repository = env::var(MIRROR).unwrap_or_else(|_| CENTRAL.to_owned());
        for file in self.files {
            let address = format!("{}/{}", repository.trim_end_matches('/'), file.path);
            let target = folder.join(file.name);
            let mut command = Command::new("curl");
            command
                .args(["--fail", "--silent", "--show-error", "--location", "--retry", "3"])
                .args(["--connect-timeout", "30", "--output"])
                .arg(&target)
                .arg(&address);
            let (end, text) = run::capture(&mut command, DOWNLOAD_DEADLINE)?;
            if !end.success() {
                return Err(Failure::new(format!(
                    "{address}: {} ({}; the variable {MIRROR} names a mirror)",
                    text.trim(),
                    end.describe()
                )));
            }
            pinned::verify(&target, file.sha256, file.path)?;
        }
        Ok(folder)
    }
}
