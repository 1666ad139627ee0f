//! `cargo xtask test`: everything that a change has to pass.
//!
//! ```text
//!  prerequisites ─▶ compile ──────────────▶ unit ─▶ server ─▶ slow ─▶ N passed, N failed
//!                └▶ install servers ────────────────┘
//! ```
//!
//! A tier is never left out in silence: what cannot run counts as failed.

use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::prerequisites;
use crate::results::Counts;
use crate::run;
use crate::servers;
use crate::tiers::{Step, Tier, cargo};
use crate::workspace::Workspace;

/// Everything is compiled before the first tier, so that no tier's deadline depends on the state of the cache.
const COMPILE_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Runs the chosen tiers and ends with the line `N passed, N failed`.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let tiers = parse(arguments)?;
    let with_servers = tiers.iter().any(|tier| tier.needs_servers());
    prerequisites::check(workspace, with_servers)?;
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let install = with_servers.then(|| scope.spawn(|| servers::install_all(workspace)));
        let compiled = tally.step(
            Step {
                name: "compile",
                command: cargo(workspace, &["test", "--workspace", "--no-run"]),
            },
            COMPILE_DEADLINE,
        );
        let mut install = install;
        for tier in tiers {
            if !compiled {
                break;
            }
            if tier.needs_servers()
                && let Some(install) = install.take()
            {
                let outcome = install
                    .join()
                    .unwrap_or_else(|_| Err(Failure::new("the installation panicked")));
                if let Err(failure) = outcome {
                    tally.fail("servers", &failure.to_string());
                }
            }
            tally.tier(tier, tier.steps(workspace));
        }
    });
    tally.finish()
}

/// The tiers to run, in the order of the tiers, whatever the order of the arguments.
fn parse(arguments: &[String]) -> Result<Vec<Tier>, Failure> {
    let mut chosen = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name = match argument.strip_prefix("--tier") {
            Some("") => rest
                .next()
                .ok_or_else(|| Failure::usage("--tier needs a name: unit, server or slow"))?,
            Some(name) if name.starts_with('=') => &name[1..],
            _ => return Err(Failure::usage(format!("`test` does not know `{argument}`"))),
        };
        chosen.push(Tier::parse(name)?);
    }
    if chosen.is_empty() {
        return Ok(Tier::ALL.to_vec());
    }
    Ok(Tier::ALL
        .into_iter()
        .filter(|tier| chosen.contains(tier))
        .collect())
}

/// What has been counted so far.
#[derive(Debug, Default)]
struct Tally {
    sum: Counts,
    summary: Vec<String>,
}

// === impl Tally ===

impl Tally {
    fn tier(&mut self, tier: Tier, steps: Vec<Step>) {
        let start = Instant::now();
        let before = self.sum;
        for step in steps {
            // One deadline for the tier: a step gets what the ones before it have left.
            let left = tier.deadline().saturating_sub(start.elapsed());
            self.step(step, left);
        }
        self.summary.push(format!(
            "tier {tier}: {} passed, {} failed, {} ignored in {} s",
            self.sum.passed - before.passed,
            self.sum.failed - before.failed,
            self.sum.ignored - before.ignored,
            start.elapsed().as_secs(),
        ));
    }

    /// Runs one command; whether it succeeded.
    fn step(&mut self, mut step: Step, deadline: Duration) -> bool {
        println!("\n== {}", step.name);
        let mut counts = Counts::default();
        let end = run::stream(&mut step.command, deadline, |line| {
            if let Some(more) = Counts::of_line(line) {
                counts += more;
            }
        });
        self.sum += counts;
        match end {
            Ok(end) if end.success() => return true,
            // The failed tests are counted and their names are on the screen.
            Ok(run::End::Exited(_)) if counts.failed > 0 => {}
            Ok(end) => self.fail(step.name, &end.describe()),
            Err(failure) => self.fail(step.name, &failure.to_string()),
        }
        false
    }

    /// Counts something as failed that is no test.
    fn fail(&mut self, name: &str, reason: &str) {
        self.sum.failed += 1;
        self.summary.push(format!("failed: {name}: {reason}"));
    }

    fn finish(self) -> Result<(), Failure> {
        println!();
        for line in &self.summary {
            println!("{line}");
        }
        println!("{} passed, {} failed", self.sum.passed, self.sum.failed);
        if self.sum.failed == 0 && self.sum.passed > 0 {
            Ok(())
        } else {
            Err(Failure::Reported)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn tiers(arguments: &[&str]) -> Result<Vec<Tier>, Failure> {
        parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn sh(name: &'static str, script: &str) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step { name, command }
    }

    #[test]
    fn all_tiers_are_the_default() {
        assert_eq!(tiers(&[]).expect("valid"), Tier::ALL);
    }

    #[test]
    fn tiers_can_be_chosen_in_any_order_and_form() {
        let chosen = tiers(&["--tier=server", "--tier", "unit", "--tier", "server"]).expect("valid");
        assert_eq!(chosen, [Tier::Unit, Tier::Server]);
    }

    #[test]
    fn wrong_arguments_are_usage_failures() {
        for arguments in [&["--tier"][..], &["--tier", "fast"], &["unit"], &["--tiers=unit"]] {
            assert!(tiers(arguments).expect_err("invalid").is_usage(), "{arguments:?}");
        }
    }

    #[test]
    fn a_command_that_fails_without_a_failed_test_counts_as_one() {
        let mut tally = Tally::default();
        assert!(!tally.step(sh("crash", "exit 7"), COMPILE_DEADLINE));
        assert_eq!(
            tally.sum,
            Counts {
                passed: 0,
                failed: 1,
                ignored: 0
            }
        );
        assert_eq!(tally.summary, ["failed: crash: exit status: 7"]);
        assert!(tally.finish().is_err());
    }

    #[test]
    fn failed_tests_count_once_and_nothing_passed_is_a_failure() {
        let line = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        let mut tally = Tally::default();
        assert!(!tally.step(sh("tests", &format!("echo '{line}'; exit 101")), COMPILE_DEADLINE));
        assert_eq!(
            tally.sum,
            Counts {
                passed: 4,
                failed: 2,
                ignored: 0
            }
        );
        assert!(Tally::default().finish().is_err());
    }

    #[test]
    fn a_tier_past_its_deadline_has_failed() {
        let mut tally = Tally::default();
        assert!(!tally.step(sh("hangs", "sleep 600"), Duration::from_millis(200)));
        assert_eq!(tally.sum.failed, 1);
    }
}
