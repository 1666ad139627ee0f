//! What the disk shows: which files there are, and the content of those that changed. It blocks the thread.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Error;

/// Most files of one pattern.
const MOST_FILES: usize = 10_000;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// Inode and time of change: a rename can keep length and modification time.
    change: (u64, i64, i64),
}

/// What is known of a file's state on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// When it was last read.
    read: Option<Stamp>,
    /// When it was last looked at.
    seen: Option<Stamp>,
}

/// What became of one file.
#[derive(Debug)]
pub(super) enum Found {
    /// It has not changed since it was read.
    Same,
    /// It changed since it was last looked at: somebody may be writing.
    Unsettled,
    Read(Vec<u8>),
    Unreadable(Error),
}

/// What the disk shows.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) files: BTreeMap<PathBuf, (Mark, Found)>,
    /// Why not all files can be known.
    pub(super) trouble: Option<Error>,
}

impl Scan {
    /// Looks at the files of all patterns. Those that may have changed are read: when they look the same twice in a row,
    /// so that none is read while it is written; or at once where `now` is set.
    pub(super) fn new(patterns: &[PathBuf], marks: &BTreeMap<PathBuf, Mark>, limit: u64, now: bool) -> Self {
        let mut scan = Self::default();
        for pattern in patterns {
            let paths = match list(pattern) {
                Ok(paths) => paths,
                Err(source) => {
                    // Nobody can tell which of them are left.
                    let known = marks.keys().filter(|path| fits(path, pattern));
                    scan.trouble.get_or_insert(Error::Read {
                        path: pattern.clone(),
                        source,
                    });
                    known.cloned().collect()
                }
            };
            for path in paths {
                if let Entry::Vacant(place) = scan.files.entry(path) {
                    let outcome = look(place.key(), marks.get(place.key()), limit, now);
                    place.insert(outcome);
                }
            }
        }
        scan
    }
}

fn look(path: &Path, mark: Option<&Mark>, limit: u64, now: bool) -> (Mark, Found) {
    let failed = |source| {
        let path = path.to_owned();
        (Mark::default(), Found::Unreadable(Error::Read { path, source }))
    };
    let stamp = match std::fs::metadata(path) {
        Ok(metadata) => Stamp::of(&metadata),
        Err(error) => return failed(error),
    };
    if let Some(mark) = mark.filter(|_| !now) {
        if mark.read.as_ref() == Some(&stamp) {
            return (mark.clone(), Found::Same);
        }
        if mark.seen.as_ref() != Some(&stamp) {
            let mark = Mark {
                seen: Some(stamp),
                ..mark.clone()
            };
            return (mark, Found::Unsettled);
        }
    }
    match read(path, limit) {
        Ok(Some(bytes)) => {
            // Only a stamp that was seen before proves something: one that is younger may be that of the next change, too.
            let settled = mark.is_some_and(|mark| mark.seen.as_ref() == Some(&stamp));
            let mark = Mark {
                read: settled.then(|| stamp.clone()),
                seen: Some(stamp),
            };
            (mark, Found::Read(bytes))
        }
        Ok(None) => {
            let path = path.to_owned();
            (
                Mark::default(),
                Found::Unreadable(Error::FileTooLarge { path, limit }),
            )
        }
        Err(error) => failed(error),
    }
}

/// The content, or nothing where it is larger than the limit.
fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    // To open a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("found no regular file, expected one"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// The files of a pattern, at least one.
fn list(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    if !is_pattern(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let parent = pattern.parent().unwrap_or(Path::new(""));
    let directory = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        // An entry that cannot be read makes the listing incomplete.
        let path = parent.join(entry?.file_name());
        if fits(&path, pattern) {
            paths.push(path);
        }
        if paths.len() > MOST_FILES {
            return Err(io::Error::other(format!(
                "found more than {MOST_FILES} files, expected at most so many"
            )));
        }
    }
    if paths.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "found no file of that pattern, expected at least one",
        ));
    }
    Ok(paths)
}

fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&b'*')
}

fn fits(path: &Path, pattern: &Path) -> bool {
    let name = |path: &Path| {
        path.file_name()
            .map(OsStr::as_encoded_bytes)
            .unwrap_or_default()
            .to_vec()
    };
    let (name, wanted) = (name(path), name(pattern));
    // As a shell does: what is hidden has to be asked for.
    let hidden = name.starts_with(b".") && !wanted.starts_with(b".");
    path.parent() == pattern.parent() && !hidden && glob(&name, &wanted)
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
fn glob(name: &[u8], pattern: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let Some(rest) = parts.next().and_then(|start| name.strip_prefix(start)) else {
        return false;
    };
    let Some(end) = parts.next_back() else {
        return rest.is_empty();
    };
    let Some(mut rest) = rest.strip_suffix(end) else {
        return false;
    };
    // The first place at which a part fits leaves the most for the others.
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            change: change(metadata),
        }
    }
}

#[cfg(unix)]
fn change(metadata: &Metadata) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn change(_: &Metadata) -> (u64, i64, i64) {
    (0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks again, and says what became of the file.
    fn look_again(marks: &mut BTreeMap<PathBuf, Mark>, path: &Path, now: bool) -> Found {
        let mut scan = Scan::new(&[path.to_owned()], marks, 100, now);
        let (mark, found) = scan.files.remove(path).unwrap();
        marks.insert(path.to_owned(), mark);
        found
    }

    #[test]
    fn a_file_that_changes_is_read_when_it_looks_the_same_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        let mut marks = BTreeMap::new();
        std::fs::write(&path, "[").unwrap();
        // What is new is read at once, and again, as it may have been young.
        assert!(matches!(look_again(&mut marks, &path, false), Found::Read(bytes) if bytes == b"["));
        assert!(matches!(look_again(&mut marks, &path, false), Found::Read(_)));
        assert!(matches!(look_again(&mut marks, &path, false), Found::Same));
        for text in ["[{", "[{}", "[{}]"] {
            std::fs::write(&path, text).unwrap();
            assert!(
                matches!(look_again(&mut marks, &path, false), Found::Unsettled),
                "{text}"
            );
        }
        assert!(matches!(look_again(&mut marks, &path, false), Found::Read(bytes) if bytes == b"[{}]"));
        assert!(matches!(look_again(&mut marks, &path, false), Found::Same));
        assert!(
            matches!(look_again(&mut marks, &path, true), Found::Read(_)),
            "whoever asks for it"
        );
        assert!(matches!(look_again(&mut marks, &path, false), Found::Same));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            look_again(&mut marks, &path, false),
            Found::Unreadable(_)
        ));
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, fitting, other) in [
            ("*.json", "a.json", "a.yaml"),
            ("*.json", ".json.json", "json"),
            ("a*.json", "a.json", "b.json"),
            ("a*b*c.yml", "aXbXbc.yml", "aXc.yml"),
            ("**.yml", "x.yml", "x.yaml"),
            ("a.json", "a.json", "aa.json"),
            ("ab*bc", "abbc", "abc"),
        ] {
            assert!(
                glob(fitting.as_bytes(), pattern.as_bytes()),
                "{pattern} {fitting}"
            );
            assert!(!glob(other.as_bytes(), pattern.as_bytes()), "{pattern} {other}");
        }
        assert!(!fits(Path::new("sd/.a.json"), Path::new("sd/*.json")));
        assert!(fits(Path::new("sd/.a.json"), Path::new("sd/.*.json")));
        assert!(!fits(Path::new("other/a.json"), Path::new("sd/*.json")));
    }
}
