//! What an operator may set.

use std::collections::BTreeMap;
use std::time::Duration;

use registry_core::{Pattern, duration};
use registry_http::{CredentialConfig, HttpConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Settings of one Eureka registry: the servers of one region, which replicate to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EurekaConfig {
    /// Base URLs of the servers, the preferred one first, such as `http://host:8761/eureka` (Spring Cloud) or
    /// `http://host:8080/eureka/v2` (Netflix): all that comes before `/apps`. A user name and password in them are sent
    /// as basic authentication, and shown nowhere. `http://127.0.0.1:8761/eureka` where neither this nor `zones` is set.
    pub urls: Vec<String>,
    /// Base URLs of the servers of each availability zone. Those of `zone` are asked first, then those of the other
    /// zones in the order of their names, then `urls`.
    pub zones: BTreeMap<String, Vec<String>>,
    /// The availability zone in which this process runs.
    pub zone: Option<String>,
    /// The region of endpoints that say none themselves.
    pub region: Option<String>,
    /// Further regions that the server is asked to include.
    pub remote_regions: Vec<String>,
    /// How to authenticate, where it is not by user name and password in the URL.
    pub credentials: CredentialConfig,
    /// The time between two polls.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub interval: Duration,
    /// The time between two fetches of the whole registry where nothing asks for one, give or take a fifth.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub full_interval: Duration,
    /// Hard deadline of a fetch of the whole registry, body included.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub full_timeout: Duration,
    /// Whether to ask for what changed, rather than for the whole registry at each poll.
    pub delta: bool,
    /// How long the server keeps changes for those who ask for what changed (`retentionTimeInMSInDeltaQueue`). After a
    /// gap of half of it the whole registry is fetched.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub delta_retention: Duration,
    /// How polls are placed relative to the moments at which the server's cache of answers changes.
    pub alignment: Alignment,
    /// The time between two such moments (`responseCacheUpdateIntervalMs`).
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub cache_interval: Duration,
    /// With `alignment: fixed`: how long after the multiples of `cache_interval` since midnight (UTC, by this machine's
    /// clock) they are.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub cache_offset: Duration,
    /// Names of applications to watch in any case, `*` standing for anything; empty for all.
    pub apps: Vec<String>,
    /// Names of applications not to watch.
    pub exclude_apps: Vec<String>,
    /// Which of an instance's addresses to take.
    pub address: AddressChoice,
    /// Which keys of an instance's metadata mean something.
    pub metadata: MetadataKeys,
    /// The connection to the servers: its time limits, TLS, the largest answer taken.
    pub http: HttpConfig,
}

/// How polls are placed relative to the moments at which the server's cache changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Alignment {
    /// Soon after them; when they are is learnt from the changes that are seen.
    #[default]
    Learn,
    /// Soon after them; when they are is configured.
    Fixed,
    /// Anywhere.
    Never,
}

/// Which of an instance's addresses to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressChoice {
    /// `ipAddr` where it is an IP address, else `hostName`.
    #[default]
    Ip,
    /// `hostName` where there is one, else `ipAddr`.
    Hostname,
}

/// Keys of an instance's metadata that mean something. The metadata are its labels whatever they mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataKeys {
    /// The availability zone. Without it an Amazon instance has that of its data centre.
    pub zone: String,
    /// The region.
    pub region: String,
    /// The weight, a whole number.
    pub weight: String,
    /// Further ports: the name of the port, and the key whose value is its number. One that is the same number as
    /// another port of the instance is left out.
    pub ports: BTreeMap<String, String>,
}

impl Default for EurekaConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            zones: BTreeMap::new(),
            zone: None,
            region: None,
            remote_regions: Vec::new(),
            credentials: CredentialConfig::default(),
            interval: Duration::from_secs(30),
            full_interval: Duration::from_secs(5 * 60),
            full_timeout: Duration::from_secs(60),
            delta: true,
            delta_retention: Duration::from_secs(3 * 60),
            alignment: Alignment::default(),
            cache_interval: Duration::from_secs(30),
            cache_offset: Duration::ZERO,
            apps: Vec::new(),
            exclude_apps: Vec::new(),
            address: AddressChoice::default(),
            metadata: MetadataKeys::default(),
            http: HttpConfig::default(),
        }
    }
}

impl Default for MetadataKeys {
    fn default() -> Self {
        Self {
            zone: "zone".to_owned(),
            region: "region".to_owned(),
            weight: "weight".to_owned(),
            ports: [("management".to_owned(), "management.port".to_owned())].into(),
        }
    }
}

impl EurekaConfig {
    /// The base URLs in the order in which they are asked.
    pub(crate) fn servers(&self) -> Vec<String> {
        let own = self.zone.as_ref().and_then(|zone| self.zones.get(zone));
        let others = self
            .zones
            .iter()
            .filter(|(zone, _)| Some(*zone) != self.zone.as_ref());
        let mut servers: Vec<String> = Vec::new();
        for url in own
            .into_iter()
            .chain(others.map(|(_, urls)| urls))
            .flatten()
            .chain(&self.urls)
        {
            if !servers.contains(url) {
                servers.push(url.clone());
            }
        }
        if servers.is_empty() {
            servers.push("http://127.0.0.1:8761/eureka".to_owned());
        }
        servers
    }

    /// True where an application of that name is to be watched.
    pub(crate) fn wants(&self, app: &str) -> bool {
        let app = app.to_lowercase();
        let any = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| Pattern::new(pattern.to_lowercase().as_str()).matches(&app))
        };
        (self.apps.is_empty() || any(&self.apps)) && !any(&self.exclude_apps)
    }

    /// What is watched, without secrets: the same text for the same servers.
    pub(crate) fn target(&self) -> String {
        unimplemented!("session: sorted bare URLs and remote_regions, as registry-consul does")
    }

    /// Checks what types cannot.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        unimplemented!("session: every field, URLs that end in /apps …")
    }
}
