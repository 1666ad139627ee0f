//! What is in this repository: members, their targets, the place of build products.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The workspace, read from its manifests.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    members: Vec<Member>,
    rust_version: String,
}

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    folder: PathBuf,
}

// === impl Workspace ===

impl Workspace {
    /// Reads the workspace that this program was built from.
    pub(crate) fn open() -> Result<Self, Failure> {
        // Cargo sets the variable for `cargo run`, so a checkout that was moved still works.
        let own = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = own.parent().unwrap_or(&own).to_path_buf();
        let manifest = read(&root.join("Cargo.toml"))?;
        let rust_version = value(&manifest, "rust-version")
            .ok_or_else(|| Failure::new("the workspace's Cargo.toml names no rust-version"))?
            .to_owned();
        let members = members(&manifest)
            .into_iter()
            .map(|member| {
                let folder = root.join(member);
                let manifest = read(&folder.join("Cargo.toml"))?;
                let name = value(&manifest, "name")
                    .ok_or_else(|| Failure::new(format!("{member}/Cargo.toml has no name")))?
                    .to_owned();
                Ok(Member { name, folder })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self {
            root,
            members,
            rust_version,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The oldest compiler that the workspace promises to work with, such as `1.90`.
    pub(crate) fn rust_version(&self) -> &str {
        &self.rust_version
    }

    /// Where cargo puts build products.
    pub(crate) fn target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => self.root.join(folder),
            None => self.root.join("target"),
        }
    }

    /// Where the pinned servers are installed.
    pub(crate) fn servers(&self) -> PathBuf {
        self.target().join("servers")
    }

    /// The names of the packages for which the folder or file exists.
    pub(crate) fn with(&self, path: &str) -> Vec<&str> {
        self.members
            .iter()
            .filter(|member| member.folder.join(path).exists())
            .map(|member| member.name.as_str())
            .collect()
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

/// The first `key = "value"` of a manifest; enough TOML for the lines that this workspace has.
fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    manifest.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?;
        rest.trim().strip_prefix('"')?.split('"').next()
    })
}

/// The strings of the `members` list.
fn members(manifest: &str) -> Vec<&str> {
    let Some((_, list)) = manifest.split_once("members = [") else {
        return Vec::new();
    };
    let list = list.split(']').next().unwrap_or_default();
    list.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split(','))
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !member.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[workspace]\nresolver = \"3\"\nmembers = [\n    \"core\", # first\n    \"xtask\",\n]\n\n\
                            [workspace.package]\nrust-version = \"1.90\"\n";

    #[test]
    fn members_are_read_from_the_list() {
        assert_eq!(members(MANIFEST), ["core", "xtask"]);
        assert_eq!(members("members = [\"a\", \"b\"]"), ["a", "b"]);
        assert!(members("[package]").is_empty());
    }

    #[test]
    fn values_are_found_by_their_whole_key() {
        assert_eq!(value(MANIFEST, "rust-version"), Some("1.90"));
        assert_eq!(value("names = 1\nname = \"a\"", "name"), Some("a"));
        assert_eq!(value(MANIFEST, "name"), None);
    }

    #[test]
    fn this_repository_is_understood() {
        let workspace = Workspace::open().expect("the manifests are readable");
        assert!(workspace.with("Cargo.toml").contains(&"xtask"));
        assert!(workspace.with("no/such/file").is_empty());
    }
}
