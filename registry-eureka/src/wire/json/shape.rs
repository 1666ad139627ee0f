//! Reading values of which only their place says what they should be.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What is made of a value, depending on what it turns out to be.
pub(super) trait Shape<'de>: Sized {
    type Value;

    fn object<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error>;

    fn array<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        self.other(Found::Array)
    }

    /// It is not what the shape is for.
    fn other<E: Error>(self, found: Found<'_>) -> Result<Self::Value, E>;
}

/// What was found in the place of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'f> {
    Null,
    Bool,
    Integer(i64),
    /// A number with a fraction, or too large.
    Number,
    Text(&'f str),
    Array,
}

impl Found<'_> {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer(_) | Self::Number => "a number",
            Self::Text(_) => "a string",
            Self::Array => "an array",
        }
    }
}

/// Reads whatever comes, and lets a shape make something of it.
pub(super) struct Shaped<S>(pub(super) S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Shaped<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Shaped<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        self.0.object(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<S::Value, A::Error> {
        self.0.array(elements)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<S::Value, E> {
        self.0.other(Found::Text(text))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<S::Value, E> {
        self.0.other(Found::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<S::Value, E> {
        self.0
            .other(i64::try_from(number).map_or(Found::Number, Found::Integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<S::Value, E> {
        self.0.other(Found::Number)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<S::Value, E> {
        self.0.other(Found::Bool)
    }

    fn visit_unit<E: Error>(self) -> Result<S::Value, E> {
        self.0.other(Found::Null)
    }
}

/// A list of objects; one object alone is a list of one, nothing is an empty one.
pub(super) struct OneOrMany<E, T> {
    /// The shape of each.
    pub(super) each: E,
    /// What becomes of each, or of what was found in the place of one, unless it is too much.
    pub(super) take: T,
}

impl<'de, S, E, T> Shape<'de> for OneOrMany<E, T>
where
    S: Shape<'de>,
    E: Fn() -> S,
    T: FnMut(Result<S::Value, &'static str>) -> Result<(), String>,
{
    type Value = ();

    fn object<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        (self.take)(Ok((self.each)().object(map)?)).map_err(Error::custom)
    }

    fn array<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(read) = elements.next_element_seed(Shaped(Element((self.each)())))? {
            (self.take)(read).map_err(Error::custom)?;
        }
        Ok(())
    }

    fn other<Er: Error>(mut self, found: Found<'_>) -> Result<(), Er> {
        match found {
            // What translators from XML make of an element without children.
            Found::Null | Found::Text("") => Ok(()),
            found => (self.take)(Err(found.kind())).map_err(Error::custom),
        }
    }
}

/// An object, or what was found in its place.
struct Element<S>(S);

impl<'de, S: Shape<'de>> Shape<'de> for Element<S> {
    type Value = Result<S::Value, &'static str>;

    fn object<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.object(map).map(Ok)
    }

    fn other<E: Error>(self, found: Found<'_>) -> Result<Self::Value, E> {
        Ok(Err(found.kind()))
    }
}

/// A key as it is, borrowed where nothing in it is escaped.
pub(super) struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// The text that a string, a number or a boolean is, given as it stands in the document. Nothing for all else.
///
/// Going by the document's own text keeps numbers as they were written, and what no program can read (a number beyond
/// all bounds, half of a surrogate pair) from being more than the fault of one field.
pub(super) fn scalar(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' if json.contains('\\') => serde_json::from_str(json).ok().map(Cow::Owned),
        b'"' => json.get(1..json.len() - 1).map(Cow::Borrowed),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(json)),
    }
}
