//! The shape of a file of services, read leniently: what is wrong in it is noted, never refused here.
//!
//! serde stops at the first mistake. An operator wants all of them, each with its place, so every value comes with its
//! position and may be something else than what belongs there ([`Wrong`]); `map.rs` is the judge.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// Where a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
    offset: u32,
    length: u32,
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let span = location.span();
        Self {
            line: number(location.line()),
            column: number(location.column()),
            offset: number(span.byte_offset().unwrap_or_default()),
            length: number(span.byte_len().unwrap_or_default()),
        }
    }
}

impl Position {
    /// The text at this place, as it is written.
    pub(crate) fn of<'a>(&self, source: &'a str) -> &'a str {
        let start = self.offset as usize;
        let end = start.saturating_add(self.length as usize);
        source.get(start..end).unwrap_or_default().trim()
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) position: Position,
    pub(crate) value: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        // An alias or a merge key stands for a value that is written elsewhere: that is where it has to be mended.
        Ok(Self {
            position: spanned.defined.into(),
            value: spanned.value,
        })
    }
}

/// One word, or what was found in its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word<'a> {
    /// Nothing: `null`, `~`, or no value at all.
    Nothing,
    Text(Cow<'a, str>),
    /// A whole number that is not negative.
    Number(u64),
    /// A boolean, or any other number: nowhere right but where a text is wanted, and then as it is written.
    Plain,
    List,
    Mapping,
}

/// A list or a mapping, or the word that was found in its place.
pub(crate) type Or<'a, T> = Result<T, Word<'a>>;

/// The items of a list.
#[derive(Debug)]
pub(crate) struct Items<T>(pub(crate) Vec<At<T>>);

/// A mapping of words to words, in the order of the file.
#[derive(Debug)]
pub(crate) struct Pairs<'a>(pub(crate) Vec<(At<Cow<'a, str>>, At<Word<'a>>)>);

/// A type that can be made of whatever stands in the file.
trait Shape<'de>: Sized {
    /// Made of a word, or of the mark that a list or mapping was there.
    fn word(word: Word<'de>) -> Self;

    fn seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::word(Word::List))
    }

    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::word(Word::Mapping))
    }
}

struct ShapeVisitor<S>(PhantomData<S>);

impl<'de, S: Shape<'de>> Visitor<'de> for ShapeVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<S, E> {
        Ok(S::word(Word::Plain))
    }

    fn visit_i64<E>(self, _: i64) -> Result<S, E> {
        Ok(S::word(Word::Plain))
    }

    fn visit_u64<E>(self, number: u64) -> Result<S, E> {
        Ok(S::word(Word::Number(number)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<S, E> {
        Ok(S::word(Word::Plain))
    }

    fn visit_str<E>(self, text: &str) -> Result<S, E> {
        Ok(S::word(Word::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<S, E> {
        Ok(S::word(Word::Text(Cow::Borrowed(text))))
    }

    fn visit_string<E>(self, text: String) -> Result<S, E> {
        Ok(S::word(Word::Text(Cow::Owned(text))))
    }

    fn visit_unit<E>(self) -> Result<S, E> {
        Ok(S::word(Word::Nothing))
    }

    fn visit_none<E>(self) -> Result<S, E> {
        Ok(S::word(Word::Nothing))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<S, A::Error> {
        S::seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S, A::Error> {
        S::map(map)
    }
}

fn shape<'de, S: Shape<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<S, D::Error> {
    deserializer.deserialize_any(ShapeVisitor(PhantomData))
}

impl<'de> Shape<'de> for Word<'de> {
    fn word(word: Word<'de>) -> Self {
        word
    }
}

impl<'de> Deserialize<'de> for Word<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shape(deserializer)
    }
}

/// Carries [`Or`], which is foreign, through `Deserialize`.
#[derive(Debug)]
pub(crate) struct Maybe<'a, T>(pub(crate) Or<'a, T>);

/// What can be read from a list or a mapping.
trait Content<'de>: Sized {
    fn seq<A: SeqAccess<'de>>(seq: A) -> Result<Or<'de, Self>, A::Error> {
        <Word<'de> as Shape<'de>>::seq(seq).map(Err)
    }

    fn map<A: MapAccess<'de>>(map: A) -> Result<Or<'de, Self>, A::Error> {
        <Word<'de> as Shape<'de>>::map(map).map(Err)
    }
}

impl<'de, T: Content<'de>> Shape<'de> for Maybe<'de, T> {
    fn word(word: Word<'de>) -> Self {
        Self(Err(word))
    }

    fn seq<A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error> {
        T::seq(seq).map(Self)
    }

    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::map(map).map(Self)
    }
}

impl<'de, T: Content<'de>> Deserialize<'de> for Maybe<'de, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shape(deserializer)
    }
}

impl<'de, T: Deserialize<'de>> Content<'de> for Items<T> {
    fn seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Or<'de, Self>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Ok(Self(items)))
    }
}

impl<'de> Content<'de> for Pairs<'de> {
    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Or<'de, Self>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<At<Key<'de>>>()? {
            pairs.push((key.into_text(), map.next_value()?));
        }
        Ok(Ok(Self(pairs)))
    }
}

/// A key: any scalar, as it is written.
struct Key<'a>(Cow<'a, str>);

impl<'a> At<Key<'a>> {
    fn into_text(self) -> At<Cow<'a, str>> {
        At {
            position: self.position,
            value: self.value.0,
        }
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_any`: the key `no` is a name, not a boolean.
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name as the key")
    }

    fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_string<E>(self, text: String) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(text)))
    }
}

/// A mapping with a fixed set of fields.
pub(crate) trait Fields<'de> {
    /// The names that are known.
    const NAMES: &'static [&'static str];

    /// Keys that are not.
    fn unknown(&self) -> &[At<Cow<'de, str>>];
}

macro_rules! mapping {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: Option<At<$type>>,)*
            unknown: Vec<At<Cow<'a, str>>>,
        }

        impl<'de> Fields<'de> for $name<'de> {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            fn unknown(&self) -> &[At<Cow<'de, str>>] {
                &self.unknown
            }
        }

        impl<'de> Content<'de> for $name<'de> {
            fn map<A: MapAccess<'de>>(mut map: A) -> Result<Or<'de, Self>, A::Error> {
                let mut read = Self::default();
                while let Some(key) = map.next_key::<At<Key<'de>>>()? {
                    match &*key.value.0 {
                        $(stringify!($field) => read.$field = Some(map.next_value()?),)*
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            read.unknown.push(key.into_text());
                        }
                    }
                }
                Ok(Ok(read))
            }
        }
    };
}

mapping! {
    /// The whole file.
    Document {
        services: Maybe<'a, Items<Maybe<'a, Service<'a>>>>,
    }
}

mapping! {
    Service {
        name: Word<'a>,
        namespace: Word<'a>,
        aliases: Maybe<'a, Items<Word<'a>>>,
        ports: Maybe<'a, Items<Maybe<'a, Port<'a>>>>,
        labels: Maybe<'a, Pairs<'a>>,
        metadata: Maybe<'a, Pairs<'a>>,
        resolution: Word<'a>,
        addresses: Maybe<'a, Items<Word<'a>>>,
        endpoints: Maybe<'a, Items<Maybe<'a, Endpoint<'a>>>>,
    }
}

mapping! {
    Port {
        name: Word<'a>,
        number: Word<'a>,
        protocol: Word<'a>,
        transport: Word<'a>,
    }
}

mapping! {
    Endpoint {
        address: Word<'a>,
        addresses: Maybe<'a, Items<Word<'a>>>,
        port: Word<'a>,
        ports: Maybe<'a, Pairs<'a>>,
        weight: Word<'a>,
        health: Word<'a>,
        locality: Maybe<'a, Locality<'a>>,
        labels: Maybe<'a, Pairs<'a>>,
        hostname: Word<'a>,
        node: Word<'a>,
        network: Word<'a>,
        cluster: Word<'a>,
        identity: Word<'a>,
        id: Word<'a>,
        priority: Word<'a>,
    }
}

mapping! {
    Locality {
        region: Word<'a>,
        zone: Word<'a>,
        sub_zone: Word<'a>,
    }
}

/// How much text aliases may repeat beyond what a large file has anyway.
const REPEATED_BYTES: usize = 16 * 1024 * 1024;

/// Reads a whole file.
pub(crate) fn read(source: &str) -> Result<At<Maybe<'_, Document<'_>>>, serde_saphyr::Error> {
    // The size of the file bounds all of these; how often aliases repeat what has a bound of its own. Texts do not: a
    // few bytes of alias repeat one of any length.
    let budget = serde_saphyr::budget! {
        max_events: usize::MAX,
        max_nodes: usize::MAX,
        max_total_scalar_bytes: source.len().saturating_mul(4).saturating_add(REPEATED_BYTES),
        max_merge_keys: usize::MAX,
        max_aliases: usize::MAX,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        emit_comments: false,
        with_snippet: false,
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
    };
    serde_saphyr::from_str_with_options(source, options)
}
