//! A directory of kubeconfigs: what stands in it now, looked at whenever something may have changed and every few seconds
//! anyway.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind as Io, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, ErrorKind, RegistryError, Str};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::changes::Changes;
use super::kubeconfig::{Candidate, Kubeconfig, MAX_BYTES, MAX_MEMBERS, MAX_TOTAL_BYTES};
use super::source::{Heard, Listing};

/// How often the directory is looked at without any sign of a change.
pub(super) const POLL: Duration = Duration::from_secs(5);

/// How long what is found has to be as it is: editors and copies write in several steps.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// How long after a sign of a change to look: more signs follow the first.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// A look that takes longer is a failure; it goes on, and there is no other beside it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Endings that are not part of a member's name.
const ENDINGS: [&str; 4] = [".kubeconfig", ".yaml", ".yml", ".conf"];

/// Endings of files that are on their way to another name.
const PASSING: [&str; 3] = ["~", ".tmp", ".swp"];

/// A watched directory.
pub(super) struct Directory {
    path: PathBuf,
    control: Control,
    changed: Arc<Notify>,
    /// Away while a look is under way.
    changes: Option<Changes>,
    looking: Option<JoinHandle<(Changes, Look)>>,
    next_look: Instant,
}

struct Look {
    found: Result<Vec<Candidate>, RegistryError>,
    /// Why changes are not heard of, if so.
    deaf: Option<String>,
}

// === impl Directory ===

impl Directory {
    pub(super) fn new(path: PathBuf, control: Control) -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            path,
            control,
            changes: Some(Changes::new(changed.clone())),
            changed,
            looking: None,
            next_look: Instant::now(),
        }
    }

    /// Looks now.
    pub(super) fn look_again(&mut self) {
        self.next_look = Instant::now();
    }

    /// What the next look finds. Cancel safe.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            if let Some(looking) = &mut self.looking {
                let done = tokio::select! {
                    done = looking => done,
                    () = sleep(PATIENCE) => return Heard::failed(self.hangs()),
                };
                self.looking = None;
                self.next_look = Instant::now() + POLL;
                match done {
                    Ok((changes, look)) => return self.heard(changes, look),
                    // The supervisor counts panics and opens the watch again.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    // The runtime is shutting down.
                    Err(_) => std::future::pending().await,
                }
            }
            tokio::select! {
                () = self.changed.notified() => {
                    self.next_look = self.next_look.min(Instant::now() + DEBOUNCE);
                }
                () = sleep_until(self.next_look) => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let changes = self.changes.take();
        let mut changes = changes.unwrap_or_else(|| Changes::new(self.changed.clone()));
        let path = self.path.clone();
        self.looking = Some(tokio::task::spawn_blocking(move || {
            // Watched first, so that nothing changes unheard between the look and the watch.
            let deaf = changes.renew(&path).err().map(|error| error.to_string());
            let found = find(&path);
            (changes, Look { found, deaf })
        }));
    }

    fn heard(&mut self, changes: Changes, look: Look) -> Heard {
        self.changes = Some(changes);
        let meter = self.control.meter();
        meter.count_request(look.found.is_err());
        match look.found {
            Ok(candidates) => {
                meter.set_note(look.deaf.map(|error| {
                    let every = registry_core::duration::format(POLL);
                    format!(
                        "changes are noticed only every {every}, as the directory cannot be watched: {error}"
                    )
                }));
                Heard::listing(Listing {
                    candidates,
                    announced: Default::default(),
                })
            }
            Err(error) => Heard::failed(error),
        }
    }

    fn hangs(&self) -> RegistryError {
        self.control.meter().count_request(true);
        let every = registry_core::duration::format(PATIENCE);
        let message = format!(
            "{}: no answer from the file system for {every}",
            self.path.display()
        );
        RegistryError::new(ErrorKind::Unreachable, message)
    }
}

/// All kubeconfigs that stand in the directory now. Blocks.
pub(super) fn find(directory: &Path) -> Result<Vec<Candidate>, RegistryError> {
    let unread = |error: io::Error| {
        let message = format!("{}: expected a directory of kubeconfigs", directory.display());
        RegistryError::new(ErrorKind::Configuration, message).with_source(error)
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unread)? {
        // An entry that cannot be read makes the list incomplete, and an incomplete one removes nothing.
        let name = entry.map_err(unread)?.file_name();
        if is_kubeconfig(&name) {
            names.push(name);
        }
        if names.len() > 4 * MAX_MEMBERS {
            return Err(too_many(directory));
        }
    }
    // The first of two that mean the same name gets it, at each look.
    names.sort();
    let mut found: BTreeMap<Str, Candidate> = BTreeMap::new();
    let mut total = 0;
    for file in names {
        let path = directory.join(&file);
        let place = path.display().to_string();
        let content = match read(&path) {
            Ok(None) => continue,
            Ok(Some(bytes)) => Kubeconfig::from_bytes(bytes).map_err(|problem| format!("{place}: {problem}")),
            Err(error) => Err(format!("{place}: {error}")),
        };
        let content =
            content.map_err(|problem| Arc::new(RegistryError::new(ErrorKind::Configuration, problem)));
        let name = member_name(&file);
        if let Some(first) = found.get_mut(&name) {
            let message = format!(
                "{place}: {} is named {name:?} as well, and comes first",
                first.place
            );
            first.clash = Some(Arc::new(RegistryError::new(ErrorKind::Configuration, message)));
            continue;
        }
        total += content.as_ref().map_or(0, Kubeconfig::len);
        if total > MAX_TOTAL_BYTES {
            let message = format!(
                "{}: found kubeconfigs of more than {MAX_TOTAL_BYTES} bytes together",
                directory.display()
            );
            return Err(RegistryError::new(ErrorKind::Limit, message));
        }
        let candidate = Candidate {
            name: name.clone(),
            place,
            found: content,
            clash: None,
        };
        found.insert(name, candidate);
        if found.len() > MAX_MEMBERS {
            return Err(too_many(directory));
        }
    }
    Ok(found.into_values().collect())
}

fn too_many(directory: &Path) -> RegistryError {
    let message = format!(
        "{}: found more than {MAX_MEMBERS} files, expected at most that many kubeconfigs",
        directory.display()
    );
    RegistryError::new(ErrorKind::Limit, message)
}

/// The content of a regular file; `None` for anything else, and for what has gone meanwhile.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == Io::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(error) => return Err(error),
    };
    // To open a pipe would wait for somebody to write into it.
    if !metadata.is_file() {
        return Ok(None);
    }
    // Refused by its size, without reading all of it.
    let most = MAX_BYTES as u64 + 1;
    if metadata.len() >= most {
        let message = format!(
            "found {} bytes, expected a kubeconfig of at most {MAX_BYTES}",
            metadata.len()
        );
        return Err(io::Error::other(message));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Whether a file of that name may be a kubeconfig.
pub(super) fn is_kubeconfig(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.starts_with(b".") && !PASSING.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

fn member_name(file: &OsStr) -> Str {
    let file = file.to_string_lossy();
    let stem = ENDINGS.iter().find_map(|ending| file.strip_suffix(ending));
    Str::from(stem.unwrap_or(&file))
}
