//! `cargo xtask bench`: the benchmarks of all packages that have some.

use std::time::Duration;

use crate::failure::Failure;
use crate::run;
use crate::tiers::cargo;
use crate::workspace::Workspace;

/// A release build with link-time optimisation is part of it.
const DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);

/// Runs the benchmarks; the arguments (a filter, `--quick`, `--slow`) are theirs.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let packages = workspace.with("benches");
    if packages.is_empty() {
        return Err(Failure::new("no package has benchmarks"));
    }
    let mut command = cargo(workspace, &["bench", "--no-fail-fast"]);
    // All of them, whatever the filter: the daemon is built with its own, and Eureka's measure that as well.
    for package in packages {
        command.args(["--package", package]);
    }
    // Not `--benches`, which takes the unit tests along: their runner does not know the benchmarks' arguments.
    command.args(["--bench", "*", "--"]).args(arguments);
    let end = run::stream(&mut command, DEADLINE, |_| {})?;
    if end.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("the benchmarks: {}", end.describe())))
    }
}
