//! Durations as people write them: `30s`, `250ms`, `5m`, `1h30m`.
//!
//! Every backend's configuration takes its times in this shape, so the parser lives where all of them can reach it.
//! The module itself is a serde adapter:
//!
//! ```
//! use std::time::Duration;
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     #[serde(with = "registry_core::duration")]
//!     wait: Duration,
//!     #[serde(default, with = "registry_core::duration::option")]
//!     sweep: Option<Duration>,
//! }
//!
//! let config: Config = serde_json::from_str(r#"{ "wait": "1m30s" }"#).unwrap();
//! assert_eq!(config.wait, Duration::from_secs(90));
//! assert_eq!(config.sweep, None);
//! ```

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserializer, Serializer, de};

/// Units from the largest to the smallest, with their length in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Why a text is not a duration.
///
/// The message quotes the text and says what would have been right, so that a configuration error can show it as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing between the quotes.
    #[error("a duration is missing, expected for example `30s`")]
    Empty,
    /// A number with no unit behind it: seconds and milliseconds must not be guessed.
    #[error("`{0}` has a number without a unit, expected one of d, h, m, s, ms, us as in `30s`")]
    NoUnit(String),
    /// Not a whole number followed by a known unit.
    #[error("`{0}` is not a duration, expected whole numbers with units d, h, m, s, ms, us as in `1m30s`")]
    Malformed(String),
    /// More than a 64-bit count of microseconds.
    #[error("`{0}` is too long a duration")]
    TooLong(String),
}

/// Reads a duration: one or more whole numbers, each with a unit out of `d`, `h`, `m`, `s`, `ms`, `us`.
///
/// Units may stand in any order and are added up; a sign, a fraction or a missing unit is an error.
///
/// ```
/// # use std::time::Duration;
/// use registry_core::duration::parse;
///
/// assert_eq!(parse("250ms").unwrap(), Duration::from_millis(250));
/// assert!(parse("30").unwrap_err().to_string().contains("without a unit"));
/// ```
pub fn parse(text: &str) -> Result<Duration, ParseError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(ParseError::Empty);
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err(ParseError::Malformed(text.to_owned()));
        }
        if unit.is_empty() && after.is_empty() {
            return Err(ParseError::NoUnit(text.to_owned()));
        }
        let Some((_, micros)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(ParseError::Malformed(text.to_owned()));
        };
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*micros))
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| ParseError::TooLong(text.to_owned()))?;
        rest = after;
    }
    Ok(Duration::from_micros(total))
}

/// Writes a duration the way [`parse`] reads it, largest units first; what is below a microsecond is cut.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(registry_core::duration::format(Duration::from_secs(90)), "1m30s");
/// ```
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, micros) in UNITS {
        let count = rest / micros;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
            rest %= micros;
        }
    }
    text
}

/// The serializing half of `#[serde(with = "registry_core::duration")]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// The reading half of `#[serde(with = "registry_core::duration")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(TextVisitor)
}

struct TextVisitor;

impl de::Visitor<'_> for TextVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as `30s`, `250ms` or `5m`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }
}

/// The same for `Option<Duration>`: `#[serde(default, with = "registry_core::duration::option")]`.
pub mod option {
    use std::{fmt, time::Duration};

    use serde::{Deserializer, Serializer, de};

    /// Writes the duration, or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration, or null as "none".
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_option(OptionVisitor)
    }

    struct OptionVisitor;

    impl<'de> de::Visitor<'de> for OptionVisitor {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as `30s`, or null")
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}

/// Stands for a duration in a JSON schema: `#[schemars(with = "registry_core::duration::Text")]`.
///
/// It has no value of its own; use `Option<Text>` beside [`option`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Text;

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(d|h|m|s|ms|us))+$",
            "examples": ["30s", "250ms", "5m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_durations_are_read() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            (" 1s500ms ", 1_500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_text() {
        assert_eq!(parse(""), Err(ParseError::Empty));
        assert_eq!(parse("30"), Err(ParseError::NoUnit("30".into())));
        for text in ["s", "-1s", "1.5s", "1 s", "1y", "1s5", "5M", "1sm"] {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!(matches!(parse("99999999999999d"), Err(ParseError::TooLong(_))));
    }

    #[test]
    fn formatting_is_the_inverse_of_parsing() {
        for text in ["0s", "250ms", "30s", "1m30s", "1h", "2d3h", "1s5ms7us"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn a_number_in_a_document_is_refused_and_told_what_was_expected() {
        #[derive(Debug, serde::Deserialize)]
        struct Config {
            #[serde(with = "super")]
            #[allow(dead_code)]
            wait: Duration,
        }
        let error = serde_json::from_str::<Config>(r#"{ "wait": 30 }"#).unwrap_err();
        assert!(error.to_string().contains("a duration such as `30s`"), "{error}");
    }
}
