//! Reading answers: their headers, and what they must not be mistaken for.

use std::collections::HashMap;
use std::time::Duration;

use registry_core::{ServiceId, duration};
use registry_http::{RedactedUrl, Response};

use super::config::{ALL, NomadConfig};
use super::wire::{Allocation, Checks, Instance, Namespace};
use crate::error::Error;
use crate::json::decode;

/// What the headers of an answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Headers {
    /// Up to which index of the whole table the answer holds everything; 0 where it does not say.
    pub(super) index: u64,
    /// The server knows a leader.
    leader: bool,
    /// How far the server is behind its leader.
    behind: Duration,
}

impl Headers {
    pub(super) fn of(response: &Response) -> Self {
        Self {
            // Indexes are signed where the server parses them: what is beyond would only be refused.
            index: response
                .header_u64("X-Nomad-Index")
                .filter(|index| *index <= i64::MAX as u64)
                .unwrap_or(0),
            leader: !response
                .header_str("X-Nomad-KnownLeader")
                .is_some_and(|found| found.trim().eq_ignore_ascii_case("false")),
            behind: Duration::from_millis(response.header_u64("X-Nomad-LastContact").unwrap_or(0)),
        }
    }

    /// Refuses the answer of a server that has no leader, or is further behind it than that.
    pub(super) fn check(&self, bound: Duration, url: &RedactedUrl) -> Result<(), Error> {
        let problem = if !self.leader {
            "the server knows no leader".to_owned()
        } else if self.behind > bound {
            let (behind, bound) = (duration::format(self.behind), duration::format(bound));
            format!("the server is {behind} behind its leader, more than max_stale = {bound}")
        } else {
            return Ok(());
        };
        Err(Error::Behind {
            url: url.clone(),
            problem,
        })
    }
}

/// What a list of services says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List {
    /// The services that are wanted.
    pub(super) services: Vec<ServiceId>,
    /// It lists nothing at all, wanted or not.
    pub(super) is_empty: bool,
}

/// The services of that namespace, or of all of them.
pub(super) fn list(response: &Response, namespace: &str, config: &NomadConfig) -> Result<List, Error> {
    let namespaces: Vec<Namespace<'_>> = decode(response)?;
    let foreign = |found: &Namespace<'_>| namespace != ALL && found.namespace != namespace;
    if let Some(found) = namespaces.iter().find(|found| foreign(found)) {
        return Err(foreign_answer(response, &found.namespace));
    }
    let is_empty = namespaces.iter().all(|listed| listed.services.is_empty());
    let wanted = namespaces.iter().flat_map(|listed| {
        let services = listed.services.iter();
        services
            .filter(|service| config.wants(&service.service_name, &service.tags))
            .map(|service| id(&listed.namespace, &service.service_name))
    });
    Ok(List {
        services: wanted.collect(),
        is_empty,
    })
}

/// The instances of the service of that name in that namespace.
///
/// A connection on which an answer came twice gives each request the answer to the one before it, and all answers look
/// alike.
pub(super) fn instances<'a>(response: &'a Response, service: &ServiceId) -> Result<Vec<Instance<'a>>, Error> {
    let instances: Vec<Instance<'a>> = decode(response)?;
    let foreign = |instance: &&Instance<'_>| {
        instance.service_name != service.name().as_str() || instance.namespace != service.namespace().as_str()
    };
    match instances.iter().find(foreign) {
        Some(found) => {
            let found = format!("{}/{}", found.namespace, found.service_name);
            Err(foreign_answer(response, &found))
        }
        None => Ok(instances),
    }
}

/// A page of allocations.
pub(super) fn allocations(response: &Response) -> Result<Vec<Allocation<'_>>, Error> {
    decode(response)
}

/// The worst result among the checks of one allocation, by service.
pub(super) fn checks(response: &Response) -> Result<HashMap<String, CheckResult>, Error> {
    // Without checks there may be nothing at all.
    let checks: Option<Checks<'_>> = decode(response)?;
    let mut results: HashMap<String, CheckResult> = HashMap::new();
    for check in checks.unwrap_or_default().into_values() {
        let result = CheckResult::of(&check.status);
        results
            .entry(check.service.into_owned())
            .and_modify(|worst| *worst = result.max(*worst))
            .or_insert(result);
    }
    Ok(results)
}

/// What the checks of a service say of one allocation, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CheckResult {
    Success,
    Pending,
    Failure,
}

impl CheckResult {
    fn of(status: &str) -> Self {
        match status {
            "success" => Self::Success,
            "failure" => Self::Failure,
            _ => Self::Pending,
        }
    }
}

/// What identifies a service: its namespace is what can be read, or not, as a whole.
pub(super) fn id(namespace: &str, name: &str) -> ServiceId {
    ServiceId::new(namespace, namespace, name)
}

fn foreign_answer(response: &Response, found: &str) -> Error {
    Error::Foreign {
        url: response.url().clone(),
        found: found.chars().take(100).collect(),
    }
}

#[cfg(test)]
mod tests;
