//! Programs out of Debian packages, without root and without a trace in the system.
//!
//! apt's own downloader fetches the one file: it honours the proxies and credentials that the system has
//! configured and checks the pinned checksum, so neither a package index nor a signing key is needed (both of
//! which end with a release's support, while its packages stay on the mirrors and archives).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{apt, pinned};
use crate::failure::Failure;
use crate::prerequisites::in_path;
use crate::run::{self, End};

const DOWNLOADER: &str = "/usr/lib/apt/apt-helper";
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(5 * 60);
const UNPACK_DEADLINE: Duration = Duration::from_secs(2 * 60);

/// A package, pinned.
#[derive(Debug)]
pub(crate) struct Package {
    /// The file, from the root of a mirror.
    pub(crate) path: &'static str,
    /// The machine that it is for, in Rust's words.
    pub(crate) architecture: &'static str,
    pub(crate) sha256: &'static str,
}

// === impl Package ===

impl Package {
    /// What this machine lacks to install the package, in words.
    pub(crate) fn missing_tools(&self, server: &str) -> Vec<String> {
        let mut missing = Vec::new();
        if env::consts::ARCH != self.architecture {
            missing.push(format!("{server} is only available for {}", self.architecture));
        }
        for (there, tool) in [
            (Path::new(DOWNLOADER).is_file(), "apt"),
            (in_path("dpkg-deb"), "dpkg-deb"),
            (in_path("sha256sum"), "sha256sum"),
        ] {
            if !there {
                missing.push(format!(
                    "{tool} is needed to install {server}: it is part of every Debian system"
                ));
            }
        }
        missing
    }

    /// Downloads and unpacks the package below `work`; returns the folder that was its `usr`.
    pub(crate) fn unpack(&self, work: &Path) -> Result<PathBuf, Failure> {
        let file = work.join("package.deb");
        self.download(&file)?;
        self.verify(&file)?;
        let root = work.join("root");
        let mut command = Command::new("dpkg-deb");
        command.arg("-x").arg(&file).arg(&root);
        succeed(&mut command, UNPACK_DEADLINE)?;
        Ok(root.join("usr"))
    }

    fn download(&self, file: &Path) -> Result<(), Failure> {
        let mirrors = apt::mirrors();
        let mut failures = Vec::new();
        for mirror in &mirrors {
            let address = format!("{mirror}/{}", self.path);
            // A download that was cut off must not be continued from another mirror.
            let _ = fs::remove_file(file);
            let mut command = Command::new(DOWNLOADER);
            command
                .args([
                    "-o",
                    "Acquire::http::Timeout=30",
                    "-o",
                    "Acquire::https::Timeout=30",
                ])
                .args(["-o", "Acquire::Retries=2", "download-file", &address])
                .arg(file)
                .arg(format!("SHA256:{}", self.sha256))
                .env("LC_ALL", "C.UTF-8");
            match succeed(&mut command, DOWNLOAD_DEADLINE) {
                Ok(()) => return Ok(()),
                Err(failure) => failures.push(format!("{address}: {failure}")),
            }
        }
        if failures.is_empty() {
            failures.push("apt's sources name no Debian mirror".to_owned());
        }
        Err(Failure::new(format!(
            "no mirror has it:\n  - {}\n  (the variable {} names a further one)",
            failures.join("\n  - "),
            apt::ARCHIVE
        )))
    }

    /// The downloader has checked it too, but the pin must not hang on an option of another program.
    fn verify(&self, file: &Path) -> Result<(), Failure> {
        pinned::verify(file, self.sha256, self.path)
    }
}

/// Runs the command and makes a failure of everything but success, with what it wrote.
fn succeed(command: &mut Command, deadline: Duration) -> Result<(), Failure> {
    let (end, text) = run::capture(command, deadline)?;
    if end.success() {
        return Ok(());
    }
    // Its complaint about running as root is noise, and progress is none of an error's business.
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("E:") || line.starts_with("dpkg-deb:"))
        .collect();
    let said = if said.is_empty() {
        text.trim().to_owned()
    } else {
        said.join("; ")
    };
    match end {
        End::Exited(_) if !said.is_empty() => Err(Failure::new(said)),
        end => Err(Failure::new(end.describe())),
    }
}
