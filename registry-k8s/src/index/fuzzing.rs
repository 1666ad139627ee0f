//! For fuzz targets, and for tests that replay what they found: objects, from their bytes to records. No part of the API.

use std::time::Duration;

use registry_core::fuzzing::{check_error, check_record};
use registry_core::{PortDefaults, ServiceRecord};
use tokio::time::Instant;

use super::{Change, Index, Join, Kind, Mapping, Part, Source};

const KINDS: [Kind; 3] = [Kind::Service, Kind::Slice, Kind::Node];

fn index(removal_delay: Duration) -> Index {
    Index::new(Mapping {
        join: Join::Services,
        cluster: "a".into(),
        network: "n".into(),
        fqdn: true,
        removal_delay,
        ports: PortDefaults::default(),
    })
}

/// One object, as every kind, and as part of a service.
pub fn object(bytes: &[u8]) {
    for kind in KINDS {
        one(kind, bytes);
    }
    // Whatever slice it is, there is a service for it.
    let mut index = index(Duration::ZERO);
    let now = Instant::now();
    tell(&mut index, Kind::Slice, bytes, Source::Watched, now);
    let Some((namespace, name)) = index
        .services()
        .next()
        .map(|(namespace, name, _)| (namespace.to_string(), name.to_string()))
    else {
        return;
    };
    for ip in ["10.96.0.1", "None"] {
        let service = serde_json::json!({
            "metadata": { "namespace": namespace, "name": name },
            "spec": { "clusterIP": ip, "ipFamilies": ["IPv6"] },
        });
        tell(
            &mut index,
            Kind::Service,
            service.to_string().as_bytes(),
            Source::Watched,
            now,
        );
        check(&mut index, now);
        assert_eq!(index.records(None).count(), 1);
    }
}

/// What one after another becomes of a line of objects each; the first byte of a line says what is told of it.
pub fn history(bytes: &[u8]) {
    let mut index = index(Duration::from_millis(100));
    let mut now = Instant::now();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((what, object)) = line.split_first() else {
            continue;
        };
        let kind = KINDS[usize::from(what % 3)];
        let part = Part {
            kind,
            namespace: None,
        };
        match what / 3 % 8 {
            0 | 1 => tell(&mut index, kind, object, Source::Watched, now),
            2 => tell(&mut index, kind, object, Source::Listed, now),
            3 => {
                if let Err(refused) = index.remove(kind, object, now) {
                    check_error(&refused.error);
                }
            }
            4 => index.begin(&part),
            5 => {
                index.complete(&part, now);
            }
            6 => index.forget(&String::from_utf8_lossy(object), true),
            _ => now += Duration::from_millis(60),
        }
        check(&mut index, now);
    }
}

fn tell(index: &mut Index, kind: Kind, object: &[u8], source: Source, now: Instant) {
    if let Err(refused) = index.apply(kind, object, source, now) {
        check_error(&refused.error);
    }
}

/// Listed or watched, once or twice, an object says the same, and is gone when it is removed.
fn one(kind: Kind, bytes: &[u8]) {
    let mut index = index(Duration::ZERO);
    let now = Instant::now();
    let part = Part {
        kind,
        namespace: None,
    };
    index.begin(&part);
    tell(&mut index, kind, bytes, Source::Listed, now);
    index.complete(&part, now);
    check(&mut index, now);
    tell(&mut index, kind, bytes, Source::Watched, now);
    assert!(
        index.take_changes(now).is_empty(),
        "an object said twice is a change"
    );
    match index.remove(kind, bytes, now) {
        Ok(()) => {
            let deleted = index.take_changes(now);
            assert!(
                deleted
                    .iter()
                    .all(|change| matches!(change, Change::Delete { explicit: true, .. }))
            );
            assert_eq!(index.records(None).count(), 0);
        }
        Err(refused) => check_error(&refused.error),
    }
}

/// Checks all that is held, and that changes are what was said to be one.
fn check(index: &mut Index, now: Instant) {
    let changes = index.take_changes(now);
    let mut records: Vec<ServiceRecord> = index.records(None).collect();
    for change in changes {
        match change {
            Change::Apply { record, .. } => {
                assert!(records.iter().any(|held| held.id() == record.id()));
                check_record(&record);
            }
            Change::Delete { id, .. } => assert!(records.iter().all(|held| *held.id() != id)),
        }
    }
    records.retain(|record| !record.endpoints().is_empty());
    records.iter().for_each(check_record);
    assert!(
        index.take_changes(now).is_empty(),
        "the same change is told twice"
    );
    assert!(index.next_due().is_none_or(|due| due > now));
    for (_, error) in index.unreadable() {
        check_error(error);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_captured_passes() {
        for object in crate::index::tests::captured() {
            super::object(object.as_bytes());
        }
    }
}
