//! What an operator may set.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry_core::duration;
use registry_http::{
    Credential, CredentialConfig, HttpConfig, Placement, RedactedUrl, bare_url, is_secret_key,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Format;
use crate::error::Error;

/// Shorter intervals are no use, longer ones would keep a registry from ever being stale.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(86_400));

/// Settings of one registry of targets, in the shape of Prometheus' HTTP SD and file SD: a URL, or files.
///
/// ```
/// let config: registry_remote::HttpSdConfig = serde_json::from_str(
///     r#"{ "url": "http://127.0.0.1:9000/targets", "labels": { "zone": ["__meta_datacenter"] } }"#,
/// )?;
/// assert_eq!(config.interval.as_secs(), 30);
/// assert_eq!(config.labels.service, ["service", "job", "__meta_prometheus_job"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSdConfig {
    /// URL of the document. Either this or `files`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Files that hold documents; `*` in a file's name stands for any run of characters. They are looked at each second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// The time between two polls of the URL, give or take a tenth; of files, how often they are confirmed.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub interval: Duration,
    /// The service of targets whose labels name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Which labels say what.
    pub labels: LabelNames,
    /// Whether labels that begin with `__` are kept as labels of endpoints.
    pub meta_labels: bool,
    /// How to authenticate.
    pub credentials: CredentialConfig,
    /// The connection to the server: its time limits, TLS; and the largest document taken, from files as well.
    pub http: HttpConfig,
}

/// For each thing that a label can say the labels that may say it: the first that a target has counts. An empty label is
/// none, as for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LabelNames {
    /// The service's name.
    pub service: Vec<String>,
    /// The service's namespace.
    pub namespace: Vec<String>,
    /// The name of the port.
    pub port_name: Vec<String>,
    /// The region.
    pub region: Vec<String>,
    /// The zone.
    pub zone: Vec<String>,
    /// The weight, a whole number.
    pub weight: Vec<String>,
    /// The health: healthy, degraded, draining, unhealthy or unknown.
    pub health: Vec<String>,
}

impl Default for LabelNames {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            service: names(&["service", "job", "__meta_prometheus_job"]),
            // The default hostname has no namespace in it: services that differ in nothing else would be conflicts.
            namespace: Vec::new(),
            port_name: names(&["port_name"]),
            region: names(&["region"]),
            zone: names(&["zone"]),
            // What cannot be read refuses the document, so nobody's `weight="heavy"` is to be taken for one unasked.
            weight: Vec::new(),
            health: Vec::new(),
        }
    }
}

impl Default for HttpSdConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            files: Vec::new(),
            interval: Duration::from_secs(30),
            service: None,
            labels: LabelNames::default(),
            meta_labels: false,
            credentials: CredentialConfig::default(),
            http: HttpConfig::default(),
        }
    }
}

impl HttpSdConfig {
    /// What is watched, without secrets.
    pub(crate) fn target(&self) -> String {
        if !self.url.is_empty() {
            let (server, path) = split_url(&self.url);
            let query = path.split_once('?').map(|(_, query)| query).unwrap_or_default();
            let shown: Vec<&str> = query.split('&').filter(|pair| is_shown(pair)).collect();
            let path = path.split('?').next().unwrap_or_default();
            let base = bare_url(server);
            return match shown.join("&") {
                query if query.is_empty() => format!("{base}{path}"),
                query => format!("{base}{path}?{query}"),
            };
        }
        let mut files: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        files.sort_unstable();
        files.dedup();
        files.join("\n")
    }

    pub(crate) fn credential(&self) -> Result<Credential, Error> {
        Ok(self.credentials.credential(Placement::Bearer)?)
    }

    /// Checks what types cannot.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        match (self.url.is_empty(), self.files.as_slice()) {
            (true, []) => {
                return wrong(
                    "url",
                    "found nothing, expected the URL of a document (or `files`)",
                );
            }
            (false, [_, ..]) => {
                return wrong("files", "found a list beside `url`, expected either of the two");
            }
            (false, []) => check_url(&self.url)?,
            (true, files) => files.iter().try_for_each(|path| check_file(path))?,
        }
        if has_user(&self.url) && self.credentials != CredentialConfig::default() {
            return wrong(
                "credentials",
                "found beside a URL with a user name, expected one of the two",
            );
        }
        let (least, most) = INTERVALS;
        if !(least..=most).contains(&self.interval) {
            let [found, least, most] = [self.interval, least, most].map(duration::format);
            return wrong("interval", format!("found {found}, expected {least} to {most}"));
        }
        if self.service.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return wrong("service", "found an empty text, expected the name of a service");
        }
        if self.labels.service.is_empty() && self.service.is_none() {
            return wrong(
                "labels.service",
                "found no label, expected one, or `service` beside `labels`",
            );
        }
        self.labels.check()?;
        self.credential()?;
        self.http.validate()?;
        Ok(())
    }
}

impl LabelNames {
    fn check(&self) -> Result<(), Error> {
        let Self {
            service,
            namespace,
            port_name,
            region,
            zone,
            weight,
            health,
        } = self;
        for (field, names) in [
            ("labels.service", service),
            ("labels.namespace", namespace),
            ("labels.port_name", port_name),
            ("labels.region", region),
            ("labels.zone", zone),
            ("labels.weight", weight),
            ("labels.health", health),
        ] {
            if names.iter().any(String::is_empty) {
                return wrong(field, "found an empty text, expected names of labels");
            }
        }
        Ok(())
    }
}

/// The server of a URL, and what is asked of it: a path, a query, or both, exactly as they are written. A slash at the end
/// may be another document.
pub(super) fn split_url(url: &str) -> (&str, &str) {
    let url = url.trim();
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[after_scheme..].find(['/', '?', '#']);
    url.split_at(path.map_or(url.len(), |at| after_scheme + at))
}

/// Whether a pair of a query may be part of what is shown.
fn is_shown(pair: &str) -> bool {
    let key = pair.split('=').next().unwrap_or_default();
    !key.is_empty() && !is_secret_key(key)
}

fn has_user(url: &str) -> bool {
    split_url(url).0.contains('@')
}

fn check_url(url: &str) -> Result<(), Error> {
    let (server, path) = split_url(url);
    if path.contains('#') {
        return wrong("url", "found a fragment (`#`), expected the URL of a document");
    }
    match RedactedUrl::of_base(server) {
        Ok(_) => Ok(()),
        Err(registry_http::Error::Config { field, reason }) => wrong("url", format!("{field}: {reason}")),
        Err(other) => Err(other.into()),
    }
}

fn check_file(path: &Path) -> Result<(), Error> {
    let shown = path.display();
    if Format::of_file(path).is_none() {
        return wrong(
            "files",
            format!("found {shown}, expected a name that ends in .json, .yml or .yaml"),
        );
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    if parent.as_os_str().as_encoded_bytes().contains(&b'*') {
        return wrong(
            "files",
            format!("found {shown}, expected `*` in the name of a file alone, not of a directory"),
        );
    }
    Ok(())
}

fn wrong<T>(field: &'static str, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config {
        field,
        problem: problem.into(),
    })
}

/// Shows no user name and no password: they may stand in the URL.
impl fmt::Debug for HttpSdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All of them by name, so that none is forgotten.
        let Self {
            url: _,
            files: _,
            interval,
            service,
            labels,
            meta_labels,
            credentials,
            http,
        } = self;
        f.debug_struct("HttpSdConfig")
            .field("target", &self.target())
            .field("interval", interval)
            .field("service", service)
            .field("labels", labels)
            .field("meta_labels", meta_labels)
            .field("credentials", credentials)
            .field("http", http)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> HttpSdConfig {
        HttpSdConfig {
            url: url.to_owned(),
            ..HttpSdConfig::default()
        }
    }

    fn of_files(files: &[&str]) -> HttpSdConfig {
        HttpSdConfig {
            files: files.iter().map(PathBuf::from).collect(),
            ..HttpSdConfig::default()
        }
    }

    #[test]
    fn wrong_settings_are_named_with_what_was_found() {
        let with = |change: fn(&mut HttpSdConfig)| {
            let mut config = of("http://h/x");
            change(&mut config);
            config
        };
        for (config, expected) in [
            (HttpSdConfig::default(), "url: found nothing"),
            (
                with(|c| c.files = vec!["a.json".into()]),
                "files: found a list beside",
            ),
            (of("ftp://h/x"), "url: url \"ftp://h\": the scheme"),
            (of("h/x"), "url: url"),
            (of("http://me:hunter2@ho st/x"), "url: url"),
            (of("http://h/x#y"), "url: found a fragment"),
            (of_files(&["targets.txt"]), "files: found targets.txt"),
            (of_files(&["a*/x.json"]), "files: found a*/x.json"),
            (
                with(|c| c.interval = Duration::ZERO),
                "interval: found 0s, expected 10ms",
            ),
            (
                with(|c| c.service = Some(" ".to_owned())),
                "service: found an empty",
            ),
            (
                with(|c| c.labels.service.clear()),
                "labels.service: found no label",
            ),
            (
                with(|c| c.labels.zone = vec![String::new()]),
                "labels.zone: found an empty",
            ),
            (
                with(|c| {
                    c.url = "http://me:hunter2@h/x".to_owned();
                    c.credentials.token_env = Some("T".to_owned());
                }),
                "credentials: found beside",
            ),
            (with(|c| c.http.max_body_bytes = 0), "max_body_bytes"),
        ] {
            let message = config.validate().expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        for right in [
            of("http://h"),
            of("https://me:pw@[::1]:8443/a/?x=1"),
            of_files(&["/etc/sd/*.json", "b.YAML"]),
        ] {
            right.validate().unwrap();
        }
    }

    #[test]
    fn a_slash_at_the_end_and_a_query_are_part_of_what_is_asked() {
        for (url, split) in [
            ("http://h:1/sd/devices/", ("http://h:1", "/sd/devices/")),
            ("http://h?a=b", ("http://h", "?a=b")),
            ("https://u:p@h", ("https://u:p@h", "")),
        ] {
            assert_eq!(split_url(url), split);
        }
    }

    #[test]
    fn what_is_watched_is_shown_without_secrets() {
        let config = of("http://me:hunter2@H:80/x/?env=prod&token=hunter2&X-Amz-Signature=hunter2&");
        assert_eq!(config.target(), "http://h/x/?env=prod");
        let others = of("http://h/x/?env=prod&private_token=hunter2&sig=hunter2&%6Bey=hunter2");
        assert_eq!(others.target(), "http://h/x/?env=prod");
        let shown = format!("{config:?}");
        assert!(
            shown.contains("http://h/x/?env=prod") && !shown.contains("hunter2"),
            "{shown}"
        );
        assert_eq!(
            of_files(&["b.json", "a.json", "b.json"]).target(),
            "a.json\nb.json"
        );
    }
}
