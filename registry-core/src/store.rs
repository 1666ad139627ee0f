//! The last-known-good state of each registry on disk: what a start serves while no registry answers.
//!
//! ```text
//!  <dir>/.lock                      held by the process that uses the directory, freed with its end however it ends
//!  <dir>/consul-dc1.state           one file per registry, its name percent-encoded: `clusters%2Feu.state`
//!  <dir>/consul-dc1.state.7.tmp     being written; renamed when complete, removed by the next start when left over
//! ```
//!
//! A file is one line of JSON that an operator can read with `head -1` (what it is of, how old, how much), and a body
//! of the services and endpoints as the registry delivered them, before filters and templates. The line ends with a
//! checksum over all the rest. A file is believed whole or not at all: what is damaged, of another version or of
//! another target is an error that says so, and the registry starts with nothing.
//!
//! Everything here blocks: it is for a thread that may.

mod decode;
mod encode;
mod error;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod header;
mod item;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use error::StoreError;

use crate::model::{RegistryId, ServiceRecord, Timestamp};

/// What was known of one registry when it was saved.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    /// The registry's [`kind`](crate::ServiceRegistry::kind).
    pub(crate) kind: String,
    /// The registry's [`target`](crate::ServiceRegistry::target).
    pub(crate) target: String,
    /// When the registry last confirmed it.
    pub(crate) confirmed: Timestamp,
    /// When it was saved.
    pub(crate) saved: Timestamp,
    /// All of its services with their endpoints.
    pub(crate) records: Vec<ServiceRecord>,
}

/// The directory of saved states, which belongs to this process until the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Numbers the temporary files, so that no two threads ever write to the same.
    written: AtomicU64,
    /// The lock is this open file.
    _lock: File,
}

impl Store {
    /// The store in that directory, which is made (readable by the owner alone) where it is missing. What a writer
    /// that was killed has left half-finished is removed.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] where another store, of this or another process, holds the directory; else where it
    /// cannot be made, locked or read.
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        file::create_directory(directory)?;
        let lock = file::lock(directory)?;
        // Only now: until the lock is held, temporary files may be somebody's work.
        file::remove_leftovers(directory)?;
        Ok(Self(Arc::new(Inner {
            directory: directory.to_owned(),
            written: AtomicU64::new(0),
            _lock: lock,
        })))
    }

    /// The file of a registry, whether it is there or not.
    pub(crate) fn path(&self, id: &RegistryId) -> PathBuf {
        self.0.directory.join(file::name(id.as_str()))
    }

    /// What was saved of a registry of that name, kind and target; `None` where nothing was.
    ///
    /// # Errors
    ///
    /// Where there is something else than the complete state of that very registry in a version that this program
    /// writes. The file stays as it is.
    pub(crate) fn load(
        &self,
        id: &RegistryId,
        kind: &str,
        target: &str,
    ) -> Result<Option<Saved>, StoreError> {
        let path = self.path(id);
        let Some((file, size)) = file::open(&path)? else {
            return Ok(None);
        };
        let (header, body) = header::read(&path, file, size)?;
        header.belongs_to(&path, id, kind, target)?;
        let damaged = |found: String, expected: String| StoreError::Damaged {
            path: path.clone(),
            found,
            expected,
        };
        let records = decode::decode(&body)
            .map_err(|fault| damaged(fault.to_string(), "entries that fit together".to_owned()))?;
        let counted = header::count(&records);
        if counted != (header.services, header.endpoints) {
            let text = |(services, endpoints)| format!("{services} services and {endpoints} endpoints");
            return Err(damaged(text(counted), text((header.services, header.endpoints))));
        }
        Ok(Some(Saved {
            kind: header.kind,
            target: header.target,
            confirmed: Timestamp::from_millis(header.confirmed_ms),
            saved: Timestamp::from_millis(header.saved_ms),
            records,
        }))
    }

    /// Saves the state of a registry in place of what was saved before. Whatever happens meanwhile, the file is
    /// either the old or the new one, whole.
    ///
    /// # Errors
    ///
    /// Where it cannot be written; the old file stays.
    pub(crate) fn save(&self, id: &RegistryId, saved: &Saved) -> Result<(), StoreError> {
        let path = self.path(id);
        let turn = self.0.written.fetch_add(1, Ordering::Relaxed);
        file::replace(&self.0.directory, &path, turn, |file| {
            header::write(file, id, saved)
        })
        .map_err(|source| StoreError::Write { path, source })
    }

    /// Forgets what was saved of a registry, if anything was.
    ///
    /// # Errors
    ///
    /// Where it cannot be removed.
    pub(crate) fn remove(&self, id: &RegistryId) -> Result<(), StoreError> {
        let path = self.path(id);
        file::remove(&self.0.directory, &path).map_err(|source| StoreError::Remove { path, source })
    }
}

#[cfg(test)]
mod tests;
