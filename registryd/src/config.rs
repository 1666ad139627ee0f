//! The configuration: one YAML file, strict, with every fault told at once and where it stands.
//!
//! ```text
//!  text ──YAML──► tree with places ──variables──► tree ──serde──► Config ──checks──► Config
//!                        ▲                                 │
//!                        └── what is faulty is reported, taken out, and the rest read again
//! ```

mod check;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod model;
mod place;
mod problem;
mod read;
mod redact;
mod survival;
mod text;
mod tree;
mod variables;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use model::{
    Config, HttpListener, LimitsConfig, LogConfig, LogFormat, MergeRule, PolicyName, RegistryConfig,
    SelectorConfig,
};
pub use place::{Source, default_source};
pub use problem::{Place, Problem, Problems};
pub use redact::Shown;
pub use survival::{CompareSwitch, GuardConfig, GuardSwitch, OutageConfig, StateDir};
pub use text::{FromText, HostPattern, LogLevel, Text};

use crate::error::Error;
use problem::nearest;
use read::{Cause, Fault};
use tree::{Node, Step, display_path};
use variables::Lookup;

/// The largest configuration that is read, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// A file with more faults than this one is no configuration.
const MOST_PROBLEMS: usize = 100;

/// Reads the configuration of that source. Paths in it are absolute afterwards, or relative to the current directory if
/// the source's path is.
///
/// # Errors
///
/// Where the file cannot be read, or with all that is wrong in it.
pub fn load(source: &Source) -> Result<Config, Error> {
    parse(&source.text()?, &source.label(), source.base()).map_err(Error::Configuration)
}

/// Reads a configuration from a text. `file` is what problems call it, `base` what paths in it are relative to.
///
/// # Errors
///
/// All that is wrong in it.
pub fn parse(text: &str, file: &str, base: &Path) -> Result<Config, Problems> {
    parse_with(text, file, base, &|name| std::env::var(name).ok())
}

pub(crate) fn parse_with(
    text: &str,
    file: &str,
    base: &Path,
    lookup: Lookup<'_>,
) -> Result<Config, Problems> {
    parse_in(text, file, base, lookup, &|path| {
        crate::token::read(path).map(|_| ())
    })
}

/// As [`parse_with`], and with another way to find out what is wrong with a file that should hold a token.
pub(crate) fn parse_in(
    text: &str,
    file: &str,
    base: &Path,
    lookup: Lookup<'_>,
    check_token: check::Token<'_>,
) -> Result<Config, Problems> {
    let mut tree = Node::parse(text).map_err(|error| Problems(vec![syntax(&error, file).shortened()]))?;
    let mut reader = Reader {
        file,
        faulty: Vec::new(),
        problems: Vec::new(),
    };
    for (path, problem) in variables::expand(&mut tree, file, lookup) {
        reader.faulty.push(path);
        reader.problems.push(problem);
    }
    let config = reader.read(&mut tree);
    let mut problems = std::mem::take(&mut reader.problems);
    if let Some(mut config) = config {
        crate::registries::resolve_paths(&mut config, base);
        let findings = check::check(&config, text.trim().is_empty(), check_token);
        problems.extend(findings.into_iter().take(MOST_PROBLEMS).filter_map(|finding| {
            let (path, place) = tree.locate(&finding.path);
            // What was taken out is missed by checks, and was reported already.
            let follows = reader.faulty.iter().any(|faulty| faulty.starts_with(&path));
            (!follows).then(|| Problem {
                file: file.to_owned(),
                place,
                path: display_path(&path),
                found: finding.found,
                expected: finding.expected,
                hint: None,
            })
        }));
        if problems.is_empty() {
            return Ok(config);
        }
    }
    problems.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.path.cmp(&b.path)));
    problems.truncate(MOST_PROBLEMS);
    Err(Problems(problems.into_iter().map(Problem::shortened).collect()))
}

struct Reader<'a> {
    file: &'a str,
    /// The paths of what was taken out.
    faulty: Vec<Vec<Step>>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Reads what can be read, and reports the rest.
    fn read(&mut self, tree: &mut Node) -> Option<Config> {
        loop {
            let fault = match Config::deserialize(&*tree) {
                Ok(config) => return Some(config),
                Err(fault) => fault,
            };
            let path = fault.path();
            let consequence = matches!(fault.cause, Cause::Missing(field)
                if self.faulty.iter().any(|faulty| faulty.split_last() == Some((&field.into(), &path[..]))));
            if !consequence {
                let problem = self.problem(&fault);
                self.problems.push(problem);
            }
            let taken_out = tree.take_out(&path);
            self.faulty.push(path);
            if !taken_out || self.problems.len() >= MOST_PROBLEMS {
                return None;
            }
        }
    }

    fn problem(&self, fault: &Fault) -> Problem {
        let mut path = fault.path();
        let mut hint = None;
        let (found, expected) = match &fault.cause {
            Cause::UnknownField(names) => {
                let found = match path.last() {
                    Some(Step::Key(key)) => key.as_str(),
                    _ => "",
                };
                hint = did_you_mean(found, names);
                (format!("the unknown field {found:?}"), one_of(names))
            }
            Cause::UnknownVariant(found, names) => {
                hint = did_you_mean(found, names);
                (format!("{found:?}"), one_of(names))
            }
            Cause::Missing(field) => {
                path.push((*field).into());
                (
                    "nothing".to_owned(),
                    format!("the field {field:?}, which has no default"),
                )
            }
            Cause::Wrong { found, expected } => (found.clone(), expected.clone()),
            Cause::Message { message, found } => split_message(message, found.as_deref()),
        };
        Problem {
            file: self.file.to_owned(),
            place: fault.place(),
            path: display_path(&path),
            found,
            expected,
            hint,
        }
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "no field at all".to_owned(),
        [name] => (*name).to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
}

fn did_you_mean(found: &str, names: &[&str]) -> Option<String> {
    nearest(found, names).map(|name| format!("did you mean {name:?}?"))
}

/// What was found and what was expected, of a message that says both in one way or another.
pub(crate) fn split_message(message: &str, found: Option<&str>) -> (String, String) {
    match (message.split_once(", expected "), found) {
        (Some((said, expected)), Some(found)) if !said.starts_with("found ") => {
            (found.to_owned(), expected.to_owned())
        }
        (Some((found, expected)), _) => (
            found.strip_prefix("found ").unwrap_or(found).to_owned(),
            expected.to_owned(),
        ),
        (None, Some(found)) => (found.to_owned(), format!("a value that can be used ({message})")),
        (None, None) => match message.strip_prefix("found ") {
            Some(found) => (found.to_owned(), "settings that can be used".to_owned()),
            None => (
                "no value that can be used".to_owned(),
                format!("one that can be ({message})"),
            ),
        },
    }
}

fn syntax(error: &serde_saphyr::Error, file: &str) -> Problem {
    let error = error.without_snippet();
    let place = error.location().as_ref().map(Place::from);
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return Problem {
            file: file.to_owned(),
            place: place.unwrap_or_default(),
            path: String::new(),
            found: format!("the key {key:?} for the second time"),
            expected: "each key once".to_owned(),
            hint: None,
        };
    }
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The place is told by us already.
    let message = match message.split_once(" at line ") {
        Some((message, _)) => message,
        None => message.trim(),
    };
    Problem {
        file: file.to_owned(),
        place: place.unwrap_or(Place { line: 1, column: 1 }),
        path: String::new(),
        found: message.trim_end_matches('.').to_owned(),
        expected: "YAML".to_owned(),
        hint: None,
    }
}

/// What a path in the configuration stands for.
pub(crate) fn resolve(path: &mut PathBuf, base: &Path) {
    if path.is_relative() {
        *path = base.join(&*path);
    }
}

#[cfg(test)]
mod tests;
