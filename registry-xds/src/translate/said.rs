//! What registries say of a service in words that the model has no field for: labels and metadata.
//!
//! | key | says |
//! |---|---|
//! | `registryd.protocol.<port name>` | what is spoken on that port |
//! | `registryd.protocol`, `protocol` | what is spoken on the service's ports |
//! | `registryd.local_port.<port name>` | where Envoys listen for that port: `16379`, or `127.0.0.5:6379` |
//! | `registryd.local_port` | where they listen for the service |
//!
//! A service's own labels come first, then its metadata in each registry by precedence, then the labels of its endpoints,
//! which is where Consul and Eureka have their metadata: what most of them say, of equally many the first in the alphabet.

use std::collections::BTreeMap;

use registry_core::{Labels, Service, Str};

/// The key that many users have already.
pub(crate) const PROTOCOL: &str = "protocol";
/// All other keys begin so.
const PREFIX: &str = "registryd.";

/// The words about one service, by key.
#[derive(Debug, Default)]
pub(crate) struct Said(BTreeMap<Str, Str>);

impl Said {
    /// Collects them. Looks at each label once.
    pub(crate) fn of(service: &Service) -> Self {
        let mut said = BTreeMap::new();
        for (key, value) in words(service.labels()) {
            said.insert(key.clone(), value.clone());
        }
        for (key, value) in service
            .sources()
            .iter()
            .flat_map(|source| words(source.meta.metadata()))
        {
            said.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let mut votes: BTreeMap<(&Str, &Str), usize> = BTreeMap::new();
        for vote in service
            .endpoints()
            .iter()
            .flat_map(|endpoint| words(endpoint.labels()))
        {
            *votes.entry(vote).or_default() += 1;
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        // Stable: of equally many the first in the alphabet stays first.
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for ((key, value), _) in votes {
            said.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Self(said)
    }

    /// The word under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(Str::as_str)
    }

    /// All of them, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn words(labels: &Labels) -> impl Iterator<Item = (&Str, &Str)> {
    labels
        .iter()
        .filter(|(key, _)| key.starts_with(PREFIX) || *key == PROTOCOL)
}
