//! What has to be on the machine before anything is started.

use std::env;
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::run;
use crate::servers;
use crate::workspace::Workspace;

/// Checks everything and names all that is missing at once. Servers that come as sources are built then, while
/// nothing else is under way.
pub(crate) fn check(workspace: &Workspace, with_servers: bool) -> Result<(), Failure> {
    let mut missing = Vec::new();
    missing.extend(compiler(workspace.rust_version()).err());
    if with_servers {
        missing.extend(servers::missing_tools(workspace));
    }
    if missing.is_empty() {
        return if with_servers {
            servers::build_all(workspace)
        } else {
            Ok(())
        };
    }
    Err(Failure::new(format!(
        "the tests cannot run here:\n  - {}",
        missing.join("\n  - ")
    )))
}

/// Whether the program is in one of the folders of `PATH`.
pub(crate) fn in_path(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

fn compiler(wanted: &str) -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let (_, text) = run::capture(Command::new(rustc).arg("--version"), Duration::from_secs(60))
        .map_err(|failure| format!("rustc {wanted} or newer is needed: {failure}"))?;
    match (version(&text), version(wanted)) {
        (Some(found), Some(least)) if found >= least => Ok(()),
        (Some((major, minor)), _) => Err(format!(
            "rustc {wanted} or newer is needed, this is {major}.{minor}"
        )),
        (None, _) => Err(format!(
            "rustc {wanted} or newer is needed, `rustc --version` says: {}",
            text.trim()
        )),
    }
}

/// The first two numbers of `rustc 1.95.0 (…)` or `1.90`.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let word = text
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut numbers = word.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!(version("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(version("rustc 1.100.0-nightly (x)"), Some((1, 100)));
        assert!(version("1.100") > version("1.90"));
        assert_eq!(version("error: no toolchain"), None);
    }

    #[test]
    fn this_compiler_is_new_enough_for_itself_and_not_for_the_future() {
        assert_eq!(compiler("1.90"), Ok(()));
        assert!(compiler("1.9000").expect_err("not yet").contains("1.9000"));
    }

    #[test]
    fn programs_are_looked_up_in_the_path() {
        assert!(in_path("sh"));
        assert!(!in_path("no-such-program"));
    }
}
