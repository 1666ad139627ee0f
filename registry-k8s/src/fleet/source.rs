//! Where a fleet's kubeconfigs come from, and what is heard from there.

use std::collections::BTreeSet;
use std::sync::Arc;

use registry_core::{RegistryError, Str};

use super::directory::Directory;
use super::kubeconfig::Candidate;
use super::secrets::Secrets;

/// A source, listened to.
pub(super) enum Source {
    Directory(Directory),
    Secrets(Secrets),
}

/// What a source says at once.
#[derive(Debug)]
pub(super) struct Heard {
    /// The complete list, where it may have changed.
    pub(super) listing: Option<Listing>,
    /// Whether the list, this one or else the last, is known to be right.
    pub(super) right: Result<(), Arc<RegistryError>>,
}

/// All that a source has.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) candidates: Vec<Candidate>,
    /// Names that were removed in so many words.
    pub(super) announced: BTreeSet<Str>,
}

// === impl Source ===

impl Source {
    /// What there is to hear next. Cancel safe.
    pub(super) async fn next(&mut self) -> Heard {
        match self {
            Self::Directory(directory) => directory.next().await,
            Self::Secrets(secrets) => secrets.next().await,
        }
    }

    /// Asks for the complete list.
    pub(super) fn look_again(&mut self) {
        match self {
            Self::Directory(directory) => directory.look_again(),
            Self::Secrets(secrets) => secrets.look_again(),
        }
    }
}

// === impl Heard ===

impl Heard {
    pub(super) fn listing(listing: Listing) -> Self {
        Self {
            listing: Some(listing),
            right: Ok(()),
        }
    }

    pub(super) fn failed(error: impl Into<Arc<RegistryError>>) -> Self {
        Self {
            listing: None,
            right: Err(error.into()),
        }
    }
}
