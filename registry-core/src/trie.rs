//! A persistent map from names to values: a change copies the path to it, two versions share everything else.
//!
//! A hash trie of fan-out 16 whose leaves hold up to 16 entries sorted by hash: three nodes and a leaf for 50 000
//! names. Looking up allocates nothing; comparing two versions skips every node that is the same allocation, so a delta
//! costs what changed, not what there is.

use std::cmp::Ordering;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::counted::{Counted, fetch};
use crate::name_hasher::NameHasher;

const FAN_OUT: usize = 1 << BITS;
const BITS: u32 = 4;
const LEAF: usize = 16;
/// Beyond this depth the bits of the hash are used up.
const MAX_DEPTH: u32 = u64::BITS / BITS;

/// A value that knows its name and can be compared by identity.
pub trait Entry: Clone + Counted {
    /// Its name.
    fn key(&self) -> &str;
    /// True where both are the same allocation, and so equal without a look at either.
    fn ptr_eq(&self, other: &Self) -> bool;
}

/// A persistent map of values that know their names: a clone costs nothing, a change copies a path, and comparing two
/// versions costs what differs between them. Snapshots hold their services in one.
#[derive(Clone)]
pub struct NameMap<V> {
    root: Node<V>,
    len: usize,
    // Names come from the network: the hash has a random seed, which all versions of one map have.
    hasher: NameHasher,
}

#[derive(Clone)]
enum Node<V> {
    Leaf(Leaf<V>),
    Branch(Arc<[Node<V>; FAN_OUT]>),
}

/// Sorted by hash and name.
type Leaf<V> = Arc<[(u64, V)]>;

impl<V> Node<V> {
    fn empty() -> Self {
        Self::Leaf(Arc::default())
    }

    fn ptr_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => Arc::ptr_eq(a, b),
            (Self::Branch(a), Self::Branch(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self {
            root: Node::empty(),
            len: 0,
            hasher: NameHasher::default(),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "only the low bits count")]
fn slot(hash: u64, depth: u32) -> usize {
    (hash >> (depth * BITS)) as usize & (FAN_OUT - 1)
}

impl<V: Entry> NameMap<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of that name.
    pub fn get(&self, key: &str) -> Option<&V> {
        let hash = self.hasher.hash_one(key);
        let mut node = &self.root;
        let mut depth = 0;
        loop {
            match node {
                Node::Branch(children) => {
                    node = &children[slot(hash, depth)];
                    depth += 1;
                }
                // Looking at all of a few is quicker than searching, which waits for one look before the next.
                Node::Leaf(entries) => {
                    return entries
                        .iter()
                        .find(|(held, value)| *held == hash && value.key() == key)
                        .map(|(_, value)| value);
                }
            }
        }
    }

    /// Adds a value, or puts it in place of the one with its name, which is returned.
    pub fn insert(&mut self, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(value.key());
        let old = insert(&mut self.root, 0, hash, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        // Looked up first: removing what is not there must not copy the path to it.
        let old = self.get(key)?.clone();
        remove(&mut self.root, 0, self.hasher.hash_one(key), key);
        self.len -= 1;
        Some(old)
    }

    /// All values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        let mut stack = vec![&self.root];
        let mut leaf: std::slice::Iter<'_, (u64, V)> = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some((_, value)) = leaf.next() {
                    return Some(value);
                }
                match stack.pop()? {
                    Node::Leaf(entries) => leaf = entries.iter(),
                    Node::Branch(children) => stack.extend(children.iter().rev()),
                }
            }
        })
    }

    /// Calls `change` with what each name that differs was before, and what it is now. Quick where one of the two was
    /// made from the other, or both from a third; else all of both are looked at.
    pub fn diff<'a>(&'a self, old: &'a Self, change: &mut impl FnMut(Option<&'a V>, Option<&'a V>)) {
        if self.hasher == old.hasher {
            diff(&old.root, &self.root, change);
            return;
        }
        for value in old.iter() {
            match self.get(value.key()) {
                Some(now) if now.ptr_eq(value) => {}
                now => change(Some(value), now),
            }
        }
        for value in self.iter().filter(|value| old.get(value.key()).is_none()) {
            change(None, Some(value));
        }
    }
}

/// The children of a node, for changing them: a copy where another version of the map has them as well.
fn own<V: Entry>(children: &mut Arc<[Node<V>; FAN_OUT]>) -> &mut [Node<V>; FAN_OUT] {
    if Arc::get_mut(children).is_none() {
        fetch(children.iter());
    }
    Arc::make_mut(children)
}

impl<V> Counted for Node<V> {
    fn holders(&self) -> usize {
        match self {
            Self::Leaf(entries) => Arc::strong_count(entries),
            Self::Branch(children) => Arc::strong_count(children),
        }
    }
}

fn insert<V: Entry>(node: &mut Node<V>, depth: u32, hash: u64, value: V) -> Option<V> {
    match node {
        Node::Branch(children) => {
            let child = &mut own(children)[slot(hash, depth)];
            insert(child, depth + 1, hash, value)
        }
        Node::Leaf(entries) => match position(entries, hash, value.key()) {
            Ok(at) => {
                if Arc::get_mut(entries).is_none() {
                    fetch(entries.iter().map(|(_, value)| value));
                }
                Some(std::mem::replace(&mut Arc::make_mut(entries)[at].1, value))
            }
            Err(at) => {
                fetch(entries.iter().map(|(_, value)| value));
                let (before, after) = entries.split_at(at);
                let new = std::iter::once((hash, value));
                *entries = before
                    .iter()
                    .cloned()
                    .chain(new)
                    .chain(after.iter().cloned())
                    .collect();
                if entries.len() > LEAF && depth < MAX_DEPTH {
                    *node = split(entries, depth);
                }
                None
            }
        },
    }
}

/// The order of the entries of a leaf: the name decides only where two hashes are the same.
fn order(a: u64, a_key: &str, b: u64, b_key: &str) -> Ordering {
    a.cmp(&b).then_with(|| a_key.cmp(b_key))
}

fn position<V: Entry>(entries: &[(u64, V)], hash: u64, key: &str) -> Result<usize, usize> {
    entries.binary_search_by(|(held, value)| order(*held, value.key(), hash, key))
}

fn split<V: Entry>(entries: &[(u64, V)], depth: u32) -> Node<V> {
    let child = |at| {
        let here = |(hash, _): &&(u64, V)| slot(*hash, depth) == at;
        Node::Leaf(entries.iter().filter(here).cloned().collect())
    };
    Node::Branch(Arc::new(std::array::from_fn(child)))
}

fn remove<V: Entry>(node: &mut Node<V>, depth: u32, hash: u64, key: &str) {
    match node {
        Node::Leaf(entries) => {
            if let Ok(at) = position(entries, hash, key) {
                fetch(entries.iter().map(|(_, value)| value));
                let (before, after) = (&entries[..at], &entries[at + 1..]);
                *entries = before.iter().chain(after).cloned().collect();
            }
        }
        Node::Branch(children) => {
            let children = own(children);
            remove(&mut children[slot(hash, depth)], depth + 1, hash, key);
            // Half a leaf, so that a map which goes up and down by one does not split and join each time.
            let total = children.iter().try_fold(0, |sum, child| match child {
                Node::Leaf(entries) if sum + entries.len() <= LEAF / 2 => Some(sum + entries.len()),
                _ => None,
            });
            if total.is_some() {
                let mut all = Vec::new();
                children.iter().for_each(|child| collect(child, &mut all));
                all.sort_by(|a, b| order(a.0, a.1.key(), b.0, b.1.key()));
                *node = Node::Leaf(
                    all.into_iter()
                        .map(|(hash, value)| (hash, value.clone()))
                        .collect(),
                );
            }
        }
    }
}

fn collect<'a, V>(node: &'a Node<V>, into: &mut Vec<(u64, &'a V)>) {
    match node {
        Node::Leaf(entries) => into.extend(entries.iter().map(|(hash, value)| (*hash, value))),
        Node::Branch(children) => children.iter().for_each(|child| collect(child, into)),
    }
}

fn diff<'a, V: Entry>(
    old: &'a Node<V>,
    new: &'a Node<V>,
    change: &mut impl FnMut(Option<&'a V>, Option<&'a V>),
) {
    match (old, new) {
        _ if old.ptr_eq(new) => {}
        (Node::Branch(old), Node::Branch(new)) => {
            for (old, new) in old.iter().zip(new.iter()) {
                diff(old, new, change);
            }
        }
        (Node::Leaf(old), Node::Leaf(new)) => {
            let entries = |leaf: &'a Leaf<V>| leaf.iter().map(|(hash, value)| (*hash, value));
            diff_entries(entries(old), entries(new), change);
        }
        _ => {
            let sorted = |node| {
                let mut entries = Vec::new();
                collect(node, &mut entries);
                entries.sort_by(|a: &(u64, &V), b: &(u64, &V)| order(a.0, a.1.key(), b.0, b.1.key()));
                entries.into_iter()
            };
            diff_entries(sorted(old), sorted(new), change);
        }
    }
}

/// Walks along both, which are in order.
fn diff_entries<'a, V: Entry + 'a>(
    old: impl Iterator<Item = (u64, &'a V)>,
    new: impl Iterator<Item = (u64, &'a V)>,
    change: &mut impl FnMut(Option<&'a V>, Option<&'a V>),
) {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((a, before)), Some((b, after))) if a == b && before.ptr_eq(after) => {
                old.next();
                new.next();
                continue;
            }
            (Some((a, before)), Some((b, after))) => order(*a, before.key(), *b, after.key()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        change(before.map(|(_, value)| value), after.map(|(_, value)| value));
    }
}

impl<V: Entry> fmt::Debug for NameMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names", self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Named(Arc<(String, u32)>);

    impl Entry for Named {
        fn key(&self) -> &str {
            &self.0.0
        }

        fn ptr_eq(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }

    impl Counted for Named {
        fn holders(&self) -> usize {
            Arc::strong_count(&self.0)
        }
    }

    fn named(n: u16, value: u32) -> Named {
        Named(Arc::new((format!("service-{n}"), value)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn behaves_as_an_ordinary_map_and_its_diff_is_what_changed(
            first in prop::collection::vec((0_u16..500, 0_u32..3, any::<bool>()), 0..1500),
            second in prop::collection::vec((0_u16..500, 0_u32..3, any::<bool>()), 0..300),
        ) {
            let mut map = NameMap::default();
            let mut model = BTreeMap::new();
            let apply = |map: &mut NameMap<Named>, model: &mut BTreeMap<String, u32>, steps: &[(u16, u32, bool)]| {
                for (n, value, keep) in steps {
                    let entry = named(*n, *value);
                    if *keep {
                        model.insert(entry.key().to_owned(), *value);
                        map.insert(entry);
                    } else {
                        assert_eq!(model.remove(entry.key()).is_some(), map.remove(entry.key()).is_some());
                    }
                }
            };
            apply(&mut map, &mut model, &first);
            let (old_map, old_model) = (map.clone(), model.clone());
            apply(&mut map, &mut model, &second);

            prop_assert_eq!(map.len(), model.len());
            for (key, value) in &model {
                prop_assert_eq!(map.get(key).map(|entry| entry.0.1), Some(*value));
            }
            let listed: BTreeMap<String, u32> = map.iter().map(|e| (e.0.0.clone(), e.0.1)).collect();
            prop_assert_eq!(&listed, &model);

            let mut patched = old_model;
            map.diff(&old_map, &mut |before, after| {
                let key = before.or(after).unwrap().key();
                assert_eq!(patched.get(key).copied(), before.map(|entry| entry.0.1));
                match after {
                    Some(after) => patched.insert(key.to_owned(), after.0.1),
                    None => patched.remove(key),
                };
            });
            prop_assert_eq!(patched, model);
        }
    }

    #[test]
    fn one_insertion_shares_the_rest() {
        let mut map = NameMap::default();
        for n in 0..10_000 {
            map.insert(named(n, 0));
        }
        let old = map.clone();
        map.insert(named(7, 1));
        let mut changes = 0;
        map.diff(&old, &mut |before, after| {
            changes += 1;
            assert_eq!((before.unwrap().0.1, after.unwrap().0.1), (0, 1));
        });
        assert_eq!(changes, 1);
    }
}
