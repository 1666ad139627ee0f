//! What an operator may set.

use std::path::PathBuf;
use std::time::Duration;

use registry_core::duration;
use registry_http::{HttpConfig, bare_url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

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
    /// Namespaces to watch; `*` alone for all that the token may read.
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
    /// The shortest time between two readings of the list of services while it keeps changing.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub list_interval: Duration,
    /// Most reads a second of services of which it is not known whether they changed.
    pub reads_per_second: u32,
    /// Most reads a second of the comparison that goes on for ever.
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
            namespaces: vec!["*".to_owned()],
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
                max_connections: 10,
                ..HttpConfig::default()
            },
        }
    }
}

impl NomadConfig {
    /// The URLs to ask, the preferred one first.
    pub(crate) fn urls(&self) -> Vec<String> {
        match (&self.address, self.addresses.is_empty()) {
            (Some(address), _) => vec![address.clone()],
            (None, false) => self.addresses.clone(),
            (None, true) => vec!["http://127.0.0.1:4646".to_owned()],
        }
    }

    /// What is watched, without secrets: the same text for the same region behind the same addresses.
    pub(crate) fn target(&self) -> String {
        let mut urls: Vec<String> = self.urls().iter().map(|url| bare_url(url)).collect();
        urls.sort_unstable();
        urls.dedup();
        let mut target = urls.join(" ");
        if let Some(region) = &self.region {
            target.push_str(&format!(" region={region}"));
        }
        target
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.http.validate()?;
        Ok(())
    }
}
