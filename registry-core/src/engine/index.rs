//! An index from further names to hostnames, where several services may have the same name.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::snapshot::Target;
use crate::text::Str;
use crate::trie::NameMap;

/// Which hostnames each key leads to, and the published form of that.
#[derive(Debug, Default)]
pub(super) struct ManyToMany {
    hostnames: HashMap<Str, BTreeSet<Str>>,
    published: NameMap<Target>,
}

impl ManyToMany {
    pub(super) fn published(&self) -> &NameMap<Target> {
        &self.published
    }

    /// The keys of a hostname were `before`, and are `after`.
    pub(super) fn replace(&mut self, hostname: &Str, before: &[Str], after: &[Str]) {
        if before == after {
            return;
        }
        for key in before.iter().filter(|key| !after.contains(key)) {
            if let Some(hostnames) = self.hostnames.get_mut(key) {
                hostnames.remove(hostname);
            }
            self.publish(key);
        }
        for key in after.iter().filter(|key| !before.contains(key)) {
            self.hostnames
                .entry(key.clone())
                .or_default()
                .insert(hostname.clone());
            self.publish(key);
        }
    }

    fn publish(&mut self, key: &Str) {
        match self.hostnames.get(key) {
            Some(hostnames) if !hostnames.is_empty() => {
                let target = Target(Arc::new((key.clone(), hostnames.iter().cloned().collect())));
                self.published.insert(target);
            }
            _ => {
                self.hostnames.remove(key);
                self.published.remove(key);
            }
        }
    }
}
