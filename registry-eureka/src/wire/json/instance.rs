//! An instance in JSON.

use std::borrow::Cow;

use serde::de::{Error, IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use super::shape::{Found, KeySeed, Shape, Shaped, scalar};
use crate::wire::field::{Entries, Field, boolean, tidy};
use crate::wire::{Instance, Port};

/// An instance. What is no object makes one of which nothing is known.
pub(super) struct InstanceShape;

impl<'a> Shape<'a> for InstanceShape {
    type Value = Instance<'a>;

    fn object<A: MapAccess<'a>>(self, mut map: A) -> Result<Instance<'a>, A::Error> {
        let mut instance = Instance::default();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match Field::of(&key) {
                Field::Text(field) => instance.set(field, scalar(map.next_value::<&RawValue>()?.get())),
                Field::Port => instance.port = map.next_value_seed(Shaped(PortShape { otherwise: true }))?,
                Field::SecurePort => {
                    instance.secure_port = map.next_value_seed(Shaped(PortShape { otherwise: false }))?;
                }
                Field::DataCenter => instance.data_center = map.next_value_seed(Shaped(DataCenter))?,
                Field::Metadata => instance.metadata = map.next_value_seed(Shaped(Metadata))?,
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(instance)
    }

    fn other<E: Error>(self, _: Found<'_>) -> Result<Instance<'a>, E> {
        Ok(Instance::default())
    }
}

/// `{"$":8080,"@enabled":"true"}`, or the number alone, as a number or a string.
struct PortShape {
    otherwise: bool,
}

impl<'a> Shape<'a> for PortShape {
    type Value = Port;

    fn object<A: MapAccess<'a>>(self, mut map: A) -> Result<Port, A::Error> {
        let (mut number, mut enabled) = (None, None);
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match &*key {
                "$" | "value" => number = scalar(map.next_value::<&RawValue>()?.get()),
                "@enabled" | "enabled" => {
                    enabled = scalar(map.next_value::<&RawValue>()?.get()).and_then(|word| boolean(&word));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Port::of(number.as_deref(), enabled, self.otherwise))
    }

    fn other<E: Error>(self, found: Found<'_>) -> Result<Port, E> {
        Ok(match found {
            Found::Integer(number) => Port {
                number: Some(number),
                enabled: self.otherwise,
            },
            Found::Text(text) => Port::of(Some(text), None, self.otherwise),
            _ => Port::default(),
        })
    }
}

/// `{"@class":…,"name":"Amazon","metadata":{…}}`, of which only the metadata matter.
struct DataCenter;

impl<'a> Shape<'a> for DataCenter {
    type Value = Entries<'a>;

    fn object<A: MapAccess<'a>>(self, mut map: A) -> Result<Entries<'a>, A::Error> {
        let mut entries = Entries::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            if key == "metadata" {
                entries = map.next_value_seed(Shaped(Metadata))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(entries)
    }

    fn other<E: Error>(self, _: Found<'_>) -> Result<Entries<'a>, E> {
        Ok(Entries::new())
    }
}

/// A map of texts.
struct Metadata;

impl<'a> Shape<'a> for Metadata {
    type Value = Entries<'a>;

    fn object<A: MapAccess<'a>>(self, mut map: A) -> Result<Entries<'a>, A::Error> {
        let mut entries = Entries::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let json = map.next_value::<&RawValue>()?.get();
            entries.extend(value(json).map(|value| (key, value)));
        }
        tidy(&mut entries);
        Ok(entries)
    }

    fn other<E: Error>(self, _: Found<'_>) -> Result<Entries<'a>, E> {
        Ok(Entries::new())
    }
}

/// The text of a value of metadata: what is no text as it stands in the document, and nothing for null.
fn value(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'{' | b'[' => Some(Cow::Borrowed(json)),
        _ => scalar(json),
    }
}
