//! Reading answers: their headers, and what they must not be mistaken for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use registry_core::short;
use registry_http::Response;

use super::config::ConsulConfig;
use super::wire::{AgentConfig, AgentSelf, CheckState, Instance};
use crate::error::Error;
use crate::json::decode;

/// What the headers of an answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Headers {
    /// The index to ask with next; 0 where there is none that could be used.
    pub(super) index: u64,
    /// Which of Consul's two ways to answer was used; each has its own indexes.
    pub(super) streaming: bool,
    /// Parts were left out for lack of rights.
    pub(super) filtered: bool,
    /// Without rights nothing may be read.
    pub(super) denied_by_default: bool,
    /// The server knows a leader.
    pub(super) leader: bool,
    /// How far the server is behind its leader.
    pub(super) behind: Duration,
}

impl Headers {
    pub(super) fn of(response: &Response) -> Self {
        Self::parse(|name| response.header_str(name))
    }

    fn parse<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let is = |name: &str, value: &str| {
            header(name).is_some_and(|found| found.trim().eq_ignore_ascii_case(value))
        };
        let number = |name: &str| header(name).and_then(|found| found.trim().parse::<u64>().ok());
        let streaming = is("X-Consul-Query-Backend", "streaming");
        Self {
            // Indexes are signed on the server's side: what is beyond would only be refused or never reached.
            index: number("X-Consul-Index")
                .filter(|index| *index <= i64::MAX as u64)
                .unwrap_or(0),
            streaming,
            filtered: is("X-Consul-Results-Filtered-By-ACLs", "true"),
            denied_by_default: is("X-Consul-Default-ACL-Policy", "deny"),
            // The streaming backend always says that it knows no leader.
            leader: streaming || !is("X-Consul-KnownLeader", "false"),
            behind: Duration::from_millis(number("X-Consul-LastContact").unwrap_or(0)),
        }
    }
}

/// The instances of the service of that name.
///
/// A connection on which an answer came twice gives each request the answer to the one before it, and all answers look
/// alike.
pub(super) fn instances<'a>(response: &'a Response, name: &str) -> Result<Vec<Instance<'a>>, Error> {
    let instances: Vec<Instance<'a>> = decode(response)?;
    // Consul looks names up in any case.
    let foreign =
        |found: &str| !found.is_empty() && found != name && found.to_lowercase() != name.to_lowercase();
    match instances.iter().find(|instance| foreign(&instance.service.name)) {
        Some(instance) => Err(Error::Foreign {
            url: response.url().clone(),
            found: instance.service.name.chars().take(100).collect(),
        }),
        None => Ok(instances),
    }
}

/// The state of all checks.
pub(super) fn checks(response: &Response) -> Result<Vec<CheckState<'_>>, Error> {
    decode(response)
}

/// What an agent says of itself.
pub(super) fn agent(response: &Response) -> Result<AgentConfig<'_>, Error> {
    decode(response).map(|agent: AgentSelf<'_>| agent.config)
}

/// Refuses a parameter that came with a later version than this one.
pub(super) fn check_version(version: &str, parameter: &str, needed: (u32, u32)) -> Result<(), Error> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found >= needed {
        return Ok(());
    }
    let (major, minor) = needed;
    let version = short(version, 40);
    let problem = format!(
        "{parameter:?} needs Consul {major}.{minor}, found {version}, which would ignore it in silence"
    );
    Err(Error::Config {
        field: "query",
        problem,
    })
}

/// What the catalogue lists.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    /// The names that are wanted.
    pub(super) names: Vec<Cow<'a, str>>,
    /// It lists the servers themselves.
    pub(super) servers: bool,
}

/// The service as which every data centre lists its own servers.
const SERVERS: &str = "consul";

/// The names in the catalogue.
pub(super) fn catalog<'a>(response: &'a Response, config: &ConsulConfig) -> Result<Listed<'a>, Error> {
    let names: BTreeMap<Cow<'a, str>, Option<Vec<Cow<'a, str>>>> = decode(response)?;
    let filtered = |problem| {
        Err(Error::Filtered {
            url: response.url().clone(),
            problem,
        })
    };
    if names.is_empty() {
        let headers = Headers::of(response);
        if headers.filtered || (!config.has_token() && headers.denied_by_default) {
            return filtered("the catalogue is empty for this token; it needs service:read and node:read");
        }
        // Further parameters may leave the servers out.
        if config.query.is_empty() {
            return filtered(
                "the catalogue is empty, not even `consul` is in it: the token lacks service:read, or there is none",
            );
        }
    }
    Ok(Listed {
        servers: names.contains_key(SERVERS),
        names: names
            .into_iter()
            .filter(|(name, tags)| config.wants(name, tags.as_deref().unwrap_or_default()))
            .map(|(name, _)| name)
            .collect(),
    })
}

#[cfg(test)]
mod tests;
