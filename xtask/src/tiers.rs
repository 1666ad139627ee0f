//! Which tests belong to which tier.
//!
//! | tier | what it holds | how it is recognised |
//! |---|---|---|
//! | unit | tests in modules, examples, doc tests, the documentation itself, integration tests that need no server | everything else |
//! | server | integration tests against real servers | the test's path starts with `server::` |
//! | slow | soaks, outages of a minute and more | the test's path starts with `slow::` |
//!
//! A package has one integration binary, `tests/it/main.rs`, whose modules `server` and `slow` (at its top
//! level, with any modules below them) make the tier. The test runner's filter is a substring, not a prefix, so
//! no other module of an integration binary may have a name that ends in `server` or `slow`.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::workspace::Workspace;

/// A class of tests that is run by itself, with a deadline of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Unit,
    Server,
    Slow,
}

/// A command of a tier and the name under which it is reported.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
}

// === impl Tier ===

impl Tier {
    pub(crate) const ALL: [Self; 3] = [Self::Unit, Self::Server, Self::Slow];

    pub(crate) fn parse(name: &str) -> Result<Self, Failure> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.name() == name)
            .ok_or_else(|| Failure::usage(format!("there is no tier `{name}`: it is unit, server or slow")))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Server => "server",
            Self::Slow => "slow",
        }
    }

    /// After this time the tier is killed and has failed.
    pub(crate) fn deadline(self) -> Duration {
        match self {
            Self::Unit => Duration::from_secs(15 * 60),
            Self::Server | Self::Slow => Duration::from_secs(20 * 60),
        }
    }

    pub(crate) fn needs_servers(self) -> bool {
        self != Self::Unit
    }

    /// What is run for this tier, in order.
    pub(crate) fn steps(self, workspace: &Workspace) -> Vec<Step> {
        let integration = workspace.with("tests/it/main.rs");
        let mut steps = Vec::new();
        let mut step = |name, command| steps.push(Step { name, command });
        match self {
            Self::Unit => {
                step(
                    "unit tests",
                    cargo(
                        workspace,
                        &[
                            "test",
                            "--workspace",
                            "--no-fail-fast",
                            "--lib",
                            "--bins",
                            "--examples",
                        ],
                    ),
                );
                if !integration.is_empty() {
                    // They wait for time limits and sockets far more than they compute.
                    let filter = ["--skip", "server::", "--skip", "slow::", "--test-threads=8"];
                    step("integration tests", it(workspace, &integration, &filter));
                }
                step(
                    "doc tests",
                    cargo(workspace, &["test", "--workspace", "--no-fail-fast", "--doc"]),
                );
                let mut doc = cargo(workspace, &["doc", "--workspace", "--no-deps"]);
                doc.env("RUSTDOCFLAGS", "-D warnings");
                step("documentation", doc);
            }
            Self::Server if !integration.is_empty() => {
                // Every test of this tier starts processes of its own; the default is one thread per core,
                // which is too few to hide their waiting and too many on a large machine.
                step(
                    "server tests",
                    it(workspace, &integration, &["server::", "--test-threads=4"]),
                );
            }
            Self::Slow if !integration.is_empty() => {
                step(
                    "slow tests",
                    it(workspace, &integration, &["slow::", "--test-threads=4"]),
                );
            }
            Self::Server | Self::Slow => {}
        }
        steps
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Cargo at the root of the workspace.
pub(crate) fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    // Cargo sets the variable for `cargo run`: the same toolchain as the one that built us.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root()).args(arguments);
    command.env("REGISTRY_SERVERS", workspace.servers());
    // What `cargo run` told us about the package xtask is not true of what cargo builds now; build scripts
    // that watch such a variable would be run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
    command
}

/// The integration binaries, with arguments for the test runner.
fn it(workspace: &Workspace, packages: &[&str], runner: &[&str]) -> Command {
    let mut command = cargo(workspace, &["test", "--no-fail-fast", "--test", "it"]);
    // With `--workspace` cargo would build the same; but it refuses `--test it` where nothing has one, so the
    // packages are named.
    for package in packages {
        command.args(["--package", package]);
    }
    command.arg("--").args(runner);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_known_by_name() {
        for tier in Tier::ALL {
            assert_eq!(Tier::parse(tier.name()).ok(), Some(tier));
        }
        assert!(Tier::parse("fast").expect_err("there is none").is_usage());
    }

    #[test]
    fn the_unit_tier_leaves_out_the_other_two() {
        let workspace = Workspace::open().expect("the manifests are readable");
        let steps = Tier::Unit.steps(&workspace);
        let integration = steps
            .iter()
            .find(|step| step.name == "integration tests")
            .expect("there are some");
        let arguments: Vec<_> = integration
            .command
            .get_args()
            .filter_map(|argument| argument.to_str())
            .collect();
        assert!(
            arguments.ends_with(&["--", "--skip", "server::", "--skip", "slow::", "--test-threads=8"]),
            "{arguments:?}"
        );
    }
}
