//! For fuzz targets, and for tests that replay what they found: objects, from their bytes to records. No part of the API.

use std::time::Duration;

use registry_core::fuzzing::{check_error, check_record};
use registry_core::{PortDefaults, ServiceRecord};
use tokio::time::Instant;

use super::{Change, Index, Join, Kind, Mapping, Part, Source};

/// What is joined, in each view. One of each is needed for a service.
const VIEWS: [(Join, [Kind; 3]); 3] = [
    (Join::Services, [Kind::Service, Kind::Slice, Kind::Node]),
    (Join::Exports, [Kind::Service, Kind::Slice, Kind::Export]),
    (Join::Imports, [Kind::Import, Kind::Slice, Kind::Node]),
];

fn index(join: Join, removal_delay: Duration) -> Index {
    Index::new(Mapping {
        join,
        cluster: "a".into(),
        network: "n".into(),
        fqdn: true,
        removal_delay,
        ports: PortDefaults::default(),
    })
}

/// One object, as every kind, and as part of a service, in every view.
pub fn object(bytes: &[u8]) {
    for (join, kinds) in VIEWS {
        for kind in kinds {
            one(join, kind, bytes);
        }
        part(join, bytes);
    }
}

/// Whatever slice it is, there is a service for it.
fn part(join: Join, bytes: &[u8]) {
    let mut index = index(join, Duration::ZERO);
    let now = Instant::now();
    tell(&mut index, Kind::Slice, bytes, Source::Watched, now);
    let Some((namespace, name)) = index
        .services()
        .next()
        .map(|(namespace, name, _)| (namespace.to_string(), name.to_string()))
    else {
        return;
    };
    let metadata = serde_json::json!({ "namespace": namespace, "name": name });
    let (service, export) = match join {
        Join::Services => (Kind::Service, None),
        Join::Exports => (Kind::Service, Some(Kind::Export)),
        Join::Imports => (Kind::Import, None),
    };
    if let Some(kind) = export {
        let export = serde_json::json!({ "metadata": metadata }).to_string();
        tell(&mut index, kind, export.as_bytes(), Source::Watched, now);
        check(&mut index, now);
    }
    for ip in ["10.96.0.1", "None"] {
        let object = serde_json::json!({
            "metadata": metadata,
            "spec": { "clusterIPs": [ip], "ipFamilies": ["IPv6"] },
        });
        tell(
            &mut index,
            service,
            object.to_string().as_bytes(),
            Source::Watched,
            now,
        );
        check(&mut index, now);
        assert_eq!(index.records(None).count(), 1);
    }
}

/// What one after another becomes of a line of objects each, in every view; the first byte of a line says what is told of
/// it.
pub fn history(bytes: &[u8]) {
    for (join, kinds) in VIEWS {
        history_in(join, kinds, bytes);
    }
}

fn history_in(join: Join, kinds: [Kind; 3], bytes: &[u8]) {
    let mut index = index(join, Duration::from_millis(100));
    let mut now = Instant::now();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((what, object)) = line.split_first() else {
            continue;
        };
        let kind = kinds[usize::from(what % 3)];
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
fn one(join: Join, kind: Kind, bytes: &[u8]) {
    let mut index = index(join, Duration::ZERO);
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
