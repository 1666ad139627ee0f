//! Values that are written as texts: checked where they stand, shown as they were written.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Deref;

use registry_core::{Cidr, HostnameTemplate, Pattern, RegistryId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type that a configuration writes as a text.
pub trait FromText: Sized {
    /// Its name in the schema.
    const NAME: &'static str;
    /// What should stand there, with an example.
    const EXPECTED: &'static str;

    /// Reads it; the error says more than [`EXPECTED`](Self::EXPECTED), if there is more to say.
    fn from_text(text: &str) -> Result<Self, Option<String>>;
}

/// A value together with the text it was read from.
#[derive(Debug, Clone)]
pub struct Text<T> {
    text: String,
    value: T,
}

// === impl Text ===

impl<T: FromText> Text<T> {
    /// Reads one from a text.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match T::from_text(text) {
            Ok(value) => Ok(Self {
                text: text.to_owned(),
                value,
            }),
            Err(detail) => Err(expected::<T>(detail)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn expected<T: FromText>(detail: Option<String>) -> String {
    match detail {
        Some(detail) => format!("{} ({detail})", T::EXPECTED),
        None => T::EXPECTED.to_owned(),
    }
}

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Text<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text)
            .map_err(|expected| D::Error::invalid_value(Unexpected::Str(&text), &expected.as_str()))
    }
}

impl<T: FromText> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": T::EXPECTED })
    }
}

impl FromText for RegistryId {
    const NAME: &'static str = "RegistryName";
    const EXPECTED: &'static str =
        "a name of at most 63 lower-case letters, digits, \".\", \"/\" and \"-\", such as consul-dc1";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(|_| None)
    }
}

impl FromText for HostnameTemplate {
    const NAME: &'static str = "HostnameTemplate";
    const EXPECTED: &'static str = "a hostname template such as \"{name}.mesh.internal\"";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        text.parse()
            .map_err(|error: registry_core::TemplateError| Some(error.problem))
    }
}

impl FromText for Cidr {
    const NAME: &'static str = "Cidr";
    const EXPECTED: &'static str = "an IP address and a prefix length such as 10.0.0.0/8";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(|_| None)
    }
}

impl FromText for SocketAddr {
    const NAME: &'static str = "SocketAddress";
    const EXPECTED: &'static str = "an IP address and a port such as 127.0.0.1:7380";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(|_| None)
    }
}

impl FromText for Pattern {
    const NAME: &'static str = "Pattern";
    const EXPECTED: &'static str = "a text in which * stands for any run of characters, such as \"web-*\"";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        if text.is_empty() {
            return Err(None);
        }
        Ok(Self::new(text))
    }
}

/// A pattern over hostnames, which have fewer characters than other names.
#[derive(Debug, Clone)]
pub struct HostPattern(pub Pattern);

impl FromText for HostPattern {
    const NAME: &'static str = "HostPattern";
    const EXPECTED: &'static str =
        "a hostname in lower case in which * stands for any run of characters, such as \"*.mesh.internal\"";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        let fits =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_' | b'*');
        if text.is_empty() || !text.bytes().all(fits) {
            return Err(None);
        }
        Ok(Self(Pattern::new(text)))
    }
}

/// What is logged: a level, or levels by module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(pub String);

impl FromText for LogLevel {
    const NAME: &'static str = "LogLevel";
    const EXPECTED: &'static str =
        "off, error, warn, info, debug or trace, also by module as in \"info,registry_consul=debug\"";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        let level = |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
        let directive = |part: &str| match part.trim().split_once('=') {
            Some((module, word)) => !module.is_empty() && level(word),
            None => level(part.trim()),
        };
        if text.split(',').all(directive) {
            Ok(Self(text.to_owned()))
        } else {
            Err(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_patterns_are_checked() {
        for (text, fine) in [
            ("info", true),
            ("warn,registryd=trace", true),
            ("verbose", false),
            ("info,registryd=loud", false),
            ("", false),
        ] {
            assert_eq!(Text::<LogLevel>::parse(text).is_ok(), fine, "{text}");
        }
        for (text, fine) in [
            ("*.mesh.internal", true),
            ("*", true),
            ("A.b", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(Text::<HostPattern>::parse(text).is_ok(), fine, "{text}");
        }
    }
}
