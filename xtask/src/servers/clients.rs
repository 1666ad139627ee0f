//! Programs that come as packages of Python or JavaScript, from lists that pin every file by its checksum.
//!
//! The registries are those that pip and npm are configured for; no address of a mirror is written here. Nothing that
//! comes with a package is executed on the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failed;
use super::pinned::{Fingerprint, last_lines};
use crate::failure::Failure;
use crate::prerequisites::{in_path, version};
use crate::run;

const INSTALL_DEADLINE: Duration = Duration::from_secs(5 * 60);

const QUESTION_DEADLINE: Duration = Duration::from_secs(60);

/// Which kind of client it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Language {
    /// `requirements.txt`, with hashes.
    Python,
    /// `package.json` and `package-lock.json`.
    JavaScript,
}

/// A client with all that it needs.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) language: Language,
    /// The folder with the lists, from the root of the repository.
    pub(crate) path: &'static str,
}

// === impl Language ===

impl Language {
    fn lists(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["requirements.txt"],
            Self::JavaScript => &["package.json", "package-lock.json"],
        }
    }

    /// The interpreter, its oldest version that the pinned packages work with, and where to get it.
    fn interpreter(self) -> (&'static str, (u32, u32), &'static str) {
        match self {
            Self::Python => ("python3", (3, 10), "apt install python3"),
            Self::JavaScript => ("node", (18, 0), "apt install nodejs"),
        }
    }
}

// === impl Client ===

impl Client {
    /// What this machine lacks to run the client, in words.
    pub(crate) fn missing_to_run(&self, name: &str) -> Option<String> {
        let (program, wanted, hint) = self.language.interpreter();
        let needed = format!(
            "{program} {}.{} or newer is needed to run {name}",
            wanted.0, wanted.1
        );
        if !in_path(program) {
            return Some(format!("{needed}, there is none in PATH ({hint})"));
        }
        let said = match run::capture(Command::new(program).arg("--version"), QUESTION_DEADLINE) {
            Ok((_, text)) => text.trim().to_owned(),
            Err(failure) => failure.to_string(),
        };
        // `Python 3.11.2`, `v18.19.0`
        let fits = version(said.trim_start_matches('v')).is_some_and(|found| found >= wanted);
        (!fits).then(|| format!("{needed}, this is {said} ({hint})"))
    }

    /// What this machine lacks to install it, in words.
    pub(crate) fn missing_to_install(&self, name: &str) -> Option<String> {
        let (there, tool) = match self.language {
            Language::Python => (has_pip(), "python3-pip"),
            Language::JavaScript => (in_path("npm"), "npm"),
        };
        (!there).then(|| format!("{tool} is needed to install {name} (apt install {tool})"))
    }

    pub(crate) fn hash(&self, root: &Path) -> String {
        let lists = self.language.lists().iter();
        let lists: Vec<PathBuf> = lists.map(|list| root.join(self.path).join(list)).collect();
        let mut fingerprint = Fingerprint::new();
        fingerprint.add_files(&lists);
        fingerprint.text()
    }

    /// Installs it below `work`; returns the folder that holds it.
    pub(crate) fn install(&self, root: &Path, work: &Path) -> Result<PathBuf, Failure> {
        let folder = work.join("root");
        fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, &error))?;
        for list in self.language.lists() {
            let source = root.join(self.path).join(list);
            fs::copy(&source, folder.join(list)).map_err(|error| failed("copy", &source, &error))?;
        }
        let mut command = match self.language {
            Language::Python => pip(),
            Language::JavaScript => npm(),
        };
        let (end, text) = run::capture(command.current_dir(&folder), INSTALL_DEADLINE)?;
        if end.success() {
            return Ok(folder);
        }
        Err(Failure::new(format!(
            "{} of {}: {}\n{}",
            command.get_program().to_string_lossy(),
            self.path,
            end.describe(),
            last_lines(&text, |line| line.contains("Downloading "))
        )))
    }
}

fn has_pip() -> bool {
    let said = run::capture(
        Command::new("python3").args(["-m", "pip", "--version"]),
        QUESTION_DEADLINE,
    );
    said.is_ok_and(|(end, _)| end.success())
}

fn pip() -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet", "--target", "."])
        // All that is needed is listed, and a wheel runs nothing when it is installed.
        .args(["--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .args([
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--root-user-action",
            "ignore",
        ])
        .args(["--requirement", "requirements.txt"]);
    command
}

fn npm() -> Command {
    let mut command = Command::new("npm");
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--omit", "dev", "--loglevel", "error"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_lists() {
        let root = std::env::temp_dir().join(format!("xtask-clients-{}", std::process::id()));
        let folder = root.join("c");
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("writable");
        let client = |language| Client { language, path: "c" };
        let (python, js) = (client(Language::Python), client(Language::JavaScript));
        write("requirements.txt", "a==1");
        write("package-lock.json", "{}");
        let first = (python.hash(&root), js.hash(&root));
        write("requirements.txt", "a==2");
        assert_ne!(python.hash(&root), first.0);
        assert_eq!(js.hash(&root), first.1);
        write("package-lock.json", "{ }");
        assert_ne!(js.hash(&root), first.1);
        fs::remove_dir_all(&root).expect("it is ours");
    }
}
