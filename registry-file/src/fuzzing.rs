//! For fuzz targets, and for tests that replay what they found: files of services, from their bytes to records. No part
//! of the API.

use std::path::Path;

use registry_core::fuzzing::{Target, check_error, check_message, check_record, check_same};
use registry_core::{PortDefaults, ServiceRecord};
use serde_json::Value;

use crate::config::FileConfig;
use crate::error::{Error, summary};
use crate::files::Files;

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("file_json", json), ("file_yaml", yaml)];

const FILE: &str = "services.d/vms.yaml";

/// Any file.
pub fn yaml(bytes: &[u8]) {
    let read = decode(bytes);
    match (&read, &decode(bytes)) {
        (Ok(records), Ok(again)) => {
            assert_eq!(records.len(), again.len());
            for (record, again) in records.iter().zip(again) {
                check_same(record, again);
            }
        }
        (Err(errors), Err(again)) => assert_eq!(messages(errors), messages(again)),
        (_, again) => panic!("two readings differ: {again:?}"),
    }
    match read {
        Ok(records) => {
            for (at, record) in records.iter().enumerate() {
                assert_eq!(record.id().group(), FILE);
                assert!(!record.id().name().is_empty());
                assert!(records[..at].iter().all(|before| before.id() != record.id()));
                check_record(record);
            }
        }
        Err(errors) => {
            let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            assert!(!errors.is_empty());
            for error in &errors {
                let message = error.report();
                check_message(&message);
                assert!(message.starts_with(FILE), "{message}");
                if let Error::Value { line, column, .. } = error {
                    let within = (1..=lines + 1).contains(&(*line as usize)) && *column >= 1;
                    assert!(within, "{message}");
                }
            }
            check_error(&summary(errors));
        }
    }
}

/// A file that is JSON to everybody else, and so has to be JSON to us, within what YAML allows.
pub fn json(bytes: &[u8]) {
    let printable = |text: &str| {
        text.chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
    };
    if std::str::from_utf8(bytes).is_ok_and(printable)
        && serde_json::from_slice(bytes).is_ok_and(|value| fits(&value, MAX_DEPTH))
        && let Err(errors) = decode(bytes)
    {
        for error in errors {
            assert!(
                !matches!(error, Error::Syntax { .. }),
                "JSON was refused: {error}"
            );
        }
    }
    yaml(bytes);
}

/// Far more than a file of services has, and less than the YAML parser allows.
const MAX_DEPTH: usize = 60;

/// Keys beyond about a thousand characters are none to YAML.
const MAX_KEY: usize = 1000;

fn fits(value: &Value, depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, below)),
        Value::Object(fields) => fields
            .iter()
            .all(|(key, value)| key.len() <= MAX_KEY && fits(value, below)),
        _ => true,
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<ServiceRecord>, Vec<Error>> {
    let config = FileConfig::new("services.d");
    Files::new(&config, Path::new("/"), PortDefaults::default()).decode(FILE, bytes)
}

fn messages(errors: &[Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), super::TARGETS);
    }
}
