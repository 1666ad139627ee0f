//! Why a document cannot be read, told without quoting it at length: it comes from a peer, and there may be secrets in
//! the midst of it.

use std::fmt::Write;

/// In characters: what is quoted of one thing that a peer sent.
const LONGEST_QUOTE: usize = 60;

/// In characters: a whole message.
const LONGEST_MESSAGE: usize = 400;

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    message: String,
}

impl DecodeError {
    /// An error with that text, made fit to be shown.
    pub(super) fn new(message: impl AsRef<str>) -> Self {
        Self {
            message: shown(message.as_ref(), LONGEST_MESSAGE),
        }
    }

    /// An error at a byte of a text. Lines and columns count from 1, columns in bytes.
    pub(super) fn at(text: &str, offset: usize, message: impl AsRef<str>) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = offset - before.rfind('\n').map_or(0, |end| end + 1) + 1;
        Self::new(format!("line {line}, column {column}: {}", message.as_ref()))
    }

    /// The text.
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

/// The beginning of what was found, in backquotes.
pub(super) fn quoted(found: &str) -> String {
    format!("`{}`", shown(found, LONGEST_QUOTE))
}

/// The first few of what was found.
pub(super) fn listed<'t>(found: impl ExactSizeIterator<Item = &'t str>) -> String {
    const SHOWN: usize = 3;
    let more = found.len().saturating_sub(SHOWN);
    let mut list = found.take(SHOWN).map(quoted).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(list, " and {more} more");
    }
    list
}

/// At most so many characters of a text, on one line.
fn shown(text: &str, longest: usize) -> String {
    let mut characters = text.chars();
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let mut shown: String = characters.by_ref().take(longest).map(plain).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}
