//! What is wrong with a configuration, said so that it can be mended at once.

use std::fmt;

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl From<&serde_saphyr::Location> for Place {
    fn from(location: &serde_saphyr::Location) -> Self {
        Self {
            line: location.line().max(1),
            column: location.column().max(1),
        }
    }
}

/// One fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// The field, such as `registries[1].consul.address`; empty for the document itself.
    pub path: String,
    /// What stands there.
    pub found: String,
    /// What should stand there.
    pub expected: String,
    /// A guess at what was meant.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place;
        write!(f, "{}:{line}:{column}: ", self.file)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// The problem without repeating passwords in URLs, texts of any length, or line breaks in them.
    pub(crate) fn shortened(mut self) -> Self {
        for (text, most) in [
            (&mut self.path, 200),
            (&mut self.found, 300),
            (&mut self.expected, 1000),
        ] {
            if let Some(without) = without_passwords(text) {
                *text = without;
            }
            if text.chars().count() > most {
                *text = text.chars().take(most).chain(['…']).collect();
            }
            if text.contains(char::is_control) {
                *text = text.replace(char::is_control, " ");
            }
        }
        self
    }
}

/// The text without what may be user names and passwords of URLs in it, where there are any. Whether a URL can be read as
/// one is unknown here, so what stands before the last `@` is taken for them, whatever it holds.
fn without_passwords(text: &str) -> Option<String> {
    let mut parts = text.split("://");
    let mut shown = parts.next()?.to_owned();
    let mut any = false;
    for part in parts {
        shown.push_str("://");
        match part.rsplit_once('@') {
            Some((_, rest)) => {
                any = true;
                shown.push_str("***@");
                shown.push_str(rest);
            }
            None => shown.push_str(part),
        }
    }
    any.then_some(shown)
}

/// All faults of a configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Longer than any name of a field.
const LONGEST_NAME: usize = 64;

/// The candidate that was most likely meant, if any is near enough.
pub(crate) fn nearest<'a>(found: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // A key as long as a file is nobody's slip of the finger, and costs as much to compare.
    if found.len() > LONGEST_NAME {
        return None;
    }
    let found = found.to_lowercase().replace('-', "_");
    candidates
        .iter()
        .map(|candidate| (distance(&found, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to add, take away, replace or swap to get from one text to the other (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = ["name", "hostname", "required", "port_name"];
        for (found, expected) in [
            ("nmae", Some("name")),
            ("hostnam", Some("hostname")),
            ("Required", Some("required")),
            ("port-name", Some("port_name")),
            ("xds", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, &names), expected, "{found}");
        }
    }

    #[test]
    fn passwords_in_urls_are_not_repeated() {
        for (text, shown) in [
            (
                "\"http://me:secret@10.0.0.5:8761/eureka\"",
                "\"http://***@10.0.0.5:8761/eureka\"",
            ),
            (
                "\"http://me:sec/re t@@h\" and https://b:c@d",
                "\"http://***@h\" and https://***@d",
            ),
        ] {
            assert_eq!(without_passwords(text).as_deref(), Some(shown));
        }
        for text in ["http://10.0.0.5:8761/eureka", "me@home", ""] {
            assert_eq!(without_passwords(text), None);
        }
    }

    #[test]
    fn a_problem_says_where_what_and_what_else() {
        let problem = Problem {
            file: "registryd.yaml".into(),
            place: Place { line: 3, column: 5 },
            path: "http.listn".into(),
            found: "an unknown field".into(),
            expected: "one of listen, insecure".into(),
            hint: Some("did you mean \"listen\"?".into()),
        };
        assert_eq!(
            problem.to_string(),
            "registryd.yaml:3:5: http.listn: found an unknown field, expected one of listen, insecure; did you mean \"listen\"?"
        );
    }
}
