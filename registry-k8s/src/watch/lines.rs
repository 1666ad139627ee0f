//! The body of a watch cut into lines, wherever the network cut it into chunks.

use std::io::BufRead;

use bytes::{Bytes, BytesMut};

/// So much of a line that is too long is kept, to say which object it was.
const KEPT: usize = 512;

/// Holds what has come and was not taken yet: the current chunk, and the beginning of a line that chunks before it held.
#[derive(Debug)]
pub(super) struct Lines {
    chunk: Bytes,
    partial: BytesMut,
    /// The length so far of a line that is being passed over.
    skipped: Option<usize>,
    most: usize,
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Not empty, and no longer than allowed.
    Whole(Bytes),
    /// Longer than allowed: its length, and how it begins.
    TooLong { length: usize, start: Bytes },
}

impl Lines {
    /// Lines of up to `most` bytes. It never holds more than that and one chunk.
    pub(super) fn new(most: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            skipped: None,
            most,
        }
    }

    /// Takes the next chunk, all lines of the last one having been taken.
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// The next line that is complete, if any. Empty ones are left out.
    pub(super) fn next(&mut self) -> Option<Line> {
        while !self.chunk.is_empty() {
            // The standard library's own search for a byte, which is several times as fast as an iterator's.
            let mut rest: &[u8] = &self.chunk;
            let taken = rest.skip_until(b'\n').unwrap_or(self.chunk.len());
            let mut piece = self.chunk.split_to(taken);
            if piece.last() != Some(&b'\n') {
                self.keep(&piece);
                return None;
            }
            piece.truncate(taken - 1);
            if self.partial.is_empty() && self.skipped.is_none() && piece.len() <= self.most {
                // The usual case: the line is a part of the chunk, and nothing is copied.
                match trimmed(piece) {
                    line if line.is_empty() => continue,
                    line => return Some(Line::Whole(line)),
                }
            }
            self.keep(&piece);
            let line = self.partial.split().freeze();
            match self.skipped.take() {
                Some(length) => return Some(Line::TooLong { length, start: line }),
                None => match trimmed(line) {
                    line if line.is_empty() => {}
                    line => return Some(Line::Whole(line)),
                },
            }
        }
        None
    }

    /// What is left at the end of the body: the beginning of a line, or a whole one that nothing ended.
    pub(super) fn finish(&mut self) -> Option<Line> {
        let rest = self.partial.split().freeze();
        match self.skipped.take() {
            Some(length) => Some(Line::TooLong { length, start: rest }),
            None => Some(trimmed(rest))
                .filter(|rest| !rest.is_empty())
                .map(Line::Whole),
        }
    }

    /// Adds to the line that is under way: all of it, or of one that is too long the beginning.
    fn keep(&mut self, piece: &[u8]) {
        let before = self.skipped.unwrap_or(self.partial.len());
        let length = before + piece.len();
        if length <= self.most {
            self.partial.extend_from_slice(piece);
            return;
        }
        if self.skipped.is_none() {
            // A copy, so that the memory of a long line is given back at once.
            self.partial = BytesMut::from(&self.partial[..before.min(KEPT)]);
        }
        let room = KEPT.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
        self.skipped = Some(length);
    }
}

/// Without the `\r` of a CRLF.
fn trimmed(mut line: Bytes) -> Bytes {
    while line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    line
}
