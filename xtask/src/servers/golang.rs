//! Programs that are built here, from Go sources in this repository.
//!
//! Go's own caches of modules and of compiled packages do the rest: a second clone on the same machine builds in
//! seconds. A toolchain from 1.21 on fetches the version that `go.mod` asks for by itself, as a module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failed;
use super::pinned::{Fingerprint, last_lines};
use crate::failure::Failure;
use crate::prerequisites::{in_path, version};
use crate::run;

/// The first version that replaces itself by the one that a `go.mod` names.
const FETCHES_ITSELF: (u32, u32) = (1, 21);

/// Everything is fetched and compiled within it; two cores need three minutes.
const BUILD_DEADLINE: Duration = Duration::from_secs(20 * 60);

const QUESTION_DEADLINE: Duration = Duration::from_secs(60);

/// A module with one program.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its folder, from the root of the repository.
    pub(crate) path: &'static str,
    /// The program's name.
    pub(crate) program: &'static str,
    /// What it is to say of itself: a variable of a package, and its value.
    pub(crate) variables: &'static [(&'static str, &'static str)],
}

/// What a toolchain says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Toolchain {
    version: String,
    /// Whether it may fetch another version, as `GOTOOLCHAIN` says.
    fetches: bool,
}

// === impl Module ===

impl Module {
    /// What this machine lacks to build the module, in words.
    pub(crate) fn missing_tools(&self, root: &Path, server: &str) -> Vec<String> {
        let wanted = self.wanted(root);
        let needed = format!("go {wanted} or newer is needed to build {server}");
        let found = if in_path("go") {
            toolchain()
        } else {
            Err("there is none in PATH".to_owned())
        };
        let reason = match found {
            Ok(found) => found.unfit(&wanted),
            Err(reason) => Some(reason),
        };
        let hint = "golang-go of Debian 13 will do, or https://go.dev/dl";
        reason
            .map(|reason| format!("{needed}, {reason} ({hint})"))
            .into_iter()
            .collect()
    }

    /// A number that changes with the sources.
    pub(crate) fn hash(&self, root: &Path) -> String {
        let mut fingerprint = Fingerprint::new();
        fingerprint.add_files(&self.sources(root));
        for (variable, value) in self.variables {
            fingerprint.add(variable.as_bytes());
            fingerprint.add(value.as_bytes());
        }
        fingerprint.text()
    }

    /// Builds the program below `work`; returns the folder that holds `bin`.
    pub(crate) fn build(&self, root: &Path, work: &Path) -> Result<PathBuf, Failure> {
        println!(
            "building {} from {}: minutes the first time, seconds with Go's caches warm",
            self.program, self.path
        );
        let folder = work.join("root");
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).map_err(|error| failed("make", &bin, &error))?;
        let mut flags = "-s -w".to_owned();
        for (variable, value) in self.variables {
            flags.push_str(&format!(" -X {variable}={value}"));
        }
        let mut command = Command::new("go");
        command
            .current_dir(root.join(self.path))
            .args([
                "build",
                "-mod=readonly",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
            ])
            .arg(flags)
            .arg("-o")
            .arg(bin.join(self.program))
            .arg(".")
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off");
        let (end, text) = run::capture(&mut command, BUILD_DEADLINE)?;
        if end.success() {
            return Ok(folder);
        }
        // The last lines are the error; before them it tells what it fetches.
        Err(Failure::new(format!(
            "`go build` in {}: {}\n{}",
            self.path,
            end.describe(),
            last_lines(&text, is_progress)
        )))
    }

    /// What the `go` line of the module asks for.
    fn wanted(&self, root: &Path) -> String {
        let manifest = fs::read_to_string(root.join(self.path).join("go.mod")).unwrap_or_default();
        let wanted = manifest.lines().find_map(|line| line.strip_prefix("go "));
        wanted.unwrap_or_default().trim().to_owned()
    }

    fn sources(&self, root: &Path) -> Vec<PathBuf> {
        let mut sources: Vec<PathBuf> = fs::read_dir(root.join(self.path))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("go" | "mod" | "sum"))
            })
            .collect();
        sources.sort();
        sources
    }
}

impl Toolchain {
    /// Why it cannot build what asks for `wanted`.
    fn unfit(&self, wanted: &str) -> Option<String> {
        let this = format!("this is {}", self.version);
        let Some(found) = version(self.version.trim_start_matches("go")) else {
            return Some(this);
        };
        if version(wanted).is_some_and(|wanted| found >= wanted) {
            return None;
        }
        if found < FETCHES_ITSELF {
            return Some(this);
        }
        (!self.fetches).then(|| format!("{this} and may not fetch another (GOTOOLCHAIN)"))
    }
}

fn toolchain() -> Result<Toolchain, String> {
    let mut command = Command::new("go");
    // Outside of any module: there it would already be the version that the module asks for.
    command
        .current_dir(std::env::temp_dir())
        .args(["env", "GOVERSION", "GOTOOLCHAIN"]);
    let (end, text) = run::capture(&mut command, QUESTION_DEADLINE).map_err(|failure| failure.to_string())?;
    let mut lines = text.lines().map(str::trim);
    match (end.success(), lines.next()) {
        (true, Some(version)) => Ok(Toolchain {
            version: version.to_owned(),
            fetches: lines.next().is_some_and(|choice| choice.ends_with("auto")),
        }),
        _ => Err(format!("`go env GOVERSION` says: {}", text.trim())),
    }
}

fn is_progress(line: &str) -> bool {
    line.starts_with("go: downloading ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfit(version: &str, fetches: bool) -> Option<String> {
        let version = version.to_owned();
        Toolchain { version, fetches }.unfit("1.26.0")
    }

    #[test]
    fn a_toolchain_is_new_enough_or_fetches_one_that_is() {
        assert_eq!(unfit("go1.26.8", false), None);
        assert_eq!(unfit("go1.30", false), None);
        assert_eq!(unfit("go1.24.4", true), None);
        let local = unfit("go1.24.4", false).expect("it is too old");
        assert!(
            local.contains("go1.24.4") && local.contains("GOTOOLCHAIN"),
            "{local}"
        );
        assert_eq!(unfit("go1.19.8", true), Some("this is go1.19.8".to_owned()));
        assert_eq!(unfit("devel", true), Some("this is devel".to_owned()));
    }

    #[test]
    fn the_hash_follows_sources_and_nothing_else() {
        let root = std::env::temp_dir().join(format!("xtask-golang-{}", std::process::id()));
        let folder = root.join("m");
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("writable");
        let module = Module {
            path: "m",
            program: "m",
            variables: &[],
        };
        write("go.mod", "module m\n\ngo 1.26.0\n");
        write("main.go", "package main\n");
        assert_eq!(module.wanted(&root), "1.26.0");
        let first = module.hash(&root);
        write("README.md", "more");
        assert_eq!(module.hash(&root), first);
        write("main.go", "package main\n\n");
        assert_ne!(module.hash(&root), first);
        fs::remove_dir_all(&root).expect("it is ours");
    }
}
