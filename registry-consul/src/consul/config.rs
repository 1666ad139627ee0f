//! What an operator may set.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use registry_core::duration;
use registry_http::{Credential, HttpConfig, bare_urls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::settings;

/// Where an agent listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8500";

/// Settings of one Consul registry: one data centre, seen through one agent or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConsulConfig {
    /// URL of the agent; `http://127.0.0.1:8500` where neither this nor `addresses` is set.
    pub address: Option<String>,
    /// URLs of several agents or servers of the same data centre, the preferred one first.
    pub addresses: Vec<String>,
    /// File that holds the ACL token. It is read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Environment variable that holds the ACL token.
    pub token_env: Option<String>,
    /// The data centre to ask for, where it is not the agent's own.
    pub datacenter: Option<String>,
    /// How consistent reads of instances are.
    pub consistency: Consistency,
    /// How far a server may be behind its leader, or without one, before its answers count as stale.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub max_stale: Duration,
    /// How long the server parks a blocking query. It bounds how long a reset server stays unnoticed, and how long the
    /// polls of a killed process occupy connections.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub wait: Duration,
    /// Names of services to watch, `*` standing for anything; empty for all.
    pub services: Vec<String>,
    /// Names of services not to watch, `*` standing for anything.
    pub exclude_services: Vec<String>,
    /// Tags that an instance has to have, all of them.
    pub tags: Vec<String>,
    /// A filter in Consul's own language, applied by the server to instances.
    pub filter: Option<String>,
    /// Further query parameters, passed on as they are with every request.
    pub query: BTreeMap<String, String>,
    /// Which of an instance's addresses to take: `lan`, `wan`, or any other tagged address such as `lan_ipv6`. Absent:
    /// the service's own, else the node's.
    pub tagged_address: Option<String>,
    /// The shortest time between two readings of the catalogue while it keeps changing.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub catalog_interval: Duration,
    /// Most reads a second of services that cannot be parked within the budget of connections.
    pub sweep_reads_per_second: u32,
    /// The connection to the server: its budget, time limits, TLS.
    pub http: HttpConfig,
}

/// How consistent a read is, in Consul's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Any server answers, also without a leader.
    #[default]
    Stale,
    /// The leader answers.
    Default,
    /// The leader answers, after asking a quorum.
    Consistent,
}

impl Default for ConsulConfig {
    fn default() -> Self {
        Self {
            address: None,
            addresses: Vec::new(),
            token_file: None,
            token_env: None,
            datacenter: None,
            consistency: Consistency::default(),
            max_stale: Duration::from_secs(10),
            wait: Duration::from_secs(30),
            services: Vec::new(),
            exclude_services: Vec::new(),
            tags: Vec::new(),
            filter: None,
            query: BTreeMap::new(),
            tagged_address: None,
            catalog_interval: Duration::from_secs(1),
            sweep_reads_per_second: 200,
            http: HttpConfig::default(),
        }
    }
}

/// Parameters that the registry sets itself.
const OWN: [&str; 11] = [
    "index",
    "wait",
    "stale",
    "consistent",
    "cached",
    "hash",
    "passing",
    "pretty",
    "token",
    "tag",
    "filter",
];

/// Parameters that lead to other services of the same names.
const WHERE: [&str; 4] = ["ns", "partition", "peer", "sg"];

impl ConsulConfig {
    /// The URLs to ask, the preferred one first.
    pub(crate) fn urls(&self) -> Vec<String> {
        settings::urls(self.address.as_deref(), &self.addresses, DEFAULT_URL)
    }

    /// What is watched, without secrets: the same text for the same data centre behind the same addresses.
    pub(crate) fn target(&self) -> String {
        let mut target = bare_urls(self.urls().iter().map(String::as_str));
        let mut add = |key: &str, value: &str| {
            target.push_str(&format!(" {key}={value}"));
        };
        if let Some(datacenter) = &self.datacenter {
            add("dc", datacenter);
        }
        for (key, value) in &self.query {
            // Others only narrow what is seen, and may hold anything.
            if WHERE.contains(&key.as_str()) {
                add(key, value);
            }
        }
        target
    }

    pub(crate) fn credential(&self) -> Credential {
        let header = http::HeaderName::from_static("x-consul-token");
        settings::credential(self.token_file.as_deref(), self.token_env.as_deref(), header)
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token_file.is_some() || self.token_env.is_some()
    }

    /// True where the server leaves instances out by our own wish: an empty answer is then no surprise.
    pub(crate) fn narrows(&self) -> bool {
        self.filter.is_some() || !self.tags.is_empty() || !self.query.is_empty()
    }

    /// True where a service of that name and those tags is to be watched.
    pub(crate) fn wants(&self, name: &str, tags: &[std::borrow::Cow<'_, str>]) -> bool {
        let wanted = settings::matches(name, &self.services, &self.exclude_services);
        wanted
            && self
                .tags
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
            return wrong(
                "wait",
                format!("found {found}, expected 1s to 10m, the longest that Consul parks a query"),
            );
        }
        if self.sweep_reads_per_second == 0 {
            return wrong(
                "sweep_reads_per_second",
                "found 0, expected at least 1".to_owned(),
            );
        }
        if self.max_stale.is_zero() {
            return wrong("max_stale", "found 0s, expected more".to_owned());
        }
        if let Some(key) = self.query.keys().find(|key| OWN.contains(&key.as_str())) {
            return wrong("query", format!("found {key:?}, which the registry sets itself"));
        }
        self.http.validate()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_name_their_field() {
        let base = ConsulConfig::default;
        for (config, field) in [
            (
                ConsulConfig {
                    wait: Duration::ZERO,
                    ..base()
                },
                "wait",
            ),
            (
                ConsulConfig {
                    address: Some("127.0.0.1:8500".into()),
                    ..base()
                },
                "address",
            ),
            (
                ConsulConfig {
                    addresses: vec!["ftp://x".into()],
                    ..base()
                },
                "addresses",
            ),
            (
                ConsulConfig {
                    query: [("index".to_owned(), "1".to_owned())].into(),
                    ..base()
                },
                "query",
            ),
            (
                ConsulConfig {
                    sweep_reads_per_second: 0,
                    ..base()
                },
                "sweep_reads_per_second",
            ),
            (
                ConsulConfig {
                    token_file: Some("a".into()),
                    token_env: Some("b".into()),
                    ..base()
                },
                "token_env",
            ),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        assert!(base().validate().is_ok());
    }

    #[test]
    fn the_target_is_the_same_for_the_same_data_centre_and_shows_no_secret() {
        let target = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|&url| url.to_owned()).collect();
            ConsulConfig {
                addresses,
                ..ConsulConfig::default()
            }
            .target()
        };
        assert_eq!(target(&[]), "http://127.0.0.1:8500");
        let two = target(&["http://a:8500", "https://b/consul"]);
        assert_eq!(two, "http://a:8500 https://b/consul");
        assert_eq!(
            target(&[
                "HTTPS://user:secret@B:443/consul/",
                "http://a:8500/",
                "http://a:8500"
            ]),
            two
        );
        assert_ne!(target(&["http://a:8500", "https://b/other"]), two);
        assert_eq!(target(&["http://[2001:DB8::1]:80"]), "http://[2001:db8::1]");
        let query = [("ns", "team"), ("key", "secret"), ("partition", "p1")];
        let of = ConsulConfig {
            address: Some("http://a:8500".into()),
            datacenter: Some("dc2".into()),
            token_env: Some("TOKEN".into()),
            query: query
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..ConsulConfig::default()
        };
        assert_eq!(of.target(), "http://a:8500 dc=dc2 ns=team partition=p1");
    }

    #[test]
    fn names_and_tags_select_services() {
        let config = ConsulConfig {
            services: vec!["web-*".into(), "api".into()],
            exclude_services: vec!["*-canary".into()],
            tags: vec!["prod".into()],
            ..ConsulConfig::default()
        };
        let prod = ["prod".into(), "v1".into()];
        assert!(config.wants("web-1", &prod));
        assert!(!config.wants("web-1", &[]));
        assert!(!config.wants("web-canary", &prod));
        assert!(!config.wants("db", &prod));
    }
}
