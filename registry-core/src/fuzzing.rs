//! For fuzz targets, and for tests that replay what they found: what holds of anything that was
//! decoded. No part of the API.
//!
//! A target takes bytes as they could come from outside, sends them through the real decoder and mapping, and panics
//! where something does not hold that should hold for every input.

use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::endpoint_set::EndpointSet;
use crate::engine::Engine;
use crate::error::RegistryError;
use crate::model::{RegistryId, ServiceRecord, Timestamp};
use crate::store::Saved;

/// A target: its name, which is that of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("core_state", state)];

/// The body of a state file.
pub fn state(bytes: &[u8]) {
    crate::store::fuzzing::state(bytes);
}

/// In characters: more than anybody reads, and little enough for a log and a status to hold it.
const LONGEST_MESSAGE: usize = 2048;

/// Checks that a message is there, on one line and of bounded length, whatever was sent.
pub fn check_message(message: &str) {
    assert!(!message.is_empty(), "an error without a message");
    let length = message.chars().count();
    let start: String = message.chars().take(200).collect();
    assert!(
        length <= LONGEST_MESSAGE,
        "a message of {length} characters: {start}…"
    );
    assert!(
        !message.chars().any(char::is_control),
        "control characters in a message: {message:?}"
    );
}

/// Checks what is told of a failure.
pub fn check_error(error: &RegistryError) {
    check_message(&error.to_string());
    check_message(&error.report());
}

/// Checks that a record can be kept: its endpoints as a set that any way of building it agrees on.
pub fn check_record(record: &ServiceRecord) {
    let set = record.endpoints();
    let again: EndpointSet = set.iter().cloned().collect();
    assert_eq!(*set, again);
    assert_eq!(set.content_hash(), again.content_hash());
    for endpoint in set.iter() {
        assert!(
            !endpoint.id().is_empty(),
            "an endpoint without an id: {endpoint:?}"
        );
        assert!(!endpoint.addresses().is_empty());
        for port in endpoint.ports().iter() {
            assert_ne!(port.number, 0, "{endpoint:?}");
            let declared = record.meta().ports().iter().any(|held| held.name == port.name);
            assert!(declared, "the service does not know port {:?}", port.name);
        }
    }
    // Each costs a comparison of the whole set.
    for endpoint in set.iter().take(8) {
        assert_eq!(set.with(endpoint.clone()), *set);
        let fewer = set.without(endpoint);
        assert_eq!(fewer.len() + 1, set.len());
        let back = fewer.with(endpoint.clone());
        assert_eq!((&back, back.content_hash()), (set, set.content_hash()));
    }
}

/// Checks that two readings of one input say the same.
pub fn check_same(a: &ServiceRecord, b: &ServiceRecord) {
    assert!(
        a.meta().is_same(b.meta()),
        "two readings differ: {:?} {:?}",
        a.meta(),
        b.meta()
    );
    assert_eq!(a.endpoints(), b.endpoints());
    assert_eq!(a.endpoints().content_hash(), b.endpoints().content_hash());
}

/// Begins with what an engine that is gone knew of a registry, as a start does with what was kept on disk.
///
/// # Panics
///
/// Where that cannot be written, or not be read again.
pub fn restart(gone: &Engine, engine: &mut Engine, id: &RegistryId, now: Instant) {
    let records = crate::store::fuzzing::kept(&gone.records(id));
    let saved = Saved {
        kind: String::new(),
        target: String::new(),
        confirmed: Timestamp::now(),
        saved: Timestamp::now(),
        records,
    };
    engine.restore(id, saved, now);
}

/// Runs targets on their corpus and on all inputs that once made them fail, as kept in the folder `fuzz` of the
/// repository.
///
/// # Panics
///
/// Where a target fails, or has no corpus.
pub fn replay(repository: &Path, targets: &[Target]) {
    for (name, target) in targets {
        let corpus = inputs(&repository.join("fuzz/corpus").join(name));
        assert!(!corpus.is_empty(), "target {name} has no corpus");
        for path in corpus
            .into_iter()
            .chain(inputs(&repository.join("fuzz/regressions").join(name)))
        {
            match std::fs::read(&path) {
                Ok(bytes) => {
                    let _blame = Blame(path);
                    target(&bytes);
                }
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Names the input with which a target failed.
struct Blame(PathBuf);

impl Drop for Blame {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fuzzing_knows_passes() {
        replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), TARGETS);
    }
}
