//! For fuzz targets: documents as anybody could send them, from bytes to records.

use registry_core::fuzzing::{check_message, check_record, check_same};
use registry_core::{PortDefaults, ServiceRecord};

use super::config::{HttpSdConfig, LabelNames};
use super::document::Format;
use super::map::Reading;
use super::table::Table;

/// A document in JSON, or in YAML after a first line of `#yaml`, where every label that may say something does.
///
/// # Panics
///
/// Where something does not hold that holds of any document: it is refused with words that can be told, or what it says can
/// be kept, is the same when it is read again, and is no other after what another document said.
pub fn document(bytes: &[u8]) {
    let (bytes, format) = match bytes.strip_prefix(b"#yaml\n") {
        Some(rest) => (rest, Format::Yaml),
        None => (bytes, Format::Json),
    };
    let (Some(records), Some(again)) = (read(bytes, format), read(bytes, format)) else {
        return;
    };
    assert_eq!(records.len(), again.len());
    for (record, again) in records.iter().zip(&again) {
        check_record(record);
        check_same(record, again);
    }
}

fn read(bytes: &[u8], format: Format) -> Option<Vec<ServiceRecord>> {
    let names = |name: &str| vec![name.to_owned()];
    let config = HttpSdConfig {
        labels: LabelNames {
            namespace: names("namespace"),
            weight: names("weight"),
            health: names("health"),
            ..LabelNames::default()
        },
        ..HttpSdConfig::default()
    };
    let mut reading = Reading::new(config, PortDefaults::default());
    let groups = match reading.document(bytes, format) {
        Ok(groups) => groups,
        Err(problem) => {
            check_message(&problem);
            return None;
        }
    };
    let mut table = Table::default();
    table.replace(&groups, &mut reading.interner);
    let records: Vec<ServiceRecord> = table.records().collect();
    // By way of half of it, and of nothing.
    for part in [groups.len() / 2, 0, groups.len()] {
        table.replace(&groups[..part], &mut reading.interner);
    }
    for (derived, record) in table.records().zip(&records) {
        check_same(&derived, record);
    }
    assert_eq!(table.records().count(), records.len());
    Some(records)
}
