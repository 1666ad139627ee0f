//! How a registry survives outages and implausible answers, and where its state is kept: settings of which some can be
//! switched off, which is written `off`.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use registry_core::{Guard, Outage, duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The word for a setting that is switched off.
const OFF: &str = "off";

/// The word for the directory that fits the machine.
const AUTO: &str = "auto";

/// Where the last known state of all registries is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StateDir {
    /// The first that can be used of: what systemd names, `/var/lib/registryd`, the user's state directory.
    #[default]
    Auto,
    /// That directory and no other.
    At(PathBuf),
    /// Nowhere: a start while registries are down is a start without them.
    Off,
}

/// When a loss of endpoints is too large to be believed at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum GuardSwitch {
    /// As is usual for the kind of registry.
    #[default]
    Auto,
    /// Any loss is believed.
    Off,
    /// As is said.
    Set(GuardConfig),
}

/// When a loss of endpoints is too large to be believed at once, and how long it is held back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// The share of its endpoints that a registry may lose within the window: a loss of more is suspicious.
    #[serde(deserialize_with = "share")]
    #[schemars(range(min = 0, max = 1))]
    pub share: f64,
    /// Losses of fewer endpoints than this are believed, unless they take all there are.
    pub endpoints: usize,
    /// How far back losses are added up.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub window: Duration,
    /// How long a suspicious loss is held back before the registry is asked again.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub hold: Duration,
    /// Whether the same is asked of each service as well.
    pub per_service: bool,
}

/// What becomes of endpoints of which nothing was heard for longer than the freshness bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutageConfig(pub Outage);

/// How often a registry is compared with what is held of it; `None` never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompareSwitch(pub Option<Duration>);

// === impl StateDir ===

impl Serialize for StateDir {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(AUTO),
            Self::At(path) => path.serialize(serializer),
            Self::Off => serializer.serialize_str(OFF),
        }
    }
}

impl<'de> Deserialize<'de> for StateDir {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl Visitor<'_> for Words {
            type Value = StateDir;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a directory, `auto` or `off`")
            }

            // YAML takes the bare word for a truth value.
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<StateDir, E> {
                if on {
                    return Err(E::invalid_type(Unexpected::Bool(on), &self));
                }
                Ok(StateDir::Off)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StateDir, E> {
                match text {
                    AUTO => Ok(StateDir::Auto),
                    OFF => Ok(StateDir::Off),
                    "" => Err(E::invalid_value(Unexpected::Str(text), &self)),
                    path => Ok(StateDir::At(path.into())),
                }
            }
        }

        deserializer.deserialize_any(Words)
    }
}

impl JsonSchema for StateDir {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StateDir".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "const": false }], "examples": [AUTO, OFF, "/var/lib/registryd"] })
    }
}

// === impl GuardSwitch ===

impl Serialize for GuardSwitch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(AUTO),
            Self::Off => serializer.serialize_str(OFF),
            Self::Set(guard) => guard.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GuardSwitch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Settings;

        impl<'de> Visitor<'de> for Settings {
            type Value = GuardSwitch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping such as `{ share: 0.5, hold: 60s }`, `auto` or `off`")
            }

            // YAML takes the bare word for a truth value.
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<GuardSwitch, E> {
                if on {
                    return Err(E::invalid_type(Unexpected::Bool(on), &self));
                }
                Ok(GuardSwitch::Off)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GuardSwitch, E> {
                match text {
                    AUTO => Ok(GuardSwitch::Auto),
                    OFF => Ok(GuardSwitch::Off),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GuardSwitch, A::Error> {
                GuardConfig::deserialize(MapAccessDeserializer::new(map)).map(GuardSwitch::Set)
            }
        }

        deserializer.deserialize_any(Settings)
    }
}

impl JsonSchema for GuardSwitch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Guard".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<GuardConfig>();
        json_schema!({ "anyOf": [{ "enum": [AUTO, OFF, false] }, settings] })
    }
}

// === impl GuardConfig ===

impl Default for GuardConfig {
    fn default() -> Self {
        let guard = Guard::default();
        Self {
            share: guard.share,
            endpoints: guard.endpoints,
            window: guard.window,
            hold: guard.hold,
            per_service: guard.per_service,
        }
    }
}

impl GuardConfig {
    /// As the core takes it.
    pub fn guard(&self) -> Guard {
        Guard {
            share: self.share,
            endpoints: self.endpoints,
            window: self.window,
            hold: self.hold,
            per_service: self.per_service,
        }
    }
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Share;

    impl Visitor<'_> for Share {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number from 0 to 1 such as 0.5")
        }

        fn visit_f64<E: de::Error>(self, share: f64) -> Result<f64, E> {
            if (0.0..=1.0).contains(&share) {
                Ok(share)
            } else {
                Err(E::invalid_value(Unexpected::Float(share), &self))
            }
        }

        fn visit_u64<E: de::Error>(self, share: u64) -> Result<f64, E> {
            match share {
                0 => Ok(0.0),
                1 => Ok(1.0),
                more => Err(E::invalid_value(Unexpected::Unsigned(more), &self)),
            }
        }
    }

    deserializer.deserialize_f64(Share)
}

// === impl OutageConfig ===

impl Serialize for OutageConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Outage::KeepFor(keep_for) => KeepFor { keep_for }.serialize(serializer),
            policy => serializer.serialize_str(policy.as_str()),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeepFor {
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    keep_for: Duration,
}

impl<'de> Deserialize<'de> for OutageConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Policy;

        impl<'de> Visitor<'de> for Policy {
            type Value = OutageConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`keep`, `degrade`, `drop` or `{ keep_for: 10m }`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<OutageConfig, E> {
                match word {
                    "keep" => Ok(OutageConfig(Outage::Keep)),
                    "degrade" => Ok(OutageConfig(Outage::Degrade)),
                    "drop" => Ok(OutageConfig(Outage::Drop)),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OutageConfig, A::Error> {
                let KeepFor { keep_for } = KeepFor::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OutageConfig(Outage::KeepFor(keep_for)))
            }
        }

        deserializer.deserialize_any(Policy)
    }
}

impl JsonSchema for OutageConfig {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Outage".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keep_for = KeepFor::json_schema(generator);
        json_schema!({ "anyOf": [{ "enum": ["keep", "degrade", "drop"] }, keep_for] })
    }
}

// === impl CompareSwitch ===

impl Default for CompareSwitch {
    fn default() -> Self {
        Self(registry_core::RegistryOptions::default().compare)
    }
}

impl Serialize for CompareSwitch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(interval) => duration::serialize(interval, serializer),
            None => serializer.serialize_str(OFF),
        }
    }
}

impl<'de> Deserialize<'de> for CompareSwitch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Interval;

        impl Visitor<'_> for Interval {
            type Value = CompareSwitch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `10m`, or `off`")
            }

            // YAML takes the bare word for a truth value.
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<CompareSwitch, E> {
                if on {
                    return Err(E::invalid_type(Unexpected::Bool(on), &self));
                }
                Ok(CompareSwitch(None))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CompareSwitch, E> {
                if text == OFF {
                    return Ok(CompareSwitch(None));
                }
                duration::parse(text)
                    .map(|interval| CompareSwitch(Some(interval)))
                    .map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Interval)
    }
}

impl JsonSchema for CompareSwitch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Compare".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let interval = duration::Text::json_schema(generator);
        json_schema!({ "anyOf": [{ "enum": [OFF, false] }, interval] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: for<'de> Deserialize<'de> + Serialize>(yaml: &str) -> T {
        let read: T = serde_saphyr::from_str(yaml).unwrap();
        // What is shown can be read again.
        let shown = serde_saphyr::to_string(&read).unwrap();
        serde_saphyr::from_str(&shown).unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    #[test]
    fn each_of_them_can_be_switched_off_or_set() {
        assert_eq!(read::<StateDir>("off"), StateDir::Off);
        assert_eq!(read::<StateDir>("auto"), StateDir::Auto);
        assert_eq!(read::<StateDir>("/srv/state"), StateDir::At("/srv/state".into()));
        assert_eq!(read::<GuardSwitch>("off"), GuardSwitch::Off);
        assert_eq!(read::<GuardSwitch>("auto"), GuardSwitch::Auto);
        let GuardSwitch::Set(guard) = read("{ share: 1, hold: 1s, per_service: true }") else {
            panic!("it says how");
        };
        assert!(guard.per_service && guard.hold == Duration::from_secs(1));
        assert!((guard.share - 1.0).abs() < f64::EPSILON && guard.endpoints == 10);
        assert_eq!(read::<CompareSwitch>("off"), CompareSwitch(None));
        assert_eq!(
            read::<CompareSwitch>("1h"),
            CompareSwitch(Some(Duration::from_secs(3600)))
        );
    }

    #[test]
    fn all_policies_of_outages_are_read() {
        for (yaml, policy) in [
            ("keep", Outage::Keep),
            ("degrade", Outage::Degrade),
            ("drop", Outage::Drop),
            ("{ keep_for: 10m }", Outage::KeepFor(Duration::from_secs(600))),
        ] {
            assert_eq!(read::<OutageConfig>(yaml), OutageConfig(policy), "{yaml}");
        }
        for wrong in [
            "keep_for",
            "{ keep_for: 10 }",
            "{ keep: 10m }",
            "{}",
            "[keep]",
            "yes",
        ] {
            assert!(serde_saphyr::from_str::<OutageConfig>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_core() {
        assert_eq!(GuardConfig::default().guard(), Guard::default());
        let options = registry_core::RegistryOptions::default();
        assert_eq!(OutageConfig::default().0, options.outage);
        assert_eq!(CompareSwitch::default().0, options.compare);
    }
}
