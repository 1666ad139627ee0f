//! What holds of the body of any state file, whoever wrote it.

use super::decode::decode;
use super::encode::Encoder;
use crate::fuzzing::{check_message, check_same};
use crate::model::ServiceRecord;

pub(crate) fn state(bytes: &[u8]) {
    let records = match decode(bytes) {
        Ok(records) => records,
        Err(fault) => return check_message(&fault.to_string()),
    };
    // What was read can be kept, and comes back as it was.
    let again = kept(&records);
    assert_eq!(records.len(), again.len());
    for (record, again) in records.iter().zip(&again) {
        check_same(record, again);
    }
}

/// What is read again of what was written.
pub(crate) fn kept(records: &[ServiceRecord]) -> Vec<ServiceRecord> {
    let mut encoder = Encoder::new(Vec::new());
    for record in records {
        if let Err(error) = encoder.record(record) {
            panic!("{error}");
        }
    }
    let body = encoder.finish().unwrap_or_else(|error| panic!("{error}"));
    decode(&body).unwrap_or_else(|fault| panic!("{fault}"))
}
