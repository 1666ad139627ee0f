//! One type for each level of a document. An error passes all of them on its way out, and each adds where it was.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::RawGroup;
use crate::http_sd::target::Target;

/// What takes a group, or says what is wrong with it.
pub(crate) type Sink<'s, 'de> = dyn FnMut(RawGroup<'de>) -> Result<(), String> + 's;

/// The path to what is wrong, in the words of `jq`: `[3].targets[5]`.
type Path = RefCell<String>;

fn under(path: &Path, step: impl fmt::Display) {
    let below = path.take();
    path.replace(format!("{step}{below}"));
}

/// The whole document.
pub(super) struct Groups<'p, 's, 'de> {
    pub(super) path: &'p Path,
    pub(super) sink: &'p mut Sink<'s, 'de>,
    /// Most targets of the document, and most groups.
    pub(super) most: usize,
}

impl<'de> DeserializeSeed<'de> for Groups<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Not asked for as a list: to YAML a document of nothing is an empty one then.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Groups<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a list of groups, such as [{\"targets\": [\"10.0.0.7:9100\"], \"labels\": {\"job\": \"node\"}}]",
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (mut at, mut left) = (0, self.most);
        loop {
            let group = Group {
                path: self.path,
                left: &mut left,
            };
            let read = seq.next_element_seed(group).and_then(|group| match group {
                Some(_) if at == self.most => {
                    Err(A::Error::custom("found one group more than a document may have"))
                }
                Some(group) => (self.sink)(group).map(Some).map_err(A::Error::custom),
                None => Ok(None),
            });
            match read.inspect_err(|_| under(self.path, format_args!("[{at}]")))? {
                Some(()) => at += 1,
                None => return Ok(()),
            }
        }
    }
}

/// One group.
struct Group<'p> {
    path: &'p Path,
    /// How many targets the document may still have.
    left: &'p mut usize,
}

impl<'de> DeserializeSeed<'de> for Group<'_> {
    type Value = RawGroup<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawGroup<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Group<'_> {
    type Value = RawGroup<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a group, such as {\"targets\": [\"10.0.0.7:9100\"], \"labels\": {\"job\": \"node\"}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawGroup<'de>, A::Error> {
        let (mut targets, mut labels) = (None, None);
        while let Some(Text(key)) = map.next_key_seed(AnyText("a name"))? {
            let twice = match &*key {
                "targets" => targets.is_some(),
                "labels" => labels.is_some(),
                // Prometheus refuses it as well: a misspelt one would be a group without targets.
                _ => {
                    let message = format!("found the key {key:?}, expected `targets` and `labels`");
                    return Err(A::Error::custom(message));
                }
            };
            if twice {
                let message = format!("found the key {key:?} a second time, expected it once");
                return Err(A::Error::custom(message));
            }
            if key == "targets" {
                let seed = Targets {
                    path: self.path,
                    most: *self.left,
                };
                let read = map.next_value_seed(seed);
                let read = read.inspect_err(|_| under(self.path, ".targets"))?;
                *self.left -= read.len();
                targets = Some(read);
            } else {
                let read = map.next_value_seed(LabelPairs { path: self.path });
                labels = Some(read.inspect_err(|_| under(self.path, ".labels"))?);
            }
        }
        Ok(RawGroup {
            targets: targets.unwrap_or_default(),
            labels: labels.unwrap_or_default(),
        })
    }
}

/// The targets of a group. Whoever has none may write `null`.
struct Targets<'p> {
    path: &'p Path,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Targets<'_> {
    type Value = Vec<Target>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Target>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Targets<'_> {
    type Value = Vec<Target>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of targets, such as [\"10.0.0.7:9100\"]")
    }

    fn visit_none<E>(self) -> Result<Vec<Target>, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E>(self) -> Result<Vec<Target>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Target>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Target>, A::Error> {
        let mut targets = Vec::new();
        loop {
            let at = targets.len();
            let text = seq.next_element_seed(AnyText("a text such as \"10.0.0.7:9100\""));
            let target = text.and_then(|text| match text {
                Some(_) if at == self.most => {
                    Err(A::Error::custom("found one target more than a document may have"))
                }
                Some(Text(text)) => text.parse().map(Some).map_err(A::Error::custom),
                None => Ok(None),
            });
            match target.inspect_err(|_| under(self.path, format_args!("[{at}]")))? {
                Some(target) => targets.push(target),
                None => return Ok(targets),
            }
        }
    }
}

/// The labels of a group. Whoever has none may write `null`.
struct LabelPairs<'p> {
    path: &'p Path,
}

type Pairs<'de> = Vec<(Cow<'de, str>, Cow<'de, str>)>;

impl<'de> DeserializeSeed<'de> for LabelPairs<'_> {
    type Value = Pairs<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Pairs<'de>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for LabelPairs<'_> {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels, such as {\"job\": \"node\"}")
    }

    fn visit_none<E>(self) -> Result<Pairs<'de>, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E>(self) -> Result<Pairs<'de>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Pairs<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(Text(key)) = map.next_key_seed(AnyText("a label's name"))? {
            let value = map.next_value_seed(AnyText("a text"));
            let Text(value) = value.inspect_err(|_| under(self.path, format_args!(".{key}")))?;
            if key.is_empty() {
                // Its value has been read, so that the place is that of this pair.
                return Err(A::Error::custom("found a label without a name, expected one"));
            }
            pairs.push((key, value));
        }
        Ok(pairs)
    }
}

/// A text, borrowed from the document where it stands there as it is.
struct Text<'de>(Cow<'de, str>);

/// Reads a text, and says what was expected where there is none.
struct AnyText(&'static str);

impl<'de> DeserializeSeed<'de> for AnyText {
    type Value = Text<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text<'de>, D::Error> {
        // Asked for as a text: in YAML, unlike JSON, a number is one then.
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for AnyText {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text)))
    }
}
