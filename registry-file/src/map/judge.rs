//! Names what is wrong: where, in which field, what was found and what belongs there.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use registry_core::short;

use super::MAX_ERRORS;
use crate::error::Error;
use crate::wire::{At, Fields, Items, Maybe, Pairs, Position, Word};

/// The way to a value, made text only where something is wrong with it.
pub(super) enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    pub(super) fn field<'a>(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    pub(super) fn item(&self, at: usize) -> Path<'_> {
        Path::Item(self, at)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

/// Collects what is wrong with one file.
pub(super) struct Judge<'a> {
    file: &'a str,
    source: &'a str,
    errors: Vec<Error>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(file: &'a str, source: &'a str) -> Self {
        Self {
            file,
            source,
            errors: Vec::new(),
        }
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// The value where nothing is wrong, else all errors in the order of their lines.
    pub(super) fn verdict<T>(self, value: T) -> Result<T, Vec<Error>> {
        let mut errors = self.errors;
        if errors.is_empty() {
            return Ok(value);
        }
        errors.sort_by_key(|error| match error {
            Error::Value { line, column, .. } => (*line, *column),
            _ => (0, 0),
        });
        Err(errors)
    }

    pub(super) fn wrong(
        &mut self,
        position: Position,
        path: &Path<'_>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        let field = match path {
            Path::Root => "the file".to_owned(),
            path => short(&path.to_string(), 200),
        };
        self.errors.push(Error::Value {
            file: self.file.to_owned(),
            line: position.line,
            column: position.column,
            field,
            found: short(&found.into(), 300),
            expected: short(&expected.into(), 300),
        });
    }

    /// A word as an operator recognises it.
    fn shown(&self, position: Position, word: &Word<'_>) -> String {
        match word {
            Word::Nothing => "nothing".to_owned(),
            Word::Text(text) if text.chars().count() > 60 => {
                let start: String = text.chars().take(60).collect();
                format!("{start:?}…")
            }
            Word::Text(text) => format!("{text:?}"),
            Word::Number(_) | Word::Plain => position.of(self.source).to_owned(),
            Word::List => "a list".to_owned(),
            Word::Mapping => "a mapping".to_owned(),
        }
    }

    fn wrong_word(&mut self, position: Position, word: &Word<'_>, path: &Path<'_>, expected: &str) {
        let found = self.shown(position, word);
        self.wrong(position, path, found, expected);
    }

    /// The fields of a mapping; those that are unknown are errors.
    pub(super) fn fields<'v, 'de, T: Fields<'de>>(
        &mut self,
        at: &'v At<Maybe<'de, T>>,
        path: &Path<'_>,
        expected: &str,
    ) -> Option<&'v T> {
        match &at.value.0 {
            Ok(fields) => {
                for key in fields.unknown() {
                    let expected = nearest(&key.value, T::NAMES);
                    self.wrong(
                        key.position,
                        &path.field(&key.value),
                        "an unknown field",
                        expected,
                    );
                }
                Some(fields)
            }
            Err(word) => {
                self.wrong_word(at.position, word, path, expected);
                None
            }
        }
    }

    pub(super) fn items<'v, T>(
        &mut self,
        at: &'v At<Maybe<'_, Items<T>>>,
        path: &Path<'_>,
        expected: &str,
    ) -> &'v [At<T>] {
        match &at.value.0 {
            Ok(items) => &items.0,
            Err(word) => {
                self.wrong_word(at.position, word, path, expected);
                &[]
            }
        }
    }

    pub(super) fn pairs<'v, 'de>(
        &mut self,
        at: &'v At<Maybe<'de, Pairs<'de>>>,
        path: &Path<'_>,
        expected: &str,
    ) -> &'v [(At<Cow<'de, str>>, At<Word<'de>>)] {
        match &at.value.0 {
            Ok(pairs) => &pairs.0,
            Err(word) => {
                self.wrong_word(at.position, word, path, expected);
                &[]
            }
        }
    }

    /// Any scalar as a text: numbers and booleans as they are written, so that `1.10` stays `1.10`.
    pub(super) fn text<'v>(
        &mut self,
        at: &'v At<Word<'_>>,
        path: &Path<'_>,
        expected: &str,
    ) -> Option<Cow<'v, str>>
    where
        'a: 'v,
    {
        match &at.value {
            Word::Text(text) => Some(Cow::Borrowed(text)),
            Word::Number(_) | Word::Plain => Some(Cow::Borrowed(at.position.of(self.source))),
            Word::Nothing | Word::List | Word::Mapping => {
                self.wrong_word(at.position, &at.value, path, expected);
                None
            }
        }
    }

    /// A text that names something: not empty, without spaces around it, without control characters.
    pub(super) fn name<'v>(
        &mut self,
        at: &'v At<Word<'_>>,
        path: &Path<'_>,
        expected: &str,
    ) -> Option<Cow<'v, str>>
    where
        'a: 'v,
    {
        let text = self.text(at, path, expected)?;
        if text.is_empty() {
            self.wrong(at.position, path, "an empty text", expected);
            return None;
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            let expected = format!("{expected}, without spaces around it and without control characters");
            self.wrong_word(at.position, &at.value, path, &expected);
            return None;
        }
        Some(text)
    }

    pub(super) fn number(
        &mut self,
        at: &At<Word<'_>>,
        path: &Path<'_>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        match at.value {
            Word::Number(number) if range.contains(&number) => Some(number),
            _ => {
                let expected = format!("{} to {}", range.start(), range.end());
                self.wrong_word(at.position, &at.value, path, &expected);
                None
            }
        }
    }

    pub(super) fn port(&mut self, at: &At<Word<'_>>, path: &Path<'_>) -> Option<u16> {
        let number = self.number(at, path, 1..=65_535)?;
        u16::try_from(number).ok()
    }

    /// A text that has to be one of a kind.
    pub(super) fn one_of<T>(
        &mut self,
        at: &At<Word<'_>>,
        path: &Path<'_>,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(at, path, expected)?;
        let value = read(&text);
        if value.is_none() {
            self.wrong_word(at.position, &at.value, path, expected);
        }
        value
    }

    pub(super) fn word<T: FromStr>(
        &mut self,
        at: &At<Word<'_>>,
        path: &Path<'_>,
        expected: &str,
    ) -> Option<T> {
        self.one_of(at, path, expected, |text| text.parse().ok())
    }
}

/// The known name that was probably meant, or all of them.
fn nearest(found: &str, known: &[&str]) -> String {
    let close = known
        .iter()
        .map(|name| (distance(found, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3).max(1) && *distance < found.len());
    match close {
        Some((_, name)) => format!("`{name}`"),
        None => format!("one of {}", known.join(", ")),
    }
}

/// How many letters have to be added, removed or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A key as long as a file is nobody's slip of the finger.
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(!from.eq_ignore_ascii_case(to));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
