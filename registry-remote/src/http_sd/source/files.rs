//! Documents in files, as Prometheus' file SD reads them.

mod scan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry_core::{Meter, RegistryError};

use self::scan::{Found, Mark, Scan};
use super::{Closely, Look};
use crate::error::Error;
use crate::http_sd::config::HttpSdConfig;
use crate::http_sd::document::Format;
use crate::http_sd::map::{Group, Reading};

/// Files, and what each of them last said.
///
/// One that cannot be read keeps what it said. One that is gone says nothing any more where others of its pattern are left;
/// a configured file that is missing, or a pattern that fits none, is a mistake, as the disk may not be mounted: who has
/// nothing to say writes `[]`.
#[derive(Debug)]
pub(crate) struct Files {
    patterns: Arc<[PathBuf]>,
    limit: u64,
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Debug, Default)]
struct Known {
    mark: Mark,
    /// Of the content that was last understood.
    digest: Option<u128>,
    groups: Vec<Group>,
    /// Why what stands there now was not.
    trouble: Option<Arc<RegistryError>>,
}

impl Files {
    pub(super) fn new(config: &HttpSdConfig) -> Self {
        Self {
            patterns: config.files.clone().into(),
            limit: config.http.max_body_bytes,
            known: BTreeMap::new(),
        }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.known.values().flat_map(|known| &known.groups)
    }

    pub(super) async fn look(&mut self, closely: Closely, reading: &mut Reading, meter: &Meter) -> Look {
        let mut look = Look::default();
        let scan = match self.scan(closely).await {
            Ok(scan) => scan,
            Err(error) => {
                look.trouble = Some(Arc::new(error.into()));
                return look;
            }
        };
        let before = self.known.len();
        self.known.retain(|path, _| scan.files.contains_key(path));
        look.changed = self.known.len() < before;
        // A pattern that could not be listed may stand for files of which nothing is known.
        let whole = scan.trouble.is_none();
        look.trouble = scan.trouble.map(|error| Arc::new(error.into()));
        for (path, (mark, found)) in scan.files {
            let known = self.known.entry(path.clone()).or_default();
            known.mark = mark;
            let read = match found {
                // What is being written is read when it rests; until then it is what it was, in trouble or not.
                Found::Same | Found::Unsettled => None,
                Found::Read(bytes) => Some(known.take(&bytes, &path, reading)),
                Found::Unreadable(error) => Some(Err(error)),
            };
            if let Some(read) = read {
                meter.count_request(read.is_err());
                look.changed |= *read.as_ref().unwrap_or(&false);
                known.trouble = read.err().map(|error| Arc::new(error.into()));
            }
            look.trouble = look.trouble.or_else(|| known.trouble.clone());
        }
        look.complete = whole && self.known.values().all(|known| known.digest.is_some());
        look
    }

    async fn scan(&self, closely: Closely) -> Result<Scan, Error> {
        let (patterns, limit) = (self.patterns.clone(), self.limit);
        let marks = self.known.iter();
        let marks: BTreeMap<PathBuf, Mark> = marks
            .map(|(path, known)| (path.clone(), known.mark.clone()))
            .collect();
        let scanning = tokio::task::spawn_blocking(move || {
            Scan::new(&patterns, &marks, limit, closely != Closely::Glance)
        });
        match scanning.await {
            Ok(scan) => Ok(scan),
            // The supervisor counts panics and opens the watch again.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(Error::Read {
                path: self.patterns.first().cloned().unwrap_or_default(),
                source: std::io::Error::other(error),
            }),
        }
    }
}

impl Known {
    /// True where the file says something else than before.
    fn take(&mut self, bytes: &[u8], path: &Path, reading: &mut Reading) -> Result<bool, Error> {
        let digest = xxhash_rust::xxh3::xxh3_128(bytes);
        if self.digest == Some(digest) {
            return Ok(false);
        }
        let format = Format::of_file(path).unwrap_or(Format::Json);
        let groups = reading.document(bytes, format);
        self.groups = groups.map_err(|problem| Error::File {
            path: path.to_owned(),
            problem,
        })?;
        self.digest = Some(digest);
        Ok(true)
    }
}
