//! Where the installed servers are.

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;

/// The variable that names the folder of the installed servers; `cargo xtask test` sets it.
pub const SERVERS: &str = "REGISTRY_SERVERS";

/// Finds a program of an installed server, such as `consul/bin/consul`.
///
/// It looks into the folder that [`SERVERS`] names, or else into `target/servers` of the package under test, of
/// the current directory and of every folder above them, so that a plain `cargo test` finds what
/// `cargo xtask servers` has installed.
///
/// # Errors
///
/// [`Error::ServerMissing`] where it is in none of them. A test fails then; it is never skipped, because a tier
/// that silently tests nothing looks just like one that passes.
pub fn find(program: &str) -> Result<PathBuf, Error> {
    let folders = folders(env::var_os(SERVERS).map(PathBuf::from));
    match folders
        .iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
    {
        Some(path) => Ok(path),
        None => {
            let looked: Vec<_> = folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect();
            Err(Error::ServerMissing {
                program: program.to_owned(),
                looked: looked.join(", "),
            })
        }
    }
}

/// Finds a program that runs servers, such as `java`, in the folders of `PATH`.
pub(crate) fn in_path(program: &str) -> Result<PathBuf, Error> {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::ServerMissing {
            program: program.to_owned(),
            looked: "PATH".to_owned(),
        })
}

fn folders(named: Option<PathBuf>) -> Vec<PathBuf> {
    // A folder that is named is the only one: a typing error in it must not fall back to something else.
    if let Some(named) = named {
        return vec![named];
    }
    let mut folders = Vec::new();
    if let Some(target) = env::var_os("CARGO_TARGET_DIR") {
        folders.push(Path::new(&target).join("servers"));
    }
    let starts = [
        env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from),
        env::current_dir().ok(),
    ];
    for start in starts.iter().flatten() {
        for above in start.ancestors() {
            let folder = above.join("target/servers");
            if folder.is_dir() && !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    if folders.is_empty() {
        folders.push(PathBuf::from("target/servers"));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_folder_is_the_only_one() {
        assert_eq!(folders(Some("/nowhere".into())), [PathBuf::from("/nowhere")]);
    }

    #[test]
    fn a_missing_server_says_how_to_get_it() {
        let error = find("nothing/bin/nothing").expect_err("it does not exist");
        assert!(error.to_string().contains("cargo xtask servers"), "{error}");
    }
}
