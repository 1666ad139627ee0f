//! For fuzz targets: what anybody could send in a daemon's place, from lines to records.

use bytes::Bytes;
use registry_core::fuzzing::{check_message, check_same};
use tokio::time::Instant;

use super::events::{Assembly, Kind};
use super::map::{self, Mapper};
use super::wire;

/// The lines of a watch.
///
/// # Panics
///
/// Where something does not hold of what was sent: it is refused with words that can be told, or what it says can be kept,
/// and is the same when it is read again, whatever was read before.
pub fn events(bytes: &[u8]) {
    let mut assembly = Assembly::default();
    let mut mapper = Mapper::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        match assembly.take(&Bytes::copy_from_slice(line)) {
            Ok(None) => {}
            Ok(Some(sent)) if sent.kind == Kind::Service => service(&mut mapper, &sent.data),
            Ok(Some(sent)) => registries(&sent.data),
            Err(problem) => check_message(problem),
        }
    }
}

fn service(mapper: &mut Mapper, data: &[u8]) {
    match (mapper.service(data), Mapper::default().service(data)) {
        (Ok(record), Ok(again)) => {
            // That ports of endpoints are the service's is for the daemon to see to.
            assert!(
                record
                    .endpoints()
                    .iter()
                    .all(|endpoint| !endpoint.id().is_empty())
            );
            check_same(&record, &again);
        }
        (Err((id, problem)), Err((same, _))) => {
            assert_eq!(id, same);
            check_message(&problem);
        }
        _ => panic!("two readings differ"),
    }
}

fn registries(data: &[u8]) {
    let begin = serde_json::from_slice::<wire::Begin<'_>>(data).map(|begin| begin.registries);
    let ages = serde_json::from_slice::<wire::Ages<'_>>(data).map(|ages| ages.registries);
    for registries in [begin, ages] {
        let read = registries.map_err(|error| map::told(&error));
        match read.and_then(|registries| map::behind(&registries, Instant::now())) {
            Ok(behind) => behind.iter().for_each(|behind| {
                let _ = behind.age();
            }),
            Err(problem) => check_message(&problem),
        }
    }
}
