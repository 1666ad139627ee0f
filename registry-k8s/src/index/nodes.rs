//! Nodes: where they are, by their labels.

use std::collections::{HashMap, HashSet};

use registry_core::{Interner, Str};

use super::Version;
use crate::map::endpoints::{NodePlace, node_place};
use crate::wire;

/// Removed ones of which nobody asks any more are forgotten when there are more of them than this, and than others.
const REMEMBERED: usize = 64;

/// All nodes. Removed ones are remembered: endpoints that were on them stay where they were.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_name: HashMap<Str, Node>,
    removed: usize,
    /// Those whose place changed since endpoints were last told.
    moved: HashSet<Str>,
}

#[derive(Debug)]
struct Node {
    version: Version,
    seen: u64,
    place: NodePlace,
    removed: bool,
}

impl Nodes {
    pub(super) fn place(&self, name: &str) -> Option<&NodePlace> {
        self.by_name.get(name).map(|node| &node.place)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// True where the node is held in this version; then it was seen.
    pub(super) fn see(&mut self, name: &str, version: Version, seen: u64) -> bool {
        match self.by_name.get_mut(name) {
            Some(node) if node.version.is(version) && !node.removed => {
                node.seen = seen;
                true
            }
            _ => false,
        }
    }

    /// Something of it was seen that could not be read.
    pub(super) fn keep(&mut self, name: &str, seen: u64) {
        if let Some(node) = self.by_name.get_mut(name) {
            node.seen = seen;
        }
    }

    pub(super) fn apply(&mut self, metadata: &wire::Metadata<'_>, seen: u64, interner: &mut Interner) {
        let version = Version::of(&metadata.uid, &metadata.resource_version);
        let place = node_place(&metadata.labels, interner);
        match self.by_name.get_mut(&*metadata.name) {
            Some(node) => {
                self.removed -= usize::from(node.removed);
                (node.removed, node.seen, node.version) = (false, seen, version);
                if node.place != place {
                    node.place = place;
                    self.moved.insert(Str::from(&*metadata.name));
                }
            }
            None => {
                let name = Str::from(&*metadata.name);
                if place != NodePlace::default() {
                    self.moved.insert(name.clone());
                }
                let node = Node {
                    version,
                    seen,
                    place,
                    removed: false,
                };
                self.by_name.insert(name, node);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(node) = self.by_name.get_mut(name) {
            self.removed += usize::from(!node.removed);
            node.removed = true;
        }
    }

    /// Those not seen since then are removed.
    pub(super) fn complete(&mut self, since: u64) {
        for node in self.by_name.values_mut().filter(|node| node.seen < since) {
            self.removed += usize::from(!node.removed);
            node.removed = true;
        }
    }

    /// Those whose place changed since the last call.
    pub(super) fn take_moved(&mut self) -> HashSet<Str> {
        std::mem::take(&mut self.moved)
    }

    /// True where it is time to forget.
    pub(super) fn is_overfull(&self) -> bool {
        self.removed > REMEMBERED.max(self.by_name.len() / 2)
    }

    /// Forgets removed ones that no endpoint names.
    pub(super) fn forget(&mut self, named: &HashSet<Str>) {
        self.by_name
            .retain(|name, node| !node.removed || named.contains(name));
        self.removed = self.by_name.values().filter(|node| node.removed).count();
    }
}
