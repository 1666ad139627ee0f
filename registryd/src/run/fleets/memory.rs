//! Remembers on disk which members an entry had, so that a start serves what they said last also while nobody can tell
//! which they are.
//!
//! What a member said is kept by discovery in a file of its own, as of any registry; this file says which of those
//! files to use. It holds names and addresses, and no credentials.

use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use registry_core::{
    Control, ErrorKind, EventStream, RegistryError, RegistryId, ServiceRegistry, async_trait,
};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "registry-members";
const VERSION: u64 = 1;
const LIMIT: u64 = 16 << 20;

/// The file of one entry.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    path: PathBuf,
    /// The file in which discovery keeps that the list of members was known.
    state: PathBuf,
    entry: String,
    target: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Text {
    format: String,
    version: u64,
    registry: String,
    target: String,
    members: Vec<Known>,
}

/// What has to be known of a member so that what it said last is found and served under the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    registry: String,
    target: String,
    hostname: String,
}

/// Stands in for a member that is remembered, until it is known how to reach it.
#[derive(Debug)]
pub(super) struct Remembered {
    kind: &'static str,
    known: Known,
}

impl Known {
    pub(super) fn new(id: &RegistryId, registry: &dyn ServiceRegistry) -> Self {
        Self {
            registry: id.to_string(),
            target: registry.target(),
            hostname: registry.default_hostname(),
        }
    }
}

impl Memory {
    /// The file of that entry in the directory where discovery keeps what registries say.
    pub(super) fn new(directory: &Path, entry: &RegistryId, registry: &dyn ServiceRegistry) -> Self {
        let name = entry.as_str().replace('/', "%2F");
        Self {
            path: directory.join(format!("{name}.members")),
            state: directory.join(format!("{name}.state")),
            entry: entry.to_string(),
            target: registry.target(),
        }
    }

    /// The members that the entry had, as registries of that kind that nobody can reach.
    pub(super) fn restore(&self, kind: &'static str) -> Vec<(RegistryId, Remembered)> {
        match self.read() {
            Ok(Some(members)) => members
                .into_iter()
                .filter_map(|known| Some((known.registry.parse().ok()?, Remembered { kind, known })))
                .collect(),
            found => {
                if let Err(problem) = found {
                    let path = self.path.display();
                    tracing::warn!(
                        registry = self.entry,
                        "{path}: {problem}: members are not restored"
                    );
                }
                // Without them it would be wrong to begin as if they were known. Nothing else is in that file.
                let _ = std::fs::remove_file(&self.state);
                Vec::new()
            }
        }
    }

    fn read(&self) -> Result<Option<Vec<Known>>, String> {
        let file = match std::fs::File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| error.to_string())?,
        };
        let mut text = Vec::new();
        file.take(LIMIT)
            .read_to_end(&mut text)
            .map_err(|error| error.to_string())?;
        let text: Text = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        if (text.format.as_str(), text.version, &text.registry) != (FORMAT, VERSION, &self.entry) {
            return Err(format!(
                "found another format, expected {FORMAT} {VERSION} of {}",
                self.entry
            ));
        }
        if text.target != self.target {
            return Err(format!(
                "found members of {:?}, expected of {:?}",
                text.target, self.target
            ));
        }
        let prefix = format!("{}/", self.entry);
        let mut members = text.members;
        members.retain(|known| known.registry.starts_with(&prefix));
        members.sort_by(|a, b| a.registry.cmp(&b.registry));
        members.dedup_by(|a, b| a.registry == b.registry);
        Ok(Some(members))
    }

    /// Remembers these members.
    pub(super) async fn write(&self, members: Vec<Known>) {
        let (memory, entry) = (self.clone(), self.entry.clone());
        let written = tokio::task::spawn_blocking(move || memory.replace(members)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(registry = entry, %error, "which members there are could not be written to disk");
        }
    }

    fn replace(&self, members: Vec<Known>) -> io::Result<()> {
        let text = serde_json::to_vec(&Text {
            format: FORMAT.to_owned(),
            version: VERSION,
            registry: self.entry.clone(),
            target: self.target.clone(),
            members,
        })?;
        if text.len() as u64 > LIMIT {
            return Err(io::Error::other(format!(
                "{} bytes are more than are read",
                text.len()
            )));
        }
        let new = self.path.with_extension("members.new");
        let mut options = std::fs::File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)
    }

    /// Forgets the members.
    pub(super) async fn remove(&self) {
        let path = self.path.clone();
        // Where there is no file there is nothing to forget.
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_file(path)).await;
    }
}

#[async_trait]
impl ServiceRegistry for Remembered {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn default_hostname(&self) -> String {
        self.known.hostname.clone()
    }

    fn target(&self) -> String {
        self.known.target.clone()
    }

    async fn watch(&self, _control: Control) -> Result<EventStream, RegistryError> {
        Err(unknown())
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Err(unknown())
    }
}

fn unknown() -> RegistryError {
    RegistryError::new(
        ErrorKind::Unavailable,
        "how to reach it is not known yet: the list of members could not be read since the start",
    )
}
