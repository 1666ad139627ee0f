//! What an instance contributes to its service beside an endpoint: names of ports, and aliases.

use std::collections::HashSet;
use std::sync::Arc;

use registry_core::{EndpointPorts, Interner, Str};

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
    /// The one that was asked for last: instances of an application come one after the other.
    last: Option<Arc<Profile>>,
}

impl Profile {
    fn says(&self, ports: &EndpointPorts, aliases: &[String]) -> bool {
        self.ports.iter().eq(ports.iter().map(|port| &port.name))
            && self.aliases.iter().map(Str::as_str).eq(aliases)
    }
}

impl Profiles {
    /// The shared form of a profile.
    pub(super) fn get(
        &mut self,
        ports: &EndpointPorts,
        aliases: &[String],
        interner: &mut Interner,
    ) -> Arc<Profile> {
        if let Some(last) = self.last.as_ref().filter(|last| last.says(ports, aliases)) {
            return last.clone();
        }
        let profile = Profile {
            ports: ports.iter().map(|port| port.name.clone()).collect(),
            aliases: aliases.iter().map(|alias| interner.text(alias)).collect(),
        };
        let profile = match self.known.get(&profile) {
            Some(known) => known.clone(),
            None => self.add(profile),
        };
        self.last = Some(profile.clone());
        profile
    }

    fn add(&mut self, profile: Profile) -> Arc<Profile> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_profiles_are_one_and_those_that_nobody_has_are_swept() {
        let (mut profiles, mut interner) = (Profiles::default(), Interner::default());
        let ports = EndpointPorts::from_iter([("http", 80)]);
        let alias = |alias: &str| [alias.to_owned()];
        let kept = profiles.get(&ports, &alias("kept"), &mut interner);
        for n in 0..10_000 {
            profiles.get(&ports, &alias(&format!("gone-{n}")), &mut interner);
        }
        assert!(profiles.known.len() <= 1025, "{}", profiles.known.len());
        let again = profiles.get(&ports, &alias("kept"), &mut interner);
        assert!(Arc::ptr_eq(&kept, &again));
        let without = EndpointPorts::default();
        let other = profiles.get(&without, &alias("kept"), &mut interner);
        assert_ne!(kept, other);
        assert_eq!(profiles.get(&ports, &alias("kept"), &mut interner), kept);
    }
}
