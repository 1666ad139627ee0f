//! Labels: sorted key-value pairs.

use std::fmt;

use crate::hash::Hasher;
use crate::text::Str;

/// Sorted key-value pairs, each key once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Box<[(Str, Str)]>);

impl Labels {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Str> {
        let at = self.0.binary_search_by(|(held, _)| held.as_str().cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Str, &Str)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These labels and those of `other` whose keys are not here yet.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        other.0.iter().chain(self.0.iter()).cloned().collect()
    }

    pub(crate) fn feed(&self, hasher: &mut Hasher) {
        hasher.number(self.0.len() as u64);
        for (key, value) in &self.0 {
            hasher.text(key);
            hasher.text(value);
        }
    }
}

impl<K: Into<Str>, V: Into<Str>> FromIterator<(K, V)> for Labels {
    /// Of pairs with the same key the last one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Str, Str)> = pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        pairs.reverse();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|(a, _), (b, _)| a == b);
        Self(pairs.into())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
