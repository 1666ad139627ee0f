//! One line of a watch: what happened, to what, and the resource version after it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use registry_core::short;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// What a line says. `version` is the resource version that a later watch may start from, where the object tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// `ADDED` or `MODIFIED`: which of them is of no use, since a watch that starts anew may say either.
    Changed { object: Bytes, version: Option<String> },
    /// `DELETED`.
    Removed { object: Bytes, version: Option<String> },
    /// `BOOKMARK`. Its object has nothing but a version, and zero values that would pass for an object of the kind.
    Bookmark {
        version: Option<String>,
        ends_listing: bool,
    },
    /// `ERROR`, with a `Status`.
    Error(Bytes),
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// Reads a line.
///
/// # Errors
///
/// What is wrong with it, and which object it speaks of as far as that can be told. Nothing else of the line is shown:
/// it may be a Secret's.
pub(super) fn parse(line: &Bytes) -> Result<Happened, String> {
    let wire: Wire<'_> = crate::wire::read(line).map_err(|error| {
        format!(
            "{}: found {}, expected a watch event",
            called(line),
            fault(&error)
        )
    })?;
    let text = wire.object.get();
    if !text.starts_with('{') {
        return Err(format!(
            "{} event: found {} for an object",
            short(&wire.kind, 20),
            named_value(text)
        ));
    }
    let object = line.slice_ref(text.as_bytes());
    match &*wire.kind {
        "ADDED" | "MODIFIED" => Ok(Happened::Changed {
            version: version(text),
            object,
        }),
        "DELETED" => Ok(Happened::Removed {
            version: version(text),
            object,
        }),
        "BOOKMARK" => {
            let mark: Bookmark<'_> =
                serde_json::from_str(text).map_err(|error| format!("a bookmark with {}", fault(&error)))?;
            let metadata = mark.metadata;
            Ok(Happened::Bookmark {
                version: Some(metadata.resource_version.into_owned()).filter(|version| !version.is_empty()),
                ends_listing: metadata
                    .annotations
                    .is_some_and(|annotations| annotations.initial_events_end == "true"),
            })
        }
        "ERROR" => Ok(Happened::Error(object)),
        other => Err(format!(
            "{}: found an event of type {:?}, expected ADDED, MODIFIED, DELETED, BOOKMARK or ERROR",
            called(line),
            short(other, 40)
        )),
    }
}

#[derive(Deserialize)]
struct Bookmark<'a> {
    #[serde(borrow)]
    metadata: BookmarkMetadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata<'a> {
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(borrow, default)]
    annotations: Option<BookmarkAnnotations<'a>>,
}

// The annotation is on the bookmark that ends the first part of a streaming list.
#[derive(Deserialize)]
struct BookmarkAnnotations<'a> {
    #[serde(borrow, default, rename = "k8s.io/initial-events-end")]
    initial_events_end: Cow<'a, str>,
}

/// `metadata.resourceVersion` of an object that is known to be JSON. It stands near the beginning, before labels,
/// annotations and the long managed fields: what follows it is not looked at.
fn version(object: &str) -> Option<String> {
    let mut found = None;
    let seed = Within {
        path: &["metadata", "resourceVersion"],
        found: &mut found,
    };
    // Stopping half-way is an error to the deserializer, and none to us.
    let _ = seed.deserialize(&mut serde_json::Deserializer::from_str(object));
    found.filter(|version| !version.is_empty())
}

/// Follows a path of keys to a text.
struct Within<'a> {
    path: &'a [&'a str],
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            *self.found = Some(Cow::<'de, str>::deserialize(deserializer)?.into_owned());
            return Ok(());
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, path)) = self.path.split_first() else {
            return Ok(());
        };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == *wanted {
                return map.next_value_seed(Within {
                    path,
                    found: self.found,
                });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// What is wrong with a text, without showing any of it, as the message of the error might.
pub(super) fn fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Eof => "JSON that ends too early",
        Category::Data => "a value of another type",
        Category::Syntax | Category::Io => "no JSON",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// What a line seems to speak of, without any of its values but names: `demo/web`, or `an object`.
pub(super) fn called(start: &[u8]) -> String {
    let start = &start[..start.len().min(512)];
    match (field(start, "\"name\":"), field(start, "\"namespace\":")) {
        (Some(name), Some(namespace)) => format!("{namespace}/{name}"),
        (Some(name), None) => name.to_owned(),
        _ => "an object".to_owned(),
    }
}

/// The name that follows a key. Only what can be a name is taken for one.
fn field<'a>(text: &'a [u8], key: &str) -> Option<&'a str> {
    let at = text
        .windows(key.len())
        .position(|window| window == key.as_bytes())?;
    let value = text[at + key.len()..].trim_ascii_start().strip_prefix(b"\"")?;
    let end = value.iter().position(|byte| *byte == b'"')?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    (end > 0 && value[..end].iter().all(is_name))
        .then(|| std::str::from_utf8(&value[..end]).ok())
        .flatten()
}

/// The type of a JSON value that is no object.
fn named_value(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}
