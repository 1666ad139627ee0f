//! Every answer of Nomad's that is read, from its bytes to records.

use std::collections::BTreeSet;
use std::time::Duration;

use registry_core::fuzzing::{check_message, check_record, check_same};
use registry_core::{Interner, PortDefaults, ServiceId, ServiceRecord};
use registry_http::Response;
use registry_http::fuzzing::response;

use super::allocations::{Allocations, Reading};
use super::answer::{self, Headers, id};
use super::config::{ALL, NomadConfig};
use super::events;
use super::map::{self, Mapping, Status};
use super::wire::Instance;
use crate::error::Error;
use crate::fuzzing::{taken, told};

/// An answer, read as each of those that are asked for.
pub fn wire(bytes: &[u8]) {
    let response = response(bytes);
    let headers = Headers::of(&response);
    assert!(i64::try_from(headers.index).is_ok());
    if let Err(error) = headers.check(Duration::from_secs(10), response.url()) {
        told(error);
    }
    list(&response);
    service(&response);
    allocations(&response);
    let checks = |response: &Response| answer::checks(response);
    taken(&response, checks, |a, b| assert_eq!(a, b));
    for line in response.body().split(|byte| *byte == b'\n') {
        event(line);
    }
}

fn list(response: &Response) {
    let few = NomadConfig {
        services: vec!["web*".to_owned(), "*i".to_owned()],
        exclude_services: vec!["*-canary".to_owned()],
        tags: vec!["v1".to_owned()],
        ..NomadConfig::default()
    };
    let all = NomadConfig::default();
    let names = |namespace: &str, config: &NomadConfig| {
        let read = |response: &Response| answer::list(response, namespace, config);
        let list = taken(response, read, |a, b| assert_eq!(a, b))?;
        assert!(!list.is_empty || list.services.is_empty());
        Some(list.services.into_iter().collect::<BTreeSet<ServiceId>>())
    };
    let listed = names(ALL, &all);
    if let (Some(listed), Some(few)) = (&listed, names(ALL, &few)) {
        assert!(few.is_subset(listed));
    }
    if let (Some(listed), Some(one)) = (&listed, names("default", &all)) {
        assert_eq!(*listed, one, "a list of one namespace holds no other");
        assert!(one.iter().all(|service| service.namespace() == "default"));
    }
}

fn service(response: &Response) {
    let web = id("default", "web");
    let read = |response: &Response| {
        let instances = answer::instances(response, &web)?;
        Ok(mapped(&web, &instances))
    };
    let same = |a: &(ServiceRecord, Vec<String>), b: &(ServiceRecord, Vec<String>)| {
        check_same(&a.0, &b.0);
        assert_eq!(a.1, b.1);
    };
    let Some((record, skipped)) = taken(response, read, same) else {
        return;
    };
    check_record(&record);
    skipped.iter().for_each(|problem| check_message(problem));
    let Ok(mut instances) = answer::instances(response, &web) else {
        return;
    };
    assert!(record.endpoints().len() + skipped.len() <= instances.len());
    // Of one that is listed twice the last word counts.
    let ids: BTreeSet<&str> = instances.iter().map(|instance| &*instance.id).collect();
    if record.endpoints().len() == instances.len() && ids.len() == instances.len() {
        instances.reverse();
        check_same(&record, &mapped(&web, &instances).0);
    }
}

fn mapped(service: &ServiceId, instances: &[Instance<'_>]) -> (ServiceRecord, Vec<String>) {
    let ports = PortDefaults::default();
    let mapping = Mapping {
        region: "eu",
        ports: &ports,
    };
    let status = |_: &Instance<'_>| Some(Status::Registered);
    map::record(service, instances, mapping, status, &mut Interner::default())
}

fn allocations(response: &Response) {
    let read = |response: &Response| -> Result<usize, Error> { Ok(answer::allocations(response)?.len()) };
    let Some(count) = taken(response, read, |a, b| assert_eq!(a, b)) else {
        return;
    };
    let Ok(page) = answer::allocations(response) else {
        return;
    };
    let mut allocations = Allocations::default();
    let reading = || {
        let mut reading = Reading::new("default", 7);
        reading.add(&page, 7);
        reading
    };
    assert!(reading().len() <= count);
    allocations.take(reading());
    assert_ne!(
        allocations.status("default", "a", 1),
        Some(Status::Ghost),
        "one reading is not enough"
    );
    allocations.take(reading());
    assert_eq!(
        allocations.status("default", "no such allocation", 7),
        Some(Status::Ghost)
    );
    assert_eq!(allocations.status("default", "no such allocation", 8), None);
}

fn event(line: &[u8]) {
    match events::read(line) {
        Ok(changes) => {
            for change in changes {
                assert!(change.index > 0 && !change.service.name().is_empty());
                assert_eq!(change.service.group(), change.service.namespace());
            }
        }
        Err(error) => check_message(&error.to_string()),
    }
}
