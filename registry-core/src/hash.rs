//! Content hashes: 128 bits, without a seed, versioned, and independent of how data is laid out.
//!
//! Two processes that hold the same content have the same hashes, so drift between replicas is one comparison. The
//! hash of a set is the sum of its members' hashes (modulo 2^128): it does not depend on order, and one changed
//! member costs one subtraction and one addition.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// Changes with every change of what is hashed, so that hashes of different formats never compare equal by accident.
const VERSION: u8 = 2;

/// The hash of some content, printed as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ContentHash {
    // Two words and not one `u128`, whose alignment of 16 would pad every structure that holds one.
    high: u64,
    low: u64,
}

impl ContentHash {
    /// The hash as a number.
    pub fn as_u128(self) -> u128 {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }

    /// The hash of a set to which one member was added.
    #[must_use]
    pub fn plus(self, member: Self) -> Self {
        Self::from(self.as_u128().wrapping_add(member.as_u128()))
    }

    /// The hash of a set from which one member was taken.
    #[must_use]
    pub fn minus(self, member: Self) -> Self {
        Self::from(self.as_u128().wrapping_sub(member.as_u128()))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the two halves of the number")]
impl From<u128> for ContentHash {
    fn from(value: u128) -> Self {
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Feeds fields to a hash, each with its length, so that moving a letter from one field to the next changes it.
///
/// Short inputs (nearly all) are hashed from a buffer on the stack, which is several times quicker than streaming.
pub(crate) struct Hasher {
    buffer: [u8; BUFFER],
    used: usize,
    overflow: Option<Box<Xxh3Default>>,
}

const BUFFER: usize = 240;

impl Hasher {
    pub(crate) fn new(what: &str) -> Self {
        let mut hasher = Self {
            buffer: [0; BUFFER],
            used: 0,
            overflow: None,
        };
        hasher.byte(VERSION);
        hasher.text(what);
        hasher
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.overflow.is_none() {
            if let Some(room) = self.buffer.get_mut(self.used..self.used + bytes.len()) {
                room.copy_from_slice(bytes);
                self.used += bytes.len();
                return;
            }
            let mut stream = Box::new(Xxh3Default::new());
            stream.update(&self.buffer[..self.used]);
            self.overflow = Some(stream);
        }
        if let Some(stream) = &mut self.overflow {
            stream.update(bytes);
        }
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.raw(&[value]);
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.raw(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn hash(&mut self, hash: ContentHash) {
        self.number(hash.high);
        self.number(hash.low);
    }

    pub(crate) fn finish(self) -> ContentHash {
        match self.overflow {
            Some(stream) => stream.digest128().into(),
            None => xxh3_128(&self.buffer[..self.used]).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(fields: &[&str]) -> ContentHash {
        let mut hasher = Hasher::new("test");
        for field in fields {
            hasher.text(field);
        }
        hasher.finish()
    }

    #[test]
    fn a_letter_that_moves_between_fields_changes_the_hash() {
        assert_ne!(hash_of(&["ab", "c"]), hash_of(&["a", "bc"]));
    }

    #[test]
    fn long_and_short_inputs_agree_with_one_pass_over_all_bytes() {
        for length in [0, 1, 100, BUFFER - 40, BUFFER, BUFFER * 3] {
            let text = "x".repeat(length);
            let mut all = vec![VERSION];
            for field in ["test", text.as_str()] {
                all.extend((field.len() as u64).to_le_bytes());
                all.extend(field.as_bytes());
            }
            assert_eq!(hash_of(&[&text]), xxh3_128(&all).into(), "length {length}");
        }
    }

    #[test]
    fn a_sum_forgets_what_is_taken_out_again() {
        let (a, b) = (hash_of(&["a"]), hash_of(&["b"]));
        assert_eq!(a.plus(b).minus(a), b);
        assert_eq!(format!("{a}").len(), 32);
    }
}
