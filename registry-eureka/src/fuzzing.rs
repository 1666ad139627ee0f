//! For fuzz targets, and for tests that replay what they found: documents as servers could send them, from bytes to
//! instances. No part of the API.

mod written;

use std::collections::HashSet;

use registry_core::fuzzing::{Target, check_message};

pub use crate::table::fuzzing::history;
use crate::wire::{Application, DecodeError, Head, decode};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("eureka_history", history),
    ("eureka_json", json),
    ("eureka_xml", xml),
];

/// The answer to `/apps` or `/apps/delta` in JSON.
pub fn json(bytes: &[u8]) {
    document(bytes, "application/json");
}

/// The answer to `/apps` or `/apps/delta` in XML.
pub fn xml(bytes: &[u8]) {
    document(bytes, "application/xml");
}

/// All that a document says.
#[derive(Debug, PartialEq, Eq)]
struct Registry<'a> {
    head: Head,
    applications: Vec<Application<'a>>,
}

fn read<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Result<Registry<'a>, DecodeError> {
    let mut applications = Vec::new();
    let head = decode(bytes, content_type, |application| applications.push(application))?;
    Ok(Registry { head, applications })
}

/// Checks what holds of any document: where it is refused the error is one that can be told, reading it again comes to
/// the same whether or not its type is told, no beginning of it is taken for the whole, and what was read survives being
/// written in either format.
fn document(bytes: &[u8], content_type: &str) {
    let Some(registry) = taken(bytes, Some(content_type)) else {
        taken(bytes, None);
        return;
    };
    assert_eq!(taken(bytes, None).as_ref(), Some(&registry));
    let body = bytes.trim_ascii_end();
    let short = &body[..body.len() - 1];
    assert!(
        read(short, Some(content_type)).is_err(),
        "a document that was cut short was taken"
    );
    for application in &registry.applications {
        check_application(application);
    }
    let readable = Registry {
        head: registry.head,
        applications: registry
            .applications
            .into_iter()
            .filter(|application| application.unread.is_empty())
            .collect(),
    };
    for again in [written::json(&readable), written::xml(&readable)] {
        match read(again.as_bytes(), None) {
            Ok(read) => assert_eq!(read, readable, "{again}"),
            Err(error) => panic!("{error}: {again}"),
        }
    }
}

fn taken<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Option<Registry<'a>> {
    match (read(bytes, content_type), read(bytes, content_type)) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first, second);
            Some(first)
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string());
            check_message(&first.to_string());
            None
        }
        (first, second) => panic!("two readings differ: {:?} {:?}", first.err(), second.err()),
    }
}

fn check_application(application: &Application<'_>) {
    application
        .unread
        .iter()
        .for_each(|problem| check_message(problem));
    if application.name.is_empty() {
        let mut told = application
            .instances
            .iter()
            .filter_map(|instance| instance.app.as_ref());
        assert_eq!(told.next(), None, "an instance told the name");
    }
    for instance in &application.instances {
        for text in written::texts(instance).into_iter().filter_map(|(_, text)| text) {
            assert!(!text.trim_ascii().is_empty(), "a blank text: {instance:?}");
        }
        for entries in [&instance.metadata, &instance.data_center] {
            let mut keys = HashSet::new();
            for (key, _) in entries {
                assert!(!key.starts_with('@'), "a note of the serializer: {instance:?}");
                assert!(keys.insert(key), "a key twice: {instance:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), super::TARGETS);
    }
}
