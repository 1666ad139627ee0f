//! Reading encoded messages by their definitions.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde_json::{Map, Number, Value};

use super::message::{Field, Message, Shape};
use super::table;

/// Deeper than any message is.
const DEEPEST: usize = 64;

/// What stands on the wire for one field.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// A message as JSON, as far as its bytes are one.
pub(super) fn message(message: &Message, bytes: &[u8]) -> Value {
    Value::Object(fields(message, bytes, 0))
}

fn fields(message: &Message, bytes: &[u8], depth: usize) -> Map<String, Value> {
    let mut out = Map::new();
    for (number, wire) in Wires(bytes) {
        let Some(field) = message.fields.iter().find(|field| field.number == number) else {
            push(&mut out, &format!("#{number}"), raw(wire));
            continue;
        };
        match (&field.shape, wire) {
            (Shape::Map(shape), Wire::Bytes(entry)) => {
                let (key, value) = pair(shape, entry, depth + 1);
                let map = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            _ if field.repeated => list(&mut out, field, wire, depth + 1),
            // What comes later counts.
            _ => {
                out.insert(field.name.to_owned(), value(&field.shape, wire, depth + 1));
            }
        }
    }
    out
}

fn list(out: &mut Map<String, Value>, field: &Field, wire: Wire<'_>, depth: usize) {
    let list = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(list) = list else { return };
    match (&field.shape, wire) {
        // Numbers are packed.
        (Shape::Unsigned | Shape::Signed | Shape::Bool | Shape::Enum(_), Wire::Bytes(mut packed)) => {
            while let Ok(number) = decode_varint(&mut packed) {
                list.push(value(&field.shape, Wire::Number(number), depth));
            }
        }
        _ => list.push(value(&field.shape, wire, depth)),
    }
}

/// Adds what has no name, of which there may be several.
fn push(out: &mut Map<String, Value>, key: &str, value: Value) {
    match out.get_mut(key) {
        None => {
            out.insert(key.to_owned(), value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

fn raw(wire: Wire<'_>) -> Value {
    match wire {
        Wire::Number(number) => number.into(),
        Wire::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains(char::is_control) => text.into(),
            _ => bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into(),
        },
    }
}

#[allow(
    clippy::cast_possible_wrap,
    reason = "a negative number is written as a large one"
)]
fn value(shape: &Shape, wire: Wire<'_>, depth: usize) -> Value {
    if depth > DEEPEST {
        return raw(wire);
    }
    match (shape, wire) {
        (Shape::Bool, Wire::Number(number)) => (number != 0).into(),
        (Shape::Unsigned, Wire::Number(number)) => number.into(),
        (Shape::Signed, Wire::Number(number)) => (number as i64).into(),
        (Shape::Double, Wire::Number(number)) => double(number),
        (Shape::Enum(names), Wire::Number(number)) => {
            let number = number as i64;
            let name = names.iter().find(|(known, _)| *known == number);
            name.map_or(Value::from(number), |(_, name)| (*name).into())
        }
        (Shape::Text, Wire::Bytes(bytes)) => String::from_utf8_lossy(bytes).into(),
        (Shape::Nested(message), Wire::Bytes(bytes)) => Value::Object(fields(message, bytes, depth)),
        (Shape::Wrapper(shape), Wire::Bytes(bytes)) => match last(bytes, 1) {
            Some(wire) => value(shape, wire, depth + 1),
            None => absent(shape),
        },
        (Shape::Duration, Wire::Bytes(bytes)) => duration(bytes).into(),
        (Shape::Any, Wire::Bytes(bytes)) => any(bytes, depth),
        (Shape::Struct, Wire::Bytes(bytes)) => structure(bytes, depth),
        (Shape::Dynamic, Wire::Bytes(bytes)) => dynamic(bytes, depth),
        _ => raw(wire),
    }
}

/// What a value is that is not written.
fn absent(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => false.into(),
        Shape::Text => "".into(),
        _ => 0.into(),
    }
}

fn double(bits: u64) -> Value {
    Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
}

/// Key and value of a map's entry.
fn pair(shape: &Shape, entry: &[u8], depth: usize) -> (String, Value) {
    let key = match last(entry, 1) {
        Some(Wire::Bytes(key)) => String::from_utf8_lossy(key).into_owned(),
        _ => String::new(),
    };
    let value = last(entry, 2).map_or(Value::Null, |wire| value(shape, wire, depth + 1));
    (key, value)
}

/// `1s`, `0.250s`: as many decimals as there are, by threes.
#[allow(
    clippy::cast_possible_wrap,
    reason = "a negative number is written as a large one"
)]
fn duration(bytes: &[u8]) -> String {
    let part = |number| match last(bytes, number) {
        Some(Wire::Number(part)) => part as i64,
        _ => 0,
    };
    let (seconds, nanos) = (part(1), part(2).unsigned_abs());
    match nanos {
        0 => format!("{seconds}s"),
        _ if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!("{seconds}.{:06}s", nanos / 1_000),
        _ => format!("{seconds}.{nanos:09}s"),
    }
}

fn any(bytes: &[u8], depth: usize) -> Value {
    let text = |number| match last(bytes, number) {
        Some(Wire::Bytes(bytes)) => bytes,
        _ => &[],
    };
    let url = String::from_utf8_lossy(text(1)).into_owned();
    let mut out = match table::message(&url) {
        Some(message) => fields(message, text(2), depth + 1),
        None => {
            let unknown = Message {
                name: "",
                fields: &[],
            };
            fields(&unknown, text(2), depth + 1)
        }
    };
    out.insert("@type".to_owned(), url.into());
    Value::Object(out)
}

fn structure(bytes: &[u8], depth: usize) -> Value {
    let entries = Wires(bytes).filter_map(|(number, wire)| match (number, wire) {
        (1, Wire::Bytes(entry)) => Some(pair(&Shape::Dynamic, entry, depth + 1)),
        _ => None,
    });
    Value::Object(entries.collect())
}

fn dynamic(bytes: &[u8], depth: usize) -> Value {
    match Wires(bytes).last() {
        Some((2, Wire::Number(bits))) => double(bits),
        Some((3, wire)) => value(&Shape::Text, wire, depth + 1),
        Some((4, wire)) => value(&Shape::Bool, wire, depth + 1),
        Some((5, wire)) => value(&Shape::Struct, wire, depth + 1),
        Some((6, Wire::Bytes(list))) => {
            let items = Wires(list).filter(|(number, _)| *number == 1);
            items
                .map(|(_, wire)| value(&Shape::Dynamic, wire, depth + 1))
                .collect()
        }
        _ => Value::Null,
    }
}

/// The last value of a field, which is the one that counts.
fn last(bytes: &[u8], number: u32) -> Option<Wire<'_>> {
    Wires(bytes)
        .filter(|(found, _)| *found == number)
        .last()
        .map(|(_, wire)| wire)
}

/// All fields of a message, until its end or until its bytes are none.
struct Wires<'a>(&'a [u8]);

impl<'a> Iterator for Wires<'a> {
    type Item = (u32, Wire<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = &mut self.0;
        if bytes.is_empty() {
            return None;
        }
        let (number, wire) = decode_key(bytes).ok()?;
        let wire = match wire {
            WireType::Varint => Wire::Number(decode_varint(bytes).ok()?),
            WireType::SixtyFourBit => Wire::Number(bytes.try_get_u64_le().ok()?),
            WireType::ThirtyTwoBit => Wire::Number(bytes.try_get_u32_le().ok()?.into()),
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                Wire::Bytes(value)
            }
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        Some((number, wire))
    }
}
