//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, each for a while.
//!
//! ```text
//!  fuzz/fuzz_targets ──build──▶ target/fuzz/build      instrumented for coverage
//!  fuzz/corpus, fuzz/regressions ──┐
//!  target/fuzz/corpus ◀────────────┴─▶ libFuzzer ──▶ target/fuzz/artifacts: inputs that made it fail
//! ```
//!
//! It works with the stable toolchain: the flags are those of `cargo fuzz --sanitizer none`. There is no memory for a
//! sanitizer to watch over, as the code forbids `unsafe`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::prerequisites;
use crate::run::{self, End};
use crate::tiers::cargo;
use crate::workspace::Workspace;

/// How long each target runs unless told otherwise, in seconds.
const SECONDS: u64 = 60;

const BUILD_DEADLINE: Duration = Duration::from_secs(60 * 60);

/// What a run may take beyond its time: reading the corpus, ending.
const GRACE: Duration = Duration::from_secs(120);

/// The flags that make coverage visible to libFuzzer.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cforce-frame-pointers=yes",
];

/// Limits of one input: its length in bytes, its time in seconds, and the memory of the process in megabytes.
const LIMITS: [&str; 3] = ["-max_len=65536", "-timeout=10", "-rss_limit_mb=1024"];

/// How much of a failing target's words is shown.
const SHOWN_LINES: usize = 40;

/// Builds all targets, runs those that were asked for, and ends with a line for each.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let folder = workspace.root().join("fuzz");
    let known = targets(&folder)?;
    let Options { target, seconds } = parse(arguments, &known)?;
    check_compiler()?;
    let programs = build(workspace, &folder)?;
    let mut results = Vec::new();
    for name in known
        .iter()
        .filter(|name| target.as_ref().is_none_or(|one| one == *name))
    {
        println!("== {name} for {seconds} s");
        let mut command = command(workspace, &folder, &programs, name, seconds)?;
        let deadline = Duration::from_secs(seconds) + GRACE;
        let (end, text) = run::capture(&mut command, deadline)?;
        let result = Outcome::of(name, &end, &text);
        if result.failure.is_some() {
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
                println!("{line}");
            }
        }
        results.push(result);
    }
    println!();
    for result in &results {
        println!("{}", result.line(workspace.root()));
    }
    if results.iter().any(|result| result.failure.is_some()) {
        return Err(Failure::Reported);
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: Option<String>,
    seconds: u64,
}

fn parse(arguments: &[String], known: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        target: None,
        seconds: SECONDS,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let seconds = match argument.strip_prefix("--seconds") {
            Some("") => rest.next().map(String::as_str),
            Some(text) => text.strip_prefix('='),
            None if argument.starts_with('-') || options.target.is_some() => {
                return Err(Failure::usage(format!("`fuzz` does not know `{argument}`")));
            }
            None if !known.contains(argument) => {
                let known = known.join(", ");
                return Err(Failure::usage(format!(
                    "there is no target `{argument}`: there are {known}"
                )));
            }
            None => {
                options.target = Some(argument.clone());
                continue;
            }
        };
        options.seconds = seconds
            .and_then(|text| text.parse().ok())
            .filter(|seconds| (1..=1_000_000).contains(seconds))
            .ok_or_else(|| Failure::usage("--seconds needs a number from 1"))?;
    }
    Ok(options)
}

/// The names of all targets.
fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let folder = folder.join("fuzz_targets");
    let cannot = |error| Failure::new(format!("cannot list {}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// libFuzzer comes as C++ source.
fn check_compiler() -> Result<(), Failure> {
    if env::var_os("CXX").is_some() || prerequisites::in_path("c++") {
        return Ok(());
    }
    Err(Failure::new(
        "a C++ compiler is needed to build libFuzzer, and there is no `c++`: install one (on Debian: `apt install g++`) \
         or name it in the variable CXX",
    ))
}

/// Builds all targets; the folder in which they are then.
fn build(workspace: &Workspace, folder: &Path) -> Result<PathBuf, Failure> {
    // What is fuzzed are the versions that are shipped.
    let (from, to) = (workspace.root().join("Cargo.lock"), folder.join("Cargo.lock"));
    let newer = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    if newer(&to) <= newer(&from) {
        fs::copy(&from, &to)
            .map_err(|error| Failure::new(format!("cannot copy {}: {error}", from.display())))?;
    }
    let place = workspace.target().join("fuzz/build");
    // Named although it is this machine's own: else build scripts and macros would get the flags as well.
    let host = host()?;
    let mut command = cargo(workspace, &["build", "--release", "--manifest-path"]);
    command
        .arg(folder.join("Cargo.toml"))
        .args(["--target", &host, "--target-dir"])
        .arg(&place)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    let end = run::stream(&mut command, BUILD_DEADLINE, |_| {})?;
    if !end.success() {
        return Err(Failure::new(format!(
            "the fuzz targets cannot be built: {}",
            end.describe()
        )));
    }
    Ok(place.join(host).join("release"))
}

fn host() -> Result<String, Failure> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let (_, text) = run::capture(Command::new(rustc).arg("-vV"), Duration::from_secs(60))?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("`rustc -vV` does not name its host: {}", text.trim())))
}

fn command(
    workspace: &Workspace,
    folder: &Path,
    programs: &Path,
    name: &str,
    seconds: u64,
) -> Result<Command, Failure> {
    let create = |path: PathBuf| match fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(Failure::new(format!("cannot create {}: {error}", path.display()))),
    };
    let own = workspace.target().join("fuzz");
    let found = create(own.join("corpus").join(name))?;
    let artifacts = create(own.join("artifacts").join(name))?;
    let mut command = Command::new(programs.join(name));
    command
        .current_dir(workspace.root())
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1");
    let dictionary = folder.join("dictionaries").join(format!("{name}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // The first folder is the one that libFuzzer writes to.
    command.arg(found);
    let seeds = ["corpus", "regressions"].map(|kind| folder.join(kind).join(name));
    command.args(seeds.iter().filter(|seeds| seeds.is_dir()));
    Ok(command)
}

/// What came of one target.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    name: String,
    executions: u64,
    coverage: u64,
    /// How it ended, and the input with which it did.
    failure: Option<(String, Option<PathBuf>)>,
}

// === impl Outcome ===

impl Outcome {
    fn of(name: &str, end: &End, text: &str) -> Self {
        let executions = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .or_else(|| {
                text.lines()
                    .rev()
                    .find_map(status_line)
                    .map(|(executions, _)| executions)
            });
        let coverage = text
            .lines()
            .rev()
            .filter_map(status_line)
            .find_map(|(_, rest)| rest.split_once("cov: ")?.1.split(' ').next());
        let number = |text: Option<&str>| text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let failure = (!end.success()).then(|| {
            // A panic says more than the signal that libFuzzer makes of it.
            let panic = text
                .lines()
                .skip_while(|line| !line.contains("panicked at "))
                .nth(1);
            let summary = text
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("SUMMARY: libFuzzer: "));
            let summary = panic.filter(|message| !message.is_empty()).or(summary);
            let input = text
                .lines()
                .rev()
                .find_map(|line| line.split_once("Test unit written to "));
            (
                summary.map_or_else(|| end.describe(), str::to_owned),
                input.map(|(_, path)| PathBuf::from(path.trim())),
            )
        });
        Self {
            name: name.to_owned(),
            executions: number(executions),
            coverage: number(coverage),
            failure,
        }
    }

    fn line(&self, root: &Path) -> String {
        let Self {
            name,
            executions,
            coverage,
            failure,
        } = self;
        let ran = format!("{name}: {executions} executions, coverage {coverage}");
        match failure {
            None => format!("{ran}, no crash"),
            Some((how, None)) => format!("{ran}, failed: {how}"),
            Some((how, Some(input))) => {
                let input = input.strip_prefix(root).unwrap_or(input);
                format!("{ran}, failed: {how}, input {}", input.display())
            }
        }
    }
}

/// The executions so far, and the rest of a line such as `#4096 pulse  cov: 12 ft: 13 …`.
fn status_line(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('#')?.split_once([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Options, Failure> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        parse(&arguments, &["file_yaml".to_owned(), "http_answer".to_owned()])
    }

    fn exited(status: &str) -> End {
        let end = run::capture(
            Command::new("sh").args(["-c", &format!("exit {status}")]),
            Duration::from_secs(60),
        );
        end.expect("sh runs").0
    }

    #[test]
    fn all_targets_run_for_a_minute_unless_told_otherwise() {
        let all = parsed(&[]).expect("valid");
        assert_eq!((all.target, all.seconds), (None, 60));
        for form in [
            &["file_yaml", "--seconds", "5"][..],
            &["--seconds=5", "file_yaml"],
        ] {
            let one = parsed(form).expect("valid");
            assert_eq!((one.target.as_deref(), one.seconds), (Some("file_yaml"), 5));
        }
    }

    #[test]
    fn wrong_arguments_are_usage_failures() {
        for arguments in [
            &["toml"][..],
            &["file_yaml", "http_answer"],
            &["--seconds"],
            &["--seconds", "0"],
            &["--seconds=soon"],
            &["--second", "1"],
        ] {
            assert!(
                parsed(arguments).expect_err("invalid").is_usage(),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn every_target_is_declared_and_has_seeds() {
        let workspace = Workspace::open().expect("the manifests are readable");
        let folder = workspace.root().join("fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("readable");
        for name in targets(&folder).expect("listed") {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            assert!(folder.join("corpus").join(&name).is_dir(), "{name}");
        }
    }

    #[test]
    fn a_quiet_end_is_told_in_numbers() {
        let text = "#2\tINITED cov: 3 ft: 4 corp: 1/1b\n#4096\tpulse  cov: 12 ft: 13 corp: 2/9b\n#5000\tDONE   cov: 14 \
                    ft: 15 corp: 2/9b\nDone 5000 runs in 2 second(s)\nstat::number_of_executed_units: 5000\n";
        let outcome = Outcome::of("file_yaml", &exited("0"), text);
        assert_eq!(
            outcome.line(Path::new("/repository")),
            "file_yaml: 5000 executions, coverage 14, no crash"
        );
    }

    #[test]
    fn a_crash_names_its_input() {
        let text = "#300\tNEW    cov: 12 ft: 13\n==1== ERROR: libFuzzer: out-of-memory\nSUMMARY: libFuzzer: out-\
                    of-memory\nartifact_prefix='/repository/a/'; Test unit written to /repository/a/crash-1\n";
        let outcome = Outcome::of("file_yaml", &exited("77"), text);
        assert_eq!(
            outcome.line(Path::new("/repository")),
            "file_yaml: 300 executions, coverage 12, failed: out-of-memory, input a/crash-1"
        );
        let panic =
            format!("thread '<unnamed>' panicked at src/a.rs:1:2:\nan error without a message\n{text}");
        let line = Outcome::of("file_yaml", &exited("77"), &panic).line(Path::new("/repository"));
        assert!(
            line.contains("failed: an error without a message, input"),
            "{line}"
        );
        let killed = Outcome::of("file_yaml", &End::Killed(Duration::from_secs(1)), "");
        assert!(killed.line(Path::new("/")).contains("killed at its deadline"));
    }
}
