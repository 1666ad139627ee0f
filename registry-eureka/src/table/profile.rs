//! What an instance contributes to its service beside an endpoint: names of ports, and aliases.

use std::collections::HashSet;
use std::sync::Arc;

use registry_core::{Interner, Str};

/// Names of ports and aliases, each sorted. Nearly all instances of an application share one of these.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Profile {
    pub(super) ports: Box<[Str]>,
    pub(super) aliases: Box<[Str]>,
}

/// Makes equal profiles one allocation.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    known: HashSet<Arc<Profile>>,
    sweep_at: usize,
}

impl Profiles {
    /// The shared form of a profile.
    pub(super) fn get(
        &mut self,
        ports: impl Iterator<Item = Str>,
        aliases: &[String],
        interner: &mut Interner,
    ) -> Arc<Profile> {
        let profile = Profile {
            ports: ports.collect(),
            aliases: aliases.iter().map(|alias| interner.text(alias)).collect(),
        };
        if let Some(known) = self.known.get(&profile) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            // What no entry has any more goes, seldom enough to cost nothing.
            self.known.retain(|held| Arc::strong_count(held) > 1);
            self.sweep_at = (self.known.len() * 2).max(1024);
        }
        let profile = Arc::new(profile);
        self.known.insert(profile.clone());
        profile
    }
}
