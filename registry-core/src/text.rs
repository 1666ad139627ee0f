//! Shared text: every repeated value of the model is one allocation, however many endpoints carry it.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

use crate::counted::Counted;
use crate::model::{Attributes, EndpointPorts, Place};

/// An immutable string that is cheap to clone: two words, one reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str(Arc<str>);

impl Str {
    /// True where both are the very same allocation.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Str {
    fn default() -> Self {
        thread_local! {
            // One empty string a thread: most optional fields are empty, and must not cost an allocation each.
            static EMPTY: Str = Str(Arc::from(""));
        }
        EMPTY.with(Str::clone)
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        if text.is_empty() {
            Self::default()
        } else {
            Self(Arc::from(text))
        }
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

/// What came from elsewhere (a server, a file), fit for a message: on one line, and no longer than `most` characters and
/// a sign that there was more.
///
/// Whatever a message quotes goes through this. Control characters become spaces, so that nobody writes lines of their own
/// into a log, and an answer of megabytes is no message of megabytes.
///
/// ```
/// use registry_core::short;
///
/// assert_eq!(short("no leader\n", 40), "no leader ");
/// assert_eq!(short("<html><body>Bad Gateway</body></html>", 12), "<html><body>…");
/// ```
pub fn short(text: &str, most: usize) -> String {
    let shown = text.chars().take(most);
    let mut short: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

/// Makes equal values one allocation. A backend keeps one beside its decoder and hands every value through it.
///
/// What nothing else holds any more is swept out whenever a table has doubled since the last sweep, so an interner
/// under churn stays within twice the size of what is in use.
///
/// ```
/// let mut interner = registry_core::Interner::default();
/// let first = interner.text("eu-1a");
/// let second = interner.text("eu-1a");
/// assert!(first.ptr_eq(&second));
/// ```
#[derive(Debug, Default)]
pub struct Interner {
    texts: Table<Str>,
    ports: Table<Arc<EndpointPorts>>,
    attributes: Table<Arc<Attributes>>,
    places: Table<Arc<Place>>,
}

impl Interner {
    /// The shared form of a text.
    pub fn text(&mut self, text: &str) -> Str {
        if text.is_empty() {
            return Str::default();
        }
        if let Some(known) = self.texts.values.get(text) {
            return known.clone();
        }
        self.texts.add(Str::from(text))
    }

    /// The shared form of a set of ports.
    pub fn ports(&mut self, ports: EndpointPorts) -> Arc<EndpointPorts> {
        match self.ports.values.get(&ports) {
            Some(known) => known.clone(),
            None => self.ports.add(Arc::new(ports)),
        }
    }

    /// The shared form of what many endpoints of a service have in common.
    pub fn attributes(&mut self, attributes: Attributes) -> Arc<Attributes> {
        match self.attributes.values.get(&attributes) {
            Some(known) => known.clone(),
            None => self.attributes.add(Arc::new(attributes)),
        }
    }

    /// The shared form of where endpoints run.
    pub fn place(&mut self, place: Place) -> Arc<Place> {
        match self.places.values.get(&place) {
            Some(known) => known.clone(),
            None => self.places.add(Arc::new(place)),
        }
    }
}

#[derive(Debug)]
struct Table<T> {
    values: HashSet<T>,
    sweep_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            sweep_at: 1024,
        }
    }
}

impl<T: Hash + Eq + Clone + Counted> Table<T> {
    fn add(&mut self, value: T) -> T {
        if self.values.len() >= self.sweep_at {
            self.values.retain(|held| held.holders() > 1);
            self.sweep_at = (self.values.len() * 2).max(1024);
        }
        self.values.insert(value.clone());
        value
    }
}

impl Counted for Str {
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_on_its_line_and_within_its_length() {
        assert_eq!(short("", 0), "");
        assert_eq!(short("abc", 3), "abc");
        assert_eq!(short("abcd", 3), "abc…");
        assert_eq!(short("a", 0), "…");
        assert_eq!(short("a\r\n\u{1b}[31m\u{85}b", 20), "a   [31m b");
        assert_eq!(short("größer", 4), "größ…", "characters, not bytes");
    }

    #[test]
    fn values_that_nobody_holds_are_swept() {
        let mut interner = Interner::default();
        let kept = interner.text("kept");
        for i in 0..10_000 {
            interner.text(&format!("gone-{i}"));
        }
        assert!(
            interner.texts.values.len() <= 1025,
            "{}",
            interner.texts.values.len()
        );
        assert!(interner.text("kept").ptr_eq(&kept));
    }
}
