//! A document as a tree in which every key and value knows where it stands.
//!
//! `serde` alone tells the place of the first fault and no more. The tree stays: faulty parts are taken out of it so that
//! the rest can be read as well, and a check that comes later finds the place of any field by its path.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problem::Place;

/// How deep lists and mappings may be nested: some levels more than any setting is. Each level of the tree takes its
/// part of the stack, and a stack that runs out takes the daemon with it.
const DEEPEST: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a document can hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    /// A text that came out of a variable: it may stand for a number or a truth value as well.
    Expanded(String),
    List(Vec<Node>),
    Map(Vec<Pair>),
    /// An element that was faulty and is left out. It keeps its place, so that the others keep their numbers.
    Gone,
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

/// One step on the way from the root to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A path as people write it: `registries[1].consul.address`.
pub(crate) fn display_path(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

// === impl Node ===

impl Node {
    /// Reads a document.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: DEEPEST },
        };
        serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options).map(Self::from)
    }

    /// Where the field of that path stands, or the innermost part of it that exists. Indices count what is left of a
    /// list; the path that comes back counts as the document does.
    pub(crate) fn locate(&self, path: &[Step]) -> (Vec<Step>, Place) {
        let mut node = self;
        let mut place = self.place;
        let mut true_path = Vec::with_capacity(path.len());
        let mut steps = path.iter();
        for step in steps.by_ref() {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(pairs)) => pairs
                    .iter()
                    .find(|pair| pair.key == *key)
                    .map(|pair| (step.clone(), pair.place, &pair.value)),
                (Step::Index(index), Value::List(elements)) => elements
                    .iter()
                    .enumerate()
                    .filter(|(_, element)| element.value != Value::Gone)
                    .nth(*index)
                    .map(|(index, element)| (Step::Index(index), element.place, element)),
                _ => None,
            };
            let Some((step, at, inner)) = next else {
                true_path.push(step.clone());
                break;
            };
            true_path.push(step);
            // A scalar is shown where its value stands, a block where its key does.
            place = match inner.value {
                Value::List(_) | Value::Map(_) => at,
                _ => inner.place,
            };
            node = inner;
        }
        true_path.extend(steps.cloned());
        (true_path, place)
    }

    /// Takes the field of that path out. False where there is none, or it is the root.
    pub(crate) fn take_out(&mut self, path: &[Step]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let mut node = self;
        for step in parents {
            let next = match (step, &mut node.value) {
                (Step::Key(key), Value::Map(pairs)) => pairs
                    .iter_mut()
                    .find(|pair| pair.key == *key)
                    .map(|pair| &mut pair.value),
                (Step::Index(index), Value::List(elements)) => elements.get_mut(*index),
                _ => None,
            };
            let Some(next) = next else { return false };
            node = next;
        }
        match (last, &mut node.value) {
            (Step::Key(key), Value::Map(pairs)) => {
                let before = pairs.len();
                pairs.retain(|pair| pair.key != *key);
                pairs.len() < before
            }
            (Step::Index(index), Value::List(elements)) => match elements.get_mut(*index) {
                Some(element) if element.value != Value::Gone => {
                    element.value = Value::Gone;
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self {
            place: (&spanned.referenced).into(),
            value: spanned.value,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element::<Spanned<Value>>()? {
            elements.push(element.into());
        }
        Ok(Value::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            pairs.push(Pair {
                place: (&key.referenced).into(),
                key: key.value,
                value: value.into(),
            });
        }
        Ok(Value::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "a:\n  - x: 1\n  - y: [true, \"t\"]\n  - {z: null}\nb: -2.5\n";

    fn path(steps: &[&dyn Fn() -> Step]) -> Vec<Step> {
        steps.iter().map(|step| step()).collect()
    }

    #[test]
    fn every_field_is_found_where_it_stands() {
        let tree = Node::parse(DOCUMENT).unwrap();
        let at = |path: &[Step]| {
            let (path, place) = tree.locate(path);
            (display_path(&path), place.line, place.column)
        };
        assert_eq!(at(&["b".into()]), ("b".into(), 5, 4));
        let deep = path(&[&|| "a".into(), &|| 1.into(), &|| "y".into(), &|| 1.into()]);
        assert_eq!(at(&deep), ("a[1].y[1]".into(), 3, 15));
        let beyond = path(&[&|| "a".into(), &|| 0.into(), &|| "q".into(), &|| "r".into()]);
        assert_eq!(
            at(&beyond),
            ("a[0].q.r".into(), 2, 5),
            "the innermost part that exists"
        );
    }

    #[test]
    fn what_is_taken_out_leaves_the_numbers_of_the_rest() {
        let mut tree = Node::parse(DOCUMENT).unwrap();
        assert!(tree.take_out(&["a".into(), 0.into()]));
        assert!(!tree.take_out(&["a".into(), 0.into()]));
        let (found, place) = tree.locate(&["a".into(), 0.into()]);
        assert_eq!((display_path(&found), place.line), ("a[1]".into(), 3));
        assert!(tree.take_out(&["b".into()]));
        assert!(!tree.take_out(&["b".into()]));
        assert!(!tree.take_out(&[]));
    }
}
