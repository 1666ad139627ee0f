//! The whole of a state file: the line of JSON that says what it is, the body, and the checksum over both.
//!
//! ```text
//!  {"format":"registry-state","version":4, … ,"length":5120,"checksum":"9f…"}   ␤ entries …
//!  └───────────────────── summed after the body ─────────────────┘           └─ blanks
//! ```
//!
//! The body is written as it is encoded, never held in memory as a whole; its length and checksum are known last.
//! Room for the line is left at the start, and what the line does not need of it is filled with blanks.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use super::encode::Encoder;
use super::{Saved, StoreError};
use crate::model::{RegistryId, ServiceRecord};

const FORMAT: &str = "registry-state";
const VERSION: u64 = 4;
/// The oldest version that can be read: what came since is absent there.
const OLDEST: u64 = 2;
/// Targets are addresses and paths; a first line that is longer than this is none of ours.
const MAX_LINE: u64 = 1 << 20;
const MAX_BODY: u64 = 4 << 30;
/// The checksum, 32 digits, and what closes the line after it.
const CHECKSUM: &str = "00000000000000000000000000000000";
const END: &str = "\"}";

/// What is asked first, whatever else later versions put into the line.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u64,
}

/// The first line. The checksum is the last field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: String,
    version: u64,
    registry: String,
    pub(super) kind: String,
    pub(super) target: String,
    /// For people, as is `saved`; the program goes by the milliseconds.
    confirmed: String,
    pub(super) confirmed_ms: u64,
    saved: String,
    pub(super) saved_ms: u64,
    pub(super) services: u64,
    pub(super) endpoints: u64,
    /// Of the body, in bytes.
    length: u64,
    checksum: String,
}

/// How many services and endpoints these are.
pub(super) fn count(records: &[ServiceRecord]) -> (u64, u64) {
    let endpoints = records.iter().map(|record| record.endpoints().len() as u64);
    (records.len() as u64, endpoints.sum())
}

// === writing ===

/// Writes line and body to a new file.
pub(super) fn write(file: &mut File, id: &RegistryId, saved: &Saved) -> io::Result<()> {
    let Saved {
        kind,
        target,
        confirmed,
        saved: at,
        records,
    } = saved;
    let (services, endpoints) = count(records);
    let mut header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        registry: id.as_str().to_owned(),
        kind: kind.clone(),
        target: target.clone(),
        confirmed: confirmed.to_string(),
        confirmed_ms: confirmed.as_millis(),
        saved: at.to_string(),
        saved_ms: at.as_millis(),
        services,
        endpoints,
        length: MAX_BODY,
        checksum: CHECKSUM.to_owned(),
    };
    let room = header.to_line()?.len();
    if room as u64 >= MAX_LINE {
        return Err(io::Error::other(format!(
            "its first line would have {room} bytes, at most {MAX_LINE} are read"
        )));
    }
    // Counted in bytes: formatting to a width would count the characters of a target.
    file.write_all(&vec![b' '; room])?;
    file.write_all(b"\n")?;
    let mut encoder = Encoder::new(Summed::new(&mut *file));
    for record in records {
        encoder.record(record)?;
    }
    let summed = encoder.finish()?;
    let mut sum = summed.sum;
    header.length = summed.length;
    let line = header.to_line()?;
    let covered = &line[..line.len() - CHECKSUM.len() - END.len()];
    sum.update(covered.as_bytes());
    let line = format!("{covered}{:032x}{END}", sum.digest128());
    file.rewind()?;
    file.write_all(line.as_bytes())
}

impl Header {
    fn to_line(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Sums what goes through, and does not let through what would not be read again.
struct Summed<W> {
    inner: W,
    sum: Box<Xxh3Default>,
    length: u64,
}

impl<W> Summed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            sum: Box::new(Xxh3Default::new()),
            length: 0,
        }
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        self.length += written as u64;
        if self.length > MAX_BODY {
            return Err(io::Error::other(format!(
                "it would be longer than the {MAX_BODY} bytes that are read"
            )));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

// === reading ===

/// Reads a file of that size: its first line, and the body that the checksum proves to be what was written.
pub(super) fn read(path: &Path, file: File, size: u64) -> Result<(Header, Vec<u8>), StoreError> {
    let unreadable = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let damaged = |found: String, expected: &str| StoreError::Damaged {
        path: path.to_owned(),
        found,
        expected: expected.to_owned(),
    };
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    file.by_ref()
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(unreadable)?;
    let start = line.len() as u64;
    let header = if line.pop_if(|last| *last == b'\n').is_some() {
        parse(path, &line)?
    } else if start == 0 {
        return Err(damaged("an empty file".to_owned(), "a first line of JSON"));
    } else {
        return Err(damaged(
            format!("no end of line in {start} bytes"),
            "a first line of JSON",
        ));
    };
    let left = size.saturating_sub(start);
    if header.length != left || left > MAX_BODY {
        return Err(damaged(
            format!("{left} bytes after the first line"),
            &format!("{} bytes (at most {MAX_BODY})", header.length),
        ));
    }
    let mut body = Vec::new();
    let room = usize::try_from(left).unwrap_or(usize::MAX);
    // No more than the file has; and where that is more than the machine has, an error and no abort.
    body.try_reserve_exact(room)
        .map_err(|error| unreadable(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
    // What is beyond the size that was looked up is of no interest: the checksum decides.
    file.take(left).read_to_end(&mut body).map_err(unreadable)?;
    check(&line, &body).map_err(|(found, expected)| damaged(found, &expected))?;
    Ok((header, body))
}

fn parse(path: &Path, line: &[u8]) -> Result<Header, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        path: path.to_owned(),
        found: format!("a first line that cannot be read ({error})"),
        expected: format!("the JSON of a {FORMAT}"),
    };
    let Preamble { format, version } = serde_json::from_slice(line).map_err(damaged)?;
    if format != FORMAT {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            found: format!("format {format:?}"),
            expected: format!("format {FORMAT:?}"),
        });
    }
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(StoreError::OtherVersion {
            path: path.to_owned(),
            found: version,
            expected: VERSION,
        });
    }
    serde_json::from_slice(line).map_err(damaged)
}

/// The checksum in the line must be that of body and line; else what is found and what is expected.
fn check(line: &[u8], body: &[u8]) -> Result<(), (String, String)> {
    // Blanks alone: another kind of white space is not what was written.
    let blanks = line.iter().rev().take_while(|byte| **byte == b' ').count();
    let line = &line[..line.len() - blanks];
    let (covered, stated) = line.split_at(line.len().saturating_sub(CHECKSUM.len() + END.len()));
    let mut sum = Xxh3Default::new();
    sum.update(body);
    sum.update(covered);
    let sum = format!("{:032x}", sum.digest128());
    if stated == format!("{sum}{END}").as_bytes() {
        Ok(())
    } else {
        let stated = String::from_utf8_lossy(stated.strip_suffix(END.as_bytes()).unwrap_or(stated));
        Err((
            format!("content with the checksum {sum}"),
            format!("the checksum {stated:?} of its first line"),
        ))
    }
}

impl Header {
    /// An error where it is of another registry, or of one of the same name that was pointed elsewhere since.
    pub(super) fn belongs_to(
        &self,
        path: &Path,
        id: &RegistryId,
        kind: &str,
        target: &str,
    ) -> Result<(), StoreError> {
        if (self.registry.as_str(), self.kind.as_str(), self.target.as_str()) == (id.as_str(), kind, target) {
            return Ok(());
        }
        let text = |id: &str, kind: &str, target: &str| format!("{kind} registry {id} at {target}");
        Err(StoreError::OtherTarget {
            path: path.to_owned(),
            found: text(&self.registry, &self.kind, &self.target),
            expected: text(id.as_str(), kind, target),
        })
    }
}
