//! The files on disk: which there are, and what they say since the last look.
//!
//! Blocking code, called from a thread that may block. Its rule is that only two things remove what a file said: the
//! file itself, read and valid, and a complete listing of its directory that does not have it. All else is an error.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use registry_core::{Interner, PortDefaults, RegistryError, ServiceRecord, Str};

use crate::config::FileConfig;
use crate::error::{Error, summary};
use crate::map;

use self::reading::Stamp;

/// Endings of the names of files that are read in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// All files of one registry, and what is known of each.
pub(crate) struct Files {
    roots: Vec<Root>,
    known: BTreeMap<Str, Known>,
    interner: Interner,
    ports: PortDefaults,
    max_bytes: u64,
    /// The last listing could not say which files there are.
    incomplete: bool,
}

/// A configured path.
struct Root {
    shown: Str,
    path: PathBuf,
    /// Decided by the first look that finds it, and kept once something there was understood: a file that became a
    /// directory, or the other way round, says nothing about the services.
    kind: Option<Kind>,
    members: BTreeSet<Str>,
    failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

/// What is known of one file.
#[derive(Default)]
struct Known {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// The content that was last understood.
    understood: Option<u128>,
    /// The content or the condition that was last refused.
    refused: Option<(Option<u128>, Arc<RegistryError>)>,
}

/// Why a look is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Something may have changed.
    Change,
    /// It is time to look again: what still fails is said again.
    Poll,
    /// All files are to be read and told anew.
    Everything,
}

/// What a look tells of one file.
pub(crate) enum Told {
    Services(Vec<ServiceRecord>),
    /// It can be read again, and says what it last said.
    Recovered,
    /// Its directory does not have it any more.
    Gone,
    Failed {
        error: Arc<RegistryError>,
        /// False where it was told before.
        news: bool,
    },
}

/// What a look tells.
pub(crate) struct Look {
    /// True where every file is told of, so that what is not mentioned does not exist.
    pub(crate) complete: bool,
    pub(crate) told: Vec<(Str, Told)>,
    /// Why it cannot be said which files there are: a path that was never seen may be a directory of any files.
    pub(crate) blind: Option<Arc<RegistryError>>,
    /// True where at least one configured path is there.
    pub(crate) sound: bool,
    /// Something was changing meanwhile: look again soon.
    pub(crate) again: bool,
    pub(crate) reads: u64,
    pub(crate) failures: u64,
}

impl Files {
    pub(crate) fn new(config: &FileConfig, base: &Path, ports: PortDefaults) -> Self {
        let mut roots: Vec<Root> = Vec::new();
        for path in config.paths() {
            let shown = shown(path);
            let path = base.join(path);
            // Only an empty path, or a working directory that is gone, has no absolute form; then reading says so.
            let path = std::path::absolute(&path).unwrap_or(path);
            if roots.iter().all(|root| root.shown != shown) {
                roots.push(Root {
                    shown,
                    path,
                    kind: None,
                    members: BTreeSet::new(),
                    failed: false,
                });
            }
        }
        Self {
            roots,
            known: BTreeMap::new(),
            interner: Interner::default(),
            ports,
            max_bytes: config.max_file_bytes,
            incomplete: false,
        }
    }

    /// The paths whose changes matter: configured ones, and all files that are known.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = self.known.values().map(|known| known.path.as_path());
        self.roots.iter().map(|root| root.path.as_path()).chain(files)
    }

    /// Reads and validates all files; all that is wrong.
    pub(crate) fn check(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut files: BTreeMap<Str, PathBuf> = BTreeMap::new();
        for root in &mut self.roots {
            match root.list() {
                Ok(listed) => files.extend(listed),
                Err(error) => errors.push(error),
            }
        }
        for (shown, path) in files {
            match reading::read(&shown, &path, self.max_bytes) {
                Ok(read) => match self.decode(&shown, &read.bytes) {
                    Ok(_) => {}
                    Err(wrong) => errors.extend(wrong),
                },
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Looks at all files.
    pub(crate) fn look(&mut self, reason: Reason) -> Look {
        let mut look = Look {
            complete: reason == Reason::Everything,
            told: Vec::new(),
            blind: None,
            sound: false,
            again: false,
            reads: 0,
            failures: 0,
        };
        let (gone, lost) = self.list(reason, &mut look);
        if self.incomplete && look.blind.is_none() {
            // Now it can be said at last which files there are, so it is said of all of them.
            look.complete = true;
        }
        self.incomplete = look.blind.is_some();
        for group in gone {
            self.known.remove(&group);
            look.told.push((group, Told::Gone));
        }
        let groups: Vec<Str> = self.known.keys().cloned().collect();
        for group in groups {
            let told = match lost.get(&group) {
                Some(error) => self.refuse(&group, None, error.clone(), reason, &look),
                None => self.visit(&group, reason, &mut look),
            };
            look.told.extend(told.map(|told| (group, told)));
        }
        look
    }

    /// Brings the set of files up to date. Returns those whose directory does not have them any more, and those of
    /// which nothing can be said.
    fn list(&mut self, reason: Reason, look: &mut Look) -> (Vec<Str>, BTreeMap<Str, Arc<RegistryError>>) {
        let mut gone = Vec::new();
        let mut lost = BTreeMap::new();
        let mut listed = BTreeSet::new();
        for root in &mut self.roots {
            look.sound |= root.path.exists();
            let understood = |known: &Known| known.understood.is_some();
            if root.kind == Some(Kind::File) && !self.known.get(&root.shown).is_some_and(understood) {
                root.kind = None;
            }
            match root.list() {
                Ok(files) => {
                    if root.kind == Some(Kind::Directory) {
                        // What was in its place before was never understood.
                        root.failed |= self.known.remove(&root.shown).is_some();
                        let now: BTreeSet<Str> = files.iter().map(|(shown, _)| shown.clone()).collect();
                        gone.extend(root.members.difference(&now).cloned());
                        root.members = now;
                    }
                    if std::mem::take(&mut root.failed) && root.kind == Some(Kind::Directory) {
                        look.told.push((root.shown.clone(), Told::Recovered));
                    }
                    for (shown, path) in files {
                        listed.insert(shown.clone());
                        self.known.entry(shown).or_default().path = path;
                    }
                }
                Err(error) => {
                    let error: Arc<RegistryError> = Arc::new(error.into());
                    look.failures += 1;
                    if root.kind.is_none() {
                        look.blind = Some(error.clone());
                    }
                    let news = !std::mem::replace(&mut root.failed, true);
                    lost.extend(root.members.iter().map(|member| (member.clone(), error.clone())));
                    listed.extend(root.members.iter().cloned());
                    if news || reason != Reason::Change {
                        look.told.push((root.shown.clone(), Told::Failed { error, news }));
                    }
                }
            }
        }
        // A file may be configured by itself beside its directory: then its absence there means nothing.
        gone.retain(|group| !listed.contains(group));
        (gone, lost)
    }

    /// Reads one file where it may have changed.
    fn visit(&mut self, group: &Str, reason: Reason, look: &mut Look) -> Option<Told> {
        let known = self.known.get_mut(group)?;
        let everything = look.complete;
        let stamp = reading::stamp(&known.path);
        let same = stamp.is_some() && stamp == known.stamp;
        if same && !everything {
            let (content, error) = known.refused.clone()?;
            return self.refuse(group, content, error, reason, look);
        }
        look.reads += 1;
        let read = match reading::read(group, &known.path, self.max_bytes) {
            Ok(read) => read,
            Err(error) => {
                look.failures += 1;
                look.again |= matches!(error, Error::Unsettled { .. });
                known.stamp = None;
                return self.refuse(group, None, Arc::new(error.into()), reason, look);
            }
        };
        known.stamp = read.stamp;
        let content = xxhash_rust::xxh3::xxh3_128(&read.bytes);
        if !everything {
            if known.understood == Some(content) {
                return known.refused.take().map(|_| Told::Recovered);
            }
            match known.refused.clone() {
                Some((Some(refused), error)) if refused == content => {
                    return self.refuse(group, Some(content), error, reason, look);
                }
                _ => {}
            }
        }
        match self.decode(group, &read.bytes) {
            Ok(records) => {
                let known = self.known.get_mut(group)?;
                known.understood = Some(content);
                known.refused = None;
                Some(Told::Services(records))
            }
            Err(errors) => {
                look.failures += 1;
                self.refuse(group, Some(content), Arc::new(summary(errors)), reason, look)
            }
        }
    }

    /// Notes why a file says nothing. It is told when it is news, and at every poll: failures count.
    fn refuse(
        &mut self,
        group: &Str,
        content: Option<u128>,
        error: Arc<RegistryError>,
        reason: Reason,
        look: &Look,
    ) -> Option<Told> {
        let known = self.known.get_mut(group)?;
        let news = match &known.refused {
            Some((_, before)) => before.report() != error.report(),
            None => true,
        };
        known.refused = Some((content, error.clone()));
        (news || look.complete || reason == Reason::Poll).then_some(Told::Failed { error, news })
    }

    /// Reads the services in the content of a file.
    pub(crate) fn decode(&mut self, file: &str, bytes: &[u8]) -> Result<Vec<ServiceRecord>, Vec<Error>> {
        let source =
            std::str::from_utf8(bytes).map_err(|error| vec![not_utf8(file, bytes, error.valid_up_to())])?;
        map::services(file, source, &self.ports, &mut self.interner)
    }
}

fn not_utf8(file: &str, bytes: &[u8], at: usize) -> Error {
    let before = &bytes[..at];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    Error::NotUtf8 {
        file: file.to_owned(),
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
    }
}

impl Root {
    /// The files that there are now.
    fn list(&mut self) -> Result<Vec<(Str, PathBuf)>, Error> {
        let read = |source: io::Error| Error::Read {
            file: self.shown.to_string(),
            source,
        };
        let this = || vec![(self.shown.clone(), self.path.clone())];
        let kind = match self.kind {
            Some(kind) => kind,
            None => match std::fs::metadata(&self.path) {
                Ok(metadata) if metadata.is_dir() => Kind::Directory,
                Ok(_) => Kind::File,
                // Not there yet, but by its name it will be a file.
                Err(_) if is_services_file(&self.path) => return Ok(this()),
                Err(error) => return Err(read(error)),
            },
        };
        self.kind = Some(kind);
        if kind == Kind::File {
            return Ok(this());
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(read)? {
            // An entry that cannot be read makes the listing incomplete, and an incomplete one removes nothing.
            let name = entry.map_err(read)?.file_name();
            if is_services_file(Path::new(&name)) {
                let shown = shown(&Path::new(self.shown.as_str()).join(&name));
                files.push((shown, self.path.join(&name)));
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Whether a file of that name is read where its directory is configured.
pub(crate) fn is_services_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    !hidden && ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// A path as operators know it: as configured, without detours through `.`.
fn shown(path: &Path) -> Str {
    let plain: PathBuf = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    if plain.as_os_str().is_empty() {
        return Str::from(".");
    }
    Str::from(plain.to_string_lossy().as_ref())
}

#[cfg(test)]
mod tests;
