//! From a tree to a struct, by way of `serde`, with faults that know their path and place.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use super::problem::Place;
use super::tree::{Node, Pair, Step, Value};

/// One fault, on its way up from where it happened.
#[derive(Debug)]
pub(crate) struct Fault {
    /// From the innermost step to the outermost.
    steps: Vec<Step>,
    place: Option<Place>,
    pub(crate) cause: Cause,
}

#[derive(Debug)]
pub(crate) enum Cause {
    UnknownField(&'static [&'static str]),
    UnknownVariant(String, &'static [&'static str]),
    Missing(&'static str),
    Wrong {
        found: String,
        expected: String,
    },
    /// A type's own words. What was found is filled in on the way, where it is a scalar.
    Message {
        message: String,
        found: Option<String>,
    },
}

// === impl Fault ===

impl Fault {
    fn new(cause: Cause) -> Self {
        Self {
            steps: Vec::new(),
            place: None,
            cause,
        }
    }

    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// The fault as seen from one level further out.
    fn within(mut self, step: Step, node: &Node, place: Place) -> Self {
        if self.place.is_none()
            && let Cause::Message { found, .. } = &mut self.cause
        {
            *found = describe(node);
        }
        self.place.get_or_insert(place);
        self.steps.push(step);
        self
    }

    pub(crate) fn path(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    pub(crate) fn place(&self) -> Place {
        self.place.unwrap_or(Place { line: 1, column: 1 })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut message = message.to_string();
        if message == "invalid socket address syntax" {
            message = format!("no address, expected {SOCKET_ADDRESS}");
        }
        Self::new(Cause::Message { message, found: None })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Cause::Wrong {
            found: unexpected(found),
            expected: in_words(&expected.to_string()),
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownField(expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownVariant(variant.to_owned(), expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Cause::Missing(field))
    }
}

/// What stands in a document, in words; `None` for lists and mappings.
fn describe(node: &Node) -> Option<String> {
    Some(match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Signed(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) | Value::Expanded(text) => format!("{text:?}"),
        Value::List(_) | Value::Map(_) | Value::Gone => return None,
    })
}

fn unexpected(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// What types of the standard library call `socket address`.
const SOCKET_ADDRESS: &str = "an IP address and a port such as 127.0.0.1:7381";

/// What Rust types expect, for people who never see them.
fn in_words(expected: &str) -> String {
    let upto = |max: u64| format!("a whole number from 0 to {max}");
    match expected {
        "u8" => upto(u8::MAX.into()),
        "u16" => upto(u16::MAX.into()),
        "u32" => upto(u32::MAX.into()),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "a nonzero u16" => "a whole number from 1 to 65535".to_owned(),
        "a nonzero u32" => format!("a whole number from 1 to {}", u32::MAX),
        "a nonzero u64" | "a nonzero usize" => "a whole number from 1".to_owned(),
        "socket address" => SOCKET_ADDRESS.to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a text (in quotes where it looks like a number)".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

// === impl Deserializer ===

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Null | Value::Gone => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) | Value::Expanded(text) => visitor.visit_borrowed_str(text),
            Value::List(elements) => visitor.visit_seq(Elements(elements.iter().enumerate())),
            Value::Map(pairs) => visitor.visit_map(Pairs {
                rest: pairs.iter(),
                current: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null | Value::Gone => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Expanded(text) => match text.parse() {
                Ok(value) => visitor.visit_bool(value),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Expanded(text) => match text.parse() {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Expanded(text) => match text.parse() {
                Ok(value) => visitor.visit_i64(value),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Expanded(text) => match text.parse() {
                Ok(value) => visitor.visit_f64(value),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Text(text) | Value::Expanded(text) => {
                let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(text)
            }
            Value::Map(pairs) => match pairs.as_slice() {
                [pair] => visitor.visit_enum(Variant(pair)),
                _ => Err(Fault::new(Cause::Wrong {
                    found: format!("a mapping of {} keys", pairs.len()),
                    expected: format!("exactly one of {}", variants.join(", ")),
                })),
            },
            _ => Err(Fault::new(Cause::Wrong {
                found: describe(self).unwrap_or_else(|| "a list".to_owned()),
                expected: format!("one of {}", variants.join(", ")),
            })),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

struct Elements<'de>(std::iter::Enumerate<std::slice::Iter<'de, Node>>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.0.by_ref().find(|(_, node)| node.value != Value::Gone) else {
            return Ok(None);
        };
        seed.deserialize(node)
            .map(Some)
            .map_err(|fault| fault.within(Step::Index(index), node, node.place))
    }
}

struct Pairs<'de> {
    rest: std::slice::Iter<'de, Pair>,
    current: Option<&'de Pair>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        let Some(pair) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = pair.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| {
            let mut fault = fault.at(pair.place);
            if let Cause::Message { found, .. } = &mut fault.cause {
                *found = Some(format!("{:?}", pair.key));
            }
            fault.within(Step::Key(pair.key.clone()), &pair.value, pair.place)
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(pair) = self.current else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(&pair.value)
            .map_err(|fault| fault.within(Step::Key(pair.key.clone()), &pair.value, value_place(pair)))
    }
}

/// A scalar is shown where it stands, a block where its key does.
fn value_place(pair: &Pair) -> Place {
    match pair.value.value {
        Value::List(_) | Value::Map(_) | Value::Null => pair.place,
        _ => pair.value.place,
    }
}

struct Variant<'de>(&'de Pair);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let key: StrDeserializer<'_, Fault> = self.0.key.as_str().into_deserializer();
        let variant = seed.deserialize(key).map_err(|fault| fault.at(self.0.place))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(Fault::new(Cause::Wrong {
            found: "a mapping".to_owned(),
            expected: format!("the word {}", self.0.key),
        }))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        let Pair { key, value, .. } = self.0;
        seed.deserialize(value)
            .map_err(|fault| fault.within(Step::Key(key.clone()), value, value_place(self.0)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.0.value.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Pair { key, value, .. } = self.0;
        value
            .deserialize_any(visitor)
            .map_err(|fault| fault.within(Step::Key(key.clone()), value, value_place(self.0)))
    }
}
