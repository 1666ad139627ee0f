//! Every answer of Consul's that is read, from its bytes to records.

use std::collections::HashSet;

use registry_core::fuzzing::{check_message, check_record, check_same};
use registry_core::{Interner, PortDefaults, ServiceRecord};
use registry_http::Response;
use registry_http::fuzzing::response;
use tokio::time::Instant;

use super::answer::{self, Headers};
use super::config::ConsulConfig;
use super::detector::{Changed, Detector};
use super::map::{self, Mapping};
use super::tracked::next_index;
use super::wire::Instance;
use crate::error::Error;
use crate::fuzzing::told;

/// The version of an agent.
pub fn agent(bytes: &[u8]) {
    let response = response(bytes);
    let read = |response: &Response| answer::agent(response).map(|agent| agent.version.into_owned());
    let Some(version) = taken(&response, read, |a, b| assert_eq!(a, b)) else {
        return;
    };
    assert!(answer::check_version(&version, "peer", (0, 0)).is_ok());
    for needed in [(1, 13), (u32::MAX, u32::MAX)] {
        if let Err(error) = answer::check_version(&version, "peer", needed) {
            told(error);
        }
    }
}

/// The names in the catalogue, for an operator who wants all and for one who wants few.
pub fn catalog(bytes: &[u8]) {
    let response = response(bytes);
    let few = ConsulConfig {
        services: vec!["web*".to_owned(), "*i".to_owned()],
        exclude_services: vec!["*-sidecar-proxy".to_owned()],
        tags: vec!["v1".to_owned()],
        token_env: Some("TOKEN".to_owned()),
        query: [("peer".to_owned(), "b".to_owned())].into(),
        ..ConsulConfig::default()
    };
    for config in [ConsulConfig::default(), few] {
        let read = |response: &Response| {
            let names = answer::catalog(response, &config)?.names;
            Ok(names.into_iter().map(String::from).collect::<Vec<_>>())
        };
        if let Some(names) = taken(&response, read, |a, b| assert_eq!(a, b)) {
            assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        }
    }
}

/// The state of all checks, and whose changed.
pub fn checks(bytes: &[u8]) {
    let response = response(bytes);
    let count = |response: &Response| Ok(answer::checks(response)?.len());
    taken(&response, count, |a, b| assert_eq!(a, b));
    let Ok(checks) = answer::checks(&response) else {
        return;
    };
    let mut detector = Detector::new(Instant::now());
    assert_eq!(detector.compare(&checks), Changed::default());
    let again = detector.compare(&checks);
    let names: HashSet<&str> = checks.iter().map(|check| &*check.service_name).collect();
    assert!(again.services.iter().all(|name| names.contains(name.as_str())));
    let distinct: HashSet<_> = checks
        .iter()
        .map(|check| (&check.node, &check.id, &check.service_name))
        .collect();
    if distinct.len() == checks.len() {
        assert_eq!(again, Changed::default(), "nothing changed in between");
    }
}

/// The instances of a service, as records.
pub fn health(bytes: &[u8]) {
    let response = response(bytes);
    for tagged_address in [None, Some("lan_ipv6")] {
        let read = |response: &Response| {
            let instances = answer::instances(response, "web")?;
            Ok(mapped(&instances, tagged_address))
        };
        let same = |a: &(ServiceRecord, Vec<String>), b: &(ServiceRecord, Vec<String>)| {
            check_same(&a.0, &b.0);
            assert_eq!(a.1, b.1);
        };
        let Some((record, skipped)) = taken(&response, read, same) else {
            return;
        };
        check_record(&record);
        skipped.iter().for_each(|problem| check_message(problem));
        let Ok(mut instances) = answer::instances(&response, "web") else {
            return;
        };
        assert!(record.endpoints().len() + skipped.len() <= instances.len());
        // Consul's own order changes from one read to the next. Of one that is listed twice the last word counts.
        if record.endpoints().len() == instances.len() {
            instances.reverse();
            check_same(&record, &mapped(&instances, tagged_address).0);
        }
    }
}

fn mapped(instances: &[Instance<'_>], tagged_address: Option<&str>) -> (ServiceRecord, Vec<String>) {
    let ports = PortDefaults::default();
    let mapping = Mapping {
        tagged_address,
        ports: &ports,
    };
    map::record("web", instances, mapping, &mut Interner::default())
}

/// As for any answer, and the index of this one can be asked with next.
fn taken<T>(
    response: &Response,
    read: impl Fn(&Response) -> Result<T, Error>,
    same: impl Fn(&T, &T),
) -> Option<T> {
    let headers = Headers::of(response);
    for asked in [0, 7, u64::MAX] {
        let next = next_index(asked, headers.index);
        assert!(next == 0 || (next >= asked && next == headers.index));
    }
    crate::fuzzing::taken(response, read, same)
}
