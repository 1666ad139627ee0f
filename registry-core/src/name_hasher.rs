//! How names are hashed in maps: quickly, and not as a stranger could foresee.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hashes names in maps and sets, of which look-ups of many names mostly consist: xxh3 with a random seed of each map's
/// own, as names come from the network. Where two are equal, so are all hashes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NameHasher(u64);

/// A hash under way.
#[derive(Clone, Copy)]
pub struct NameHash(u64);

impl Default for NameHasher {
    fn default() -> Self {
        // The only source of randomness that the standard library has.
        Self(RandomState::new().hash_one(0_u8))
    }
}

impl BuildHasher for NameHasher {
    type Hasher = NameHash;

    fn build_hasher(&self) -> NameHash {
        NameHash(self.0)
    }
}

impl fmt::Debug for NameHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows the seed can make names that collide.
        f.write_str("NameHasher")
    }
}

impl fmt::Debug for NameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameHash")
    }
}

impl Hasher for NameHash {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// What ends each text. The hash of a text covers its length, so that this has to part nothing.
    fn write_u8(&mut self, byte: u8) {
        self.0 = self.0.rotate_left(8) ^ u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn hashes_are_equal_only_for_equal_texts_and_seeds() {
        let (one, other) = (NameHasher::default(), NameHasher::default());
        assert_ne!(one, other);
        assert_eq!(one.hash_one("web.mesh"), one.hash_one(String::from("web.mesh")));
        assert_ne!(one.hash_one("web.mesh"), other.hash_one("web.mesh"));
        assert_ne!(one.hash_one(("ab", "c")), one.hash_one(("a", "bc")));
        assert_ne!(one.hash_one(("", "a")), one.hash_one(("a", "")));
    }

    #[test]
    fn names_that_differ_little_are_spread_over_the_low_bits() {
        let hasher = NameHasher::default();
        let low: HashSet<_> = (0..4096)
            .map(|n| hasher.hash_one(format!("outbound|80||service-{n}.mesh.internal")) & 0xfff)
            .collect();
        // Of 4 096 balls in as many boxes, 1 507 boxes stay empty on average.
        assert!(low.len() > 2300, "{} of 4096", low.len());
    }
}
