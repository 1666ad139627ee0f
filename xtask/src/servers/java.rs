//! Servers in Java: what runs them, and one that is built here by Maven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failed;
use super::pinned::{Fingerprint, last_lines};
use crate::failure::Failure;
use crate::prerequisites::{in_path, version};
use crate::run;

/// What Spring Boot 3 asks for; the other server runs with it as well.
const WANTED: u32 = 17;

/// Everything is fetched and packaged within it; it takes a minute.
const BUILD_DEADLINE: Duration = Duration::from_secs(10 * 60);

const QUESTION_DEADLINE: Duration = Duration::from_secs(60);

/// A first build fetches hundreds of files, and Maven gives up at the first that it does not get.
const ATTEMPTS: usize = 2;

/// A project with one program.
#[derive(Debug)]
pub(crate) struct Project {
    /// Its folder, from the root of the repository.
    pub(crate) path: &'static str,
    /// The program's file, which `pom.xml` names.
    pub(crate) program: &'static str,
}

/// Whether this machine can run a server, in words where it cannot.
pub(super) fn missing_to_run(server: &str) -> Option<String> {
    let needed = format!("Java {WANTED} or newer is needed to run {server}");
    let hint = "apt install default-jdk-headless";
    if !in_path("java") {
        return Some(format!("{needed}, there is none in PATH ({hint})"));
    }
    let said = run::capture(Command::new("java").arg("-version"), QUESTION_DEADLINE);
    let said = match said {
        Ok((_, text)) => text,
        Err(failure) => failure.to_string(),
    };
    match major(&said) {
        Some(found) if found >= WANTED => None,
        Some(found) => Some(format!("{needed}, this is {found} ({hint})")),
        None => Some(format!(
            "{needed}, `java -version` says: {} ({hint})",
            said.trim()
        )),
    }
}

/// The number of `openjdk version "17.0.15" 2025-04-15`, or of a new `openjdk version "24" 2025-03-18`; Java 8 calls
/// itself 1.8.
fn major(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    let number = |text: &str| -> Option<u32> {
        let end = text.find(|digit: char| !digit.is_ascii_digit());
        text[..end.unwrap_or(text.len())].parse().ok()
    };
    match version(quoted) {
        Some((1, minor)) => Some(minor),
        Some((major, _)) => Some(major),
        None => number(quoted),
    }
}

// === impl Project ===

impl Project {
    /// What this machine lacks to build the project, in words.
    pub(crate) fn missing_tools(&self, server: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for (tool, package) in [("javac", "default-jdk-headless"), ("mvn", "maven")] {
            if !in_path(tool) {
                missing.push(format!(
                    "{tool} is needed to build {server} (apt install {package})"
                ));
            }
        }
        missing
    }

    pub(crate) fn hash(&self, root: &Path) -> String {
        let mut fingerprint = Fingerprint::new();
        fingerprint.add_files(&self.sources(root));
        fingerprint.text()
    }

    /// Packages the program below `work`; returns the folder that holds it.
    ///
    /// `repository` is where Maven keeps what it has fetched: a folder of ours, so that nothing is left in the home of
    /// who runs the tests.
    pub(crate) fn build(&self, root: &Path, work: &Path, repository: &Path) -> Result<PathBuf, Failure> {
        println!(
            "building {} from {}: a minute the first time, then seconds",
            self.program, self.path
        );
        // A copy, because Maven writes into the project's own folder.
        let project = work.join("project");
        for source in self.sources(root) {
            let name = source.strip_prefix(root.join(self.path)).unwrap_or(&source);
            let copy = project.join(name);
            let folder = copy.parent().unwrap_or(&project);
            fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
            fs::copy(&source, &copy).map_err(|error| failed("copy", &source, &error))?;
        }
        let mut attempt = 1;
        loop {
            let mut command = Command::new("mvn");
            command
                .current_dir(&project)
                .args(["--quiet", "--batch-mode", "--no-transfer-progress"])
                .arg(format!("-Dmaven.repo.local={}", repository.display()))
                // Otherwise it would not even look again for what it did not get.
                .arg("--update-snapshots")
                .arg("package");
            let (end, text) = run::capture(&mut command, BUILD_DEADLINE)?;
            if end.success() {
                break;
            }
            if attempt == ATTEMPTS {
                return Err(Failure::new(format!(
                    "`mvn package` in {}: {}\n{}",
                    self.path,
                    end.describe(),
                    last_lines(&text, |line| line.contains("[INFO]"))
                )));
            }
            attempt += 1;
        }
        let folder = work.join("root");
        fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, &error))?;
        let built = project.join("target").join(self.program);
        fs::rename(&built, folder.join(self.program)).map_err(|error| failed("move", &built, &error))?;
        Ok(folder)
    }

    /// The project's own files, whatever else an editor has left there.
    fn sources(&self, root: &Path) -> Vec<PathBuf> {
        let mut sources = Vec::new();
        let mut folders = vec![root.join(self.path)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let extension = path.extension().and_then(|extension| extension.to_str());
                if path.is_dir() {
                    if entry.file_name() != "target" {
                        folders.push(path);
                    }
                } else if matches!(extension, Some("xml" | "java" | "properties")) {
                    sources.push(path);
                }
            }
        }
        sources.sort();
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_tells_its_version_in_three_ways() {
        assert_eq!(
            major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK …"),
            Some(17)
        );
        assert_eq!(major("openjdk version \"24\" 2025-03-18"), Some(24));
        assert_eq!(major("java version \"26-ea\" 2026-03-17"), Some(26));
        assert_eq!(major("openjdk version \"1.8.0_452\""), Some(8));
        assert_eq!(major("The operation couldn't be completed."), None);
    }

    #[test]
    fn the_sources_are_those_of_the_project_and_nothing_that_was_built() {
        let root = std::env::temp_dir().join(format!("xtask-java-{}", std::process::id()));
        let write = |name: &str| {
            let path = root.join("p").join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            fs::write(path, name).expect("writable");
        };
        let project = Project {
            path: "p",
            program: "p.jar",
        };
        write("pom.xml");
        write("src/main/java/P.java");
        let first = project.hash(&root);
        write("target/classes/application.properties");
        write("README.md");
        assert_eq!(project.hash(&root), first);
        write("src/main/resources/application.properties");
        assert_ne!(project.hash(&root), first);
        assert_eq!(project.sources(&root).len(), 3);
        fs::remove_dir_all(&root).expect("it is ours");
    }
}
