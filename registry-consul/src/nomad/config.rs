//! What an operator may set.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use registry_core::duration;
use registry_http::{Credential, HttpConfig, bare_urls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::settings;

/// Settings of one Nomad registry: the native services of one region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NomadConfig {
    /// URL of the agent; `http://127.0.0.1:4646` where neither this nor `addresses` is set.
    pub address: Option<String>,
    /// URLs of several agents or servers of the same region, the preferred one first.
    pub addresses: Vec<String>,
    /// File that holds the ACL token. It is read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Environment variable that holds the ACL token.
    pub token_env: Option<String>,
    /// The region to ask for, where it is not the agent's own.
    pub region: Option<String>,
    /// Namespaces to watch; `*` alone for all that the token may read. Each one that is listed needs two connections.
    pub namespaces: Vec<String>,
    /// Whether any server may answer reads of instances, and not the leader alone.
    pub stale: bool,
    /// How far a server may be behind its leader, or without one, before its answers count as stale.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub max_stale: Duration,
    /// How long the server parks a blocking query.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub wait: Duration,
    /// Names of services to watch, `*` standing for anything; empty for all.
    pub services: Vec<String>,
    /// Names of services not to watch, `*` standing for anything.
    pub exclude_services: Vec<String>,
    /// Tags that an instance has to have, all of them.
    pub tags: Vec<String>,
    /// Whether to follow the event stream, which says what changed. Without it each change means a reading of everything,
    /// at `reads_per_second`.
    pub events: bool,
    /// The shortest time between two readings of the list of services while it keeps changing; at most `wait`.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub list_interval: Duration,
    /// Most reads a second of services of which it is not known whether they changed.
    pub reads_per_second: u32,
    /// Most reads a second of the comparison that goes on for ever; 0 for none.
    pub compare_reads_per_second: u32,
    /// The results of checks, which the catalogue does not have; absent: not asked for.
    pub checks: Option<ChecksConfig>,
    /// What becomes of registrations whose allocation does not run.
    pub ghosts: Ghosts,
    /// The connection to the server: its budget, time limits, TLS.
    pub http: HttpConfig,
}

/// How the results of checks are asked for, one allocation at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChecksConfig {
    /// The time between two readings of one allocation.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub interval: Duration,
    /// Most readings at once.
    pub concurrency: usize,
}

/// What becomes of registrations whose allocation does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ghosts {
    /// They are taken as they are; allocations are not asked for.
    #[default]
    Keep,
    /// They are unhealthy, and their raw status is `ghost`.
    Mark,
    /// They are left out.
    Drop,
}

impl Default for ChecksConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            concurrency: 2,
        }
    }
}

impl Default for NomadConfig {
    fn default() -> Self {
        Self {
            address: None,
            addresses: Vec::new(),
            token_file: None,
            token_env: None,
            region: None,
            namespaces: vec![ALL.to_owned()],
            stale: true,
            max_stale: Duration::from_secs(10),
            wait: Duration::from_secs(30),
            services: Vec::new(),
            exclude_services: Vec::new(),
            tags: Vec::new(),
            events: true,
            list_interval: Duration::from_secs(1),
            reads_per_second: 50,
            compare_reads_per_second: 2,
            checks: None,
            ghosts: Ghosts::default(),
            http: HttpConfig {
                max_connections: CONNECTIONS,
                ..HttpConfig::default()
            },
        }
    }
}

/// The namespace that stands for all.
pub(super) const ALL: &str = "*";

/// Where an agent listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:4646";

/// Connections of a registry that sets none.
const CONNECTIONS: usize = 10;

impl NomadConfig {
    /// The URLs to ask, the preferred one first.
    pub(crate) fn urls(&self) -> Vec<String> {
        settings::urls(self.address.as_deref(), &self.addresses, DEFAULT_URL)
    }

    /// What is watched, without secrets: the same text for the same region behind the same addresses.
    pub(crate) fn target(&self) -> String {
        let mut target = bare_urls(self.urls().iter().map(String::as_str));
        if let Some(region) = &self.region {
            target.push_str(&format!(" region={region}"));
        }
        target
    }

    pub(crate) fn credential(&self) -> Credential {
        let header = http::HeaderName::from_static("x-nomad-token");
        settings::credential(self.token_file.as_deref(), self.token_env.as_deref(), header)
    }

    /// The settings of the connection: where the number of connections was left alone, enough for all namespaces.
    pub(super) fn http(&self) -> HttpConfig {
        let mut http = self.http.clone();
        if http.max_connections == CONNECTIONS {
            http.max_connections = CONNECTIONS.max(self.connections());
        }
        // What is parked is counted here, and no more is: all else is left to reads, however few connections there are.
        http.reserved_for_reads = http.reserved_for_reads.min(1);
        http
    }

    /// How many connections are needed: what is parked, and reads beside it.
    fn connections(&self) -> usize {
        connections_for(self.parked() + self.http.reserved_for_reads.max(1))
    }

    /// The fewest that are of any use.
    pub(super) fn fewest_connections(&self) -> usize {
        connections_for(self.parked() + 1)
    }

    /// How many requests are parked: a list for each namespace, and an event stream.
    fn parked(&self) -> usize {
        self.namespaces.len() * if self.events { 2 } else { 1 }
    }

    /// True where a service of that name, whose instances have those tags among them, is to be watched.
    pub(super) fn wants(&self, name: &str, tags: &[Cow<'_, str>]) -> bool {
        self.wants_name(name) && self.has_tags(tags)
    }

    /// True where a service of that name is to be watched, as far as its name goes.
    pub(super) fn wants_name(&self, name: &str) -> bool {
        settings::matches(name, &self.services, &self.exclude_services)
    }

    /// True where all tags that an instance has to have are among those.
    pub(super) fn has_tags(&self, tags: &[Cow<'_, str>]) -> bool {
        self.tags
            .iter()
            .all(|wanted| tags.iter().any(|tag| tag == wanted))
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let wrong = |field, problem: String| Err(Error::Config { field, problem });
        settings::check_addresses(self.address.as_deref(), &self.addresses, DEFAULT_URL)?;
        settings::check_token(self.token_file.as_deref(), self.token_env.as_deref())?;
        let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(600));
        if self.wait < shortest || self.wait > longest {
            let found = duration::format(self.wait);
            return wrong("wait", format!("found {found}, expected 1s to 10m"));
        }
        if self.list_interval > self.wait {
            let (found, wait) = (duration::format(self.list_interval), duration::format(self.wait));
            return wrong(
                "list_interval",
                format!("found {found}, expected at most wait = {wait}"),
            );
        }
        if self.max_stale.is_zero() {
            return wrong("max_stale", "found 0s, expected more".to_owned());
        }
        if self.reads_per_second == 0 {
            return wrong("reads_per_second", "found 0, expected at least 1".to_owned());
        }
        self.check_namespaces()?;
        if let Some(checks) = &self.checks {
            if checks.interval < Duration::from_secs(1) {
                let found = duration::format(checks.interval);
                return wrong("checks.interval", format!("found {found}, expected at least 1s"));
            }
            if checks.concurrency == 0 {
                return wrong("checks.concurrency", "found 0, expected at least 1".to_owned());
            }
        }
        self.http.validate()?;
        Ok(())
    }

    fn check_namespaces(&self) -> Result<(), Error> {
        let wrong = |problem: String| {
            Err(Error::Config {
                field: "namespaces",
                problem,
            })
        };
        if self.namespaces.is_empty() {
            return wrong("found none, expected names, or \"*\" for all".to_owned());
        }
        if self.namespaces.len() > 1 && self.namespaces.iter().any(|name| name == ALL) {
            return wrong("found \"*\" beside others, expected it alone".to_owned());
        }
        if self.namespaces.iter().any(String::is_empty) {
            return wrong("found an empty name".to_owned());
        }
        let mut sorted: Vec<&String> = self.namespaces.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(format!("found {:?} twice", pair[0]));
        }
        let (needed, found) = (self.connections(), self.http().max_connections);
        if found < needed && self.namespaces.len() > 1 {
            let count = self.namespaces.len();
            return wrong(format!(
                "{count} of them need http.max_connections = {needed}, found {found}; or list fewer, or \"*\""
            ));
        }
        Ok(())
    }
}

/// The client sends a twentieth fewer requests at once than it has connections.
fn connections_for(requests: usize) -> usize {
    (requests..)
        .find(|all| all - all.div_ceil(20) >= requests)
        .unwrap_or(requests)
}

#[cfg(test)]
mod tests;
