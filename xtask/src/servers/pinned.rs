//! What is the same for every kind of artifact: what a download is, and what sources are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failed;
use crate::failure::Failure;
use crate::run;

const CHECKSUM_DEADLINE: Duration = Duration::from_secs(2 * 60);

/// Fails, and removes the file, unless it is the one that is asked for. `name` is for the message.
pub(super) fn verify(file: &Path, sha256: &str, name: &str) -> Result<(), Failure> {
    let (_, text) = run::capture(Command::new("sha256sum").arg(file), CHECKSUM_DEADLINE)?;
    let found = text.split_whitespace().next().unwrap_or_default();
    if found == sha256 {
        return Ok(());
    }
    fs::remove_file(file).map_err(|error| failed("remove", file, &error))?;
    Err(Failure::new(format!(
        "the checksum of {name} is {found}, it should be {sha256}"
    )))
}

/// A number that changes with what is added. It tells versions apart and need not withstand an attack.
#[derive(Debug)]
pub(super) struct Fingerprint(u64);

// === impl Fingerprint ===

impl Fingerprint {
    pub(super) fn new() -> Self {
        // FNV-1a, because the standard library promises no hash that stays the same.
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds files, with their names; one that is not readable counts as empty.
    pub(super) fn add_files(&mut self, files: &[PathBuf]) {
        for file in files {
            self.add(file.file_name().unwrap_or_default().as_encoded_bytes());
            self.add(&fs::read(file).unwrap_or_default());
        }
    }

    pub(super) fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The last lines of what a tool wrote, without those that only tell how far it is.
pub(super) fn last_lines(text: &str, is_progress: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !is_progress(line)).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_tells_where_one_thing_ends() {
        let of = |parts: &[&str]| {
            let mut fingerprint = Fingerprint::new();
            parts.iter().for_each(|part| fingerprint.add(part.as_bytes()));
            fingerprint.text()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&[]).len(), 16);
    }

    #[test]
    fn a_file_that_is_another_one_is_removed() {
        let file = std::env::temp_dir().join(format!("xtask-pinned-{}", std::process::id()));
        fs::write(&file, "abc").expect("the temporary folder is writable");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        verify(&file, abc, "it").expect("it is the one");
        let failure = verify(&file, &abc.replace('b', "c"), "it").expect_err("it is another one");
        assert!(failure.to_string().contains(abc), "{failure}");
        assert!(!file.exists());
    }

    #[test]
    fn the_last_lines_leave_out_progress() {
        let text: String = (0..50).map(|line| format!("line {line}\nfetching\n")).collect();
        let last = last_lines(&text, |line| line == "fetching");
        assert!(
            last.starts_with("line 30\n") && last.ends_with("line 49"),
            "{last}"
        );
    }
}
