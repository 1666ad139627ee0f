//! What an operator may set.

mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use registry_core::{Guard, Pattern, duration};
use registry_http::{Credential, CredentialConfig, HttpConfig, Placement, bare_url, bare_urls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
pub(crate) use url::{base_of, shown};
use url::{check_url, has_user};

/// Settings of one Eureka registry: the servers of one region, which replicate to each other.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EurekaConfig {
    /// Base URLs of the servers, the preferred one first, such as `http://host:8761/eureka` (Spring Cloud) or
    /// `http://host:8080/eureka/v2` (Netflix): all that comes before `/apps`. A user name and password in them are sent
    /// as basic authentication, and shown nowhere. `http://127.0.0.1:8761/eureka` where neither this nor `zones` is set.
    /// One that answers is kept until it fails.
    pub urls: Vec<String>,
    /// Base URLs of the servers of each availability zone. Those of `zone` are asked first, then those of the other
    /// zones in the order of their names, then `urls`. From a server of a later group, an earlier one is come back to when
    /// everything is fetched and one of its servers answers.
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

/// The longest of all times that can be set: beyond it, clocks overflow before anybody is served.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest time between two polls.
const SHORTEST: Duration = Duration::from_millis(100);

/// A base URL, and how much it is preferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// 0 for the own zone, 1 for others, 2 for `urls`: of two equal ones none is come back to.
    pub(crate) rank: u8,
}

impl EurekaConfig {
    /// When a loss is too large to be believed at once, where nobody says.
    ///
    /// With deltas a server announces what goes. What vanishes without a word was lost by the server: it was restarted,
    /// or its peer had not heard of everything yet. Its applications come back with their next heartbeats, within 30 s
    /// unless they are configured otherwise, and are to be seen when the server's cache has changed once more.
    pub fn guard(&self) -> Guard {
        let guard = Guard::default();
        if !self.delta {
            return guard;
        }
        Guard {
            share: 0.0,
            endpoints: 1,
            hold: guard.hold + self.cache_interval,
            ..guard
        }
    }

    /// The servers in the order in which they are asked.
    pub(crate) fn servers(&self) -> Vec<Server> {
        let own = self.zone.as_ref().and_then(|zone| self.zones.get(zone));
        let others = self
            .zones
            .iter()
            .filter(|(zone, _)| Some(*zone) != self.zone.as_ref());
        let own = own.into_iter().map(|urls| (urls, 0));
        let others = others.map(|(_, urls)| (urls, 1));
        let groups = own.chain(others).chain([(&self.urls, 2)]);
        let mut servers: Vec<Server> = Vec::new();
        for (urls, rank) in groups {
            for url in urls {
                if !servers.iter().any(|server| server.url == *url) {
                    servers.push(Server {
                        url: url.clone(),
                        rank,
                    });
                }
            }
        }
        if servers.is_empty() {
            let url = "http://127.0.0.1:8761/eureka".to_owned();
            servers.push(Server { url, rank: 2 });
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
        let servers = self.servers();
        let mut target = bare_urls(servers.iter().map(|server| server.url.as_str()));
        let mut regions = self.remote_regions.clone();
        regions.sort_unstable();
        regions.dedup();
        if !regions.is_empty() {
            target.push_str(&format!(" regions={}", regions.join(",")));
        }
        target
    }

    pub(crate) fn credential(&self) -> Result<Credential, Error> {
        Ok(self.credentials.credential(Placement::Bearer)?)
    }

    /// Checks what types cannot.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let urls = self.urls.iter().map(|url| ("urls", url));
        let zoned = self.zones.values().flatten().map(|url| ("zones", url));
        for (field, url) in urls.chain(zoned) {
            check_url(field, url)?;
            if has_user(url) && self.credentials != CredentialConfig::default() {
                return wrong(
                    "credentials",
                    "found beside a URL with a user name, expected one of the two",
                );
            }
        }
        if let Some((zone, _)) = self.zones.iter().find(|(_, urls)| urls.is_empty()) {
            return wrong("zones", format!("found no URL for the zone {zone:?}"));
        }
        if let Some(zone) = &self.zone
            && !self.zones.is_empty()
            && !self.zones.contains_key(zone)
        {
            let known: Vec<&str> = self.zones.keys().map(String::as_str).collect();
            let known = known.join(", ");
            return wrong(
                "zone",
                format!("found {zone:?}, expected one of `zones`: {known}"),
            );
        }
        let odd = |region: &&String| region.trim().is_empty() || region.contains(',');
        if let Some(region) = self.remote_regions.iter().find(odd) {
            return wrong(
                "remote_regions",
                format!("found {region:?}, expected the name of a region"),
            );
        }
        self.check_times()?;
        self.credential()?;
        self.http.validate()?;
        Ok(())
    }

    fn check_times(&self) -> Result<(), Error> {
        for (field, found, least) in [
            ("interval", self.interval, SHORTEST),
            ("full_interval", self.full_interval, SHORTEST),
            ("full_timeout", self.full_timeout, SHORTEST),
            ("delta_retention", self.delta_retention, SHORTEST),
            ("cache_interval", self.cache_interval, SHORTEST),
            ("cache_offset", self.cache_offset, Duration::ZERO),
        ] {
            if found < least || found > LONGEST {
                let [found, least, most] = [found, least, LONGEST].map(duration::format);
                return wrong(field, format!("found {found}, expected {least} to {most}"));
            }
        }
        let [interval, full, retention] =
            [self.interval, self.full_interval, self.delta_retention].map(duration::format);
        if self.full_interval < self.interval {
            return wrong(
                "full_interval",
                format!("found {full}, expected at least `interval`, {interval}"),
            );
        }
        if self.delta && self.interval * 2 > self.delta_retention {
            return wrong(
                "interval",
                format!(
                    "found {interval}, expected at most half of `delta_retention`, {retention}, beyond which changes are \
                     missed; or `delta: false`"
                ),
            );
        }
        if self.alignment == Alignment::Fixed && self.cache_offset >= self.cache_interval {
            let [offset, cache] = [self.cache_offset, self.cache_interval].map(duration::format);
            return wrong(
                "cache_offset",
                format!("found {offset}, expected less than `cache_interval`, {cache}"),
            );
        }
        Ok(())
    }
}

fn wrong<T>(field: &'static str, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config {
        field,
        problem: problem.into(),
    })
}

/// Shows no user name and no password: they may stand in the URLs.
impl fmt::Debug for EurekaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = |urls: &[String]| -> Vec<String> { urls.iter().map(|url| bare_url(url)).collect() };
        // All of them by name, so that none is forgotten.
        let Self {
            urls,
            zones,
            zone,
            region,
            remote_regions,
            credentials,
            interval,
            full_interval,
            full_timeout,
            delta,
            delta_retention,
            alignment,
            cache_interval,
            cache_offset,
            apps,
            exclude_apps,
            address,
            metadata,
            http,
        } = self;
        let zones: BTreeMap<&String, Vec<String>> =
            zones.iter().map(|(zone, urls)| (zone, hide(urls))).collect();
        f.debug_struct("EurekaConfig")
            .field("urls", &hide(urls))
            .field("zones", &zones)
            .field("zone", zone)
            .field("region", region)
            .field("remote_regions", remote_regions)
            .field("credentials", credentials)
            .field("interval", interval)
            .field("full_interval", full_interval)
            .field("full_timeout", full_timeout)
            .field("delta", delta)
            .field("delta_retention", delta_retention)
            .field("alignment", alignment)
            .field("cache_interval", cache_interval)
            .field("cache_offset", cache_offset)
            .field("apps", apps)
            .field("exclude_apps", exclude_apps)
            .field("address", address)
            .field("metadata", metadata)
            .field("http", http)
            .finish()
    }
}

#[cfg(test)]
mod tests;
