//! The JSON shape: `{"applications":{"application":[{"name":…,"instance":[{…}]}]}}`, keys in any order, lists of one
//! element also as that element alone.

mod instance;
mod shape;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use super::error::{DecodeError, listed};
use super::{Application, Head, MOST_UNREAD};
use instance::InstanceShape;
use shape::{Found, KeySeed, OneOrMany, Shape, Shaped, scalar};

/// Reads a document, handing over its applications one by one.
pub(super) fn read<'a>(text: &'a str, sink: &mut impl FnMut(Application<'a>)) -> Result<Head, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Shaped(Document { sink })
        .deserialize(&mut deserializer)
        .and_then(|head| deserializer.end().map(|()| head));
    // Its messages hold a line and a column, and nothing of what it read.
    read.map_err(|error| DecodeError::new(format!("not the JSON of Eureka: {error}")))
}

struct Document<'s, S> {
    sink: &'s mut S,
}

impl<'a, S: FnMut(Application<'a>)> Shape<'a> for Document<'_, S> {
    type Value = Head;

    fn object<A: MapAccess<'a>>(self, mut map: A) -> Result<Head, A::Error> {
        const REMEMBERED: usize = 8;
        let mut head = None;
        let mut others = Vec::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            if key == "applications" {
                let applications = Applications {
                    sink: &mut *self.sink,
                    head: head.get_or_insert_default(),
                    unread: 0,
                };
                map.next_value_seed(Shaped(applications))?;
            } else {
                if others.len() < REMEMBERED {
                    others.push(key);
                }
                map.next_value::<IgnoredAny>()?;
            }
        }
        head.ok_or_else(|| {
            let found = match others.len() {
                0 => "nothing".to_owned(),
                _ => listed(others.iter().map(|key| &**key)),
            };
            serde::de::Error::custom(format!("expected `applications`, found {found}"))
        })
    }

    fn other<E: serde::de::Error>(self, found: Found<'_>) -> Result<Head, E> {
        Err(E::custom(format!("expected an object, found {}", found.kind())))
    }
}

struct Applications<'s, S> {
    sink: &'s mut S,
    head: &'s mut Head,
    /// How many elements in the place of an application were none.
    unread: usize,
}

impl<S> Applications<'_, S> {
    /// Hands over an application, or what was found in its place as one of which nothing is known.
    fn take<'a>(&mut self, read: Result<Application<'a>, &str>) -> Result<(), String>
    where
        S: FnMut(Application<'a>),
    {
        (self.sink)(match read {
            Ok(application) => application,
            Err(found) => {
                self.unread += 1;
                if self.unread > MOST_UNREAD {
                    return Err(format!("more than {MOST_UNREAD} applications that are none"));
                }
                let problem = format!("in the place of an application: {found}, expected an object");
                Application {
                    unread: vec![problem],
                    ..Application::default()
                }
            }
        });
        Ok(())
    }
}

impl<'a, S: FnMut(Application<'a>)> Shape<'a> for Applications<'_, S> {
    type Value = ();

    fn object<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match &*key {
                // The second underscore escapes the first, in XML as in JSON.
                "apps__hashcode" | "apps_hashcode" => {
                    let hash = scalar(map.next_value::<&RawValue>()?.get());
                    self.head.hash = hash.map(|hash| hash.trim_ascii().to_owned());
                }
                "application" => map.next_value_seed(Shaped(OneOrMany {
                    each: || ApplicationShape,
                    take: |read| self.take(read),
                }))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn other<E: serde::de::Error>(self, found: Found<'_>) -> Result<(), E> {
        Err(E::custom(format!(
            "expected an object at `applications`, found {}",
            found.kind()
        )))
    }
}

struct ApplicationShape;

impl<'a> Shape<'a> for ApplicationShape {
    type Value = Application<'a>;

    fn object<A: MapAccess<'a>>(self, mut map: A) -> Result<Application<'a>, A::Error> {
        let mut application = Application::default();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match &*key {
                "name" => {
                    let name = scalar(map.next_value::<&RawValue>()?.get());
                    application.name = name
                        .filter(|name| !name.trim_ascii().is_empty())
                        .unwrap_or_default();
                }
                "instance" => map.next_value_seed(Shaped(OneOrMany {
                    each: || InstanceShape,
                    take: |read| match read {
                        Ok(instance) => application.add(Ok(instance)),
                        Err(found) => application.add(Err(&format!("{found}, expected an object"))),
                    },
                }))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        application.name_by_instances();
        Ok(application)
    }

    fn other<E: serde::de::Error>(self, _: Found<'_>) -> Result<Application<'a>, E> {
        Ok(Application::default())
    }
}
