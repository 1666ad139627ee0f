//! Chores of this repository: `cargo xtask servers | test | bench | fuzz`.
//!
//! ```text
//!  main        picks the chore
//!   ├─ servers      installs the pinned servers      (servers/…: one room for each kind of artifact)
//!   ├─ test         prerequisites, servers beside the compile, tiers, sum
//!   │   └─ tiers        which commands a tier consists of
//!   ├─ bench        the packages that have benchmarks
//!   ├─ fuzz         the fuzz targets, each for a while
//!   ├─ workspace    what is in this repository
//!   └─ run          processes with a deadline, of which nothing survives
//! ```
//!
//! The crate uses nothing but the standard library, so that it is built in a second before everything else.
#![allow(clippy::print_stdout, reason = "a chore speaks to the person who runs it")]
#![allow(
    clippy::disallowed_methods,
    reason = "there is no tokio here and no test clock"
)]

mod bench;
mod failure;
mod fuzz;
mod prerequisites;
mod results;
mod run;
mod servers;
mod test;
mod tiers;
mod workspace;

use std::process::ExitCode;

use failure::Failure;
use workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask <chore>

  servers                               install the pinned servers into target/servers
  test [--tier unit|server|slow]...     run the tests of the named tiers (default: all of them)
  bench [--quick] [--slow] [FILTER]     run the benchmarks, all or those that match
  fuzz [TARGET] [--seconds N]           run the fuzz targets, all or one, each for a minute or N seconds
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (chore, rest) = match arguments.split_first() {
        Some((chore, rest)) => (chore.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match chore {
        "servers" => Workspace::open().and_then(|workspace| servers::run(&workspace, rest)),
        "test" => Workspace::open().and_then(|workspace| test::run(&workspace, rest)),
        "bench" => Workspace::open().and_then(|workspace| bench::run(&workspace, rest)),
        "fuzz" => Workspace::open().and_then(|workspace| fuzz::run(&workspace, rest)),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(Failure::usage(format!("there is no chore named `{other}`"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("xtask: {message}");
            }
            if failure.is_usage() {
                eprint!("\n{USAGE}");
            }
            ExitCode::from(failure.code())
        }
    }
}
